//! What well-behaved actions do.

use elita_plugin::prelude::*;

pub(crate) fn echo(call: &ActionCall) -> Result<Value> {
    Ok(json!({
        "application": call.application,
        "action": call.action,
        "parameters": call.parameters,
        "job": call.job,
        "attempt": call.attempt,
        "user": call.user,
    }))
}

pub(crate) fn noop(_: &ActionCall) -> Result<()> {
    Ok(())
}
