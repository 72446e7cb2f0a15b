//! A hook that tells a chat, or a CI system, that a build is there: a POST of JSON to a URL.
//!
//! The URL is an attribute of the application, `{"notify": {"url": "https://chat.example.org/hooks/42"}}`, and the
//! operator grants its server to the plugin. An application without it tells nobody.

use std::time::Duration;

use elita_plugin::prelude::*;

#[cfg(test)]
mod tests;

/// A chat that does not answer keeps the upload's job waiting for so long.
const PATIENCE: Duration = Duration::from_secs(10);

elita_plugin::plugin! {
    hooks: {
        "my_application": { "BUILD_UPLOAD_SUCCESS": tell },
    },
}

/// If this fails, the job's result says so, and the build is there all the same.
fn tell(call: &HookCall) -> Result<Value> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    let application = applications::get(&call.application)?;
    let Some(url) = application.attributes["notify"]["url"].as_str() else {
        return Ok(json!({ "told": false }));
    };
    let message = message(&application.name, &build, &call.job);
    let answer = http::post(url).timeout(PATIENCE).json(&message)?.send()?.ok()?;
    Ok(json!({ "told": true, "status": answer.status() }))
}

/// What chats want is `text`; the rest is for programs.
fn message(application: &str, build: &hooks::BuildUploadSuccess, job: &str) -> Value {
    let packages: Vec<_> = build.packages.keys().map(String::as_str).collect();
    json!({
        "text": format!("Build {} of {application} is there: {}", build.build_name, packages.join(", ")),
        "application": application,
        "build": build.build_name,
        "sha256": build.packages.get("master").map(|master| &master.sha256),
        "job": job,
    })
}
