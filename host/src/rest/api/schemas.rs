//! What the document has to say beyond what the derives can: arguments that are written as JSON, the bodies of patches,
//! what members of a body have to do with each other, and the headers that all replies of one kind have.

use serde_json::{Map, Value, json};

use super::generators::RULES;
use crate::rest::http::problem::ProblemCode;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";

/// Headers, and what they say.
const ETAG: (&str, &str) = ("ETag", "The version of the document, for `If-Match`");
const LINK: (&str, &str) = ("Link", "The next page, as `rel=\"next\"`, if there is one");

/// Components by name.
type Schemas = Map<String, Value>;

/// Completes a document that the handlers' own descriptions made.
pub(super) fn complete(document: &mut Value) {
    let mut schemas = match document["components"]["schemas"].take() {
        Value::Object(schemas) => schemas,
        _ => Schemas::new(),
    };
    let documents: Vec<String> = members(document.get_mut("paths"))
        .filter(|(_, item)| item.get("patch").is_some())
        .map(|(path, _)| path.clone())
        .collect();
    for (path, item) in members(document.get_mut("paths")) {
        let is_document = documents.contains(path);
        let has_documents =
            documents.iter().any(|document| document.rsplit_once('/').is_some_and(|(of, _)| of == path));
        for (method, operation) in members(Some(item)) {
            match method.as_str() {
                "get" | "patch" if is_document => describe_header(operation, "200", ETAG),
                "post" | "put" if has_documents => describe_header(operation, "201", ETAG),
                "get" if takes(operation, "after") => describe_header(operation, "200", LINK),
                _ => {}
            }
            for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
                describe_argument(&schemas, parameter);
            }
            // A body that may be left out is not null instead.
            for (_, content) in members(operation.pointer_mut("/requestBody/content")) {
                content["schema"] = not_null(content["schema"].take());
            }
            if method == "patch" {
                describe_patch(&mut schemas, &mut operation["requestBody"]["content"]);
            }
        }
    }
    relate(&mut schemas, "NewServer", of_servers);
    relate(&mut schemas, "NewGitProvider", of_git_providers);
    relate(&mut schemas, "NewKeypair", of_keypairs);
    relate(&mut schemas, "LogIn", of_logins);
    relate(&mut schemas, "NewCommand", of_commands);
    relate(&mut schemas, "NewCommands", of_commands);
    relate(&mut schemas, "GitdeployTask", of_gitdeploy_tasks);
    relate(&mut schemas, "NewDeployment", of_deployments);
    relate(&mut schemas, "DeploymentTaskArgs", of_deployment_tasks);
    relate(&mut schemas, "BuildRetention", of_build_retention);
    schemas["Problem"]["properties"]["code"]["description"] = codes().into();
    document["components"]["schemas"] = schemas.into();
}

/// What the codes of problems mean.
fn codes() -> String {
    let mean = |code: &ProblemCode| format!("- `{}` ({}): {}", code.as_str(), code.status().as_u16(), code.meaning());
    let codes: Vec<_> = ProblemCode::ALL.iter().map(mean).collect();
    format!(
        "What went wrong, for programs: stable, in kebab-case. A server of a newer version may use further codes.\n\n{}",
        codes.join("\n")
    )
}

fn takes(operation: &Value, name: &str) -> bool {
    operation["parameters"].as_array().is_some_and(|all| all.iter().any(|parameter| parameter["name"] == name))
}

fn describe_header(operation: &mut Value, status: &str, (name, description): (&str, &str)) {
    let reply = &mut operation["responses"][status]["headers"][name];
    *reply = json!({ "description": description, "schema": { "type": "string" } });
}

/// An argument is given or not, and never null. In a query string, what is not a string, number or boolean is JSON.
fn describe_argument(schemas: &Schemas, parameter: &mut Value) {
    let Value::Object(parameter) = parameter else { return };
    let schema = not_null(parameter.remove("schema").unwrap_or_default());
    if parameter["in"] != "query" || is_word(schemas, &schema) {
        parameter.insert("schema".into(), schema);
    } else {
        parameter.insert("content".into(), json!({ JSON: { "schema": schema } }));
    }
}

/// The same schema without null.
fn not_null(mut schema: Value) -> Value {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|found| found != "null");
        if let [only] = &types[..] {
            schema["type"] = only.clone();
        }
    }
    match alternatives(&schema).map(|parts| parts.iter().filter(|part| **part != nothing()).collect::<Vec<_>>()) {
        Some(parts) if parts.len() == 1 => parts[0].clone(),
        Some(_) | None => schema,
    }
}

fn is_word(schemas: &Schemas, schema: &Value) -> bool {
    let found = &followed(schemas, schema)["type"];
    ["string", "integer", "number", "boolean"].iter().any(|word| found == word)
}

/// All patches come as plain JSON, too, and as JSON Patch; and of the members that they can change none is needed.
fn describe_patch(schemas: &mut Schemas, content: &mut Value) {
    let body = content[MERGE_PATCH].clone();
    if let Some(name) = name(&body["schema"]).map(str::to_owned) {
        let mut patch = patch_of(schemas, &schemas[&name]);
        let meaning = "The members to change; null takes one away. Others may be there as the document shows them.";
        patch["description"] = meaning.into();
        schemas.insert(name, patch);
    }
    content[JSON] = body;
    content[JSON_PATCH] = json!({ "schema": reference("JsonPatch") });
}

/// The schema of a merge patch (RFC 7396) of what the schema describes.
fn patch_of(schemas: &Schemas, schema: &Value) -> Value {
    let whole = followed(schemas, schema);
    let Value::Object(mut patch) = whole.clone() else { return schema.clone() };
    let needed = patch.remove("required").unwrap_or_default();
    for (name, member) in members(patch.get_mut("properties")) {
        // What is never shown is not there to be patched, and comes as a whole.
        let changed = if member["writeOnly"] == true { member.clone() } else { patch_of(schemas, member) };
        let is_needed = needed.as_array().is_some_and(|needed| needed.iter().any(|needed| needed == name));
        *member = if is_needed { changed } else { or_null(changed) };
    }
    if let Some(member) = patch.get_mut("additionalProperties").filter(|member| member.is_object()) {
        *member = or_null(patch_of(schemas, member));
    }
    if let Some(parts) = alternatives(whole) {
        let parts: Vec<_> = parts.iter().map(|part| patch_of(schemas, part)).collect();
        // A patch may be one of several things.
        patch.remove("oneOf");
        patch.insert("anyOf".into(), parts.into());
    }
    let patch = Value::Object(patch);
    if patch == *whole { schema.clone() } else { patch }
}

fn or_null(schema: Value) -> Value {
    let takes_null = schema["type"].as_array().is_some_and(|types| types.contains(&"null".into()))
        || alternatives(&schema).is_some_and(|parts| parts.contains(&nothing()));
    if takes_null { schema } else { json!({ "anyOf": [schema, nothing()] }) }
}

/// Adds what the members of a body have to do with each other: one of these rules holds.
fn relate(schemas: &mut Schemas, name: &str, rules: fn(&Schemas) -> Value) {
    let rules = rules(schemas);
    if let Some(Value::Object(schema)) = schemas.get_mut(name) {
        schema.insert(RULES.into(), rules);
    }
}

/// The driver says what is in the connection, of which what has a default may be left out.
fn of_servers(schemas: &Schemas) -> Value {
    let of = |driver: &str, connection: &str| {
        let connection = patch_of(schemas, &reference(connection));
        json!({ "properties": { "driver": { "const": driver }, "connection": connection } })
    };
    json!([of("ssh", "SshConnection"), of("salt", "SaltConnection"), of("local", "LocalConnection")])
}

/// The type says whether there is a URL, and which credentials.
fn of_git_providers(_schemas: &Schemas) -> Value {
    let one_of = |auth: &str| json!({ "anyOf": [nothing(), reference(auth)] });
    let at_a_url = |of: &str, auth: Value| {
        let members = json!({ "type": { "const": of }, "base_url": reference("BaseUrl"), "auth": auth });
        json!({ "required": ["base_url"], "properties": members })
    };
    json!([
        { "properties": { "type": { "const": "local" }, "base_url": nothing(), "auth": nothing() } },
        { "properties": { "type": { "enum": ["github", "gitlab"] }, "auth": one_of("TokenAuth") } },
        at_a_url("gitea", one_of("TokenAuth")),
        { "properties": { "type": { "const": "bitbucket" }, "auth": one_of("GitProviderAuth") } },
        at_a_url("other", one_of("PasswordAuth")),
    ])
}

/// The keys are made, or given.
fn of_keypairs(_schemas: &Schemas) -> Value {
    let made = json!({
        "generate": { "const": true },
        "key_type": { "enum": ["ed25519", "ssh-ed25519"] },
        "private_key": false,
        "public_key": false,
    });
    let given = json!({ "generate": { "const": false } });
    json!([{ "required": ["generate"], "properties": made }, { "required": ["private_key"], "properties": given }])
}

/// Whoever has no token says who they are.
fn of_logins(_schemas: &Schemas) -> Value {
    let by_password = json!({ "username": { "type": "string" }, "password": { "type": "string" } });
    json!([
        { "required": ["username", "password"], "properties": by_password },
        { "properties": { "username": false, "password": false } },
    ])
}

/// A program with its arguments, or a script and what reads it.
fn of_commands(_schemas: &Schemas) -> Value {
    json!([
        {
            "required": ["command"],
            "properties": { "command": texts(), "script": nothing(), "shell": nothing() },
        },
        { "required": ["script"], "properties": { "script": { "type": "string" }, "command": nothing() } },
    ])
}

/// A build is committed, or something is done on servers, which are named by a list or a glob.
fn of_gitdeploy_tasks(_schemas: &Schemas) -> Value {
    let one = |task: &str, required: &[&str], rest: Value| {
        let tasks =
            ["initialize", "deinitialize", "pull", "commit"].map(|of| (of.to_owned(), json!({ "const": of == task })));
        let mut properties = Map::from_iter(tasks);
        properties.extend(rest.as_object().cloned().unwrap_or_default());
        let required: Vec<_> = [task].iter().chain(required).copied().collect();
        json!({ "required": required, "properties": properties })
    };
    let on_servers = ["initialize", "deinitialize", "pull"].into_iter().flat_map(|task| {
        let listed = json!({ "servers": texts(), "glob": nothing(), "build_name": nothing() });
        let matching = json!({ "glob": { "type": "string" }, "servers": nothing(), "build_name": nothing() });
        [one(task, &["servers"], listed), one(task, &["glob"], matching)]
    });
    let commit = json!({ "build_name": { "type": "string" }, "servers": nothing(), "glob": nothing() });
    on_servers.chain([one("commit", &["build_name"], commit)]).collect()
}

/// To groups, or by hand.
fn of_deployments(_schemas: &Schemas) -> Value {
    json!([
        { "required": ["environments", "groups"], "properties": {
            "environments": texts(), "groups": texts(), "servers": nothing(), "gitdeploys": nothing(),
        } },
        { "required": ["servers", "gitdeploys"], "properties": {
            "servers": texts(), "gitdeploys": texts(), "environments": nothing(), "groups": nothing(),
            "rolling_divisor": nothing(), "rolling_pause": nothing(), "ordered_pause": nothing(),
        } },
    ])
}

/// One of the three; a cancel has no plan.
fn of_deployment_tasks(_schemas: &Schemas) -> Value {
    let one = |task: &str, rest: Value| {
        let tasks = ["cancel", "resume", "rollback"].map(|of| (of.to_owned(), json!({ "const": of == task })));
        let mut properties = Map::from_iter(tasks);
        properties.extend(rest.as_object().cloned().unwrap_or_default());
        json!({ "required": [task], "properties": properties })
    };
    let cancel = one("cancel", json!({ "plan": nothing(), "dry_run": { "const": false } }));
    json!([cancel, one("resume", json!({})), one("rollback", json!({}))])
}

/// One of the two, or both.
fn of_build_retention(_schemas: &Schemas) -> Value {
    let number = || json!({ "type": "integer" });
    json!([
        { "required": ["keep_last"], "properties": { "keep_last": number() } },
        { "required": ["keep_seconds"], "properties": { "keep_seconds": number(), "keep_last": nothing() } },
    ])
}

fn reference(component: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{component}") })
}

fn texts() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}

fn nothing() -> Value {
    json!({ "type": "null" })
}

/// The schema that is meant: what a reference leads to.
fn followed<'a>(schemas: &'a Schemas, schema: &'a Value) -> &'a Value {
    name(schema).and_then(|name| schemas.get(name)).map_or(schema, |found| followed(schemas, found))
}

/// The component that a schema refers to.
fn name(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    ["oneOf", "anyOf"].into_iter().find_map(|keyword| schema[keyword].as_array())
}

fn members(object: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    object.and_then(Value::as_object_mut).into_iter().flatten()
}
