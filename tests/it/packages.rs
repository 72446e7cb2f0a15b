//! The files of builds, as clients get them.

use std::io::Write as _;
use std::process::Command;

use elita::datasvc::Digest;
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;

use crate::harness::{Client, PASSWORD, Setup, TestHost};
use crate::uploads::{FILE, id, put, with_build, zip};

const UPLOAD: &str = "/app/shop/builds/1/file";
const MASTER: &str = "/app/shop/builds/1/packages/master";

#[tokio::test]
async fn the_master_package_is_what_was_uploaded() {
    let (host, file) = with_file().await;
    let build = host.client.get("/app/shop/builds/1").await.body;
    let sent = sent(&host.client, Method::GET, &[]).await;
    assert_eq!((sent.status, &sent.body), (200, &file));
    let etag = format!("\"{}\"", build["packages"]["master"]["sha256"].as_str().unwrap());
    for (header, value) in [
        ("etag", &*etag),
        ("content-length", &file.len().to_string()),
        ("content-type", "application/zip"),
        ("content-disposition", "attachment; filename=\"1.zip\""),
        ("accept-ranges", "bytes"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(sent.headers[header], value);
    }
}

#[tokio::test]
async fn a_head_says_what_there_is_and_sends_nothing() {
    let (host, file) = with_file().await;
    let sent = sent(&host.client, Method::HEAD, &[]).await;
    assert_eq!((sent.status, sent.body.len()), (200, 0));
    assert_eq!(sent.headers["content-length"], file.len().to_string());
}

#[tokio::test]
async fn a_part_of_a_file_is_sent_alone() {
    let (host, file) = with_file().await;
    let size = file.len();
    for (range, first, end) in
        [("bytes=0-9", 0, 10), ("bytes=10-", 10, size), ("bytes=-7", size - 7, size), ("bytes=5-999999999", 5, size)]
    {
        let sent = sent(&host.client, Method::GET, &[("range", range)]).await;
        assert_eq!((sent.status, &*sent.body), (206, &file[first..end]), "{range}");
        assert_eq!(sent.headers["content-range"], format!("bytes {first}-{}/{size}", end - 1));
        assert_eq!(sent.headers["content-length"], (end - first).to_string());
    }
}

#[tokio::test]
async fn a_range_that_is_none_or_several_gets_the_whole_file() {
    let (host, file) = with_file().await;
    for range in ["bytes=0-1,5-6", "bytes=x-y", "lines=1-2"] {
        let sent = sent(&host.client, Method::GET, &[("range", range)]).await;
        assert_eq!((sent.status, sent.body == file), (200, true), "{range}");
    }
}

#[tokio::test]
async fn a_part_that_a_file_does_not_have_is_refused() {
    let (host, file) = with_file().await;
    let request = host.client.request(Method::GET, MASTER).header("range", "bytes=99999-");
    let reply = host.client.send(request).await;
    assert_eq!((reply.status, &reply.body["code"]), (416, &json!("range-not-satisfiable")), "{reply}");
    assert_eq!(reply.header("content-range"), format!("bytes */{}", file.len()));
}

#[tokio::test]
async fn a_client_that_has_the_file_is_told_so() {
    let (host, file) = with_file().await;
    let etag = sent(&host.client, Method::HEAD, &[]).await.headers["etag"].to_str().unwrap().to_owned();
    for (headers, status) in [
        (vec![("if-none-match", &*etag)], 304),
        (vec![("if-none-match", "\"other\""), ("range", "bytes=0-1")], 206),
        (vec![("if-none-match", "*")], 304),
        (vec![("if-range", &*etag), ("range", "bytes=0-1")], 206),
        (vec![("if-range", "\"other\""), ("range", "bytes=0-1")], 200),
    ] {
        let sent = sent(&host.client, Method::GET, &headers).await;
        assert_eq!(sent.status, status, "{headers:?}");
        assert_eq!(
            sent.body.len(),
            match status {
                200 => file.len(),
                206 => 2,
                _ => 0,
            },
            "{headers:?}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_or_not_for_the_caller_is_not_sent() {
    let (host, _) = with_file().await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "2" })).await;
    for (path, detail) in [
        ("/app/shop/builds/1/packages/web", "package `web`"),
        ("/app/shop/builds/2/packages/master", "package `master`"),
        ("/app/shop/builds/3/packages/master", "build `3`"),
    ] {
        let reply = host.client.get(path).await;
        assert_eq!(reply.status, 404, "{reply}");
        assert!(reply.body["detail"].as_str().unwrap().starts_with(detail), "{reply}");
    }
    let permissions = json!({ "apps": { "blog": "read/write" } });
    let user = json!({ "username": "blogger", "password": PASSWORD, "permissions": permissions });
    assert_eq!(host.client.post("/global/users", &user).await.status, 201);
    let login = host.client.post("/global/tokens", &json!({ "username": "blogger", "password": PASSWORD })).await;
    let other = host.client.with_token(login.body["token"].as_str().unwrap());
    assert_eq!(sent(&other, Method::GET, &[]).await.status, 403);
}

#[tokio::test]
async fn a_package_map_makes_packages_of_an_upload() {
    let host = with_build(Setup::default()).await;
    let web = json!({ "patterns": ["web/**", "docs/*"], "remove_prefix": "web/", "prefix": "htdocs/" });
    let map = json!({ "name": "split", "packages": { "web": web, "rest": { "patterns": ["*"] } } });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    let file = tar_gz(&[("LICENSE", "Apache"), ("web/index.html", "<h1>Hello</h1>"), ("web/css/main.css", "h1 {}")]);
    let accepted = put(&host.client, &format!("{UPLOAD}?file_type=tar.gz&package_map=split"), file).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    let build = host.client.get("/app/shop/builds/1").await.body;
    assert_eq!((&build["file_count"], &build["files"]), (&json!(3), &json!(null)));
    let files = host.client.get("/app/shop/builds/1/files").await;
    let expected = json!({ "items": ["LICENSE", "web/css/main.css", "web/index.html"], "next": null });
    assert_eq!(files.body, expected, "{files}");
    assert_eq!((&build["packages"], &job["result"]["packages"]), (&job["result"]["packages"], &build["packages"]));
    for (package, paths) in
        [("rest", "LICENSE\nweb/\n"), ("web", "htdocs/css/\nhtdocs/css/main.css\nhtdocs/index.html\n")]
    {
        let described = &build["packages"][package];
        assert_eq!(described["filename"], format!("1-{package}.tar.gz"));
        let path = format!("/app/shop/builds/1/packages/{package}");
        let sent = host.client.request(Method::GET, &path).send().await.unwrap().bytes().await.unwrap();
        assert_eq!(
            (described["size_bytes"].as_u64(), &described["sha256"]),
            (Some(sent.len() as u64), &json!(Digest::of(&sent).hex()))
        );
        assert_eq!(paths_in(&sent), paths, "{package}");
    }
    let log = host.client.get(&format!("/job/{}/data", id(&accepted))).await;
    let noted: Vec<_> = log.body["items"].as_array().unwrap().iter().map(|entry| &entry["data"]).collect();
    let message = "in package `web` the pattern `docs/*` matches nothing";
    assert!(noted.contains(&&json!({ "status": "warning", "message": message })), "{log}");
    assert!(noted.iter().any(|data| data["status"] == "packaged" && data["package"] == "web" && data["files"] == 2));
}

#[tokio::test]
async fn a_package_with_nothing_in_it_fails_the_upload_and_leaves_the_build_free() {
    let host = with_build(Setup::default()).await;
    let map = json!({ "name": "split", "packages": { "web": { "patterns": ["web/**"] } } });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    let file = zip("index.html", b"<h1>Hello</h1>");
    let accepted = put(&host.client, &format!("{FILE}&package_map=split"), file.clone()).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("empty-package")), "{job:#}");
    assert_eq!(host.client.get("/app/shop/builds/1").await.body["stored"], false);
    let again = put(&host.client, FILE, file).await;
    assert_eq!(host.ended_job(id(&again)).await["status"], "succeeded");
}

#[tokio::test]
async fn packages_of_an_upload_are_bounded_together() {
    let host = with_build(Setup::default().flag("--upload-packages-factor", 2)).await;
    let packages: serde_json::Map<_, _> =
        (0..30).map(|number| (format!("copy-{number}"), json!({ "patterns": ["**"] }))).collect();
    let map = json!({ "name": "copies", "packages": packages });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    let accepted = put(&host.client, &format!("{FILE}&package_map=copies"), zip("a", &[7; 1_000_000])).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("invalid-archive")), "{job:#}");
    assert!(job["error"]["message"].as_str().unwrap().contains("more than 16777216 bytes together"), "{job:#}");
}

#[tokio::test]
async fn an_archive_that_is_not_sound_fails_the_upload_and_leaves_the_build_free() {
    let host = with_build(Setup::default().flag("--upload-unpacked-bytes", 1_000_000)).await;
    let bomb = tar_gz(&[("bomb", &"0".repeat(2_000_000))]);
    for (file, file_type, why) in [
        (zip("../evil", b"x"), "zip", "`../evil` has `.` or `..` in its path"),
        (zip(".git/config", b"x"), "zip", "git keeps its own files"),
        (zip("a", b"x")[..40].to_vec(), "zip", "damaged or cut off"),
        (bomb, "tar.gz", "unpacks to more than 1000000 bytes"),
    ] {
        let accepted = put(&host.client, &format!("{UPLOAD}?file_type={file_type}"), file).await;
        let job = host.ended_job(id(&accepted)).await;
        assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("invalid-archive")), "{job:#}");
        assert!(job["error"]["message"].as_str().unwrap().contains(why), "{why}: {job:#}");
    }
    let good = put(&host.client, FILE, zip("a", b"x")).await;
    assert_eq!(host.ended_job(id(&good)).await["status"], "succeeded");
}

struct Sent {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What comes of asking for the master package.
async fn sent(client: &Client, method: Method, headers: &[(&str, &str)]) -> Sent {
    let request =
        headers.iter().fold(client.request(method, MASTER), |request, (name, value)| request.header(*name, *value));
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Sent { status, headers, body: response.bytes().await.unwrap().into() }
}

/// A build with a file.
async fn with_file() -> (TestHost, Vec<u8>) {
    let host = with_build(Setup::default()).await;
    let file = zip("index.html", b"<h1>Hello</h1>");
    let accepted = put(&host.client, FILE, file.clone()).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    (host, file)
}

/// An archive of these files.
fn tar_gz(files: &[(&str, &str)]) -> Vec<u8> {
    let tree = tempfile::tempdir().unwrap();
    for (path, content) in files {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let tar = Command::new("tar").args(["--sort=name", "-czf", "-", "."]).current_dir(&tree).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    tar.stdout
}

/// The paths in an archive, a line each, sorted.
fn paths_in(archive: &[u8]) -> String {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(archive).unwrap();
    let tar = Command::new("tar").arg("-tzf").arg(file.path()).output().unwrap();
    assert!(tar.status.success(), "{tar:?}");
    let mut paths: Vec<_> = std::str::from_utf8(&tar.stdout).unwrap().lines().map(|path| format!("{path}\n")).collect();
    paths.sort();
    paths.concat()
}
