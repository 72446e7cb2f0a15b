//! Texts that are not the JSON they should be, or not what JSON is for: what the SDK does not let a plugin do.

use elita_plugin::bindings::elita::plugin::jobs;
use elita_plugin::bindings::exports::elita::plugin::handler::{self, ActionCall, Failure, HookCall};
use elita_plugin::bindings::exports::elita::plugin::registration::{
    self, Action, ApplicationActions, ApplicationHooks,
};
use elita_plugin::prelude::json;

const NOT_JSON: &str = "{ this is not JSON";
/// Valid by the grammar alone: a NUL, half a character, a number that is larger than all numbers.
const ODD: [&str; 3] = [r#""\u0000""#, r#""\ud800""#, "1e999"];

struct Raw;

impl registration::Guest for Raw {
    fn register_actions() -> Vec<ApplicationActions> {
        let names = [
            "InvalidResult",
            "InvalidDetails",
            "InvalidEntry",
            "DeepResult",
            "DeepDetails",
            "DeepEntry",
            "OddEntries",
            "NulMessage",
        ];
        let actions = names.map(action).into();
        vec![ApplicationActions { application: "hostile".into(), actions }]
    }

    fn register_hooks() -> Vec<ApplicationHooks> {
        Vec::new()
    }
}

fn action(name: &str) -> Action {
    Action {
        name: name.into(),
        description: String::new(),
        parameters: Vec::new(),
        idempotent: false,
        // More than any host allows.
        timeout_seconds: Some(u32::MAX),
    }
}

impl handler::Guest for Raw {
    fn run_action(call: ActionCall) -> Result<String, Failure> {
        match call.action.as_str() {
            "InvalidResult" => Ok(NOT_JSON.into()),
            "InvalidDetails" => fail("jammed", Some(NOT_JSON.into())),
            "InvalidEntry" => Ok(what_the_host_says_to(NOT_JSON)),

            "DeepResult" => Ok(nested(500_000)),
            "DeepDetails" => fail("jammed", Some(nested(500_000))),
            "DeepEntry" => Ok(what_the_host_says_to(&nested(30_000))),

            "OddEntries" => Ok(format!("[{}]", ODD.map(what_the_host_says_to).join(","))),
            "NulMessage" => fail("before\0after", None),
            other => fail(&format!("no action `{other}`"), None),
        }
    }

    fn run_hook(call: HookCall) -> Result<String, Failure> {
        fail(&format!("no hook `{}`", call.hook), None)
    }
}

fn fail(message: &str, details: Option<String>) -> Result<String, Failure> {
    Err(Failure { message: message.into(), details, trace: None })
}

/// The answer to an entry, as JSON.
fn what_the_host_says_to(entry: &str) -> String {
    json!(format!("{:?}", jobs::append(entry))).to_string()
}

/// So many arrays, one in the other.
fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

elita_plugin::bindings::export!(Raw with_types_in elita_plugin::bindings);
