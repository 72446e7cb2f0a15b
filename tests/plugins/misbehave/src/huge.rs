//! Too much at once.

use elita_plugin::log::{self, Level};
use elita_plugin::prelude::*;

const MIB: usize = 1 << 20;

/// Returns what the host said to an entry of 1 MiB.
pub(crate) fn entry(_: &ActionCall) -> Result<String> {
    match jobs::append(&"x".repeat(MIB)) {
        Ok(seq) => Ok(format!("recorded as {seq}")),
        Err(error) => Ok(error.to_string()),
    }
}

/// Hands the host a line of 64 MiB.
pub(crate) fn string(_: &ActionCall) -> Result<()> {
    log::write(Level::Info, &"x".repeat(64 * MIB));
    Ok(())
}

/// Returns 8 MiB.
pub(crate) fn result(_: &ActionCall) -> Result<String> {
    Ok("x".repeat(8 * MIB))
}
