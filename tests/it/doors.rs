//! What a plugin did through the host's functions is what REST clients see, and the other way round.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{FakeSalt, Setup, TestHost, eventually, plugin_file, salt_settings};
use crate::hooks;
use crate::uploads::zip;

/// A server whose plugin `exercise-all` has called every function, and the job in which it did; with what it was
/// answered in the hook of an upload, and the job of that in `uploaded_by`.
pub(crate) async fn exercised() -> (TestHost, Value) {
    exercised_by(plugin_file("exercise-all")).await
}

/// The same with this file.
pub(crate) async fn exercised_by(file: PathBuf) -> (TestHost, Value) {
    let host = to_exercise(Setup::default(), file).await;
    let uploaded = hooks::ended(&host, "exercise", "uploaded", zip("a", b"b")).await;
    let mut job = host.run_action("exercise", "Everything", "").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    // Some can be called in a hook only.
    for fired in uploaded["result"]["hooks"].as_array().unwrap() {
        let answers = fired["result"].as_object().unwrap_or_else(|| panic!("{uploaded:#}")).clone();
        job["result"].as_object_mut().unwrap().extend(answers);
    }
    job["uploaded_by"] = uploaded["job_id"].clone();
    (host, job)
}

/// A server with the plugin, and with all that it needs.
pub(crate) async fn to_exercise(setup: Setup, file: PathBuf) -> TestHost {
    let grants = "applications = ['exercise-*']\nservers = ['exercise-*']\nsalt-functions = ['test.ping', 'state.*']\n\
        interfaces = ['git-providers', 'remote', 'salt', 'servers']";
    let fake = FakeSalt::start().await;
    let host = salt_settings(setup, &fake.url())
        .switch("--local-servers")
        .plugin("exercise-all", file)
        .granting("exercise-all", grants);
    let host = host.start().await;
    host.create_application("exercise").await;
    prepare(&host).await;
    host
}

/// What the plugin may only look at.
async fn prepare(host: &TestHost) {
    let provider = json!({ "name": "exercise-hub", "type": "github", "base_url": "https://git.example.com",
        "attributes": { "team": "red" } });
    let own = json!({ "name": "exercise-own", "type": "local" });
    let kept = json!({ "name": "kept", "gitprovider": "exercise-own" });
    for (path, new) in
        [("/global/gitproviders", provider), ("/global/gitproviders", own), ("/app/exercise/gitrepos", kept)]
    {
        let reply = host.client.post(path, &new).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    eventually("the repository to be ready", async || {
        let kept = host.client.get("/app/exercise/gitrepos/kept").await;
        (kept.body["state"] == "ready").then_some(())
    })
    .await;
    let minion = json!({ "name": "exercise-minion", "environment": "testing", "driver": "salt" });
    let server = json!({ "name": "exercise-here", "environment": "testing", "driver": "local" });
    let location = json!({ "path": "/kept", "gitrepo": "kept" });
    let gitdeploy = json!({ "name": "kept", "package": "master", "location": location });
    let at = |name: &str| json!({ "path": format!("/{name}"), "gitrepo": "kept", "default_branch": name });
    let of = |name: &str| json!({ "name": name, "package": "master", "location": at(name) });
    let stages = json!({ "name": "stages", "gitdeploys": [["deployed"], ["staged"]], "rolling_deploy": true });
    for (path, new) in [
        ("/server", server),
        ("/server", minion),
        ("/app/exercise/gitdeploys", gitdeploy),
        ("/app/exercise/gitdeploys", of("deployed")),
        ("/app/exercise/gitdeploys", of("staged")),
        ("/app/exercise/groups", stages),
    ] {
        let reply = host.client.post(path, &new).await;
        assert_eq!(reply.status, 201, "{reply}");
    }
    for name in ["deployed", "staged"] {
        let asked = json!({ "initialize": true, "servers": ["exercise-here"] });
        let accepted = host.client.post(&format!("/app/exercise/gitdeploys/{name}"), &asked).await;
        let job = host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
}

#[tokio::test]
async fn both_doors_show_the_same() {
    let (host, job) = exercised().await;
    let answers = &job["result"];
    for (function, path) in [
        ("applications.get", "/app/exercise-made"),
        ("builds.get", "/app/exercise/builds/exercised"),
        ("package-maps.get", "/app/exercise/packagemaps/exercised"),
        ("git-providers.get", "/global/gitproviders/exercise-hub"),
        ("git-repos.get", "/app/exercise/gitrepos/exercised"),
        ("gitdeploys.get", "/app/exercise/gitdeploys/exercised"),
        ("groups.get", "/app/exercise/groups/exercised"),
        ("servers.get", "/server/exercise-exercised"),
        ("actions.get", "/app/exercise/actions/Nothing"),
    ] {
        let shown = host.client.get(path).await;
        assert_eq!(shown.status, 200, "{path}: {shown}");
        assert_same(function, &answers[function], &shown.body);
    }
    // What is deployed has changed since the plugin has asked.
    let census = host.client.get("/app/exercise/census").await;
    assert_eq!(paths_of(&answers["applications.census"], 4), paths_of(&census.body, 4), "{census}");
}

/// The names down to this depth, such as `testing/stages/exercise-here/deployed`.
fn paths_of(tree: &Value, depth: usize) -> Vec<String> {
    if depth == 0 {
        return vec![String::new()];
    }
    let members = tree.as_object().unwrap().iter();
    members
        .flat_map(|(name, below)| paths_of(below, depth - 1).into_iter().map(move |path| format!("{name}/{path}")))
        .collect()
}

#[tokio::test]
async fn what_a_plugin_removed_is_gone_for_clients_too() {
    let (host, job) = exercised().await;
    for (function, path) in [
        ("applications.delete", "/app/exercise-gone"),
        ("builds.delete", "/app/exercise/builds/gone"),
        ("package-maps.delete", "/app/exercise/packagemaps/gone"),
        ("git-repos.delete", "/app/exercise/gitrepos/gone"),
        ("gitdeploys.delete", "/app/exercise/gitdeploys/gone"),
        ("groups.delete", "/app/exercise/groups/gone"),
        ("servers.delete", "/server/exercise-gone"),
    ] {
        assert_eq!(job["result"][function], Value::Null, "{function}");
        assert_eq!(host.client.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn no_function_answered_with_an_error() {
    let (_host, job) = exercised().await;
    let answers = job["result"].as_object().unwrap();
    let failed: Vec<_> = answers.iter().filter(|(_, answer)| !answer["error"].is_null()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn a_plugin_does_not_set_what_its_servers_are_reached_by() {
    let (host, _) = exercised().await;
    let before = host.client.get("/server/exercise-exercised").await;
    let job = host.run_action("exercise", "ForPeople", "").await;
    for what in ["another host", "another minion", "this machine", "a change"] {
        assert_eq!(job["result"][what]["error"]["code"], "denied", "{what}: {job:#}");
    }
    assert_eq!(host.client.get("/server/exercise-elsewhere").await.status, 404);
    assert_eq!(host.client.get("/server/exercise-exercised").await.body, before.body);
}

#[tokio::test]
async fn both_doors_refuse_the_same_for_the_same_reason() {
    let (host, _) = exercised().await;
    let job = host.run_action("exercise", "Refused", "").await;
    let (answers, of) = (job["result"].as_object().unwrap(), |path: &str| format!("/app/exercise/{path}"));
    let fixed = json!({ "created_at": "2026-11-25T00:00:00Z" });
    let uri = "https://git.example.com/exercise/site.git";
    let location = json!({ "path": "/srv/exercise", "gitrepo": "exercised" });
    let calls = [
        ("applications.create", "/app".to_owned(), json!({ "app_name": "exercise-made" })),
        ("applications.update", "/app/exercise-made".to_owned(), fixed.clone()),
        ("builds.create", of("builds"), json!({ "build_name": "exercised" })),
        ("builds.update", of("builds/exercised"), fixed.clone()),
        ("builds.get", of("builds/gone"), Value::Null),
        (
            "package-maps.create",
            of("packagemaps"),
            json!({ "name": "exercised", "packages": { "web": { "patterns": ["web/**"] } } }),
        ),
        ("package-maps.update", of("packagemaps/exercised"), fixed),
        ("package-maps.get", of("packagemaps/gone"), Value::Null),
        ("git-providers.get", "/global/gitproviders/gone".to_owned(), Value::Null),
        ("git-repos.create", of("gitrepos"), json!({ "name": "exercised", "existing": true, "uri": uri })),
        ("git-repos.update", of("gitrepos/exercised"), json!({ "uri": "ext::sh" })),
        ("git-repos.delete", of("gitrepos/exercised"), Value::Null),
        ("gitdeploys.create", of("gitdeploys"), json!({ "name": "exercised", "package": "web", "location": location })),
        ("gitdeploys.update", of("gitdeploys/exercised"), json!({ "location": null })),
        ("gitdeploys.delete", of("gitdeploys/exercised"), Value::Null),
        ("groups.create", of("groups"), json!({ "name": "exercised", "gitdeploys": ["exercised"] })),
        ("groups.update", of("groups/exercised"), json!({ "gitdeploys": ["gone"] })),
        ("groups.delete", of("groups/gone"), Value::Null),
        ("deployments.get", of("deployments/0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c"), Value::Null),
        (
            "deployments.start",
            of("deployments"),
            json!({ "build_name": "gone", "servers": ["exercise-here"], "gitdeploys": ["gone"] }),
        ),
        (
            "servers.create",
            "/server".to_owned(),
            json!({ "name": "exercise-exercised", "environment": "testing", "driver": "ssh" }),
        ),
        ("servers.update", "/server/exercise-exercised".to_owned(), json!({ "connection": { "port": 0 } })),
        ("servers.delete", "/server/exercise-gone".to_owned(), Value::Null),
    ];
    assert_eq!(answers.len(), calls.len(), "{job:#}");
    for (function, path, body) in calls {
        let refused = match function.rsplit_once('.').unwrap().1 {
            "create" | "start" => host.client.post(&path, &body).await,
            "update" => host.client.patch(&path, &body).await,
            "delete" => host.client.delete(&path).await,
            _ => host.client.get(&path).await,
        };
        let (error, detail) = (&answers[function]["error"], refused.body["detail"].as_str().unwrap());
        assert_eq!(error["code"], refused.body["code"], "{function}: {error}\n{refused}");
        assert!(error["message"].as_str().unwrap().contains(detail), "{function}: {error}\n{refused}");
    }
}

#[tokio::test]
async fn an_action_that_a_plugin_starts_is_a_job_of_its_own() {
    let (host, job) = exercised().await;
    let started = host.ended_job(job["result"]["actions.run"].as_str().unwrap()).await;
    assert_eq!((&started["status"], &started["result"]), (&json!("succeeded"), &json!({ "a": "1" })), "{started:#}");
    assert_eq!(started["data"]["parameters"], json!([["a", "1"], ["b", "2"]]));
    assert_eq!(started["username"], Value::Null);
}

#[tokio::test]
async fn what_a_plugin_deploys_is_a_deployment_like_any_other() {
    let (host, job) = exercised().await;
    let answers = &job["result"];
    let of = |id: &Value| format!("/app/exercise/deployments/{}", id.as_str().unwrap());
    let first = host.client.get(&of(&answers["deployments.start"])).await.body;
    assert_eq!((&first["status"], &first["username"]), (&json!("complete"), &Value::Null), "{first:#}");
    assert_eq!(first["plugin"], "exercise-all", "{first:#}");
    assert_eq!(answers["deployments.get"]["document"], first);
    assert_eq!(answers["deployments.plan"]["hash"], first["plan"]["hash"], "{first:#}");
    let by_job = host.client.get(&format!("/job/{}", first["job_id"].as_str().unwrap())).await.body;
    assert_eq!(by_job["parent"], job["job_id"], "{by_job:#}");
    for (task, member, state) in [("resume", "resumes", "staged"), ("rollback", "rolls_back", "deployed")] {
        let again = host.ended_job(answers[format!("deployments.{task}")].as_str().unwrap()).await;
        assert_eq!(again["status"], "succeeded", "{again:#}");
        let again = host.client.get(&of(&again["job_id"])).await.body;
        let stopped = host.client.get(&of(&again[member])).await.body;
        assert_eq!(stopped["error"]["code"], "cancelled", "{stopped:#}");
        assert!(stopped["error"]["message"].as_str().unwrap().contains("plugin `exercise-all`"), "{stopped:#}");
        let done = &again["progress"]["phase2"]["batches"];
        assert_eq!(done[0]["exercise-here"][state]["state"], "succeeded", "{again:#}");
        assert_eq!(done.as_array().unwrap().len(), 1, "{again:#}");
    }
}

#[tokio::test]
async fn jobs_that_start_one_another_come_to_an_end() {
    let host = TestHost::with_plugins(&["exercise-all"]).await;
    host.create_application("exercise").await;
    let mut job = host.run_action("exercise", "Again", "").await;
    let mut started = 0;
    while let Some(next) = job["result"].as_str() {
        started += 1;
        job = host.ended_job(next).await;
    }
    assert_eq!((started, &job["result"]["error"]["code"]), (8, &json!("limit-exceeded")), "{job:#}");
}

#[tokio::test]
async fn a_plugin_touches_nothing_that_it_was_not_granted() {
    let host = TestHost::with_plugins(&["exercise-all"]).await;
    host.create_application("exercise").await;
    let job = host.run_action("exercise", "Everything", "").await;
    for function in [
        "applications.create",
        "applications.get",
        "servers.create",
        "servers.get",
        "git-providers.get",
        "deployments.plan",
        "deployments.start",
    ] {
        assert_eq!(job["result"][function]["error"]["code"], "denied", "{function}: {job:#}");
    }
    assert_eq!(host.client.get("/app/exercise-made").await.status, 404);
    assert_eq!(host.client.get("/server/exercise-exercised").await.status, 404);
    assert_eq!(job["result"]["applications.list"], json!(["exercise"]));
}

/// Every member that a guest gets is what the other door shows, under whatever name.
fn assert_same(what: &str, answer: &Value, shown: &Value) {
    let members = answer.as_object().unwrap_or_else(|| panic!("{what}: {answer}"));
    assert!(members.get("error").is_none(), "{what}: {answer}");
    for (name, value) in members {
        let found = shown.get(name).or_else(|| match name.as_str() {
            "application" => shown.get("app_name"),
            "name" => shown.get("app_name").filter(|_| what.starts_with("applications.")).or(shown.get("build_name")),
            _ => None,
        });
        let Some(found) = found else { panic!("{what}: `{name}` is not in {shown:#}") };
        // Packages are a list in WIT and an object over REST.
        let packages = value.as_array().filter(|_| found.is_object());
        match (packages, value.as_object()) {
            (Some(items), _) => assert_eq!(items.len(), found.as_object().unwrap().len(), "{what}: {name}"),
            // A record of WIT does not grow; REST may show more.
            (None, Some(members)) => {
                for (member, value) in members {
                    assert_eq!(found.get(member), Some(value), "{what}: {name}: {member}");
                }
            }
            (None, None) => assert_eq!(value, found, "{what}: {name}"),
        }
    }
}
