//! Two hooks that leave a note in the log of the job that reached them.

use elita_plugin::prelude::*;

#[cfg(test)]
mod tests;

elita_plugin::plugin! {
    hooks: {
        "my_application": {
            "BUILD_UPLOAD_SUCCESS": note_uploaded_build,
            "GITDEPLOY_COMMIT_DIFF": note_deployment_diff,
        },
    },
}

/// A build was uploaded: which one, and what is in it.
fn note_uploaded_build(call: &HookCall) -> Result<()> {
    let build: hooks::BuildUploadSuccess = call.parameters()?;
    jobs::append(&build_note(&build))?;
    Ok(())
}

/// A package was committed for a deployment: how much that changes.
fn note_deployment_diff(call: &HookCall) -> Result<()> {
    let diff: hooks::GitdeployCommitDiff = call.parameters()?;
    jobs::append(&diff_note(&diff))?;
    Ok(())
}

fn build_note(build: &hooks::BuildUploadSuccess) -> Value {
    let packages: Vec<&String> = build.packages.keys().collect();
    json!({
        "status": "noted the build",
        "build": build.build_name,
        "file": build.filename,
        "packages": packages,
    })
}

fn diff_note(diff: &hooks::GitdeployCommitDiff) -> Value {
    json!({
        "status": "noted the changes",
        "gitdeploy": diff.gitdeploy.name,
        "commit": diff.commit,
        "files": diff.files.len(),
        "insertions": diff.changes.iter().filter_map(|change| change.insertions).sum::<u64>(),
        "deletions": diff.changes.iter().filter_map(|change| change.deletions).sum::<u64>(),
    })
}
