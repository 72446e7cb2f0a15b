//! `actions`.

use elita_plugin::actions;
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    vec![
        ("actions.get", answer(actions::get(APPLICATION, "Nothing"))),
        ("actions.list", listed(actions::list(APPLICATION))),
        ("actions.run", answer(actions::run(APPLICATION, "Nothing", &[("a", "1"), ("b", "2")]))),
    ]
}

/// Starts the action that asks for this.
pub(crate) fn again() -> Result<String> {
    actions::run(APPLICATION, "Again", &[])
}
