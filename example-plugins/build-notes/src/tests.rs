use super::*;

#[test]
fn a_build_is_noted_with_its_packages() {
    let package = json!({ "filename": "shop.zip", "file_type": "zip", "size_bytes": 5, "sha256": "ab" });
    let call = HookCall::new(
        "my_application",
        "BUILD_UPLOAD_SUCCESS",
        json!({
            "build_name": "123-master",
            "storage_dir": "/build",
            "filename": "shop.zip",
            "file_type": "zip",
            "packages": { "master": package, "static": package },
        }),
    );
    assert_eq!(
        build_note(&call.parameters().expect("they fit")),
        json!({
            "status": "noted the build",
            "build": "123-master",
            "file": "shop.zip",
            "packages": ["master", "static"],
        })
    );
}

#[test]
fn a_diff_is_noted_with_its_sums() {
    let call = HookCall::new(
        "my_application",
        "GITDEPLOY_COMMIT_DIFF",
        json!({
            "files": ["index.html", "logo.png"],
            "changes": [
                { "path": "index.html", "status": "modified", "insertions": 2, "deletions": 1 },
                { "path": "logo.png", "status": "added", "insertions": null, "deletions": null },
            ],
            "gitdeploy": { "name": "web" },
            "commit": "5c1d0a",
        }),
    );
    assert_eq!(
        diff_note(&call.parameters().expect("they fit")),
        json!({
            "status": "noted the changes",
            "gitdeploy": "web",
            "commit": "5c1d0a",
            "files": 2,
            "insertions": 2,
            "deletions": 1,
        })
    );
}
