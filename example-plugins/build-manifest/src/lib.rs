//! A hook that adds a manifest to each build: the path, the size and the SHA-256 of every file in it, as a package.

mod members;

use std::io::Write;

use elita_plugin::prelude::*;
use flate2::Compression;
use flate2::write::GzEncoder;

use self::members::Member;

#[cfg(test)]
mod tests;

elita_plugin::plugin! {
    hooks: {
        "my_application": { "BUILD_UPLOAD_SUCCESS": add_manifest },
    },
}

/// Reads the uploaded archive and adds the package `manifest`, which has one file, `manifest.json`.
fn add_manifest(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    let members = members::read(build.open("master")?, &build.file_type)?;
    jobs::progress(50, "read the build")?;

    let manifest = manifest(&build, &members);
    let package = builds::add_package(&call.application, &build.build_name, "manifest", "tar.gz")?;
    let added = archive(package, &manifest.to_string())?.finish()?;
    jobs::progress(100, "added the manifest")?;
    Ok(json!({ "files": members.len(), "package": added.name, "sha256": added.sha256 }))
}

fn manifest(build: &hooks::BuildUploadSuccess, members: &[Member]) -> Value {
    let master = &build.packages["master"];
    json!({
        "build": build.build_name,
        "file": { "name": master.filename, "size_bytes": master.size_bytes, "sha256": master.sha256 },
        "members": members,
    })
}

/// Writes an archive with the manifest in it. The same manifest makes the same bytes.
fn archive<W: Write>(to: W, manifest: &str) -> Result<W> {
    let mut header = tar::Header::new_ustar();
    header.set_size(manifest.len() as u64);
    header.set_mode(0o644);
    let mut archive = tar::Builder::new(GzEncoder::new(to, Compression::default()));
    archive.append_data(&mut header, "manifest.json", manifest.as_bytes())?;
    Ok(archive.into_inner()?.finish()?)
}
