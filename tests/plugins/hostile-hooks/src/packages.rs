//! Packages that are not as they should be.

use std::io::Write as _;

use elita_plugin::hooks::BuildUploadSuccess;
use elita_plugin::prelude::*;

use crate::outcome;

const APPLICATION: &str = "hostile";

/// Packages that may not be added, whatever is in them.
pub(crate) fn refused(build: &BuildUploadSuccess) -> Result<Value> {
    let begin = |application, build: &str, name, file_type| {
        outcome(builds::add_package(application, build, name, file_type).map(drop))
    };
    let this = &*build.build_name;
    Ok(json!({
        "master": begin(APPLICATION, this, "master", "zip"),
        "taken": begin(APPLICATION, this, "web", "zip"),
        "another build": begin(APPLICATION, "another", "new", "zip"),
        "no build": begin(APPLICATION, "gone", "new", "zip"),
        "another application": begin("shop", this, "new", "zip"),
        "another type": begin(APPLICATION, this, "new", "rar"),
        "no name": begin(APPLICATION, this, "../new", "zip"),
        "read another application": outcome(read("shop", "1")),
        "read another build": outcome(read(APPLICATION, "another")),
        "read what is not there": outcome(read(APPLICATION, "gone")),
    }))
}

/// Packages that are not what they are said to be.
pub(crate) fn lies(build: &BuildUploadSuccess) -> Result<Value> {
    let master = content(build)?;
    let add = |name, file_type, bytes: &[u8], sha256: Option<&str>| -> Result<()> {
        let mut package = builds::add_package(APPLICATION, &build.build_name, name, file_type)?;
        package.write_all(bytes)?;
        match sha256 {
            Some(sha256) => package.finish_as(sha256)?,
            None => package.finish()?,
        };
        Ok(())
    };
    Ok(json!({
        "another type": outcome(add("lie", "tar.gz", &master, None)),
        "no archive": outcome(add("lie", "zip", b"no archive at all", None)),
        "nothing": outcome(add("lie", "zip", b"", None)),
        "cut off": outcome(add("lie", "zip", &master[..master.len() - 4], None)),
        "another digest": outcome(add("lie", "zip", &master, Some(&"0".repeat(64)))),
        "no digest": outcome(add("lie", "zip", &master, Some("no digest"))),
        "the truth": outcome(add("truth", "zip", &master, Some(&build.packages["master"].sha256))),
        "the truth again": outcome(add("truth", "zip", &master, None)),
    }))
}

/// Writes a package and leaves it.
pub(crate) fn dropped(build: &BuildUploadSuccess) -> Result<Value> {
    for name in ["one", "two"] {
        let mut package = builds::add_package(APPLICATION, &build.build_name, name, "zip")?;
        package.write_all(&vec![7; 9_000_000])?;
        if name == "two" {
            // Its handle is still open when the run ends.
            std::mem::forget(package);
        }
    }
    Ok(json!("left"))
}

/// Writes, whatever the host says.
pub(crate) fn never_ends(build: &BuildUploadSuccess) -> Result<Value> {
    let mut package = builds::add_package(APPLICATION, &build.build_name, "endless", "zip")?;
    let bytes = vec![7; 256 * 1024];
    loop {
        let _ = package.write_all(&bytes);
    }
}

/// Writes more than a run may, in one package and in many.
pub(crate) fn too_large(build: &BuildUploadSuccess) -> Result<Value> {
    let piece = vec![7; 256 * 1024];
    let fill = |name| -> Result<u64> {
        let mut package = builds::add_package(APPLICATION, &build.build_name, name, "zip")?;
        loop {
            package.write_all(&piece)?;
        }
    };
    Ok(json!({ "first": outcome(fill("first")), "second": outcome(fill("second")) }))
}

/// Opens more packages than a run may have open.
pub(crate) fn many(build: &BuildUploadSuccess) -> Result<Value> {
    let begin = |number| builds::add_package(APPLICATION, &build.build_name, &format!("p{number}"), "zip");
    let open: Vec<_> = (0..6).map(begin).collect();
    let outcomes: Vec<_> = open.into_iter().map(|attempt| outcome(attempt.map(drop))).collect();
    Ok(json!({ "at once": outcomes, "afterwards": outcome(begin(6).map(drop)) }))
}

/// Goes on with a package that is finished, or has failed; and starts an action of `misbehave` that adds one.
pub(crate) fn again(build: &BuildUploadSuccess) -> Result<Value> {
    use elita_plugin::bindings::elita::plugin::builds as wit;
    let begin = |name| wit::add_package(APPLICATION, &build.build_name, name, "zip");
    let done = begin("copy")?;
    done.write(&content(build)?)?;
    let finished = done.finish(None);
    let failed = begin("failed")?;
    let refused = failed.finish(None);
    let started = actions::run(APPLICATION, "AddPackage", &[("build", &*build.build_name)])?;
    Ok(json!({
        "finish": outcome(finished.map_err(Error::from)),
        "write after it": outcome(done.write(b"more").map_err(Error::from)),
        "finish again": outcome(done.finish(None).map_err(Error::from)),
        "finish nothing": outcome(refused.map_err(Error::from)),
        "write after that": outcome(failed.write(b"more").map_err(Error::from)),
        "started": started,
    }))
}

fn content(build: &BuildUploadSuccess) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    std::io::copy(&mut build.open("master")?, &mut content)?;
    Ok(content)
}

fn read(application: &str, build: &str) -> Result<u64> {
    Ok(std::io::copy(&mut builds::read_package(application, build, "master"), &mut std::io::sink())?)
}
