//! A hook that posts what a commit changes, before it is pushed: to a review tool, a chat, or whatever keeps track.
//!
//! The URL is an attribute of the application, `{"commit_diff": {"url": "https://reviews.example.org/commits"}}`, and the
//! operator grants its server to the plugin. An application without it tells nobody.

use std::time::Duration;

use elita_plugin::prelude::*;

#[cfg(test)]
mod tests;

/// The commit's job waits for so long.
const PATIENCE: Duration = Duration::from_secs(10);

elita_plugin::plugin! {
    hooks: {
        "shop": { "GITDEPLOY_COMMIT_DIFF": post },
    },
}

/// If this fails, the job's result says so, and the commit goes on.
fn post(call: &HookCall) -> Result<Value> {
    let diff: hooks::GitdeployCommitDiff = call.parameters()?;
    let application = applications::get(&call.application)?;
    let Some(url) = application.attributes["commit_diff"]["url"].as_str() else {
        return Ok(json!({ "posted": false }));
    };
    http::post(url).timeout(PATIENCE).json(&message(&application.name, &diff))?.send()?.ok()?;
    Ok(json!({ "posted": true, "files": diff.changes.len() }))
}

/// A line a file, as `git diff --stat` has them, and the same for programs.
fn message(application: &str, diff: &hooks::GitdeployCommitDiff) -> Value {
    let lines = diff.changes.iter().map(|change| match (change.insertions, change.deletions) {
        (Some(added), Some(removed)) => format!("{} {} +{added} -{removed}", change.status, change.path),
        _ => format!("{} {} (binary)", change.status, change.path),
    });
    let changes = diff.changes.iter().map(|change| {
        let hooks::FileChange { path, status, insertions, deletions, .. } = change;
        json!({ "path": path, "status": status, "insertions": insertions, "deletions": deletions })
    });
    json!({
        "text": lines.collect::<Vec<_>>().join("\n"),
        "application": application,
        "gitdeploy": diff.gitdeploy.name,
        "commit": diff.commit,
        "changes": changes.collect::<Vec<_>>(),
    })
}
