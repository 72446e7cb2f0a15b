//! `servers`. Those that it makes are the ones that a test grants it.

use elita_plugin::prelude::*;
use elita_plugin::servers::{self, Driver, NewServer};

use crate::{Answers, answer, listed};

pub(crate) fn all() -> Answers {
    let new = NewServer::new("testing", Driver::Ssh);
    let create = answer(servers::create("exercise-exercised", &new, &json!({ "by": "plugin" })));
    let change = json!({ "environment": "staging", "attributes": { "more": true } });
    let update = servers::update("exercise-exercised", &change);
    let _ = servers::create("exercise-gone", &NewServer::new("testing", Driver::Salt), &json!({}));
    vec![
        ("servers.create", create),
        ("servers.update", answer(update)),
        ("servers.delete", answer(servers::delete("exercise-gone"))),
        ("servers.get", answer(servers::get("exercise-exercised"))),
        ("servers.list", listed(servers::list())),
        ("servers.environments", answer(servers::environments())),
    ]
}
