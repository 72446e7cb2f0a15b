//! Traps while it registers.

use elita_plugin::Action;

elita_plugin::plugin! {
    actions: { "hostile": [trap()] },
}

fn trap() -> Action {
    std::process::abort()
}
