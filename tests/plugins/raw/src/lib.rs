//! Texts that are not the JSON they should be: what the SDK does not let a plugin do.

use elita_plugin::bindings::elita::plugin::jobs;
use elita_plugin::bindings::exports::elita::plugin::handler::{self, ActionCall, Failure, HookCall};
use elita_plugin::bindings::exports::elita::plugin::registration::{
    self, Action, ApplicationActions, ApplicationHooks,
};
use elita_plugin::prelude::json;

const NOT_JSON: &str = "{ this is not JSON";

struct Raw;

impl registration::Guest for Raw {
    fn register_actions() -> Vec<ApplicationActions> {
        let actions = ["InvalidResult", "InvalidDetails", "InvalidEntry"].map(action).into();
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
        timeout_seconds: None,
    }
}

impl handler::Guest for Raw {
    fn run_action(call: ActionCall) -> Result<String, Failure> {
        match call.action.as_str() {
            "InvalidResult" => Ok(NOT_JSON.into()),
            "InvalidDetails" => Err(Failure { message: "with details".into(), details: Some(NOT_JSON.into()) }),
            // What the host said becomes the result.
            "InvalidEntry" => Ok(json!(format!("{:?}", jobs::append(NOT_JSON))).to_string()),
            other => Err(Failure { message: format!("no action `{other}`"), details: None }),
        }
    }

    fn run_hook(call: HookCall) -> Result<String, Failure> {
        Err(Failure { message: format!("no hook `{}`", call.hook), details: None })
    }
}

elita_plugin::bindings::export!(Raw with_types_in elita_plugin::bindings);
