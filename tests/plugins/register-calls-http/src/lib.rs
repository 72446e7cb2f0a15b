//! Sends a request while it registers, which is not allowed: there is no job yet.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: { "hostile": [action(name_after_a_request(), |_| Ok(()))] },
}

fn name_after_a_request() -> &'static str {
    match http::get("http://127.0.0.1:1").send() {
        Ok(_) => "Answered",
        Err(_) => "NotAnswered",
    }
}
