//! What well-behaved actions do.

use std::time::Duration;

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

pub(crate) fn ask(_: &ActionCall) -> Result<bool> {
    Ok(jobs::cancel_requested())
}

/// Goes on until it is stopped. When it is run again it ends at once.
pub(crate) fn ticks(call: &ActionCall) -> Result<Value> {
    for tick in 1.. {
        jobs::append(&json!({ "attempt": call.attempt, "tick": tick }))?;
        if call.attempt > 1 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(json!({ "attempt": call.attempt }))
}

pub(crate) fn until_cancelled(_: &ActionCall) -> Result<()> {
    jobs::append("waiting")?;
    while !jobs::cancel_requested() {
        std::thread::sleep(Duration::from_millis(20));
    }
    Err(Error::new("stopped between two widgets"))
}

/// Its optional parameters.
pub(crate) fn given(call: &ActionCall) -> Result<Vec<Value>> {
    let found = [
        call.parameter::<Option<String>>("text")?.map(Into::into),
        call.parameter::<Option<bool>>("truth")?.map(Into::into),
        call.parameter::<Option<u32>>("number")?.map(Into::into),
        call.parameter::<Option<Value>>("value")?,
    ];
    Ok(found.into_iter().map(|value| value.unwrap_or_else(|| "missing".into())).collect())
}
