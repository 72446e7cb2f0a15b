//! An example of a body for each operation that takes one. What they refer to is called `my_application`, as in the
//! examples of names.

use serde_json::{Value, json};

/// The type of a JSON Patch.
const JSON_PATCH: &str = "application/json-patch+json";

/// Puts an example into each body that is JSON or a form.
pub(super) fn show(operation: &mut Value) {
    let Some(id) = operation["operationId"].as_str().map(str::to_owned) else { return };
    let Some(Value::Object(content)) = operation.pointer_mut("/requestBody/content") else { return };
    for (media_type, content) in content {
        let example = if media_type == JSON_PATCH { Some(json_patch()) } else { of(&id) };
        let is_file = media_type == "application/octet-stream" || media_type == "multipart/form-data";
        if let (Value::Object(content), Some(example), false) = (content, example, is_file) {
            content.entry("example").or_insert(example);
        }
    }
}

fn json_patch() -> Value {
    json!([{ "op": "add", "path": "/attributes/team", "value": "web" }])
}

/// The body of an operation, as JSON or as what a form says.
fn of(id: &str) -> Option<Value> {
    Some(match id {
        "actions.run" => json!({ "testing": "true", "count": 3 }),
        "applications.create" | "applications.put" => {
            json!({ "app_name": "shop", "attributes": { "team": "web" }, "retention": { "keep_last": 20 } })
        }
        "applications.update" => json!({ "attributes": { "team": "web" }, "retention": { "keep_last": 20 } }),
        "builds.create" | "builds.put" => json!({ "build_name": "1.42", "attributes": { "commit": "4f2a91c" } }),
        "builds.update" => json!({ "attributes": { "tested": true } }),
        "builds.upload" => {
            json!({ "indirect_url": "https://ci.example.com/shop-1.42.tar.gz", "file_type": "tar.gz", "create": true })
        }
        "deployments.create" => json!({ "build_name": "1.42", "environments": ["production"], "groups": ["web"] }),
        "git-providers.create" => json!({
            "name": "gitlab", "type": "gitlab",
            "auth": { "token": "glpat-a-token-of-gitlab" },
        }),
        "git-providers.put" => json!({ "auth": { "token": "glpat-a-token-of-gitlab" } }),
        "git-providers.update" => json!({ "attributes": { "owner": "web" } }),
        "git-repos.create" | "git-repos.put" => {
            json!({ "name": "site", "existing": true, "uri": "https://git.example.com/shop/site.git" })
        }
        "git-repos.update" => json!({ "uri": "https://git.example.com/shop/site.git" }),
        "gitdeploys.create" | "gitdeploys.put" => json!({
            "name": "site", "package": "master",
            "location": { "path": "/srv/shop", "gitrepo": "my_application", "default_branch": "production" },
            "actions": { "postpull": [["systemctl", "reload", "nginx"]] },
        }),
        "deployments.run" => json!({ "resume": true }),
        "gitdeploys.run" => json!({ "commit": true, "build_name": "1.42" }),
        "gitdeploys.update" => json!({ "actions": { "postpull": [["systemctl", "reload", "nginx"]] } }),
        "groups.create" | "groups.put" => json!({
            "name": "web", "gitdeploys": ["my_application"], "rolling_deploy": true,
            "description": "What customers see",
        }),
        "groups.update" => json!({ "description": "What customers see", "rolling_deploy": true }),
        "keypairs.create" | "keypairs.put" => json!({ "name": "deploy", "generate": true, "key_type": "ssh-ed25519" }),
        "keypairs.update" => json!({ "attributes": { "owner": "web" } }),
        "package-maps.create" | "package-maps.put" => json!({
            "name": "site", "packages": { "web": { "patterns": ["web/**"], "remove_prefix": "web/" } },
        }),
        "package-maps.update" => json!({ "packages": { "web": { "patterns": ["web/**"], "remove_prefix": "web/" } } }),
        "servers.command" => json!({ "command": ["systemctl", "status", "nginx"], "timeout": 60 }),
        "servers.command-several" => json!({ "servers": ["my_application"], "script": "df -h /srv", "timeout": 60 }),
        "servers.create" | "servers.put" => json!({
            "name": "web-1.example.com", "environment": "production", "driver": "ssh",
            "connection": { "user": "deploy", "port": 22 },
        }),
        "servers.update" => json!({ "environment": "production" }),
        "tokens.create" => {
            json!({ "name": "ci", "expires_in": "12h", "scope": { "apps": { "my_application": "read" } } })
        }
        "users.create" | "users.put" => json!({
            "username": "ada", "password": "correct horse battery staple",
            "permissions": { "apps": { "my_application": "read/write" }, "actions": { "my_application": { "*": "execute" } } },
        }),
        "users.update" => json!({ "permissions": { "apps": { "my_application": "read" } } }),
        _ => return None,
    })
}
