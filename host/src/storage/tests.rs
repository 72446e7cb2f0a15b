use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::Error;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Storage, StorageError};

/// The directory of a store, which goes with its test.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn store() -> (Directory, Storage) {
    let directory = std::env::temp_dir().join(format!("elita-test-{}", Uuid::new_v4()));
    let storage = Storage::in_directory(&directory).expect("a store");
    (Directory(directory), storage)
}

/// How many folders of builds there are.
fn folders(directory: &Directory) -> usize {
    std::fs::read_dir(directory.0.join("builds")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn a_file_is_what_came_in_whatever_its_pieces() {
    let content: Vec<u8> = (0..10_000_003_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2]).collect();
    for piece in [10_000_003, 5_000_000, 4 * 1024 * 1024, 99_991] {
        let (_directory, storage) = store();
        let folder = Uuid::new_v4();
        let mut file = storage.receive_build_file(folder, "a.zip").await.expect("a new file");
        for bytes in content.chunks(piece) {
            file.write(Bytes::copy_from_slice(bytes)).await.expect("room");
        }
        let finished = file.finish().await.expect("room");
        assert!(storage.build_file(folder, None, "a.zip").await.expect("a store").is_none(), "it is not there yet");
        let received = finished.publish().await.expect("room");
        assert_eq!(received.size_bytes, content.len() as u64);
        assert_eq!(received.sha256, <[u8; 32]>::from(Sha256::digest(&content)));
        let mut stored = storage.build_file(folder, None, "a.zip").await.expect("a store").expect("the file");
        let mut found = Vec::new();
        io::Read::read_to_end(&mut stored, &mut found).expect("a file that can be read");
        assert!(found == content, "the file is another one");
    }
}

#[tokio::test]
async fn an_empty_file_is_one() {
    let (_directory, storage) = store();
    let file = storage.receive_build_file(Uuid::nil(), "a.zip").await.expect("a new file");
    let received = file.finish().await.expect("room").publish().await.expect("room");
    assert_eq!((received.size_bytes, received.sha256), (0, Sha256::digest(b"").into()));
}

#[tokio::test]
async fn what_is_given_up_leaves_nothing() {
    let (directory, storage) = store();
    let mut begun = storage.receive_build_file(Uuid::new_v4(), "a.zip").await.expect("a new file");
    begun.write(vec![0; 9_000_000].into()).await.expect("room");
    let finished = storage.receive_build_file(Uuid::new_v4(), "a.zip").await.expect("a new file");
    let finished = finished.finish().await.expect("room");
    assert_eq!(folders(&directory), 2);
    drop((begun, finished));
    for _ in 0..500 {
        if folders(&directory) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("something is left");
}

#[tokio::test]
async fn to_remove_what_is_not_there_is_fine() {
    let (_directory, storage) = store();
    storage.remove_build_files(Uuid::nil()).await.expect("nothing to be removed");
    assert_eq!(storage.old_build_folders(SystemTime::now()).await.expect("a store"), Vec::<Uuid>::new());
}

#[test]
fn a_full_disk_is_told_from_other_failures() {
    let failed = |code| {
        StorageError::from(Error::Generic {
            store: "LocalFileSystem",
            source: io::Error::from_raw_os_error(code).into(),
        })
    };
    for (code, full) in [(28, true), (122, true), (27, true), (5, false), (13, false)] {
        assert_eq!(matches!(failed(code), StorageError::Full(_)), full, "{code}");
    }
}
