//! Archives made at random, and damaged at random: what is taken of them is what Python reads, and so are packages of
//! them; of a tar archive GNU tar sees the same names. `just fuzz 600` goes on for ten minutes. A failure names its seed, which `ELITA_FUZZ_SEED` takes, and the archive
//! is kept where `ELITA_FUZZ_KEEP` says.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::*;

const NAMES: [&str; 12] =
    ["a", "b", "a/b", "a/b/c", "./d", "dir/", "dir/x", "e//f", "é/ü", "..", "/abs", "a/long-name-that-has-some-length"];
const TARGETS: [&str; 7] = ["a", "../a", "b/../a", "./d", "dir", "../../x", "a/b"];

/// A Python that reads archives, and asks GNU tar.
struct Python {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
    file: tempfile::NamedTempFile,
}

impl Python {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage/archive/tests/read_archive.py");
        let mut python = Command::new("python3");
        let mut child = python.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, asks, answers, file: tempfile::NamedTempFile::new().unwrap() }
    }

    fn read(&mut self, archive: &[u8], file_type: FileType) -> Value {
        match file_type {
            // Which Python reads from 3.14 on.
            FileType::TarZst => std::fs::write(self.file.path(), by_program("unzstd", archive)).unwrap(),
            _ => std::fs::write(self.file.path(), archive).unwrap(),
        }
        writeln!(self.asks, "{file_type} {}", self.file.path().display()).unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_taken_is_what_python_reads() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let until = Instant::now() + Duration::from_secs(number("ELITA_FUZZ_SECONDS").unwrap_or(30));
    let first = number("ELITA_FUZZ_SEED").unwrap_or_else(|| rand::rng().random());
    let (mut python, mut taken) = (Python::start(), 0_u32);
    for seed in first.. {
        let mut rng = StdRng::seed_from_u64(seed);
        let file_type = *TYPES.choose(&mut rng).unwrap();
        let archive = random_archive(&mut rng, file_type);
        let Ok(contents) = look(&archive, file_type) else { continue };
        taken += 1;
        let seen = python.read(&archive, file_type);
        if let Ok(kept) = std::env::var("ELITA_FUZZ_KEEP") {
            std::fs::write(kept, &archive).unwrap();
        }
        let files: BTreeSet<_> =
            members(&seen, seed).filter(|member| member[1] != "d").map(|member| member[0].as_str()).collect();
        let files: Vec<_> = files.into_iter().flatten().collect();
        let mut ours = contents.files.clone();
        ours.sort();
        assert_eq!(files, ours, "ELITA_FUZZ_SEED={seed}: {seen:#}");
        let everything = Selection { patterns: vec!["**".into()], ..Selection::default() };
        let (_, packages) = packed(&archive, file_type, vec![everything])
            .unwrap_or_else(|error| panic!("ELITA_FUZZ_SEED={seed}: {error}"));
        assert_eq!(python.read(&packages[0], file_type), seen, "ELITA_FUZZ_SEED={seed}: the package is another");
        if Instant::now() > until {
            break;
        }
    }
    assert!(taken > 100, "no more than {taken} archives were taken");
}

fn members(seen: &Value, seed: u64) -> impl Iterator<Item = &Value> {
    seen.as_array().unwrap_or_else(|| panic!("ELITA_FUZZ_SEED={seed}: Python does not read it: {seen}")).iter()
}

fn random_archive(rng: &mut StdRng, file_type: FileType) -> Vec<u8> {
    let mut archive = if file_type == FileType::Zip { random_zip(rng) } else { random_tar(rng) };
    if rng.random_bool(0.1) {
        archive.extend(vec![0; rng.random_range(0..2000)]);
    }
    if rng.random_bool(0.05) {
        archive.truncate(rng.random_range(0..archive.len()));
    }
    if matches!(file_type, FileType::Zip | FileType::Tar) { archive } else { compressed(file_type, &archive) }
}

fn random_tar(rng: &mut StdRng) -> Vec<u8> {
    let mut tar = Vec::new();
    for _ in 0..rng.random_range(1..6) {
        for _ in 0..*[0, 0, 0, 0, 1, 1, 2].choose(rng).unwrap() {
            tar.extend(random_extension(rng));
        }
        let kinds = [EntryType::Regular, EntryType::Regular, EntryType::Directory, EntryType::Symlink, EntryType::Link];
        let kind = if rng.random_bool(0.05) { EntryType::new(rng.random()) } else { *kinds.choose(rng).unwrap() };
        let (name, target) = (*NAMES.choose(rng).unwrap(), *TARGETS.choose(rng).unwrap());
        let content = vec![b'x'; if kind == EntryType::Regular { rng.random_range(0..700) } else { 0 }];
        let target = if kind == EntryType::Symlink || kind == EntryType::Link { target } else { "" };
        let mut member = tar_member(name, kind, target, &content);
        if rng.random_bool(0.3) {
            damage(rng, &mut member[..512]);
            with_checksum(&mut member);
        }
        tar.extend(member);
    }
    if rng.random_bool(0.1) {
        let length = tar.len();
        damage(rng, &mut tar[..length]);
    }
    [tar, end()].concat()
}

fn random_extension(rng: &mut StdRng) -> Vec<u8> {
    let (key, value) = *[
        ("path", "renamed"),
        ("path", "a/renamed"),
        ("linkpath", "a"),
        ("mtime", "-1.5"),
        ("comment", "one\ntwo"),
        ("size", "3"),
        ("hdrcharset", "BINARY"),
    ]
    .choose(rng)
    .unwrap();
    let mut length = key.len() + value.len() + 3;
    while format!("{length}").len() + key.len() + value.len() + 3 != length {
        length += 1;
    }
    let mut record = format!("{length} {key}={value}\n").into_bytes();
    if rng.random_bool(0.1) {
        damage(rng, &mut record);
    }
    match rng.random_range(0..4) {
        0 => tar_member("././@LongLink", EntryType::GNULongName, "", b"long/name\0"),
        1 => tar_member("g", EntryType::XGlobalHeader, "", &record),
        _ => tar_member("x", EntryType::XHeader, "", &record),
    }
}

fn random_zip(rng: &mut StdRng) -> Vec<u8> {
    let mut zip = if rng.random_bool(0.3) {
        // What is written to a pipe says the sizes after the contents.
        random_members(rng, ZipWriter::new_stream(Vec::new())).into_inner()
    } else {
        random_members(rng, ZipWriter::new(std::io::Cursor::new(Vec::new()))).into_inner()
    };
    if rng.random_bool(0.5) {
        damage(rng, &mut zip);
    }
    zip
}

fn random_members<W: std::io::Write + std::io::Seek>(rng: &mut StdRng, mut zip: ZipWriter<W>) -> W {
    for _ in 0..rng.random_range(1..5) {
        let name = *NAMES.choose(rng).unwrap();
        let method = *[CompressionMethod::Stored, CompressionMethod::Deflated].choose(rng).unwrap();
        let options =
            SimpleFileOptions::default().compression_method(method).unix_permissions(rng.random_range(0..0o1000));
        let _ = match rng.random_range(0..6) {
            0 => zip.add_directory(name, options),
            1 => zip.add_symlink(name, *TARGETS.choose(rng).unwrap(), options),
            _ => zip.start_file(name, options).map(|()| {
                zip.write_all(&vec![b'x'; rng.random_range(0..300)]).unwrap();
            }),
        };
    }
    zip.finish().unwrap()
}

/// Changes some bytes.
fn damage(rng: &mut StdRng, bytes: &mut [u8]) {
    for _ in 0..rng.random_range(1..4) {
        let place = rng.random_range(0..bytes.len());
        bytes[place] = *[0, b' ', b'/', b'.', b'\\', b'0', b'7', 0x80, 0xff, rng.random()].choose(rng).unwrap();
    }
}
