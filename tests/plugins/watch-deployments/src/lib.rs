//! Takes part in all hooks of gitdeploys and deployments, by their typed parameters: says in the job's log what it was told,
//! and fails where the build's name asks for it, such as `fail-AUTO_DEPLOYMENT_START`, or the gitdeploy's attribute `fail`.

use elita_plugin::prelude::*;

elita_plugin::plugin! {
    hooks: {
        "shop": {
            "GITDEPLOY_INIT_PRE": servers,
            "GITDEPLOY_INIT_POST": servers,
            "GITDEPLOY_DEINIT_PRE": servers,
            "GITDEPLOY_DEINIT_POST": servers,
            "GITDEPLOY_COMMIT_DIFF": commit,
            "AUTO_DEPLOYMENT_START": start,
            "AUTO_DEPLOYMENT_BATCH_BEGIN": batch,
            "AUTO_DEPLOYMENT_BATCH_DONE": batch,
            "AUTO_DEPLOYMENT_COMPLETE": complete,
            "AUTO_DEPLOYMENT_FAILED": failed,
        },
    },
}

fn servers(call: &HookCall) -> Result<()> {
    let told: hooks::GitdeployServers = call.parameters()?;
    let gitdeploy = &told.gitdeploy;
    record(call, json!({ "servers": told.server_list, "gitdeploy": gitdeploy.name, "path": gitdeploy.location.path }))?;
    match gitdeploy.attributes.get("fail") {
        Some(hook) if *hook == call.hook => Err(Error::new("this gitdeploy is not to go on")),
        _ => Ok(()),
    }
}

fn commit(call: &HookCall) -> Result<()> {
    let told: hooks::GitdeployCommitDiff = call.parameters()?;
    let changes: Vec<_> = told.changes.iter().map(|change| format!("{} {}", change.status, change.path)).collect();
    record(call, json!({ "gitdeploy": told.gitdeploy.name, "package": told.gitdeploy.package, "changes": changes }))?;
    let lines: Vec<_> =
        told.changes.iter().map(|change| (change.binary, change.insertions, change.deletions)).collect();
    let on: Vec<_> = told.gitdeploy.servers.iter().map(|server| (&server.server, &server.deployed_build)).collect();
    let of = (&told.commit, &told.gitrepo, &told.build_name);
    jobs::append(&json!({ "files": told.files, "more": told.more, "lines": lines, "of": of, "on": on })).map(drop)
}

fn start(call: &HookCall) -> Result<()> {
    let told: hooks::AutoDeploymentStart = call.parameters()?;
    let hooks::Target { groups, environments, .. } = &told.target;
    record(call, json!({ "groups": groups, "environments": environments, "batches": told.batches.len() }))?;
    fail(call, &told.build, "")
}

fn batch(call: &HookCall) -> Result<()> {
    let told: hooks::AutoDeploymentBatch = call.parameters()?;
    let hooks::Batch { servers, gitdeploys, ordered_gitdeploy, .. } = &told.batch;
    record(
        call,
        json!({
            "batch": format!("{} of {}", told.batch_number, told.batch_count),
            "servers": servers, "gitdeploys": gitdeploys, "ordered": ordered_gitdeploy,
        }),
    )?;
    let targets = told.batches.iter().flat_map(|batch| &batch.targets);
    let targets: Vec<_> = targets.map(|target| (&target.server, &target.gitdeploy)).collect();
    jobs::append(&json!({ "targets": targets, "build": told.build, "deployment_id": told.deployment_id }))?;
    fail(call, &told.build, &format!("-{}", told.batch_number))
}

fn complete(call: &HookCall) -> Result<()> {
    let told: hooks::AutoDeploymentComplete = call.parameters()?;
    record(call, json!({ "status": told.deployment["status"], "summary": told.deployment["summary"] }))
}

fn failed(call: &HookCall) -> Result<()> {
    let told: hooks::AutoDeploymentFailed = call.parameters()?;
    record(call, json!({ "status": told.deployment["status"], "error": told.error["code"] }))
}

fn record(call: &HookCall, told: Value) -> Result<()> {
    jobs::append(&json!({ "hook": call.hook, "told": told })).map(drop)
}

/// Fails where the build is to fail there.
fn fail(call: &HookCall, build: &str, suffix: &str) -> Result<()> {
    if build == format!("fail-{}{suffix}", call.hook) {
        return Err(Error::new("this build is not to go on"));
    }
    Ok(())
}
