//! Greets people.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    actions: {
        "my_application": [
            action("MyAction", greet)
                .description("Greets someone")
                .parameter("name", "string", "whom to greet")
                .optional_parameter("times", "integer", "how often"),
        ],
    },
}

/// Greets someone, as often as is asked. What it returns is the job's result.
fn greet(call: &ActionCall) -> Result<String> {
    let name: String = call.parameter("name")?;
    let times: u32 = call.parameter::<Option<u32>>("times")?.unwrap_or(1);
    jobs::append(&json!({ "status": "greeting", "whom": name }))?;
    Ok(vec![format!("hello, {name}"); times as usize].join(", "))
}
