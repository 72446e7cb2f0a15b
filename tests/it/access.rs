//! Who may do what: every operation of the OpenAPI document, asked for by everyone, against one table.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::harness::{Api, Client, Operation, PASSWORD, Reply, Setup, TestHost};
use crate::uploads::zip;

/// What each caller is answered. `none` is who has no token, a wrong one or one that has expired; `read` and `write`
/// hold that on the application `hostile`, `other` both on another one, `global` both on `_global`, and commands for all
/// servers. `upload` may only upload to `hostile`, as a user or by a token's scope.
///
/// Lists show what the caller may see: they are not refused where each item has a permission of its own.
const TABLE: &str = "
    operation              none  read  write  other  global  upload

    about.get              200   200   200    200    200     200
    about.root             200   200   200    200    200     200
    health.live            200   200   200    200    200     200
    health.ready           200   200   200    200    200     200
    openapi.get            200   200   200    200    200     200

    applications.list      401   200   200    200    200     200
    applications.create    401   403   201    403    403     403
    applications.put       401   403   201    403    403     403
    applications.get       401   200   200    403    403     403
    applications.update    401   403   200    403    403     403
    applications.delete    401   403   204    403    403     403
    applications.census    401   200   200    403    403     403

    builds.list            401   200   200    403    403     403
    builds.create          401   403   201    403    403     403
    builds.put             401   403   201    403    403     403
    builds.get             401   200   200    403    403     403
    builds.update          401   403   200    403    403     403
    builds.delete          401   403   204    403    403     403
    builds.files           401   200   200    403    403     403
    builds.package         401   404   404    403    403     403
    builds.prune           401   403   202    403    403     403
    builds.upload          401   403   202    403    403     202
    builds.upload-file     401   403   202    403    403     202

    package-maps.list      401   200   200    403    403     403
    package-maps.create    401   403   201    403    403     403
    package-maps.put       401   403   201    403    403     403
    package-maps.get       401   200   200    403    403     403
    package-maps.update    401   403   200    403    403     403
    package-maps.delete    401   403   204    403    403     403

    git-repos.list         401   200   200    403    403     403
    git-repos.create       401   403   201    403    403     403
    git-repos.put          401   403   201    403    403     403
    git-repos.get          401   200   200    403    403     403
    git-repos.update       401   403   200    403    403     403
    git-repos.delete       401   403   204    403    403     403
    git-repos.log          401   409   409    403    403     403
    git-repos.diff         401   409   409    403    403     403

    gitdeploys.list        401   200   200    403    403     403
    gitdeploys.create      401   403   201    403    403     403
    gitdeploys.put         401   403   201    403    403     403
    gitdeploys.get         401   200   200    403    403     403
    gitdeploys.update      401   403   200    403    403     403
    gitdeploys.delete      401   403   204    403    403     403
    gitdeploys.run         401   403   404    403    403     403

    deployments.list       401   200   200    403    403     403
    deployments.create     401   403   422    403    403     403
    deployments.get        401   404   404    403    403     403
    deployments.run        401   403   404    403    403     403
    receipts.list          401   200   200    403    403     403

    groups.list            401   200   200    403    403     403
    groups.create          401   403   201    403    403     403
    groups.put             401   403   201    403    403     403
    groups.get             401   200   200    403    403     403
    groups.update          401   403   200    403    403     403
    groups.delete          401   403   204    403    403     403

    actions.list           401   200   200    403    403     403
    actions.get            401   200   200    403    403     403
    actions.run            401   403   202    403    403     403

    jobs.list              401   200   200    200    200     200
    jobs.get               401   200   200    404    200     404
    jobs.entries           401   200   200    404    200     404
    jobs.log               401   200   200    404    200     404
    jobs.cancel            401   403   202    404    202     404
    jobs.cancel-matching   401   403   202    202    202     202

    events.follow          401   200   200    200    200     200

    servers.list           401   200   200    200    200     200
    servers.environments   401   200   200    200    200     200
    servers.create         401   403   403    403    201     403
    servers.put            401   403   403    403    201     403
    servers.get            401   403   403    403    200     403
    servers.update         401   403   403    403    200     403
    servers.delete         401   403   403    403    204     403
    servers.check          401   403   403    403    202     403
    servers.command        401   403   403    403    202     403
    servers.command-several 401  403   403    403    202     403

    git-providers.list     401   403   403    403    200     403
    git-providers.create   401   403   403    403    201     403
    git-providers.put      401   403   403    403    201     403
    git-providers.get      401   403   403    403    200     403
    git-providers.update   401   403   403    403    200     403
    git-providers.delete   401   403   403    403    204     403

    keypairs.list          401   403   403    403    200     403
    keypairs.create        401   403   403    403    201     403
    keypairs.put           401   403   403    403    201     403
    keypairs.get           401   403   403    403    200     403
    keypairs.update        401   403   403    403    200     403
    keypairs.delete        401   403   403    403    204     403

    users.list             401   403   403    403    200     403
    users.create           401   403   403    403    201     403
    users.put              401   403   403    403    201     403
    users.get              401   403   403    403    200     403
    users.permissions      401   403   403    403    200     403
    users.update           401   403   403    403    200     403
    users.delete           401   403   403    403    204     403

    tokens.create          201   201   201    201    201     201
    tokens.list            401   200   200    200    200     200
    tokens.get             401   404   404    404    200     404
    tokens.rotate          401   404   404    404    403     404
    tokens.delete          401   404   404    404    204     404

    plugins.list           401   200   200    200    200     200
    plugins.get            401   200   200    404    200     404
    audit.list             401   403   403    403    200     403
";

/// What becomes a job.
const JOBS: [&str; 8] = [
    "actions.run",
    "builds.prune",
    "builds.upload",
    "builds.upload-file",
    "deployments.create",
    "deployments.run",
    "gitdeploys.run",
    "servers.check",
];

/// The columns of the table, and who is in each.
const COLUMNS: [(&str, &[&str]); 6] = [
    ("none", &["nobody", "wrong", "expired"]),
    ("read", &["read"]),
    ("write", &["write"]),
    ("other", &["other"]),
    ("global", &["global"]),
    ("upload", &["uploader", "narrowed"]),
];

#[tokio::test]
async fn every_operation_answers_each_caller_as_the_table_says() {
    let table = table();
    let site = Site::new().await;
    let api = Api::of(&site.host.client).await;
    let mut operations = api.operations().collect::<Vec<_>>();
    let offered: BTreeSet<_> = operations.iter().map(Operation::id).collect();
    assert_eq!(offered, table.keys().copied().collect(), "operations and lines of the table");

    // What is removed was looked at before.
    operations.sort_by_key(|operation| operation.method == Method::DELETE);
    let mut wrong = Vec::new();
    for operation in &operations {
        for ((column, callers), expected) in COLUMNS.iter().zip(&table[operation.id()]) {
            for caller in *callers {
                let reply = site.ask(operation, caller).await;
                if reply.status != *expected {
                    wrong.push(format!("{} by {caller} ({column}): {expected} expected, not {reply}", operation.id()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_audited(&site, &operations).await;
}

/// Every operation that changes something has left its trace; jobs are their own.
async fn assert_audited(site: &Site, operations: &[Operation<'_>]) {
    let audit = site.host.client.get("/global/audit?limit=1000").await;
    let recorded: BTreeSet<_> = audit.items("operation").into_iter().map(str::to_owned).collect();
    // Somebody else's token, which this asks for, is rotated by nobody.
    let is_done = |id: &str| !JOBS.contains(&id) && id != "tokens.rotate";
    let changing = operations.iter().filter(|it| it.method != Method::GET && is_done(it.id()));
    let names = changing.map(|operation| operation.id().replace(".put", ".create"));
    let missing: Vec<_> = names.filter(|name| !recorded.contains(name)).collect();
    assert!(missing.is_empty(), "these changes are not in the audit: {missing:?}");
}

/// The status of each column by operation.
fn table() -> BTreeMap<&'static str, Vec<u16>> {
    let lines = TABLE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut lines = lines.filter(|cells| !cells.is_empty());
    let head = lines.next().unwrap();
    assert_eq!(head[1..], COLUMNS.map(|(column, _)| column));
    lines.map(|cells| (cells[0], cells[1..].iter().map(|cell| cell.parse().unwrap()).collect())).collect()
}

/// A server with something of every kind for each caller.
struct Site {
    host: TestHost,
    clients: BTreeMap<&'static str, Client>,
    /// A job and somebody else's token, of each caller's own to end.
    jobs: BTreeMap<&'static str, String>,
    tokens: BTreeMap<&'static str, String>,
}

impl Site {
    async fn new() -> Self {
        // Without a worker, jobs stay queued, so that there is something to cancel.
        let host =
            Setup::default().plugins(&["misbehave"]).flag("--role", "api").switch("--local-servers").start().await;
        let mut site = Self { host, clients: BTreeMap::new(), jobs: BTreeMap::new(), tokens: BTreeMap::new() };
        site.make("/app", &json!({ "app_name": "hostile" })).await;
        site.make("/app/hostile/gitrepos", &repo("base")).await;
        site.make("/app/hostile/gitdeploys", &gitdeploy("base")).await;
        for caller in COLUMNS.iter().flat_map(|(_, callers)| *callers) {
            site.admit(caller).await;
        }
        site
    }

    async fn make(&self, path: &str, document: &Value) {
        let reply = self.host.client.post(path, document).await;
        assert!([201, 202].contains(&reply.status), "{path}: {reply}");
    }

    /// Makes a user for the caller, and one of everything.
    async fn admit(&mut self, caller: &'static str) {
        self.make("/global/users", &user(caller, &permissions(caller))).await;
        let client = self.log_in(caller).await;
        let client = match caller {
            "nobody" => client.anonymous(),
            "wrong" => client.with_token("elita_wrong"),
            "expired" => {
                let end = "update tokens set expires_at = now() where username = 'expired'";
                self.host.database.connect().await.execute(end).await.unwrap();
                client
            }
            _ => client,
        };
        self.clients.insert(caller, client);
        let name = format!("c-{caller}");
        self.make("/app", &json!({ "app_name": format!("hostile-{caller}") })).await;
        for (path, document) in everything(&name) {
            self.make(path, &document).await;
        }
        self.jobs.insert(caller, self.host.post_action("hostile", "Noop", "").await);
        // To be stopped with others of its name.
        self.host.post_action("hostile", "Echo", "").await;
        let other = self.log_in(&name).await;
        let token = other.get("/global/tokens/current").await.body["token_id"].as_str().unwrap().to_owned();
        self.tokens.insert(caller, token);
    }

    async fn log_in(&self, username: &str) -> Client {
        let mut asked = credentials(username);
        if username == "narrowed" {
            asked["scope"] = permissions("uploader");
        }
        let reply = self.host.client.post("/global/tokens", &asked).await;
        self.host.client.with_token(reply.body["token"].as_str().unwrap_or_else(|| panic!("{reply}")))
    }

    async fn ask(&self, operation: &Operation<'_>, caller: &'static str) -> Reply {
        let name = match operation.id() {
            // A build takes one upload.
            id @ ("builds.upload" | "builds.upload-file") => format!("c-{caller}-{id}"),
            _ => format!("c-{caller}"),
        };
        let (query, body) = arguments(operation.id(), caller);
        let app = match operation.id() {
            "applications.update" | "applications.delete" => format!("hostile-{caller}"),
            _ => "hostile".into(),
        };
        let id = if operation.path.starts_with("/job") { &self.jobs[caller] } else { &self.tokens[caller] };
        let segments = operation.path.split('/').map(|segment| match segment {
            "{app}" => &*app,
            "{id}" => id,
            "{action}" => "Noop",
            "{plugin}" => "misbehave",
            segment if segment.starts_with('{') => &*name,
            segment => segment,
        });
        let path = segments.collect::<Vec<_>>().join("/") + &query;
        let client = &self.clients[caller];
        let request = client.request(operation.method.clone(), &path);
        client
            .send(match &body {
                Some(body) => request.json(body),
                // What is not an archive is refused at once.
                None if operation.id() == "builds.upload-file" => request.body(zip("a.txt", b"a")),
                None => request,
            })
            .await
    }
}

fn permissions(caller: &str) -> Value {
    match caller {
        "read" => json!({ "apps": { "hostile*": "read" } }),
        "write" => json!({ "apps": { "hostile*": "read/write" }, "actions": { "hostile*": { "*": "execute" } } }),
        "other" => json!({ "apps": { "blog": "read/write" }, "actions": { "blog": { "*": "execute" } } }),
        "global" => json!({ "apps": { "_global": "read/write" }, "servers": ["*"],
            "actions": { "_global": { "command": "execute" } } }),
        "uploader" => json!({ "apps": { "hostile*": "upload" } }),
        "narrowed" => json!({ "apps": { "*": "read/write", "_global": "read/write" }, "servers": ["*"],
            "actions": { "*": { "*": "execute" } } }),
        _ => json!({}),
    }
}

/// One of every kind, called `name`, with the path that makes it.
pub(crate) fn everything(name: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("/app/hostile/builds", json!({ "build_name": name })),
        ("/app/hostile/builds", json!({ "build_name": format!("{name}-builds.upload") })),
        ("/app/hostile/builds", json!({ "build_name": format!("{name}-builds.upload-file") })),
        ("/app/hostile/packagemaps", json!({ "name": name, "packages": { "web": { "patterns": ["web/**"] } } })),
        ("/app/hostile/gitrepos", repo(name)),
        ("/app/hostile/gitdeploys", gitdeploy(name)),
        ("/app/hostile/groups", json!({ "name": name, "gitdeploys": ["base"] })),
        ("/server", json!({ "name": name, "environment": "test", "driver": "local" })),
        ("/global/gitproviders", json!({ "name": name, "type": "github" })),
        ("/global/keypairs", json!({ "name": name, "generate": true })),
        ("/global/users", user(name, &json!({}))),
    ]
}

pub(crate) fn repo(name: &str) -> Value {
    json!({ "name": name, "existing": true, "uri": "https://git.example/shop.git" })
}

pub(crate) fn gitdeploy(name: &str) -> Value {
    let location = json!({ "path": format!("/srv/{name}"), "gitrepo": "base", "default_branch": "master" });
    json!({ "name": name, "package": "master", "location": location })
}

fn user(name: &str, permissions: &Value) -> Value {
    json!({ "username": name, "password": PASSWORD, "permissions": permissions })
}

fn credentials(username: &str) -> Value {
    json!({ "username": username, "password": PASSWORD })
}

/// The query and the body of a request that only a missing permission can keep from being done.
pub(crate) fn arguments(operation: &str, caller: &str) -> (String, Option<Value>) {
    let (noun, verb) = operation.split_once('.').unwrap();
    let path = match noun {
        "applications" => "/app",
        "builds" => "/app/hostile/builds",
        "package-maps" => "/app/hostile/packagemaps",
        "git-repos" => "/app/hostile/gitrepos",
        "gitdeploys" => "/app/hostile/gitdeploys",
        "groups" => "/app/hostile/groups",
        "servers" => "/server",
        "git-providers" => "/global/gitproviders",
        "keypairs" => "/global/keypairs",
        "users" => "/global/users",
        _ => "",
    };
    match (operation, verb) {
        ("tokens.create", _) => (String::new(), Some(credentials(caller))),
        ("builds.upload", _) => ("?file_type=zip&indirect_url=http%3A%2F%2Fexample.org%2F1.zip".into(), None),
        ("builds.prune", _) => ("?keep_last=1000&dry_run=true".into(), None),
        ("builds.upload-file", _) => ("?file_type=zip".into(), None),
        ("jobs.cancel-matching", _) => ("?cancel=true&app=hostile&name=Echo&status=queued".into(), None),
        ("servers.check", _) => ("?check=true".into(), None),
        ("servers.command", _) => (String::new(), Some(json!({ "command": ["true"] }))),
        ("servers.command-several", _) => {
            (String::new(), Some(json!({ "servers": [format!("c-{caller}")], "command": ["true"] })))
        }
        ("jobs.cancel", _) => ("?cancel=true".into(), None),
        ("tokens.rotate", _) => ("?rotate=true".into(), None),
        ("deployments.create", _) => {
            let asked = json!({ "build_name": "none", "environments": ["none"], "groups": ["none"] });
            (String::new(), Some(asked))
        }
        ("deployments.run", _) => ("?cancel=true".into(), None),
        ("gitdeploys.run", _) => ("?commit=true&build_name=none".into(), None),
        ("applications.create" | "applications.put", _) => {
            let document = json!({ "app_name": format!("hostile-{verb}-{caller}") });
            if verb == "put" { (in_query(&document), None) } else { (String::new(), Some(document)) }
        }
        (_, "create" | "put") => {
            let made = everything(&format!("{verb}-{caller}"));
            let (_, document) = made.into_iter().find(|(container, _)| *container == path).unwrap();
            // A password stays out of URLs.
            let in_url = verb == "put" && noun != "users";
            if in_url { (in_query(&document), None) } else { (String::new(), Some(document)) }
        }
        (_, "update") => (String::new(), Some(json!({ "attributes": { "by": caller } }))),
        _ => (String::new(), None),
    }
}

/// A document as the reference's form of creating it has it.
fn in_query(document: &Value) -> String {
    let pairs = document.as_object().unwrap().iter().map(|(name, value)| match value {
        Value::String(text) => (name.clone(), text.clone()),
        other => (name.clone(), other.to_string()),
    });
    let url = reqwest::Url::parse_with_params("http://elita", pairs).unwrap();
    format!("?{}", url.query().unwrap())
}

#[tokio::test]
async fn what_a_plugin_asks_for_is_shown_against_what_it_is_granted() {
    let grants = "applications = ['blog-*']\nservers = ['web*']\ninterfaces = ['servers']";
    let setup = Setup::default().plugins(&["exercise-all", "misbehave"]).granting("exercise-all", grants);
    let host = setup.start().await;
    let shown = host.client.get("/global/plugins/exercise-all").await.body["access"].clone();
    assert_eq!(shown["registered_applications"], json!(["exercise"]), "{shown:#}");
    assert_eq!(shown["granted_applications"], json!(["blog-*"]), "{shown:#}");
    assert_eq!(shown["granted_servers"], json!(["web*"]), "{shown:#}");
    let interface = |name: &str, requested: bool, granted: bool| json!({ "name": name, "requested": requested, "granted": granted });
    let expected = [
        interface("git-providers", true, false),
        interface("remote", true, false),
        interface("salt", true, false),
        interface("servers", true, true),
    ];
    assert_eq!(shown["interfaces"], json!(expected), "{shown:#}");
    let other = host.client.get("/global/plugins/misbehave").await.body["access"].clone();
    let expected = [
        interface("git-providers", false, false),
        interface("remote", false, false),
        interface("salt", false, false),
        interface("servers", false, false),
    ];
    assert_eq!(other["interfaces"], json!(expected), "{other:#}");
}
