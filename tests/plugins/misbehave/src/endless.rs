//! Never coming back.

use std::time::Duration;

use elita_plugin::prelude::*;

/// Never leaves the guest.
pub(crate) fn compute(_: &ActionCall) -> Result<()> {
    loop {
        std::hint::spin_loop();
    }
}

/// Never leaves one call of the host.
pub(crate) fn sleep(_: &ActionCall) -> Result<()> {
    std::thread::sleep(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    Ok(())
}

/// Goes back and forth between guest and host.
pub(crate) fn ask(_: &ActionCall) -> Result<()> {
    loop {
        std::hint::black_box(jobs::cancel_requested());
    }
}
