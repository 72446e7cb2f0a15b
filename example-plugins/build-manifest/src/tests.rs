use std::io::{Cursor, Read as _};

use elita_plugin::testing::Upload;
use elita_plugin::{Code, Plugin};
use flate2::read::GzDecoder;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;

/// Of the text `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn plugin() -> Plugin {
    Plugin::new().hook("my_application", "BUILD_UPLOAD_SUCCESS", add_manifest)
}

fn zip() -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.add_directory("web", SimpleFileOptions::default()).expect("it fits");
    zip.start_file("web/index.html", SimpleFileOptions::default()).expect("it fits");
    zip.write_all(b"hello").expect("it fits");
    zip.finish().expect("it is complete").into_inner()
}

/// An archive with one file, as this plugin makes them.
fn tar_gz() -> Vec<u8> {
    archive(Vec::new(), "hello").expect("it fits")
}

fn manifest_in(archive: &[u8]) -> Value {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    let mut entry = tar.entries().expect("it is a tar").next().expect("it has a file").expect("it can be read");
    assert_eq!(entry.path().expect("it has a path").display().to_string(), "manifest.json");
    let mut text = String::new();
    entry.read_to_string(&mut text).expect("it is text");
    serde_json_from(&text)
}

fn serde_json_from(text: &str) -> Value {
    text.parse().expect("it is JSON")
}

#[test]
fn a_manifest_has_the_digest_of_each_file() {
    for (file_type, bytes, path) in [("zip", zip(), "web/index.html"), ("tar.gz", tar_gz(), "manifest.json")] {
        let fired = Upload::new("my_application", "124-master", file_type, bytes).fire(&plugin());
        assert_eq!(fired.result.expect("it goes well")["files"], 1);
        let manifest = manifest_in(&fired.added["manifest"].bytes);
        assert_eq!(manifest["build"], "124-master");
        assert_eq!(manifest["members"], json!([{ "path": path, "size_bytes": 5, "sha256": HELLO }]));
    }
}

#[test]
fn a_build_that_has_a_manifest_keeps_it() {
    let upload = Upload::new("my_application", "124-master", "zip", zip()).package("manifest", "zip", zip());
    let fired = upload.fire(&plugin());
    assert_eq!(fired.result.expect_err("the name is taken").code(), Some(Code::AlreadyExists));
}
