//! `git-providers`. A test makes the one that is looked at.

use elita_plugin::git_providers;

use crate::{Answers, answer, listed};

pub(crate) fn all() -> Answers {
    vec![
        ("git-providers.get", answer(git_providers::get("exercise-hub"))),
        ("git-providers.list", listed(git_providers::list())),
    ]
}
