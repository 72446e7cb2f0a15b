use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;
use crate::HookCall;

fn read<T: DeserializeOwned>(parameters: Value) -> T {
    HookCall::new("shop", "HOOK", parameters).parameters().unwrap()
}

#[test]
fn an_uploaded_build_is_read() {
    let build: BuildUploadSuccess = read(json!({
        "build_name": "123-master",
        "storage_dir": "/build",
        "filename": "shop.zip",
        "file_type": "zip",
        "packages": {
            "master": { "filename": "shop.zip", "file_type": "zip", "size_bytes": 5, "sha256": "ab" },
        },
        "something_new": true,
    }));
    assert_eq!(build.filename, "shop.zip");
    assert_eq!(build.packages["master"].size_bytes, 5);
}

#[test]
fn a_commits_changes_are_read() {
    let diff: GitdeployCommitDiff = read(json!({
        "files": ["index.html", "logo.png"],
        "changes": [
            { "path": "index.html", "status": "modified", "insertions": 2, "deletions": 1 },
            { "path": "logo.png", "status": "added", "insertions": null, "deletions": null },
        ],
        "gitdeploy": {
            "name": "web",
            "package": "webapp",
            "location": { "path": "/opt/web", "gitrepo": "web", "default_branch": "main" },
            "options": { "favor": "ours" },
        },
        "commit": "5c1d0a",
    }));
    assert_eq!(diff.changes[0].insertions, Some(2));
    assert_eq!(diff.changes[1].deletions, None);
    assert_eq!(diff.gitdeploy.location.gitrepo, "web");
}

#[test]
fn a_group_deployments_batches_are_read() {
    let batch = json!({ "servers": ["server01"], "gitdeploys": ["web"], "ordered_gitdeploy": false });
    let begin: AutoDeploymentBatch = read(json!({
        "deployment_id": "17",
        "build": "123-master",
        "batch_number": 0,
        "batch_count": 1,
        "batch": batch,
        "batches": [batch],
    }));
    assert_eq!(begin.batches, [begin.batch]);

    let failed: AutoDeploymentFailed = read(json!({
        "deployment_id": "17",
        "build": "123-master",
        "target": { "groups": ["web"], "environments": ["production"] },
        "batches": [batch],
        "deployment": { "status": "error" },
        "error": { "code": "deployment-failed", "message": "server01 does not answer" },
    }));
    assert_eq!(failed.target.environments, ["production"]);
    assert_eq!(failed.deployment["status"], "error");
}
