//! Registers an action that `misbehave` has, too.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: {
        "hostile": [action("Echo", |_| Ok("register-two")), action("Unique", |_| Ok("register-two"))],
    },
}
