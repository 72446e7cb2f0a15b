use super::*;

#[test]
fn a_message_has_a_line_for_each_file() {
    let change = |path: &str, status: &str, insertions: Value| json!({ "path": path, "status": status, "insertions": insertions, "deletions": insertions });
    let call = HookCall::new(
        "shop",
        "GITDEPLOY_COMMIT_DIFF",
        json!({
            "files": ["index.html", "logo.png"],
            "changes": [change("index.html", "modified", json!(2)), change("logo.png", "added", Value::Null)],
            "gitdeploy": { "name": "web" },
            "commit": "5c1d0a",
        }),
    );
    let message = message("shop", &call.parameters().expect("they fit"));
    assert_eq!(message["text"], "modified index.html +2 -2\nadded logo.png (binary)");
    assert_eq!((&message["gitdeploy"], &message["commit"]), (&json!("web"), &json!("5c1d0a")));
}
