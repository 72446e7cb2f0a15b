//! The OpenAPI document says what the server does, no more and no less.

use std::collections::BTreeSet;

use insta::assert_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Api, Setup, TestHost, filled_in};

/// Paths that the server will have, and some that servers often have. Those that are not in the document lead nowhere.
const POSSIBLE_PATHS: [&str; 9] = [
    "/app/{app}/deployments",
    "/app/{app}/deployments/{id}",
    "/debug",
    "/docs",
    "/git/{app}/{repo}.git",
    "/global",
    "/health",
    "/job/{id}/data/{seq}",
    "/metrics",
];

const METHODS: [Method; 7] =
    [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH, Method::OPTIONS, Method::TRACE];

#[tokio::test]
async fn every_operation_has_a_name() {
    let host = TestHost::start().await;
    let api = Api::of(&host.client).await;
    let mut names: Vec<_> = api.operations().map(|operation| operation.id().to_owned()).collect();
    names.sort();
    assert_snapshot!(names.join("\n"), @"
    about.get
    about.root
    actions.get
    actions.list
    actions.run
    applications.census
    applications.create
    applications.delete
    applications.get
    applications.list
    applications.put
    applications.update
    audit.list
    builds.create
    builds.delete
    builds.files
    builds.get
    builds.list
    builds.package
    builds.prune
    builds.put
    builds.update
    builds.upload
    builds.upload-file
    deployments.create
    deployments.get
    deployments.list
    deployments.run
    events.follow
    git-providers.create
    git-providers.delete
    git-providers.get
    git-providers.list
    git-providers.put
    git-providers.update
    git-repos.create
    git-repos.delete
    git-repos.diff
    git-repos.get
    git-repos.list
    git-repos.log
    git-repos.put
    git-repos.update
    gitdeploys.create
    gitdeploys.delete
    gitdeploys.get
    gitdeploys.list
    gitdeploys.put
    gitdeploys.run
    gitdeploys.update
    groups.create
    groups.delete
    groups.get
    groups.list
    groups.put
    groups.update
    health.live
    health.ready
    jobs.cancel
    jobs.cancel-matching
    jobs.entries
    jobs.get
    jobs.list
    jobs.log
    keypairs.create
    keypairs.delete
    keypairs.get
    keypairs.list
    keypairs.put
    keypairs.update
    openapi.get
    package-maps.create
    package-maps.delete
    package-maps.get
    package-maps.list
    package-maps.put
    package-maps.update
    plugins.get
    plugins.list
    receipts.list
    servers.check
    servers.command
    servers.command-several
    servers.create
    servers.delete
    servers.environments
    servers.get
    servers.list
    servers.put
    servers.update
    tokens.create
    tokens.delete
    tokens.get
    tokens.list
    tokens.rotate
    users.create
    users.delete
    users.get
    users.list
    users.permissions
    users.put
    users.update
    ");
}

#[tokio::test]
async fn the_document_is_well_formed() {
    let host = TestHost::start().await;
    let reply = host.client.get("/openapi.json").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let api = reply.body;
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1."), "{}", api["openapi"]);
    assert_eq!((&api["info"]["title"], &api["info"]["version"]), (&json!("Elita"), &json!(env!("CARGO_PKG_VERSION"))));

    let mut references = Vec::new();
    collect_references(&api, &mut references);
    for reference in references {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(api.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    for security in api["security"].as_array().unwrap() {
        for scheme in security.as_object().unwrap().keys() {
            assert!(api["components"]["securitySchemes"][scheme].is_object(), "there is no security scheme {scheme}");
        }
    }
}

#[tokio::test]
async fn every_operation_is_described() {
    let host = TestHost::start().await;
    for operation in Api::of(&host.client).await.operations() {
        let (description, what) = (operation.description, format!("{} {}", operation.method, operation.path));
        assert!(description["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{what}: no summary");
        assert_eq!(description["tags"].as_array().map(Vec::len), Some(1), "{what}");

        let parameters = description["parameters"].as_array().map_or(&[][..], Vec::as_slice);
        let in_path: Vec<_> = parameters.iter().filter(|parameter| parameter["in"] == "path").collect();
        assert!(in_path.iter().all(|parameter| parameter["required"] == true), "{what}");
        let declared: BTreeSet<_> = in_path.iter().map(|parameter| parameter["name"].as_str().unwrap()).collect();
        assert_eq!(declared, placeholders(operation.path), "{what}");
        let all: BTreeSet<_> =
            parameters.iter().map(|parameter| (parameter["in"].as_str(), parameter["name"].as_str())).collect();
        assert_eq!(all.len(), parameters.len(), "{what}: a parameter is declared twice");
        for parameter in parameters {
            let described = parameter["description"].as_str().is_some_and(|text| !text.is_empty());
            // What is not a word stands in a query string as JSON.
            let schemas = [&parameter["schema"], &parameter["content"]["application/json"]["schema"]];
            let known = schemas.iter().filter(|schema| schema.is_object()).count() == 1;
            assert!(described && known, "{what}: {parameter}");
        }
    }
}

#[tokio::test]
async fn every_operation_says_how_it_ends() {
    let host = TestHost::start().await;
    let problem = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
    for operation in Api::of(&host.client).await.operations() {
        let (description, what) = (operation.description, format!("{} {}", operation.method, operation.path));
        let replies = description["responses"].as_object().unwrap();
        // A part of a file is another reply to the same request, and so are the end of a stream that a client has read to
        // its end, and the job that a removal takes.
        let by_job = replies.contains_key("204");
        let other = |status: &str| match status {
            "206" => true,
            "204" => operation.id() == "jobs.entries",
            "202" => by_job,
            // The plan alone.
            "200" => ["deployments.create", "deployments.run"].contains(&operation.id()),
            _ => false,
        };
        let good = replies.keys().filter(|status| status.starts_with('2') && !other(status));
        assert_eq!(good.count(), 1, "{what}");
        let sends_file = operation.path.ends_with("/packages/{package}");
        assert!(replies.contains_key("default"), "{what}");
        let open = description["security"] == json!([{}]);
        assert!(open || replies.contains_key("401"), "{what} needs a token and does not say so");
        for (status, reply) in replies {
            assert!(reply["description"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {status}");
            match status.as_bytes()[0] {
                _ if ["204", "304", "307"].contains(&&**status) => {
                    assert!(reply.get("content").is_none(), "{what}: {status}")
                }
                b'2' if operation.id() == "jobs.log" => assert!(reply["content"]["text/plain"].is_object(), "{what}"),
                b'2' if sends_file => assert!(reply["content"]["application/octet-stream"].is_object(), "{what}"),
                b'2' => assert!(reply["content"]["application/json"]["schema"].is_object(), "{what}: {status}"),
                _ => assert_eq!(reply["content"]["application/problem+json"], problem, "{what}: {status}"),
            }
        }
    }
}

#[tokio::test]
async fn every_path_takes_the_methods_that_it_lists_and_no_others() {
    let host = TestHost::start().await;
    let api = Api::of(&host.client).await;
    for (path, item) in api.document["paths"].as_object().unwrap() {
        let mut listed: BTreeSet<_> = item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect();
        if listed.contains("GET") {
            listed.insert("HEAD".into());
        }
        listed.insert("OPTIONS".into());
        for method in METHODS.iter().filter(|method| !listed.contains(method.as_str())) {
            let reply = host.client.send(host.client.request(method.clone(), &filled_in(path))).await;
            assert_eq!(reply.status, 405, "{method} {path}: {reply}");
            let allowed: BTreeSet<_> = reply.header("allow").split(',').map(|name| name.trim().to_owned()).collect();
            assert_eq!(allowed, listed, "{method} {path}");
        }
        for method in &listed {
            let request = host.client.anonymous().request(method.parse().unwrap(), &filled_in(path));
            let reply = host.client.send(request).await;
            assert!(!matches!(reply.status, 404 | 405), "{method} {path}: {reply}");
        }
    }
}

#[tokio::test]
async fn a_path_that_is_not_listed_leads_nowhere() {
    let host = TestHost::start().await;
    let api = Api::of(&host.client).await;
    let listed = api.document["paths"].as_object().unwrap();
    for path in POSSIBLE_PATHS.iter().filter(|path| !listed.contains_key(**path)) {
        for method in &METHODS {
            let reply = host.client.send(host.client.request(method.clone(), &filled_in(path))).await;
            assert_eq!(reply.status, 404, "{method} {path} is answered and not in the document: {reply}");
        }
    }
}

#[tokio::test]
async fn replies_have_the_members_that_are_declared() {
    let host = TestHost::with_plugins(&["widgets"]).await;
    host.create_application("my_application").await;
    let api = Api::of(&host.client).await;
    let job = host.run_action("my_application", "DeleteWidgets", "testing=true&count=1").await;
    let job = format!("/job/{}", job["job_id"].as_str().unwrap());
    for (route, path) in [
        ("/about", "/about"),
        ("/health/ready", "/health/ready"),
        ("/app", "/app"),
        ("/app/{app}", "/app/my_application"),
        ("/app/{app}/census", "/app/my_application/census"),
        ("/app/{app}/builds", "/app/my_application/builds"),
        ("/app/{app}/packagemaps", "/app/my_application/packagemaps"),
        ("/app/{app}/gitrepos", "/app/my_application/gitrepos"),
        ("/app/{app}/gitdeploys", "/app/my_application/gitdeploys"),
        ("/app/{app}/deployments", "/app/my_application/deployments"),
        ("/app/{app}/receipts", "/app/my_application/receipts"),
        ("/app/{app}/groups", "/app/my_application/groups"),
        ("/server", "/server"),
        ("/server/environments", "/server/environments"),
        ("/global/gitproviders", "/global/gitproviders"),
        ("/global/keypairs", "/global/keypairs"),
        ("/global/users", "/global/users"),
        ("/global/users/{user}", "/global/users/admin"),
        ("/global/users/{user}/permissions", "/global/users/admin/permissions"),
        ("/app/{app}/actions", "/app/my_application/actions"),
        ("/app/{app}/actions/{action}", "/app/my_application/actions/DeleteWidgets"),
        ("/global/audit", "/global/audit"),
        ("/global/plugins", "/global/plugins"),
        ("/global/plugins/{plugin}", "/global/plugins/widgets"),
        ("/global/tokens", "/global/tokens"),
        ("/global/tokens/{id}", "/global/tokens/current"),
        ("/job", "/job"),
        ("/job/{id}", &job),
        ("/job/{id}", &format!("{job}?results=true&trace=true")),
        ("/job/{id}/data", &format!("{job}/data")),
        ("/job/{id}/data", &format!("{job}/data?q=starting")),
        ("/events", "/events"),
        ("/job", "/job?details=true&counts=true"),
    ] {
        let reply = host.client.get(path).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
        let schema = &api.document["paths"][route]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        assert_fits(&api.document, schema, &reply.body, path);
    }
    let problem = host.client.post("/app", &json!({})).await;
    assert_eq!(problem.status, 400, "{problem}");
    assert_fits(&api.document, &api.document["components"]["schemas"]["Problem"], &problem.body, "a problem");
}

#[tokio::test]
async fn the_bodies_of_patches_and_the_rules_between_members_are_described() {
    let host = TestHost::start().await;
    let api = Api::of(&host.client).await;
    let schemas = &api.document["components"]["schemas"];
    for operation in api.operations().filter(|operation| operation.method == Method::PATCH) {
        let content = operation.description["requestBody"]["content"].as_object().unwrap();
        let types: Vec<_> = content.keys().map(String::as_str).collect();
        let known = ["application/merge-patch+json", "application/json", "application/json-patch+json"];
        assert_eq!(types, known, "{}", operation.path);
        let name = content["application/json"]["schema"]["$ref"].as_str().unwrap().rsplit_once('/').unwrap().1;
        assert_eq!(schemas[name].get("required"), None, "{name}: no member of a patch is needed");
        assert_eq!(schemas[name]["additionalProperties"], false, "{name}");
    }
    for operation in api.operations() {
        let replies = &operation.description["responses"];
        let id = operation.description["operationId"].as_str().unwrap();
        if let "keypairs.get" | "keypairs.update" = id {
            assert!(replies["200"]["headers"]["ETag"].is_object(), "{id}: {replies}");
        }
        if let "keypairs.create" | "keypairs.put" = id {
            let headers = &replies["201"]["headers"];
            assert!(headers["ETag"].is_object() && headers["Location"].is_object(), "{id}: {replies}");
        }
        assert_eq!(
            id.ends_with(".list") || ["builds.files", "git-repos.log", "git-repos.diff", "events.follow"].contains(&id),
            replies["200"]["headers"]["Link"].is_object() && id != "jobs.entries",
            "{id}"
        );
    }
    let put = &api.document["paths"]["/global/gitproviders"]["put"]["requestBody"];
    assert_ne!(put["required"], true, "{put}");
    assert!(put["content"]["application/json"]["schema"]["$ref"].is_string(), "{put}");
    // What is nested is patched as well; what cannot go is not set to null; what is never shown comes as a whole.
    let location = &schemas["GitdeployChange"]["properties"]["location"];
    assert_eq!((location.get("required"), location.get("anyOf")), (None, None), "{location}");
    let auth = &schemas["GitProviderChange"]["properties"]["auth"];
    assert!(auth.to_string().contains("GitProviderAuth"), "{auth}");
    // A word has no name of its own.
    let longest = |schema: &str, member: &str| schemas[schema]["properties"][member]["maxLength"].clone();
    assert_eq!((longest("NewServer", "name"), longest("Job", "application")), (json!(253), json!(128)));
    for (name, rules) in [("NewServer", 3), ("NewGitProvider", 5), ("NewKeypair", 2)] {
        assert_eq!(schemas[name]["x-one-of"].as_array().unwrap().len(), rules, "{name}");
    }
}

#[tokio::test]
async fn generators_of_clients_understand_the_document() {
    let host = TestHost::start().await;
    let mut api = Api::of(&host.client.anonymous()).await;
    assert!(api.document["servers"][0]["url"].is_string() && api.document["tags"].as_array().unwrap().len() > 10);
    let tags = api.document["tags"].clone();
    for operation in api.operations() {
        let tag = &operation.description["tags"][0];
        let is_described = |known: &Value| known["name"] == *tag && known["description"].is_string();
        assert!(tags.as_array().unwrap().iter().any(is_described), "{tag}");
        let parameters = operation.description["parameters"].as_array().unwrap();
        assert!(parameters.iter().any(|parameter| parameter["name"] == "pretty"), "{}", operation.id());
    }
    let upload = &api.document["paths"]["/app/{app}/builds/{build}/file"]["put"]["requestBody"]["content"];
    assert_eq!(upload["application/octet-stream"]["schema"]["format"], "binary");
    for schema in api.document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        schema.as_object_mut().unwrap().remove("x-one-of");
    }
    let names: Vec<_> = api.document["components"]["schemas"].as_object().unwrap().keys().collect();
    assert!(!names.iter().any(|name| ["True", "False", "Null"].contains(&name.as_str())), "{names:?}");
    assert_plain(&api.document["components"]["schemas"], "schemas");
    assert_plain(&api.document["paths"], "paths");
}

/// Fails where something is that generators do not take.
fn assert_plain(value: &Value, at: &str) {
    match value {
        Value::Object(members) => {
            assert!(!members.contains_key("$ref") || members.len() == 1, "{at}: something beside a reference");
            for (name, member) in members {
                let is_schemas = at.ends_with("/properties");
                assert!(!is_schemas || member.is_object(), "{at}/{name}: a schema that is true or false");
                if name != "example" {
                    assert_plain(member, &format!("{at}/{name}"));
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| assert_plain(item, at)),
        _ => {}
    }
}

#[tokio::test]
async fn each_body_has_an_example_and_the_server_takes_it() {
    let host = Setup::default().plugins(&["widgets"]).switch("--local-servers").start().await;
    let name = "my_application";
    host.create_application(name).await;
    let app = format!("/app/{name}");
    let location = json!({ "path": "/srv/a", "gitrepo": name });
    for (path, document) in [
        (format!("{app}/builds"), json!({ "build_name": name })),
        (format!("{app}/packagemaps"), json!({ "name": name, "packages": { "a": { "patterns": ["a"] } } })),
        (format!("{app}/gitrepos"), json!({ "name": name, "existing": true, "uri": "https://git.example.com/a.git" })),
        (format!("{app}/gitdeploys"), json!({ "name": name, "package": "master", "location": location })),
        (format!("{app}/groups"), json!({ "name": name, "gitdeploys": [name] })),
        ("/server".into(), json!({ "name": name, "environment": "test", "driver": "local" })),
        ("/global/gitproviders".into(), json!({ "name": name, "type": "github" })),
        ("/global/keypairs".into(), json!({ "name": name, "generate": true })),
        ("/global/users".into(), json!({ "username": name, "password": "a long password" })),
    ] {
        let reply = host.client.post(&path, &document).await;
        assert_eq!(reply.status, 201, "{path}: {reply}");
    }
    // What needs more than is here.
    let needs = [
        ("git-providers.put", 400, "its name and type stand in the query string"),
        ("gitdeploys.run", 404, "the build, with a file"),
        ("deployments.run", 404, "a deployment that has ended"),
    ];
    let api = Api::of(&host.client).await;
    for operation in api.operations() {
        let Value::Object(content) = &operation.description["requestBody"]["content"] else { continue };
        let path = operation.path.replace("{action}", "DeleteWidgets");
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { name } else { segment });
        let path = segments.collect::<Vec<_>>().join("/");
        for (media_type, content) in content.iter().filter(|(media_type, _)| media_type.contains("json")) {
            let (what, example) = (format!("{} as {media_type}", operation.id()), &content["example"]);
            assert!(!example.is_null(), "{what} has no example");
            if operation.id() == "deployments.create" {
                continue; // It needs a build with a file, and servers.
            }
            if operation.method == Method::PUT
                && media_type == "application/json"
                && operation.id() != "git-providers.put"
            {
                continue; // It is POST's, and would be made a second time.
            }
            let request = host.client.request(operation.method.clone(), &path).header("content-type", media_type);
            let reply = host.client.send(request.body(example.to_string())).await;
            let needed = needs.iter().find(|(id, ..)| *id == operation.id());
            let expected =
                needed.map_or_else(|| (200..300).contains(&reply.status), |(_, status, _)| reply.status == *status);
            assert!(expected, "{what}: {reply}");
        }
    }
}

#[tokio::test]
async fn what_is_in_the_query_string_is_pointed_at_there() {
    let host = TestHost::start().await;
    host.create_application("shop").await;
    let location = "%7B%22path%22%3A%22srv%22%2C%22gitrepo%22%3A%22site%22%7D";
    let unknown = "%7B%22path%22%3A%22/srv%22%2C%22gitrepo%22%3A%22site%22%2C%22a%22%3A1%7D";
    for (put, parameter, detail) in [
        ("/server?name=command&environment=test&driver=ssh".into(), "name", "no server is called"),
        (
            "/server?name=a&environment=test&driver=ssh&connection=%7B%22port%22%3A0%7D".into(),
            "connection",
            "at `/port`: ",
        ),
        (format!("/app/shop/gitdeploys?name=web&package=web&location={location}"), "location", "at `/path`: "),
        (format!("/app/shop/gitdeploys?name=web&package=web&location={unknown}"), "location", "at `/a`: "),
        ("/global/gitproviders?name=hub&type=gitea".into(), "", ""),
    ] {
        let refused = host.client.put(&put).await;
        let error = &refused.body["errors"][0];
        assert_eq!(refused.status, 422, "{refused}");
        if parameter.is_empty() {
            // What is missing may be given in either place.
            assert_eq!(error["pointer"], "/base_url", "{refused}");
        } else {
            assert_eq!((&error["parameter"], error.get("pointer")), (&json!(parameter), None), "{refused}");
            assert!(error["detail"].as_str().unwrap().starts_with(detail), "{refused}");
        }
    }
}

/// The names that a path leaves open.
fn placeholders(path: &str) -> BTreeSet<&str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
}

fn collect_references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str));
            members.values().for_each(|member| collect_references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// Fails unless the objects in `value` have all members that `schema` requires and none that it does not know.
fn assert_fits(api: &Value, schema: &Value, value: &Value, at: &str) {
    let parts = parts(api, schema, value);
    if let Value::Array(items) = value {
        let schema = parts.iter().find_map(|part| part.get("items"));
        let schema = schema.unwrap_or_else(|| panic!("{at} is an array, and not declared as one"));
        items.iter().enumerate().for_each(|(number, item)| assert_fits(api, schema, item, &format!("{at}[{number}]")));
    }
    let Value::Object(members) = value else { return };
    let declared = |name: &str| parts.iter().find_map(|part| part["properties"].get(name));
    if parts.iter().all(|part| part.get("properties").is_none()) {
        // Any object.
        return;
    }
    for (name, member) in members {
        let schema = declared(name).unwrap_or_else(|| panic!("{at} has an undeclared member {name}"));
        assert_fits(api, schema, member, &format!("{at}.{name}"));
    }
    for name in parts.iter().flat_map(|part| required(part)) {
        assert!(members.contains_key(name), "{at} has no member {name}");
    }
}

/// The schemas that a schema is made of for this value, references followed: of alternatives the one that fits.
fn parts<'a>(api: &'a Value, schema: &'a Value, value: &Value) -> Vec<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return parts(api, api.pointer(reference.strip_prefix('#').unwrap()).unwrap(), value);
    }
    let combined = |name: &str| schema[name].as_array().into_iter().flatten().map(|part| parts(api, part, value));
    let mut found: Vec<_> = combined("allOf").flatten().collect();
    let alternatives: Vec<_> = combined("oneOf").collect();
    let fitting =
        alternatives.iter().find(|parts| parts.iter().all(|part| required(part).all(|name| value.get(name).is_some())));
    found.extend(fitting.or(alternatives.first()).into_iter().flatten());
    found.push(schema);
    found
}

/// The members that a schema requires.
fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().map(|name| name.as_str().unwrap())
}
