//! Never comes back from registering.

use elita_plugin::Action;

elita_plugin::plugin! {
    actions: { "hostile": [never()] },
}

fn never() -> Action {
    loop {
        std::hint::spin_loop();
    }
}
