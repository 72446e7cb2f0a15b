//! Calls the host while it registers, which is not allowed: there is no job yet.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: { "hostile": [action(name_after_a_call(), |_| Ok(()))] },
}

fn name_after_a_call() -> &'static str {
    match jobs::append("registering") {
        Ok(_) => "Recorded",
        Err(_) => "NotRecorded",
    }
}
