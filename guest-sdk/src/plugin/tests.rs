use serde_json::{Value, json};

use super::*;

fn count(call: &ActionCall) -> Result<u32> {
    call.parameter("count")
}

fn build_name(call: &HookCall) -> Result<Value> {
    Ok(call.parameters::<Value>()?["build_name"].clone())
}

struct Shop;

impl Exports for Shop {
    const CRATE: &'static str = module_path!();

    fn plugin() -> Plugin {
        Plugin::new()
            .action("shop", action("Count", count).description("Counts").parameter("count", "integer", "how many"))
            .action("blog", action("Count", |_| Ok(())).idempotent().timeout_seconds(60))
            .action("shop", action("Nothing", |_| Ok(())))
            .hook("shop", "BUILD_UPLOAD_SUCCESS", build_name)
    }
}

#[test]
fn each_application_is_registered_once_with_its_actions_in_order() {
    let actions = <Shop as registration::Guest>::register_actions();
    let names: Vec<_> = actions
        .iter()
        .map(|of| (of.application.as_str(), of.actions.iter().map(|action| action.name.as_str()).collect::<Vec<_>>()))
        .collect();
    assert_eq!(names, [("shop", vec!["Count", "Nothing"]), ("blog", vec!["Count"])]);

    let counting = &actions[0].actions[0];
    assert_eq!(counting.description, "Counts");
    assert_eq!((&*counting.parameters[0].name, &*counting.parameters[0].type_), ("count", "integer"));
    assert_eq!((counting.idempotent, counting.timeout_seconds), (false, None));
    let idempotent = &actions[1].actions[0];
    assert_eq!((idempotent.idempotent, idempotent.timeout_seconds), (true, Some(60)));

    let hooks = <Shop as registration::Guest>::register_hooks();
    assert_eq!((&*hooks[0].application, &hooks[0].hooks[..]), ("shop", &["BUILD_UPLOAD_SUCCESS".to_owned()][..]));
}

#[test]
fn a_call_runs_the_function_of_its_application() {
    let run = |application, action| Shop::plugin().run_action(&ActionCall::new(application, action, [("count", "3")]));
    assert_eq!(run("shop", "Count").unwrap(), "3");
    assert_eq!(run("blog", "Count").unwrap(), "null");
    assert_eq!(run("blog", "Nothing").unwrap_err().to_string(), "no action `Nothing` for application `blog`");
}

#[test]
fn a_hook_gets_its_parameters() {
    let run = |hook| Shop::plugin().run_hook(&HookCall::new("shop", hook, json!({ "build_name": "123-master" })));
    assert_eq!(run("BUILD_UPLOAD_SUCCESS").unwrap(), r#""123-master""#);
    assert_eq!(run("OTHER").unwrap_err().to_string(), "no hook `OTHER` for application `shop`");
}
