//! Registers 10,001 actions.

use elita_plugin::bindings::exports::elita::plugin::handler::{self, ActionCall, Failure, HookCall};
use elita_plugin::bindings::exports::elita::plugin::registration::{
    self, Action, ApplicationActions, ApplicationHooks,
};

struct Many;

impl registration::Guest for Many {
    fn register_actions() -> Vec<ApplicationActions> {
        let actions = (1..=10_001).map(action).collect();
        vec![ApplicationActions { application: "hostile".into(), actions }]
    }

    fn register_hooks() -> Vec<ApplicationHooks> {
        Vec::new()
    }
}

fn action(number: u32) -> Action {
    Action {
        name: format!("Action{number}"),
        description: String::new(),
        parameters: Vec::new(),
        idempotent: false,
        timeout_seconds: None,
    }
}

impl handler::Guest for Many {
    fn run_action(_: ActionCall) -> Result<String, Failure> {
        Ok("null".into())
    }

    fn run_hook(_: HookCall) -> Result<String, Failure> {
        Ok("null".into())
    }
}

elita_plugin::bindings::export!(Many with_types_in elita_plugin::bindings);
