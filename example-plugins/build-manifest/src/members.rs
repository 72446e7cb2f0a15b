//! The files in an archive, read one after the other: nothing but their digests is kept in memory.

use std::fs::File;
use std::io::{self, BufReader, Read};

use bzip2::read::MultiBzDecoder;
use elita_plugin::prelude::*;
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use zip::ZipArchive;

/// A file in the archive.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Member {
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
}

/// All files of an archive, in its order.
pub(crate) fn read(file: File, file_type: &str) -> Result<Vec<Member>> {
    let file = BufReader::with_capacity(64 * 1024, file);
    match file_type {
        "zip" => of_zip(ZipArchive::new(file)?),
        "tar.gz" => of_tar(MultiGzDecoder::new(file)),
        "tar.bz2" => of_tar(MultiBzDecoder::new(file)),
        other => Err(Error::new(format!("`{other}` is not an archive that this plugin can read"))),
    }
}

fn of_zip(mut archive: ZipArchive<BufReader<File>>) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index)?;
        if entry.is_file() {
            let path = entry.name()?.into_owned();
            members.push(member(path, &mut entry)?);
        }
    }
    Ok(members)
}

fn of_tar(archive: impl Read) -> Result<Vec<Member>> {
    let mut members = Vec::new();
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.header().entry_type().is_file() {
            members.push(member(entry.path()?.display().to_string(), &mut entry)?);
        }
    }
    Ok(members)
}

fn member(path: String, content: &mut impl Read) -> Result<Member> {
    let (mut digest, mut size_bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; 64 * 1024];
    loop {
        match content.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => {
                digest.update(&piece[..length]);
                size_bytes += length as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sha256 = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Member { path, size_bytes, sha256 })
}
