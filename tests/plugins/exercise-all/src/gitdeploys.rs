//! `gitdeploys`. Their git repository is that of `git_repos`; a test makes the gitdeploy `kept` and a server for it.

use elita_plugin::gitdeploys::{self, Favor, NewGitdeploy};
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let new = NewGitdeploy::new("web", "/srv/exercise", "exercised")
        .default_branch("main")
        .favor(Favor::Ours)
        .ignore_whitespace()
        .gitignore(["*.log", "!keep.log"])
        .prepull(["systemctl", "stop", "exercise"])
        .postpull(["systemctl", "start", "exercise"]);
    let create = gitdeploys::create(APPLICATION, "exercised", &new, &json!({ "by": "plugin", "n": 1 }));
    let change = json!({
        "location": { "path": "C:\\exercise" },
        "options": { "ignore-whitespace": false },
        "actions": { "prepull": [] },
        "attributes": { "n": null },
    });
    let update = gitdeploys::update(APPLICATION, "exercised", &change);
    let _ = gitdeploys::create(APPLICATION, "gone", &new, &json!({}));
    vec![
        ("gitdeploys.create", answer(create)),
        ("gitdeploys.update", answer(update)),
        ("gitdeploys.delete", answer(gitdeploys::delete(APPLICATION, "gone"))),
        ("gitdeploys.get", answer(gitdeploys::get(APPLICATION, "exercised"))),
        ("gitdeploys.list", listed(gitdeploys::list(APPLICATION))),
        ("gitdeploys.initialize", answer(gitdeploys::initialize(APPLICATION, "kept", &["exercise-here"]))),
        ("gitdeploys.deinitialize", answer(gitdeploys::deinitialize(APPLICATION, "kept", &["exercise-here"]))),
    ]
}
