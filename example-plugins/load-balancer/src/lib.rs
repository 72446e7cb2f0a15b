//! Hooks that take the servers of a batch out of a load balancer before it, and put them back after it.
//!
//! The load balancer's URL is an attribute of the application, `{"load_balancer": {"url": "https://lb.example.org/pool"}}`,
//! and the operator grants its server to the plugin. It is asked for `POST {url}/{server}/drain` and `…/fill`.

use std::time::Duration;

use elita_plugin::prelude::*;

#[cfg(test)]
mod tests;

/// How long the load balancer may take for one server.
const PATIENCE: Duration = Duration::from_secs(10);

elita_plugin::plugin! {
    hooks: {
        "shop": {
            "AUTO_DEPLOYMENT_BATCH_BEGIN": drain,
            "AUTO_DEPLOYMENT_BATCH_DONE": fill,
            "AUTO_DEPLOYMENT_FAILED": fill_what_is_well,
        },
    },
}

/// If this fails, the batch does not begin.
fn drain(call: &HookCall) -> Result<Value> {
    let told: hooks::AutoDeploymentBatch = call.parameters()?;
    ask(call, "drain", &told.batch.servers)
}

fn fill(call: &HookCall) -> Result<Value> {
    let told: hooks::AutoDeploymentBatch = call.parameters()?;
    ask(call, "fill", &told.batch.servers)
}

/// Servers on which something failed stay out, until somebody has looked at them.
fn fill_what_is_well(call: &HookCall) -> Result<Value> {
    let told: hooks::AutoDeploymentFailed = call.parameters()?;
    ask(call, "fill", &well(&told.deployment))
}

/// The servers that a deployment has drained, and on which nothing failed or was left half done.
fn well(deployment: &Value) -> Vec<String> {
    let mut well = Vec::new();
    for batch in deployment["progress"]["phase2"]["batches"].as_array().into_iter().flatten() {
        for (server, gitdeploys) in batch.as_object().into_iter().flatten() {
            let mut states = gitdeploys.as_object().into_iter().flatten().map(|(_, on)| on["state"].as_str());
            let is_well = states.all(|state| matches!(state, Some("succeeded" | "skipped" | "pending")));
            if is_well && !well.contains(server) {
                well.push(server.clone());
            }
        }
    }
    well
}

/// Asks for the same with each server. An application without a load balancer has nothing to do.
fn ask(call: &HookCall, what: &str, servers: &[String]) -> Result<Value> {
    let application = applications::get(&call.application)?;
    let Some(url) = application.attributes["load_balancer"]["url"].as_str() else {
        return Ok(json!({ "asked": 0 }));
    };
    for server in servers {
        http::post(&format!("{url}/{server}/{what}")).timeout(PATIENCE).json(&json!({}))?.send()?.ok()?;
    }
    Ok(json!({ "asked": servers.len() }))
}
