//! Calls every function that the host offers, with arguments that make sense, and returns what each answered.
//!
//! The keys are the functions' names in the WIT package: a test looks for all of them.

use elita_plugin::log::Level;
use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: {
        "exercise": [action("Everything", everything).description("Calls every function of the host")],
    },
}

fn everything(_: &ActionCall) -> Result<Value> {
    let job = jobs::current();
    Ok(json!({
        "jobs.current": job,
        "jobs.append": answer(jobs::append(&json!({ "status": "exercising" }))),
        "jobs.progress": answer(jobs::progress(50, "half of it")),
        "jobs.cancel-requested": jobs::cancel_requested(),
        "jobs.get": answer(jobs::get(&job)),
        "jobs.entries": answer(jobs::entries(&job, 0, 100)),
        "log.write": log::write(Level::Info, "exercising"),
    }))
}

/// The answer, or `{"error": {"code", "message"}}`.
fn answer<T: Serialize>(answer: Result<T>) -> Value {
    match answer {
        Ok(answer) => json!(answer),
        Err(error) => {
            let code = error.code().map(elita_plugin::Code::as_str);
            json!({ "error": { "code": code, "message": error.to_string() } })
        }
    }
}
