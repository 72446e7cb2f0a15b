//! Actions whose runs can be counted, for `elita-chaos`. Each step leaves an entry, which the host may refuse, and a
//! mark in the server's log, which stays whatever becomes of the job: so that it shows what has really run.

use std::time::Duration;

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: {
        "chaos": [
            action("Once", work)
                .description("Works in steps, and is never run again")
                .parameter("steps", "integer", "how many")
                .parameter("pause_ms", "integer", "how long each takes, in milliseconds"),
            action("Again", work)
                .description("Works in steps, and may be run again")
                .parameter("steps", "integer", "how many")
                .parameter("pause_ms", "integer", "how long each takes, in milliseconds")
                .idempotent(),
        ],
    },
}

fn work(call: &ActionCall) -> Result<Value> {
    let steps: u32 = call.parameter("steps")?;
    let pause = Duration::from_millis(call.parameter("pause_ms")?);
    mark(call, 0);
    for step in 1..=steps {
        std::thread::sleep(pause);
        if jobs::cancel_requested() {
            return Err(Error::new("it was asked to stop"));
        }
        jobs::append(&json!({ "run": call.attempt, "step": step }))?;
        mark(call, step);
    }
    Ok(json!({ "run": call.attempt, "steps": steps }))
}

fn mark(call: &ActionCall, step: u32) {
    log::info!("chaos-mark {} {} {step}", call.job, call.attempt);
}
