//! Falls asleep, in a call of the host, while it registers.

use std::time::Duration;

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: { "hostile": [action(name_after_a_nap(), |_| Ok(()))] },
}

fn name_after_a_nap() -> &'static str {
    std::thread::sleep(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    "Late"
}
