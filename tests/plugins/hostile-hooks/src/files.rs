//! The directory of a hook, by way of WASI itself: what a language's library refuses by itself is tried here.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use elita_plugin::prelude::*;
use wasip2::filesystem::preopens::get_directories;
use wasip2::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, NewTimestamp, OpenFlags, PathFlags};

type Attempt = std::result::Result<(), ErrorCode>;

const READ: DescriptorFlags = DescriptorFlags::READ;

/// Everything that would change a file or the directory.
pub(crate) fn change(build: &hooks::BuildUploadSuccess) -> Result<Value> {
    let (directory, file) = (directory()?, &*build.filename);
    let open = |how: OpenFlags, flags: DescriptorFlags, path: &str| {
        directory.open_at(PathFlags::empty(), path, how, flags).map(drop)
    };
    let opened = directory.open_at(PathFlags::empty(), file, OpenFlags::empty(), READ);
    let opened = opened.map_err(|code| Error::new(code.name()))?;
    let flags = READ | DescriptorFlags::MUTATE_DIRECTORY;
    let same = directory.open_at(PathFlags::empty(), ".", OpenFlags::DIRECTORY, flags);
    let same = same.map_err(|code| Error::new(code.name()))?;
    let now = NewTimestamp::Now;
    let attempts: [(&str, Attempt); 16] = [
        ("open to write", open(OpenFlags::empty(), READ | DescriptorFlags::WRITE, file)),
        ("make a directory where it asked to", same.create_directory_at("made")),
        ("create", open(OpenFlags::CREATE, DescriptorFlags::WRITE, "new")),
        ("create to read", open(OpenFlags::CREATE, READ, "new")),
        ("truncate", open(OpenFlags::TRUNCATE, READ, file)),
        ("write", opened.write(b"evil", 0).map(drop)),
        ("write by a stream", opened.write_via_stream(0).map(drop)),
        ("append", opened.append_via_stream().map(drop)),
        ("set the size", opened.set_size(0)),
        ("set the times", opened.set_times(now, now)),
        ("rename", directory.rename_at(file, &directory, "renamed")),
        ("remove", directory.unlink_file_at(file)),
        ("link", directory.link_at(PathFlags::empty(), file, &directory, "linked")),
        ("link symbolically", directory.symlink_at("/etc/passwd", "linked")),
        ("make a directory", directory.create_directory_at("made")),
        ("remove the directory", directory.remove_directory_at(".")),
    ];
    Ok(answers(attempts))
}

/// The ways out of the directory.
pub(crate) fn leave(build: &hooks::BuildUploadSuccess) -> Result<Value> {
    let (directory, file) = (directory()?, &*build.filename);
    let paths = ["..", "../..", "../../storage-id", "/etc/passwd", "/", "./../../builds", "nothing/../.."];
    let open = |path: &str| directory.open_at(PathFlags::SYMLINK_FOLLOW, path, OpenFlags::empty(), READ).map(drop);
    let above = "../../storage-id";
    let others = [
        ("look above", directory.stat_at(PathFlags::SYMLINK_FOLLOW, above).map(drop)),
        ("link what is above", directory.link_at(PathFlags::empty(), above, &directory, "linked")),
        ("link to above", directory.link_at(PathFlags::empty(), file, &directory, "../linked")),
        ("rename what is above", directory.rename_at(above, &directory, "renamed")),
        ("rename to above", directory.rename_at(file, &directory, "../renamed")),
    ];
    let opened = paths.map(|path| (path, open(path)));
    Ok(json!({ "open": answers(opened), "others": answers(others) }))
}

/// A link that leads out, and another one to a directory outside, which somebody else has put there.
pub(crate) fn follow_link() -> Result<Value> {
    wait_for("link")?;
    let directory = directory()?;
    let open = |flags| directory.open_at(flags, "link", OpenFlags::empty(), READ).map(drop);
    let stat = directory.stat_at(PathFlags::SYMLINK_FOLLOW, "link").map(drop);
    let read = directory.readlink_at("link").map(drop);
    let attempts = [
        ("open", open(PathFlags::SYMLINK_FOLLOW)),
        ("open the link", open(PathFlags::empty())),
        ("look", stat),
        ("read", read),
        ("link", directory.link_at(PathFlags::SYMLINK_FOLLOW, "link", &directory, "linked")),
        (
            "open in the directory",
            directory.open_at(PathFlags::empty(), "folder/passwd", OpenFlags::empty(), READ).map(drop),
        ),
        ("look in the directory", directory.stat_at(PathFlags::empty(), "folder/passwd").map(drop)),
    ];
    Ok(answers(attempts))
}

/// Opens a file until it may not.
pub(crate) fn open_many(build: &hooks::BuildUploadSuccess) -> Result<Value> {
    let mut open = Vec::new();
    loop {
        open.push(build.open("master")?);
    }
}

/// Reads a file of 2 GiB that somebody else has put there.
pub(crate) fn read_huge() -> Result<Value> {
    wait_for("huge")?;
    let (mut huge, mut piece) = (File::open("/build/huge")?, vec![0; 64 * 1024]);
    let mut read = 0;
    loop {
        match huge.read(&mut piece)? {
            0 => return Ok(json!({ "read": read })),
            length => read += length as u64,
        }
    }
}

/// Sleeps for longer than any hook may take.
pub(crate) fn sleep() -> Result<Value> {
    std::thread::sleep(Duration::from_secs(3600));
    Ok(json!("awake"))
}

/// The names of the files.
pub(crate) fn listed() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir("/build")? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn wait_for(file: &str) -> Result<()> {
    jobs::append(&json!({ "status": "waiting", "file": file }))?;
    while !listed()?.iter().any(|listed| listed == file) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn directory() -> Result<Descriptor> {
    let found = get_directories().into_iter().find(|(_, path)| path == "/build");
    found.map(|(directory, _)| directory).ok_or_else(|| "there is no directory".into())
}

fn answers<const N: usize>(attempts: [(&str, Attempt); N]) -> Value {
    let answer = |attempt: Attempt| attempt.map_or_else(|code| json!(code.name()), |()| json!("ok"));
    attempts.into_iter().map(|(what, attempt)| (what.to_owned(), answer(attempt))).collect()
}
