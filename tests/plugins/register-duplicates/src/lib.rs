//! Registers the same action twice.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: {
        "hostile": [action("Twice", |_| Ok("first")), action("Twice", |_| Ok("second"))],
    },
}
