//! `applications`.

use elita_plugin::applications;
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let create = answer(applications::create("exercise-made", &json!({ "by": "plugin" })));
    let update = applications::update("exercise-made", &json!({ "attributes": { "by": null, "more": true } }));
    let _ = applications::create("exercise-gone", &json!({}));
    vec![
        ("applications.create", create),
        ("applications.update", answer(update)),
        ("applications.delete", answer(applications::delete("exercise-gone"))),
        ("applications.get", answer(applications::get("exercise-made"))),
        ("applications.list", listed(applications::list())),
        ("applications.census", answer(applications::census(APPLICATION))),
    ]
}
