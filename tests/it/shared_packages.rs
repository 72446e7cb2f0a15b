//! Packages of an application that are equal are stored once, and each build can be removed without the others.

use std::fs::File;
use std::time::{Duration, SystemTime};

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::Executor as _;

use crate::harness::{Setup, TestHost, eventually};
use crate::uploads::{files_in, id, put, zip};

#[tokio::test]
async fn packages_that_are_equal_are_stored_once_and_go_with_the_last_build() {
    let host = with_map(Setup::default().plugins(&["build-manifest"]), "my_application").await;
    let file = zip("web/index.html", b"<h1>");
    let first = upload(&host, "my_application", "1", &file).await;
    let expected = names(&host).await;
    assert_eq!(expected, ["1-web.zip", "1-web.zip.tree", "1.zip", "1.zip.tree"]);
    let second = upload(&host, "my_application", "2", &file).await;
    assert_eq!(names(&host).await, expected, "nothing is stored again");
    for job in [&first, &second] {
        assert_eq!(job["result"]["hooks"][0]["error"], Value::Null, "its hook has read the files: {job:#}");
    }
    let build = host.client.get("/app/my_application/builds/2").await.body;
    assert_eq!(build["packages"]["web"]["filename"], "2-web.zip", "each has its own names: {build:#}");
    let package = download(&host, "my_application", "1", "web").await;
    for (name, bytes) in [("master", &file), ("web", &package)] {
        assert!(download(&host, "my_application", "2", name).await == *bytes, "{name} of build 2");
    }

    assert_eq!(host.client.delete("/app/my_application/builds/1").await.status, 204);
    assert_eq!(names(&host).await, expected, "build 2 has them still");
    for (name, bytes) in [("master", &file), ("web", &package)] {
        assert!(download(&host, "my_application", "2", name).await == *bytes, "{name} of build 2");
    }
    upload(&host, "my_application", "3", &file).await;
    assert_eq!(names(&host).await, expected, "a third one has them from the second");
    assert_eq!(host.client.delete("/app/my_application/builds/2").await.status, 204);
    assert!(download(&host, "my_application", "3", "web").await == package);
    assert_eq!(host.client.delete("/app/my_application/builds/3").await.status, 204);
    assert!(host.stored_files().await.is_empty(), "nothing is left");
}

#[tokio::test]
async fn a_file_that_was_lost_comes_back_with_an_equal_one() {
    let host = with_map(Setup::default(), "shop").await;
    let file = zip("web/index.html", b"<h1>");
    upload(&host, "shop", "1", &file).await;
    let package = download(&host, "shop", "1", "web").await;
    for stored in files_in(&host.storage_dir().join("builds")) {
        std::fs::remove_file(stored).unwrap();
    }
    upload(&host, "shop", "2", &file).await;
    for build in ["1", "2"] {
        for (name, bytes) in [("master", &file), ("web", &package)] {
            assert!(download(&host, "shop", build, name).await == *bytes, "{name} of build {build}");
        }
    }
    assert_eq!(names(&host).await, ["1-web.zip", "1-web.zip.tree", "1.zip", "1.zip.tree"], "each is there once");
}

#[tokio::test]
async fn another_application_has_its_own() {
    let host = with_map(Setup::default(), "shop").await;
    host.create_application("blog").await;
    let file = zip("web/index.html", b"<h1>");
    upload(&host, "shop", "1", &file).await;
    let path = "/app/blog/builds/1/file?create=true";
    let accepted = put(&host.client, path, file.clone()).await;
    assert_eq!(host.ended_job(id(&accepted)).await["status"], "succeeded");
    assert_eq!(names(&host).await.iter().filter(|name| *name == "1.zip").count(), 2);
    assert_eq!(host.client.delete("/app/shop/builds/1").await.status, 204);
    assert!(download(&host, "blog", "1", "master").await == file);
}

#[tokio::test]
async fn old_builds_are_pruned_and_what_others_share_with_them_stays() {
    let host = with_map(Setup::default(), "shop").await;
    let file = zip("web/index.html", b"<h1>");
    for build in ["1", "2", "3"] {
        upload(&host, "shop", build, &file).await;
    }
    let expected = names(&host).await;
    let accepted = host.client.delete("/app/shop/builds?keep_last=1").await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["result"]["removed"], json!(["1", "2"]), "{job:#}");
    assert_eq!(names(&host).await, expected);
    assert!(download(&host, "shop", "3", "master").await == file);
}

#[tokio::test]
async fn builds_that_come_while_equal_ones_go_keep_their_files() {
    let host = with_map(Setup::default(), "shop").await;
    let file = zip("web/index.html", b"<h1>");
    upload(&host, "shop", "0", &file).await;
    for round in 0..12 {
        let (before, now) = (round.to_string(), (round + 1).to_string());
        let gone = async {
            tokio::time::sleep(Duration::from_millis(17 * round)).await;
            host.client.delete(&format!("/app/shop/builds/{before}")).await
        };
        let (_, gone) = tokio::join!(upload(&host, "shop", &now, &file), gone);
        assert_eq!(gone.status, 204, "{gone}");
        assert!(download(&host, "shop", &now, "master").await == file, "build {now}");
        assert_eq!(download(&host, "shop", &now, "web").await[..2], *b"PK", "build {now}");
    }
    assert_eq!(host.client.delete("/app/shop/builds/12").await.status, 204);
    assert_eq!(names(&host).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_is_shared_is_not_swept_though_the_build_that_stored_it_is_gone() {
    let host = with_map(Setup::default(), "shop").await;
    let file = zip("web/index.html", b"<h1>");
    let job = upload(&host, "shop", "1", &file).await;
    // The upload was long ago.
    let began = "01890000-0000-7000-8000-000000000002";
    let builds = host.storage_dir().join("builds");
    std::fs::rename(builds.join(job["job_id"].as_str().unwrap()), builds.join(began)).unwrap();
    let move_it = format!("update builds set upload = '{began}'");
    host.database.connect().await.execute(sqlx::AssertSqlSafe(move_it)).await.unwrap();
    upload(&host, "shop", "2", &file).await;
    assert_eq!(host.client.delete("/app/shop/builds/1").await.status, 204);
    let expected = names(&host).await;
    std::fs::write(builds.join(began).join("stray.part"), "PK").unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(25 * 3600);
    let folders = std::fs::read_dir(builds.join(began)).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<_> = folders.filter(|path| path.is_dir()).chain([builds.join(began)]).collect();
    for path in files_in(&builds.join(began)).into_iter().chain(folders) {
        File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let host = host.restart().await;
    eventually("the stray file to be swept", async || (names(&host).await == expected).then_some(())).await;
    assert!(download(&host, "shop", "2", "master").await == file);
}

/// A server with an application that has the package map `web`.
async fn with_map(setup: Setup, application: &str) -> TestHost {
    let host = setup.start().await;
    host.create_application(application).await;
    let map = json!({ "name": "web", "packages": { "web": { "patterns": ["web/**"], "remove_prefix": "web/" } } });
    assert_eq!(host.client.post(&format!("/app/{application}/packagemaps"), &map).await.status, 201);
    host
}

/// The job, which has succeeded.
async fn upload(host: &TestHost, application: &str, build: &str, file: &[u8]) -> Value {
    let path = format!("/app/{application}/builds/{build}/file?create=true&package_map=web");
    let accepted = put(&host.client, &path, file.to_vec()).await;
    let job = host.ended_job(id(&accepted)).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    job
}

async fn download(host: &TestHost, application: &str, build: &str, package: &str) -> Vec<u8> {
    let path = format!("/app/{application}/builds/{build}/packages/{package}");
    let reply = host.client.request(Method::GET, &path).send().await.unwrap();
    assert_eq!(reply.status(), 200, "{path}");
    reply.bytes().await.unwrap().to_vec()
}

/// The names of all files that are stored, in order, but those of manifests: each build has another one.
async fn names(host: &TestHost) -> Vec<String> {
    let files = host.stored_files().await;
    let mut names: Vec<_> = files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.contains("manifest"));
    names.sort();
    names
}
