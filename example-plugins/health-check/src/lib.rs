//! A hook that asks the servers of a batch whether they are well, and stops the deployment where one is not: the batches that
//! come after it do not begin.
//!
//! The URL is an attribute of the application, with the server's name in it:
//! `{"health_check": {"url": "https://{server}.example.org/health"}}`. The operator grants these servers to the plugin.

use std::thread;
use std::time::Duration;

use elita_plugin::prelude::*;

#[cfg(test)]
mod tests;

/// How often a server is asked, until it is well.
const TRIES: u32 = 5;
/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

elita_plugin::plugin! {
    hooks: {
        "shop": { "AUTO_DEPLOYMENT_BATCH_DONE": check },
    },
}

/// A hook after a batch undoes nothing by failing, so that this asks for the deployment to stop.
fn check(call: &HookCall) -> Result<Value> {
    let told: hooks::AutoDeploymentBatch = call.parameters()?;
    let application = applications::get(&call.application)?;
    let Some(url) = application.attributes["health_check"]["url"].as_str() else {
        return Ok(json!({ "checked": 0 }));
    };
    for server in &told.batch.servers {
        if let Err(why) = is_well(&url_of(url, server)) {
            jobs::append(&json!({ "status": "not well", "server": server, "message": why.to_string() }))?;
            // The last batch has nothing after it that could be stopped.
            if told.batch_number + 1 < told.batch_count {
                deployments::cancel(&call.application, &told.deployment_id)?;
            }
            return Err(Error::new(format!("server {server} is not well: {why}")));
        }
    }
    Ok(json!({ "checked": told.batch.servers.len() }))
}

fn url_of(template: &str, server: &str) -> String {
    template.replace("{server}", server)
}

fn is_well(url: &str) -> Result<()> {
    let ask = || http::get(url).timeout(PATIENCE).send()?.ok().map(drop);
    for _ in 1..TRIES {
        if ask().is_ok() {
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    ask()
}
