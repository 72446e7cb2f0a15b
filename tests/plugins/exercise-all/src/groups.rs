//! `groups`, of the gitdeploy that was made before.

use elita_plugin::groups::{self, NewGroup};
use elita_plugin::prelude::*;

use crate::{APPLICATION, Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let new = NewGroup::unordered(["exercised"]).description("of a plugin");
    let create = answer(groups::create(APPLICATION, "exercised", &new, &json!({ "by": "plugin" })));
    let change = json!({ "gitdeploys": [["exercised"]], "rolling_deploy": true });
    let update = groups::update(APPLICATION, "exercised", &change);
    let _ = groups::create(APPLICATION, "gone", &NewGroup::ordered([["exercised"]]), &json!({}));
    vec![
        ("groups.create", create),
        ("groups.update", answer(update)),
        ("groups.delete", answer(groups::delete(APPLICATION, "gone"))),
        ("groups.get", answer(groups::get_in(APPLICATION, "exercised", &["staging", "testing"]))),
        ("groups.list", listed(groups::list(APPLICATION))),
    ]
}
