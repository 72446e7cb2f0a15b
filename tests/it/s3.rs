//! Files in a bucket instead of a directory, and what happens when the store does not do its work.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::{Method, header};
use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::Executor as _;
use tempfile::TempDir;

use crate::harness::{
    Answer, Cable, Client, Database, Elita, Moto, Nanio, Outside, Program, eventually, plugin_file, variables,
};
use crate::uploads::{files_in, id, put, zip};

const FILE: &str = "/app/my_application/builds/1/file?create=true";

/// A server whose files are in a bucket.
struct Site {
    _program: Program,
    client: Client,
    database: Database,
    data_dir: TempDir,
}

impl Site {
    async fn start(store: &str, flags: &[&str]) -> Self {
        let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
        let mut program = serve(store, &database, data_dir.path(), flags);
        let (_, client) = program.ready(&database.token).await;
        let site = Self { _program: program, client, database, data_dir };
        assert_eq!(site.client.post("/app", &json!({ "app_name": "my_application" })).await.status, 201);
        site
    }

    async fn ended(&self, id: &str) -> Value {
        eventually(&format!("job {id} to end"), async || {
            let job = self.client.get(&format!("/job/{id}?results=true")).await.body;
            (job["status"] != "queued" && job["status"] != "running").then_some(job)
        })
        .await
    }

    async fn download(&self, package: &str, range: Option<&str>) -> (u16, Vec<u8>) {
        let path = format!("/app/my_application/builds/1/packages/{package}");
        let mut request = self.client.request(Method::GET, &path);
        if let Some(range) = range {
            request = request.header(header::RANGE, range);
        }
        let reply = request.send().await.unwrap();
        (reply.status().as_u16(), reply.bytes().await.unwrap().to_vec())
    }
}

fn serve(store: &str, database: &Database, data_dir: &Path, flags: &[&str]) -> Program {
    serve_at("s3://elita/site/one", store, database, data_dir, flags)
}

fn serve_at(url: &str, store: &str, database: &Database, data_dir: &Path, flags: &[&str]) -> Program {
    let variables = variables(store);
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let fixed = ["--database-url", &database.url, "--data-dir", data_dir.to_str().unwrap()];
    let url = ["--storage-url", url];
    let flags: Vec<_> = fixed.into_iter().chain(url).chain(flags.iter().copied()).collect();
    Program::serve_with(&variables, &flags)
}

/// More than a part, and nothing that could be compressed.
fn noise(bytes: u32) -> Vec<u8> {
    (0..bytes).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[tokio::test]
async fn builds_their_packages_and_plugins_are_in_the_bucket() {
    let moto = Moto::start().await;
    let plugins = tempfile::tempdir().unwrap();
    std::fs::copy(plugin_file("build-manifest"), plugins.path().join("build-manifest.wasm")).unwrap();
    let site = Site::start(&moto.url(), &["--plugin-dir", plugins.path().to_str().unwrap()]).await;
    let map = json!({ "name": "web", "packages": { "noise": { "patterns": ["noise"] } } });
    assert_eq!(site.client.post("/app/my_application/packagemaps", &map).await.status, 201);

    // Some parts, and one that is not full.
    let file = zip("noise", &noise(20_000_000));
    let accepted = put(&site.client, &format!("{FILE}&package_map=web"), file.clone()).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = site.ended(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let hook = &job["result"]["hooks"][0];
    assert_eq!(
        (&hook["plugin"], &hook["error"]),
        (&json!("build-manifest"), &Value::Null),
        "it reads the files: {job:#}"
    );
    let folder = format!("site/one/builds/{}", id(&accepted));
    let keys = moto.keys().await;
    let expected = ["1/1-manifest.tar.gz", "1/1-noise.zip", "1/1-noise.zip.tree", "1.zip", "1.zip.tree"];
    let found: Vec<_> = keys.iter().filter_map(|key| key.strip_prefix(&format!("{folder}/"))).collect();
    assert_eq!(found.len(), expected.len(), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("site/one/components/")), "{keys:?}");
    assert!(keys.contains(&"site/one/storage-id".to_owned()), "{keys:?}");
    let local = files_in(&site.data_dir.path().join("storage"));
    assert!(local.is_empty(), "nothing stays on this machine: {local:?}");

    assert!(site.download("master", None).await == (200, file.clone()), "bit for bit");
    assert!(site.download("master", Some("bytes=9000000-9000009")).await == (206, file[9_000_000..9_000_010].to_vec()));
    let (status, package) = site.download("noise", None).await;
    assert!(status == 200 && package.len() > 20_000_000, "{status}");
    let elita = Elita::at(site.client.base(), &site.database.token);
    let fetched = elita.run(&["build", "download", "my_application", "1", "-O", "back.zip"]).await;
    assert!(fetched.code == 0 && std::fs::read(elita.home().join("back.zip")).unwrap() == file, "{fetched}");

    // Another server with the same bucket is one more of the same installation.
    let other = tempfile::tempdir().unwrap();
    let mut second = serve(&moto.url(), &site.database, other.path(), &[]);
    let (_, client) = second.ready(&site.database.token).await;
    let found = client.request(Method::GET, "/app/my_application/builds/1/packages/master").send().await.unwrap();
    assert!(found.bytes().await.unwrap() == file, "the other server has the same files");

    assert_eq!(site.client.delete("/app/my_application/builds/1").await.status, 204);
    let left = moto.keys().await;
    assert!(!left.iter().any(|key| key.contains("/builds/")), "{left:?}");
    assert_eq!(moto.unfinished().await, 0);
}

#[tokio::test]
async fn a_file_that_is_given_up_leaves_nothing_in_the_bucket() {
    let moto = Moto::start().await;
    let site = Site::start(&moto.url(), &["--upload-bytes", "20000000"]).await;
    let too_large = reqwest::Body::wrap_stream(futures_util::stream::iter(
        zip("noise", &noise(21_000_000))
            .chunks(100_000)
            .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
            .collect::<Vec<_>>(),
    ));
    assert_eq!(put(&site.client, FILE, too_large).await.status, 413);
    eventually("the parts to be given up", async || (moto.unfinished().await == 0).then_some(())).await;
    let damaged = put(&site.client, FILE, [&b"PK\x03\x04"[..], &noise(9_000_000)].concat()).await;
    assert_eq!(site.ended(id(&damaged)).await["error"]["code"], "invalid-archive");
    eventually("the file to go", async || {
        (!moto.keys().await.iter().any(|key| key.contains("/builds/"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_no_build_has_is_swept_from_the_bucket_once_it_is_old_and_trees_stay() {
    let moto = Moto::start_off_by("-2d").await;
    let site = Site::start(&moto.url(), &[]).await;
    let map = json!({ "name": "web", "packages": { "all": { "patterns": ["**"] } } });
    assert_eq!(site.client.post("/app/my_application/packagemaps", &map).await.status, 201);
    let accepted = put(&site.client, &format!("{FILE}&package_map=web"), zip("a", b"b")).await;
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded");
    // The upload was long ago.
    let began = "01890000-0000-7000-8000-000000000002";
    let move_it = format!("update builds set upload = '{began}'");
    site.database.connect().await.execute(sqlx::AssertSqlSafe(move_it)).await.unwrap();
    let mut expected = Vec::new();
    for key in moto.keys().await.into_iter().filter(|key| key.contains("/builds/")) {
        let old = key.replace(id(&accepted), began);
        moto.rename(&key, &old).await;
        expected.push(old);
    }
    expected.sort();
    assert_eq!(expected.len(), 4, "two files and their trees: {expected:?}");
    moto.put(&format!("site/one/builds/{began}/1/stray.zip"), b"PK".to_vec()).await;
    moto.put("site/one/builds/01890000-0000-7000-8000-000000000001/1.zip", b"PK".to_vec()).await;
    let other = tempfile::tempdir().unwrap();
    let mut second = serve(&moto.url(), &site.database, other.path(), &[]);
    second.ready(&site.database.token).await;
    eventually("what is left to be swept", async || {
        let keys = moto.keys().await.into_iter().filter(|key| key.contains("/builds/"));
        (keys.collect::<Vec<_>>() == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_store_that_writes_over_what_is_there_keeps_its_id() {
    let moto = Moto::start_forgetful().await;
    let site = Site::start(&moto.url(), &[]).await;
    let kept = moto.object("site/one/storage-id").await;
    for _ in 0..2 {
        let other = tempfile::tempdir().unwrap();
        let mut second = serve(&moto.url(), &site.database, other.path(), &[]);
        second.ready(&site.database.token).await;
        second.signal(Signal::TERM);
        let (code, stderr) = second.ended().await;
        assert!(code == Some(0) && stderr.contains("ignores `If-None-Match: *`"), "{code:?} {stderr}");
    }
    assert!(moto.object("site/one/storage-id").await == kept, "it has the same id at each start");
    let accepted = put(&site.client, FILE, zip("a", b"b")).await;
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded");
}

#[tokio::test]
async fn a_store_that_checks_signatures_takes_what_is_sent_and_refuses_another_key() {
    let nanio = Nanio::start().await;
    let site = Site::start(&nanio.url(), &["--storage-redirect"]).await;
    // In one request, and in parts.
    for (build, file) in [("1", zip("a", b"b")), ("2", zip("noise", &noise(20_000_000)))] {
        let path = format!("/app/my_application/builds/{build}");
        let accepted = put(&site.client, &format!("{path}/file?create=true"), file.clone()).await;
        assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded", "{accepted}");
        let itself = site.client.request(Method::GET, &format!("{path}/packages/master?redirect=false"));
        assert!(itself.send().await.unwrap().bytes().await.unwrap() == file, "build {build} by the server");
        let sent_there = site.client.request(Method::GET, &format!("{path}/packages/master")).send().await.unwrap();
        assert!(sent_there.url().as_str().starts_with(&nanio.url()), "{sent_there:?}");
        assert!(sent_there.bytes().await.unwrap() == file, "build {build} by its signed URL");
        assert_eq!(site.client.delete(&path).await.status, 204);
    }
    let left = files_in(&nanio.bucket().join("site/one/builds"));
    assert!(left.is_empty(), "{left:?}");

    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let mut wrong = variables(&nanio.url());
    wrong.push(("AWS_SECRET_ACCESS_KEY", "another".into()));
    let wrong: Vec<_> = wrong.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let flags = ["--database-url", &database.url, "--data-dir", data_dir.path().to_str().unwrap()];
    let flags = [&flags[..], &["--storage-url", "s3://elita/site/two"]].concat();
    let (code, stderr) = Program::serve_with(&wrong, &flags).ended().await;
    assert!(code == Some(1) && stderr.contains("look at AWS_ACCESS_KEY_ID"), "{code:?} {stderr}");
}

#[tokio::test]
async fn packages_that_are_equal_are_in_the_bucket_once() {
    let moto = Moto::start().await;
    let site = Site::start(&moto.url(), &[]).await;
    let file = zip("a", b"b");
    let stored = async || moto.keys().await.into_iter().filter(|key| key.contains("/builds/")).count();
    for build in ["1", "2"] {
        let path = format!("/app/my_application/builds/{build}/file?create=true");
        let accepted = put(&site.client, &path, file.clone()).await;
        assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded");
    }
    assert_eq!(stored().await, 2, "the file and its tree");
    assert_eq!(site.client.delete("/app/my_application/builds/1").await.status, 204);
    let path = "/app/my_application/builds/2/packages/master";
    let sent = site.client.request(Method::GET, path).send().await.unwrap();
    assert!(sent.bytes().await.unwrap() == file, "the other build still has it");
    assert_eq!(site.client.delete("/app/my_application/builds/2").await.status, 204);
    assert_eq!(stored().await, 0);
}

#[tokio::test]
async fn a_client_is_sent_to_the_bucket_if_that_is_set() {
    let moto = Moto::start().await;
    let site = Site::start(&moto.url(), &["--storage-redirect"]).await;
    let file = zip("a", b"b");
    let accepted = put(&site.client, FILE, file.clone()).await;
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded");
    let path = "/app/my_application/builds/1/packages/master";
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let ask = |path: &str, token: &str| {
        let request = http.get(format!("{}{path}", site.client.base())).bearer_auth(token.to_owned());
        async { request.send().await.unwrap() }
    };
    let reply = ask(path, &site.database.token).await;
    assert_eq!(reply.status(), 307, "{reply:?}");
    let url = reply.headers()["location"].to_str().unwrap().to_owned();
    assert!(url.starts_with(&moto.url()) && url.contains("X-Amz-Expires=300"), "{url}");
    assert!(http.get(&url).send().await.unwrap().bytes().await.unwrap() == file, "the URL is the file's");
    assert_eq!(ask(path, "wrong").await.status(), 401);
    let itself = ask(&format!("{path}?redirect=false"), &site.database.token).await;
    assert!(itself.status() == 200 && itself.bytes().await.unwrap() == file);
    let elita = Elita::at(site.client.base(), &site.database.token);
    assert_eq!(elita.run(&["build", "download", "my_application", "1", "-O", "back.zip"]).await.code, 0);
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_told_in_words_at_the_start() {
    let moto = Moto::start().await;
    let nobody = format!("http://127.0.0.1:{}", {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    });
    let refusing = Outside::new(Answer::Says("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n".into())).await;
    let refusing = format!("http://127.0.0.1:{}", refusing.port());
    for (store, url, why) in [
        (moto.url(), "s3://other/site", "there is no bucket"),
        (moto.url(), "s3://x/site", "is not a storage URL"),
        (refusing, "s3://elita", "refuses the request; look at AWS_ACCESS_KEY_ID"),
        (nobody, "s3://elita", "does not answer"),
    ] {
        let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
        let mut program = serve_at(url, &store, &database, data_dir.path(), &[]);
        let (code, stderr) = program.ended().await;
        assert!(code == Some(1) && stderr.contains(why), "{url}: {code:?} {stderr}");
    }
}

#[tokio::test]
async fn a_store_that_is_away_slow_or_cut_off_loses_nothing() {
    let moto = Moto::start().await;
    let address: SocketAddr = format!("127.0.0.1:{}", moto.port()).parse().unwrap();
    let mut cable = Cable::to_server(address).await;
    let site = Site::start(cable.url(), &[]).await;
    let file = zip("noise", &noise(20_000_000));

    // Slow: it stands still for a while, in the middle of an upload.
    let uploading = {
        let (client, file) = (site.client.clone(), file.clone());
        tokio::spawn(async move { put(&client, FILE, file).await })
    };
    eventually("the upload to begin", async || (moto.unfinished().await > 0).then_some(())).await;
    moto.signal(Signal::STOP);
    tokio::time::sleep(Duration::from_secs(2)).await;
    moto.signal(Signal::CONT);
    let accepted = uploading.await.unwrap();
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded", "{accepted}");

    // Cut off for a moment: the request is sent again.
    let uploading = {
        let (client, file) = (site.client.clone(), file.clone());
        tokio::spawn(async move { put(&client, "/app/my_application/builds/2/file?create=true", file).await })
    };
    eventually("the upload to begin", async || (moto.unfinished().await > 0).then_some(())).await;
    cable.cut();
    tokio::time::sleep(Duration::from_secs(1)).await;
    cable.mend().await;
    let accepted = uploading.await.unwrap();
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded", "{accepted}");
}

#[tokio::test]
async fn a_store_that_stays_away_or_is_full_refuses_the_upload() {
    let moto = Moto::start().await;
    let address: SocketAddr = format!("127.0.0.1:{}", moto.port()).parse().unwrap();
    let mut cable = Cable::to_server(address).await;
    let site = Site::start(cable.url(), &[]).await;
    let full = "HTTP/1.1 507 Insufficient Storage\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let full = Outside::new(Answer::Says(full.into())).await;
    cable.cut();
    cable.lead_to(format!("127.0.0.1:{}", full.port()).parse().unwrap());
    cable.mend().await;
    let refused = put(&site.client, FILE, zip("a", b"b")).await;
    assert_eq!((refused.status, &refused.body["code"]), (507, &json!("storage-full")), "{refused}");
    cable.cut();
    let refused = put(&site.client, FILE, zip("a", b"b")).await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("storage-unavailable")), "{refused}");
    assert!(refused.body["detail"].as_str().unwrap().contains("object store does not answer"), "{refused}");
    assert_ne!(refused.header("retry-after"), "");
    cable.lead_to(address);
    cable.mend().await;
    // Nothing is half done: the same upload works now.
    let accepted = put(&site.client, FILE, zip("a", b"b")).await;
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded", "{accepted}");
    let files = moto.keys().await.into_iter().filter(|key| key.contains("/builds/")).count();
    assert_eq!(files, 2, "the file and its tree");
}

/// A server that gives every request this answer.
async fn answering(status: &str, body: &str) -> SocketAddr {
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
    format!("127.0.0.1:{}", Outside::new(Answer::Says(answer)).await.port()).parse().unwrap()
}

#[tokio::test]
async fn a_store_that_only_fails_refuses_an_upload_a_job_and_a_download() {
    let moto = Moto::start().await;
    let address: SocketAddr = format!("127.0.0.1:{}", moto.port()).parse().unwrap();
    let mut cable = Cable::to_server(address).await;
    let site = Site::start(cable.url(), &[]).await;
    let accepted = put(&site.client, FILE, zip("a", b"b")).await;
    assert_eq!(site.ended(id(&accepted)).await["status"], "succeeded", "{accepted}");
    for (number, (status, body)) in [
        ("503 Service Unavailable", "<Error><Code>SlowDown</Code></Error>"),
        ("429 Too Many Requests", ""),
        ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>"),
        ("404 Not Found", "<Error><Code>NoSuchBucket</Code></Error>"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/app/my_application/builds/{}/file?create=true", number + 2);
        cable.cut();
        cable.lead_to(answering(status, body).await);
        cable.mend().await;
        let download = site.client.get("/app/my_application/builds/1/packages/master").await;
        assert_eq!((download.status, &download.body["code"]), (503, &json!("storage-unavailable")), "{status}");
        let refused = put(&site.client, &path, zip("a", b"b")).await;
        assert_eq!(
            (refused.status, &refused.body["code"]),
            (503, &json!("storage-unavailable")),
            "{status}: {refused}"
        );
    }
}

#[tokio::test]
async fn a_store_that_breaks_off_again_and_again_is_read_to_the_end() {
    let moto = Moto::start().await;
    let cable = Cable::to_server(format!("127.0.0.1:{}", moto.port()).parse().unwrap()).await;
    let site = Site::start(cable.url(), &[]).await;
    let file = zip("noise", &noise(20_000_000));
    // More often than a request is sent again. The job reads it like this, and so does who downloads it.
    cable.break_after(2_500_000);
    let accepted = put(&site.client, FILE, file.clone()).await;
    let job = site.ended(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(site.download("master", None).await == (200, file.clone()), "bit for bit");
    let part = site.download("master", Some("bytes=1000000-18999999")).await;
    assert!(part == (206, file[1_000_000..19_000_000].to_vec()), "and a part of it");
}
