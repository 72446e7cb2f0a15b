//! Secrets stay where they are: canaries are planted wherever there is a place for one, and then looked for in
//! everything that leaves the server or stays of it.

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::harness::{Api, Client, Database, Program, eventually, plugin_file};

/// Made by `ssh-keygen -t ed25519 -N '' -C canary` for these tests, and used for nothing else.
const PRIVATE_KEY: &str = include_str!("keypairs/canary");

const ADMIN_PASSWORD: &str = "canary-of-the-administrator";
const USER_PASSWORD: &str = "canary-of-a-user";
const NEW_PASSWORD: &str = "canary-of-a-changed-password";
const WRONG_PASSWORD: &str = "canary-of-a-wrong-password";
const UNKNOWN_TOKEN: &str = "elita_canary-of-a-token-in-a-url";
const PROVIDER_TOKEN: &str = "canary-of-a-git-provider";

#[tokio::test]
async fn no_secret_is_in_a_reply_a_job_the_log_or_the_database() {
    let (database, directory) = (Database::empty().await, data_dir());
    let mut server = start(&database, &directory);
    let (mut said, client) = server.ready("").await;
    let token = log_in(&client, "admin", ADMIN_PASSWORD).await;
    let client = client.with_token(&token);
    let mut replies = plant(&client).await;
    replies.extend(everything_shown(&client).await);

    let mut canaries = vec![ADMIN_PASSWORD, USER_PASSWORD, NEW_PASSWORD, WRONG_PASSWORD, PROVIDER_TOKEN, &token];
    // What is in the middle of a key is in no other.
    canaries.push(PRIVATE_KEY.lines().nth(2).unwrap());
    let key = std::fs::read_to_string(directory.path().join("secret.key")).unwrap();
    canaries.push(key.split_whitespace().last().unwrap());
    let rows = dump(&database).await;

    server.signal(Signal::TERM);
    let (code, log) = server.ended().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("users.create") && log.lines().count() > 100, "the log is not that detailed:\n{log}");
    said.push(log);
    for (place, texts) in [("a reply", &replies), ("the log", &said), ("the database", &rows)] {
        // The log shows which request was refused, and the request itself is not a secret's place.
        let refused = Some(UNKNOWN_TOKEN).filter(|_| place != "a reply");
        for canary in canaries.iter().copied().chain(refused) {
            let hex: String = canary.bytes().map(|byte| format!("{byte:02x}")).collect();
            let found = texts.iter().find(|text| text.contains(canary) || text.contains(&hex));
            assert!(found.is_none(), "{canary} is in {place}: {}", found.unwrap());
        }
    }
}

/// With two plugins that may touch everything.
fn data_dir() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let plugins = directory.path().join("plugins");
    std::fs::create_dir(&plugins).unwrap();
    for plugin in ["exercise-all", "misbehave"] {
        let file = plugin_file(plugin);
        std::fs::copy(&file, plugins.join(file.file_name().unwrap())).unwrap();
    }
    let grants = "[plugins.exercise-all]\napplications = ['*']\nservers = ['*']\ninterfaces = ['git-providers', 'remote', 'servers']";
    std::fs::write(directory.path().join("elita.toml"), grants).unwrap();
    directory
}

fn start(database: &Database, directory: &TempDir) -> Program {
    let in_it = |name: &str| directory.path().join(name).display().to_string();
    let (data, config, key) = (in_it(""), in_it("elita.toml"), in_it("secret.key"));
    let flags = ["--data-dir", &data, "--database-url", &database.url, "--secret-key-file", &key];
    let flags = [&flags[..], &["--config", &config, "--log", "debug"]].concat();
    Program::serve_with(&[("ELITA_ADMIN_PASSWORD", ADMIN_PASSWORD)], &flags)
}

async fn log_in(client: &Client, user: &str, password: &str) -> String {
    let reply = client.anonymous().post("/global/tokens", &json!({ "username": user, "password": password })).await;
    reply.body["token"].as_str().unwrap_or_else(|| panic!("{reply}")).to_owned()
}

/// Puts a secret wherever there is a place for one, and into places that are none; returns what was answered.
async fn plant(client: &Client) -> Vec<String> {
    let keypair = json!({ "name": "deploy", "private_key": PRIVATE_KEY });
    let broken = json!({ "name": "broken", "private_key": PRIVATE_KEY.replace("-----END", "-----BEGIN") });
    let ada = json!({ "username": "ada", "password": USER_PASSWORD, "permissions": {} });
    let hub = json!({ "name": "exercise-hub", "type": "github", "auth": { "token": PROVIDER_TOKEN } });
    let wrong = json!({ "username": "ada", "password": WRONG_PASSWORD });
    let unknown = json!({ "username": "nobody", "password": WRONG_PASSWORD });
    let mut replies = Vec::new();
    for (path, document, status) in [
        ("/app", json!({ "app_name": "exercise" }), 201),
        ("/app", json!({ "app_name": "hostile" }), 201),
        ("/global/keypairs", keypair.clone(), 201),
        ("/global/keypairs", keypair, 409),
        ("/global/keypairs", broken, 422),
        ("/global/gitproviders", hub.clone(), 201),
        ("/global/gitproviders", hub, 409),
        ("/global/users", ada.clone(), 201),
        ("/global/users", ada, 409),
        ("/global/tokens", wrong, 401),
        ("/global/tokens", unknown, 401),
    ] {
        let reply = client.post(path, &document).await;
        assert_eq!(reply.status, status, "{path}: {reply}");
        replies.push(reply.to_string());
    }
    for (path, change) in [
        ("/global/users/ada", json!({ "password": NEW_PASSWORD })),
        ("/global/gitproviders/exercise-hub", json!({ "auth": { "token": PROVIDER_TOKEN } })),
    ] {
        let changed = client.patch(path, &change).await;
        assert_eq!(changed.status, 200, "{changed}");
        replies.push(changed.to_string());
    }
    for in_url in [
        format!("/app?token={UNKNOWN_TOKEN}"),
        format!("/global/users/ada?password={NEW_PASSWORD}"),
        format!("/app?auth_token={UNKNOWN_TOKEN}"),
    ] {
        let refused = client.get(&in_url).await;
        assert_eq!(refused.status, 400, "{refused}");
        replies.push(refused.to_string());
    }
    for (app, action) in [("exercise", "Everything"), ("hostile", "Panic"), ("hostile", "Environment")] {
        replies.push(run(client, app, action).await);
    }
    replies
}

/// Runs an action to its end; returns its job with all there is.
async fn run(client: &Client, app: &str, action: &str) -> String {
    let path = format!("/app/{app}/actions/{action}");
    let asked = eventually("the plugin to be active", async || {
        let reply = client.post_empty(&path).await;
        (reply.status == 202).then_some(reply)
    })
    .await;
    let job = format!("{}?results=true&trace=true", asked.header("location"));
    eventually("the job to end", async || {
        let reply = client.get(&job).await;
        (!reply.body["completed_at"].is_null()).then(|| reply.to_string())
    })
    .await
}

/// All lists, which hold the documents, and what is in no list.
async fn everything_shown(client: &Client) -> Vec<String> {
    let api = Api::of(client).await;
    let mut replies = Vec::new();
    for operation in api.operations().filter(|operation| operation.method == "GET") {
        let path = operation.path.replace("{app}", "exercise").replace("{user}", "ada").replace("{keypair}", "deploy");
        let path = path.replace("{provider}", "exercise-hub").replace("{plugin}", "exercise-all");
        if !path.contains('{') {
            let reply = client.get(&path).await;
            assert_eq!(reply.status, 200, "{path}: {reply}");
            replies.push(reply.to_string());
        }
    }
    let lists = replies.iter().filter(|reply| reply.contains("\"items\"")).count();
    assert!(lists > 10, "only {lists} lists were looked at");
    replies
}

/// Every row of every table.
async fn dump(database: &Database) -> Vec<String> {
    let mut connection = database.connect().await;
    let tables = "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public'";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut connection).await.unwrap();
    let mut rows = Vec::new();
    for table in tables {
        let query = AssertSqlSafe(format!("select row_to_json(t)::text from {table} t"));
        rows.extend(sqlx::query_scalar::<_, String>(query).fetch_all(&mut connection).await.unwrap());
    }
    let keypairs = rows.iter().filter_map(|row| serde_json::from_str::<Value>(row).ok());
    assert!(keypairs.filter(|row| !row["private_key"].is_null()).count() > 0, "no sealed key was looked at");
    rows
}
