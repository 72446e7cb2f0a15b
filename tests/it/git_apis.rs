//! Repositories that are made and removed at git providers by their APIs: against answers in the form that each documents.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::harness::{Setup, TestHost};
use crate::ssh_copies::ended;

const SITE: &str = "/app/shop/gitrepos/site";
const TOKEN: &str = "canary-of-a-token";

/// To what, with which status and body.
type Answers = Arc<Mutex<Vec<(&'static str, u16, Value)>>>;

/// A provider that gives these answers.
struct Provider {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    answers: Answers,
}

impl Provider {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, answers) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let shared = (asked.clone(), answers.clone());
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                answer(connection, &shared.0, &shared.1).await;
            }
        });
        Self { port, asked, answers }
    }

    /// From now on it gives these answers.
    fn says(&self, answers: &[(&'static str, u16, Value)]) {
        *self.answers.lock().unwrap() = answers.to_vec();
        self.asked.lock().unwrap().clear();
    }

    /// What it was asked for: the method with the path, the headers and the body.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(connection: TcpStream, asked: &Mutex<Vec<String>>, answers: &Mutex<Vec<(&'static str, u16, Value)>>) {
    let mut connection = BufReader::new(connection);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.unwrap();
    let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
    asked.lock().unwrap().push(format!("{head}\n{}", String::from_utf8(body).unwrap()));
    let found = answers.lock().unwrap().iter().find(|(to, ..)| *to == line).cloned();
    let (_, status, body) = found.unwrap_or(("", 404, json!({ "message": "404 Not Found" })));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let reply = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(reply.as_bytes()).await.unwrap();
}

/// What is asked of each provider to make a repository, what it says to that, and the same of removing it.
type Case = (
    &'static str,
    &'static [(&'static str, u16, &'static str)],
    &'static str,
    (&'static str, u16, &'static str),
    &'static str,
);

const CASES: [Case; 4] = [
    (
        "github",
        &[("GET /api/v3/user", 200, r#"{"login": "octocat", "id": 1, "type": "User"}"#)],
        "POST /api/v3/orgs/acme/repos",
        (
            "DELETE /api/v3/repos/acme/site",
            204,
            "authorization: Bearer canary-of-a-token\nx-github-api-version: 2022-11-28",
        ),
        r#"{"id": 1296269, "name": "site", "full_name": "acme/site", "private": true,
            "ssh_url": "git@github.com:acme/site.git", "clone_url": "https://github.com/acme/site.git"}"#,
    ),
    (
        "gitlab",
        &[("GET /api/v4/namespaces/acme", 200, r#"{"id": 2, "name": "acme", "path": "acme", "kind": "group"}"#)],
        "POST /api/v4/projects",
        ("DELETE /api/v4/projects/acme%2Fsite", 202, "private-token: canary-of-a-token"),
        r#"{"id": 3, "path_with_namespace": "acme/site", "visibility": "private",
            "ssh_url_to_repo": "git@example.com:acme/site.git"}"#,
    ),
    (
        "gitea",
        &[("GET /api/v1/user", 200, r#"{"id": 1, "login": "Acme"}"#)],
        "POST /api/v1/user/repos",
        ("DELETE /api/v1/repos/acme/site", 204, "authorization: token canary-of-a-token"),
        r#"{"id": 4, "full_name": "acme/site", "private": true, "ssh_url": "git@example.com:acme/site.git"}"#,
    ),
    (
        "bitbucket",
        &[],
        "POST /rest/api/1.0/projects/acme/repos",
        ("DELETE /rest/api/1.0/projects/acme/repos/site", 202, "authorization: Bearer canary-of-a-token"),
        r#"{"slug": "site", "id": 5, "scmId": "git", "state": "AVAILABLE", "project": {"key": "acme"}}"#,
    ),
];

#[tokio::test]
async fn a_repository_is_made_and_removed_as_each_provider_documents() {
    for (kind, before, create, (delete, deleted, headers), made) in CASES {
        let (host, provider) = with_provider(kind).await;
        let mut answers: Vec<_> = before.iter().map(|(to, status, body)| (*to, *status, parsed(body))).collect();
        answers.push((create, 201, parsed(made)));
        answers.push((delete, deleted, Value::Null));
        provider.says(&answers);
        let job = make(&host, &provider, kind).await;
        assert_eq!(job["status"], "succeeded", "{kind}: {job:#}");
        assert_eq!(host.client.get(SITE).await.body["state"], "ready", "{kind}");
        let asked = provider.asked();
        let creation =
            asked.iter().find(|asked| asked.starts_with(create)).unwrap_or_else(|| panic!("{kind}: {asked:?}"));
        for header in headers.lines() {
            assert!(creation.contains(header), "{kind}: {creation}");
        }
        let (_, body) = creation.split_once("\n\n").unwrap();
        let body = parsed(body);
        assert_eq!(body["name"], "site", "{kind}: {body}");
        let description = body["description"].as_str().unwrap();
        assert!(description.contains(job["job_id"].as_str().unwrap()), "{kind}: {body}");

        let removing = host.client.delete(&format!("{SITE}?delete=true")).await;
        assert_eq!(removing.status, 202, "{kind}: {removing}");
        let removed = ended(&host.client, &removing.body).await;
        assert_eq!(removed["status"], "succeeded", "{kind}: {removed:#}");
        assert_eq!(host.client.get(SITE).await.status, 404, "{kind}");
        assert!(provider.asked().iter().any(|asked| asked.starts_with(delete)), "{kind}: {:?}", provider.asked());
        for told in [job, removed] {
            assert!(!told.to_string().contains(TOKEN), "{kind}: {told}");
        }
    }
}

#[tokio::test]
async fn a_repository_that_is_there_is_taken_only_if_this_job_has_made_it() {
    let (host, provider) = with_provider("gitea").await;
    let there =
        json!({ "message": "The repository with the same name already exists.", "url": "https://x/api/swagger" });
    let others = json!({ "full_name": "acme/site", "description": "somebody else's" });
    provider.says(&[
        ("GET /api/v1/user", 200, json!({ "login": "octocat" })),
        ("POST /api/v1/orgs/acme/repos", 409, there),
        ("GET /api/v1/repos/acme/site", 200, others),
    ]);
    let job = make(&host, &provider, "gitea").await;
    assert_eq!(job["error"]["code"], "git-provider-refused", "{job:#}");
    let message = job["error"]["message"].as_str().unwrap();
    assert!(message.contains("already exists") && message.contains("has not made"), "{message}");
    assert_eq!(host.client.get(SITE).await.body["state"], "failed");
    assert!(!provider.asked().iter().any(|asked| asked.starts_with("DELETE")));
}

#[tokio::test]
async fn what_a_provider_says_against_it_is_told() {
    for (kind, to, status, said, told) in [
        (
            "github",
            "POST /api/v3/orgs/acme/repos",
            403,
            json!({ "message": "Resource not accessible by personal access token" }),
            "not accessible",
        ),
        (
            "github",
            "POST /api/v3/orgs/acme/repos",
            422,
            json!({ "message": "Repository creation failed.", "errors": [{ "resource": "Repository", "field": "name", "message": "name already exists on this account" }] }),
            "name already exists on this account",
        ),
        (
            "gitlab",
            "GET /api/v4/namespaces/acme",
            404,
            json!({ "message": "404 Namespace Not Found" }),
            "no namespace `acme`",
        ),
        ("gitea", "POST /api/v1/orgs/acme/repos", 401, json!({ "message": "token is required" }), "token is required"),
        (
            "bitbucket",
            "POST /rest/api/1.0/projects/acme/repos",
            409,
            json!({ "errors": [{ "context": "name", "message": "This repository URL is already taken.", "exceptionName": null }] }),
            "already taken",
        ),
    ] {
        let (host, provider) = with_provider(kind).await;
        provider.says(&[(to, status, said)]);
        let job = make(&host, &provider, kind).await;
        assert_eq!(job["error"]["code"], "git-provider-refused", "{kind}: {job:#}");
        let message = job["error"]["message"].as_str().unwrap();
        assert!(message.contains(told) && message.contains(&status.to_string()), "{kind}: {message}");
    }
}

#[tokio::test]
async fn a_repository_that_is_gone_at_its_provider_can_be_removed_and_one_that_stays_is_kept() {
    let (host, provider) = with_provider("github").await;
    let user = ("GET /api/v3/user", 200, json!({ "login": "acme" }));
    provider.says(&[user, ("POST /api/v3/user/repos", 201, json!({}))]);
    assert_eq!(make(&host, &provider, "github").await["status"], "succeeded");
    provider.says(&[(
        "DELETE /api/v3/repos/acme/site",
        403,
        json!({ "message": "Must have admin rights to Repository." }),
    )]);
    let removing = host.client.delete(&format!("{SITE}?delete=true")).await;
    let job = ended(&host.client, &removing.body).await;
    assert!(job["error"]["message"].as_str().unwrap().contains("Must have admin rights"), "{job:#}");
    assert_eq!(host.client.get(SITE).await.body["state"], "ready");
    provider.says(&[]);
    let removing = host.client.delete(&format!("{SITE}?delete=true")).await;
    assert_eq!(ended(&host.client, &removing.body).await["status"], "succeeded");
    assert_eq!(host.client.get(SITE).await.status, 404);
}

#[tokio::test]
async fn a_repository_is_made_at_a_provider_only_with_credentials_and_where_the_uri_says() {
    let (host, provider) = with_provider("github").await;
    let base = format!("http://127.0.0.1:{}", provider.port);
    let new = |uri: Option<String>| json!({ "name": "site", "gitprovider": "hub", "uri": uri });
    for (uri, fault) in [
        (None, "/uri"),
        (Some(format!("{base}/site.git")), "/uri"),
        (Some(format!("{base}/a/b/site.git")), "/uri"),
        (Some("https://example.com/acme/site.git".to_owned()), "/uri"),
    ] {
        let refused = host.client.post("/app/shop/gitrepos", &new(uri.clone())).await;
        assert_eq!(refused.fault(), (422, fault), "{uri:?}: {refused}");
    }
    assert_eq!(host.client.patch("/global/gitproviders/hub", &json!({ "auth": null })).await.status, 200);
    let refused = host.client.post("/app/shop/gitrepos", &new(Some(format!("{base}/acme/site.git")))).await;
    assert_eq!(refused.fault(), (422, "/gitprovider"), "{refused}");
}

async fn with_provider(kind: &str) -> (TestHost, Provider) {
    let provider = Provider::start().await;
    let host = Setup::default().flag("--git-hosts", format!("127.0.0.1:{}", provider.port)).start().await;
    host.create_application("shop").await;
    let base = format!("http://127.0.0.1:{}", provider.port);
    let new = json!({ "name": "hub", "type": kind, "base_url": base, "auth": { "token": TOKEN } });
    let created = host.client.post("/global/gitproviders", &new).await;
    assert_eq!(created.status, 201, "{created}");
    (host, provider)
}

/// The job that makes the repository, once it has ended.
async fn make(host: &TestHost, provider: &Provider, kind: &str) -> Value {
    let prefix = if kind == "bitbucket" { "/scm" } else { "" };
    let uri = format!("http://127.0.0.1:{}{prefix}/acme/site.git", provider.port);
    let new = json!({ "name": "site", "gitprovider": "hub", "uri": uri });
    let created = host.client.post("/app/shop/gitrepos", &new).await;
    assert_eq!((created.status, &created.body["state"]), (201, &json!("creating")), "{kind}: {created}");
    ended(&host.client, &created.body).await
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
