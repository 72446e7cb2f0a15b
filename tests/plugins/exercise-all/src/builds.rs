//! `builds`.

use elita_plugin::builds;
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let create = answer(builds::create(APPLICATION, "exercised", &json!({ "by": "plugin", "n": 1 })));
    let update = builds::update(APPLICATION, "exercised", &json!({ "attributes": { "n": null, "more": [1, 2] } }));
    let _ = builds::create(APPLICATION, "gone", &json!({}));
    vec![
        ("builds.create", create),
        ("builds.update", answer(update)),
        ("builds.delete", answer(builds::delete(APPLICATION, "gone"))),
        ("builds.get", answer(builds::get(APPLICATION, "exercised"))),
        ("builds.files", listed(builds::files_matching(APPLICATION, "exercised", "**/*.html"))),
        ("builds.list", listed(builds::list(APPLICATION))),
    ]
}
