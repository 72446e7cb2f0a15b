//! `git-repos`. A test makes the git provider, and the repository `kept` with something in it.

use elita_plugin::git_repos::{self, NewGitRepo};
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let new = NewGitRepo::existing("git@git.example.com:exercise/site.git").gitprovider("exercise-hub");
    let create = git_repos::create(APPLICATION, "exercised", &new, &json!({ "by": "plugin", "n": 1 }));
    let change = json!({ "uri": "https://git.example.com/exercise/site.git", "attributes": { "n": null } });
    let update = git_repos::update(APPLICATION, "exercised", &change);
    let _ = git_repos::create(APPLICATION, "gone", &new, &json!({}));
    vec![
        ("git-repos.create", answer(create)),
        ("git-repos.update", answer(update)),
        ("git-repos.delete", answer(git_repos::delete(APPLICATION, "gone"))),
        ("git-repos.get", answer(git_repos::get(APPLICATION, "exercised"))),
        ("git-repos.list", listed(git_repos::list(APPLICATION))),
        ("git-repos.log", answer(git_repos::log(APPLICATION, "kept", None, 2))),
        ("git-repos.diff", answer(git_repos::diff(APPLICATION, "kept", None, None))),
    ]
}
