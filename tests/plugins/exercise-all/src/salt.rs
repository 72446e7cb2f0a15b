//! `salt`, on the server that a test has made for it.

use elita_plugin::prelude::*;
use elita_plugin::salt::Function;

use crate::{Answers, answer};

const SERVERS: [&str; 1] = ["exercise-minion"];

pub(crate) fn all() -> Answers {
    vec![
        ("salt.salt-command", answer(salt::salt_command(&SERVERS, &Function::new("test.ping")))),
        ("salt.run-sls", answer(salt::run_sls(&SERVERS, "web.nginx", None))),
        ("salt.highstate", answer(salt::highstate(&SERVERS, None))),
    ]
}
