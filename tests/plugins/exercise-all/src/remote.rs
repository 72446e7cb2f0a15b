//! `remote`, on the server that a test has made for it.

use elita_plugin::prelude::*;
use elita_plugin::remote::{Autocrlf, Command, Content, Pull, Report};

use crate::{Answers, answer};

/// A server of the driver `local`.
const SERVERS: [&str; 1] = ["exercise-here"];
/// A working copy on it.
const COPY: &str = "/exercised/copy";

pub(crate) fn all() -> Answers {
    let origin = Command::script("git init -q -b main --bare ~/origin.git && cd ~/origin.git && pwd");
    let origin = remote::run(&SERVERS, &origin);
    let url = origin.as_ref().map_or_else(|_| String::new(), |reports| reports[0].stdout.trim().to_owned());
    vec![
        ("remote.ping", done(remote::ping(&SERVERS, Some(30)))),
        ("remote.operating-systems", answer(remote::operating_systems(&SERVERS))),
        ("remote.run", done(remote::run(&SERVERS, &Command::new(["echo", "exercised"])))),
        ("remote.run-script", done(origin)),
        ("remote.create-directory", done(remote::create_directory(&SERVERS, "/exercised/files"))),
        ("remote.touch", done(remote::touch(&SERVERS, "/exercised/files/a"))),
        ("remote.append-to-file", done(remote::append_to_file(&SERVERS, "/exercised/files/a", "more\n"))),
        (
            "remote.push-file",
            done(remote::push_file(&SERVERS, &Content::bytes("b"), "/exercised/files/b", Some(0o600))),
        ),
        ("remote.delete-file", done(remote::delete_file(&SERVERS, "/exercised/files/a"))),
        ("remote.delete-directory", done(remote::delete_directory(&SERVERS, "/exercised/files"))),
        ("remote.git-clone", done(remote::git_clone(&SERVERS, &url, COPY, None))),
        ("remote.git-set-user", done(remote::git_set_user(&SERVERS, COPY, "Ada", "ada@example.com"))),
        ("remote.git-set-autocrlf", done(remote::git_set_autocrlf(&SERVERS, COPY, Autocrlf::False))),
        ("remote.git-set-push-url", done(remote::git_set_push_url(&SERVERS, COPY, &url))),
        ("remote.git-add-all", done(first_file())),
        ("remote.git-commit", done(remote::git_commit(&SERVERS, COPY, "The first one"))),
        ("remote.git-discard-changes", done(remote::git_discard_changes(&SERVERS, COPY))),
        ("remote.git-checkout", done(pushed())),
        ("remote.git-pull", done(remote::git_pull(&SERVERS, COPY, &Pull::default()))),
    ]
}

fn first_file() -> Result<Vec<Report>> {
    remote::touch(&SERVERS, &format!("{COPY}/first"))?;
    remote::git_add_all(&SERVERS, COPY)
}

fn pushed() -> Result<Vec<Report>> {
    let push = Command::new(["git", "push", "-q", "origin", "HEAD:main"]).directory(COPY);
    remote::all_ok(&remote::run(&SERVERS, &push)?)?;
    remote::git_checkout(&SERVERS, COPY, "main")
}

/// The reports, or why it was not done.
fn done(reports: Result<Vec<Report>>) -> Value {
    answer(reports.and_then(|reports| remote::all_ok(&reports).map(|()| reports)))
}
