//! Links and executable bits, from an archive to a server: through the package of a map, its commit and the pull.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::commits::{committed, with_provider};
use crate::harness::{Elita, Setup, eventually};
use crate::uploads::{id, put};
use crate::working_copies::{on, sh};

/// Prints what each of these is on a server.
const LOOK: &str = "cd shop && readlink node_modules/.bin/tool lib/libfoo.so Versions/Current && \
    node_modules/.bin/tool && cat lib/libfoo.so && ls Versions/Current/ && test -x run && test ! -x plain && \
    test ! -x lib/libfoo.so.1 && test ! -e ../x && echo as it was";

/// Packs a folder as a zip, which cannot have links where it is written to a pipe.
const ZIP: &str = "made=$(mktemp -u).zip; zip -qry $made . && cat $made && rm $made";

fn tree() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, content: &str, mode: u32| {
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, content).unwrap();
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let link = |path: &str, target: &str| {
        let link = folder.path().join(path);
        std::fs::create_dir_all(link.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, link).unwrap();
    };
    write("node_modules/tool/cli.sh", "#!/bin/sh\necho a tool\n", 0o755);
    link("node_modules/.bin/tool", "../tool/cli.sh");
    write("lib/libfoo.so.1", "a library\n", 0o644);
    link("lib/libfoo.so", "libfoo.so.1");
    write("Versions/A/Headers", "x", 0o644);
    link("Versions/Current", "A");
    write("run", "#!/bin/sh\n", 0o755);
    write("plain", "x", 0o644);
    folder
}

/// What is in a folder, as a build step would pack it.
fn packed(folder: &Path, pack: &str) -> Vec<u8> {
    let made = Command::new("sh").args(["-ec", pack]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "{made:?}");
    made.stdout
}

#[tokio::test]
async fn links_and_executable_bits_arrive_on_a_server_as_they_were() {
    let host = with_provider(Setup::default().switch("--local-servers")).await;
    let map = json!({ "name": "map", "packages": { "all": { "patterns": ["**"] } } });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    let repository = json!({ "name": "site", "gitprovider": "own" });
    assert_eq!(host.client.post("/app/shop/gitrepos", &repository).await.status, 201);
    eventually("the repository to be ready", async || {
        (host.client.get("/app/shop/gitrepos/site").await.body["state"] == "ready").then_some(())
    })
    .await;
    let location = json!({ "path": "/shop", "gitrepo": "site" });
    let gitdeploy = json!({ "name": "web", "package": "all", "location": location });
    assert_eq!(host.client.post("/app/shop/gitdeploys", &gitdeploy).await.status, 201);
    let server = json!({ "name": "web1", "environment": "test", "driver": "local" });
    assert_eq!(host.client.post("/server", &server).await.status, 201);
    let initialized = on(&host, "initialize", &["web1"]).await;
    assert_eq!(initialized["status"], "succeeded", "{initialized:#}");

    let folder = tree();
    for (build, file_type, pack) in [
        ("1", "zip", ZIP),
        ("2", "tar", "tar -c ."),
        ("3", "tar.gz", "tar -cz ."),
        ("4", "tar.bz2", "tar -cj ."),
        ("5", "tar.xz", "tar -cJ ."),
        ("6", "tar.zst", "tar -c . | zstd -qc"),
    ] {
        // Something of its own, so that each of them is a commit.
        std::fs::write(folder.path().join("of"), file_type).unwrap();
        let path = format!("/app/shop/builds/{build}/file?create=true&file_type={file_type}&package_map=map");
        let accepted = put(&host.client, &path, packed(folder.path(), pack)).await;
        let job = host.ended_job(id(&accepted)).await;
        assert_eq!(job["status"], "succeeded", "{file_type}: {job:#}");
        committed(&host, build).await;
        let pulled = on(&host, "pull", &["web1"]).await;
        assert_eq!(pulled["status"], "succeeded", "{file_type}: {pulled:#}");
        assert_eq!(
            sh(&host, "web1", &format!("{LOOK}; cat of")).await,
            format!("../tool/cli.sh\nlibfoo.so.1\nA\na tool\na library\nHeaders\nas it was\n{file_type}"),
            "{file_type}"
        );
    }
}

#[tokio::test]
async fn packages_of_java_and_others_are_taken_by_the_ends_of_their_names() {
    let host = Setup::default().start().await;
    host.create_application("shop").await;
    let elita = Elita::of(&host);
    let folder = tree();
    for (build, name, pack, file_type) in [
        ("1", "shop.war", ZIP, "zip"),
        ("2", "shop.ear", ZIP, "zip"),
        ("3", "shop.crate", "tar -cz .", "tar.gz"),
        ("4", "shop.tar.zstd", "tar -c . | zstd -qc", "tar.zst"),
        ("5", "shop.gem", "tar -c .", "tar"),
    ] {
        std::fs::write(elita.home().join(name), packed(folder.path(), pack)).unwrap();
        let uploaded = elita.run(&["upload", "shop", build, name]).await;
        assert_eq!(uploaded.code, 0, "{name}: {uploaded}");
        let shown = host.client.get(&format!("/app/shop/builds/{build}")).await.body;
        assert_eq!(shown["packages"]["master"]["file_type"], file_type, "{name}: {shown:#}");
    }
    for file_type in ["war", "ear"] {
        let path = format!("/app/shop/builds/by-{file_type}/file?create=true&file_type={file_type}");
        let accepted = put(&host.client, &path, packed(folder.path(), ZIP)).await;
        assert_eq!(host.ended_job(id(&accepted)).await["status"], "succeeded", "{accepted}");
    }
}

#[tokio::test]
async fn memory_stays_bounded_however_many_packages_a_map_makes() {
    let host = Setup::default().flag("--role", "api").start().await;
    host.create_application("shop").await;
    let package =
        |number: usize| (format!("p{number}"), json!({ "patterns": ["**"], "prefix": format!("in-{number}/") }));
    let packages: serde_json::Map<_, _> = (0..9).map(package).collect();
    let map = json!({ "name": "all", "packages": packages });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    let stopped = host.stop().await.with_flag("--role", "all");
    let mut program = stopped.start_program();
    let (_, client) = program.ready(&stopped.database.token).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let script = "import sys, tarfile\nwith tarfile.open(sys.argv[1], 'w') as t:\n    \
                  for n in range(110000): t.addfile(tarfile.TarInfo(f'tree/directory-{n % 100}/some-file-{n:06}.html'))";
    assert!(Command::new("python3").args(["-c", script]).arg(file.path()).status().unwrap().success());
    let before = program.peak_memory_kib();
    let path = "/app/shop/builds/1/file?create=true&file_type=tar&package_map=all";
    let accepted = put(&client, path, std::fs::read(file.path()).unwrap()).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    let job = loop {
        let job = client.get(&format!("{}?wait=60", accepted.header("location"))).await.body;
        if job["status"] != "queued" && job["status"] != "running" {
            break job;
        }
    };
    assert_eq!(job["result"]["packages"].as_object().map(|packages| packages.len()), Some(10), "{job:#}");
    let grown = (program.peak_memory_kib() - before) / 1024;
    assert!(grown < 256, "nine packages of 110,000 files made it grow by {grown} MiB");
}
