//! The packages of `builds`.

use std::io::Read as _;

use elita_plugin::bindings::elita::plugin::builds as wit;
use elita_plugin::hooks::BuildUploadSuccess;
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer};

pub(crate) fn all(build: &BuildUploadSuccess) -> Result<Answers> {
    let mut master = Vec::new();
    build.open("master")?.read_to_end(&mut master)?;
    let name = &*build.build_name;
    let begun = wit::add_package(APPLICATION, name, "copy", &build.file_type);
    let writer = match begun {
        Ok(writer) => writer,
        Err(error) => return Ok(vec![("builds.add-package", answer::<()>(Err(error.into())))]),
    };
    let written = writer.write(&master);
    let finished = writer.finish(None).map(|file| file.sha256 == build.packages["master"].sha256);
    let read = wit::read_package(APPLICATION, name, "copy", 0, 1 << 20).map(|read| read == master);
    Ok(vec![
        ("builds.add-package", json!("begun")),
        ("builds.package-writer.write", answer(written.map_err(Error::from))),
        ("builds.package-writer.finish", answer(finished.map_err(Error::from))),
        ("builds.read-package", answer(read.map_err(Error::from))),
    ])
}
