use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use uuid::Uuid;

use super::{DataDir, Error};

#[test]
fn a_data_directory_is_made_private_and_keeps_its_host_id() {
    let path = unused();
    let first = DataDir::open(&path).unwrap().host_id();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    assert_eq!(DataDir::open(&path).unwrap().host_id(), first);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_second_elita_on_the_same_data_directory_is_refused() {
    let path = unused();
    let first = DataDir::open(&path).unwrap();
    let refused = DataDir::open(&path).unwrap_err();
    assert!(matches!(&refused, Error::InUse { .. }));
    assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
    drop(first);
    DataDir::open(&path).unwrap();
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_garbled_host_id_is_not_replaced() {
    let path = unused();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("host-id"), "").unwrap();
    assert!(matches!(DataDir::open(&path), Err(Error::BadHostId { .. })));
    fs::remove_dir_all(path).unwrap();
}

fn unused() -> PathBuf {
    std::env::temp_dir().join(format!("elita-test-{}", Uuid::new_v4()))
}
