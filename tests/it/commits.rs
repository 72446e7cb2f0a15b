//! Packages of builds become commits of a repository: by real git, in real repositories on this machine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{Elita, Reply, Setup, TestHost, eventually};
use crate::uploads::put;
use crate::working_copies::{on, sh, with_servers};

const SITE: &str = "/app/shop/gitrepos/site";
const WEB: &str = "/app/shop/gitdeploys/web";

/// The files of a build, by their paths.
type Files<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn a_repository_is_made_by_a_job_and_removed_with_what_is_in_it() {
    let host = with_provider(Setup::default()).await;
    let new = json!({ "name": "site", "gitprovider": "own" });
    let created = host.client.post("/app/shop/gitrepos", &new).await;
    assert_eq!((created.status, &created.body["state"]), (201, &json!("creating")), "{created}");
    let job = host.ended_job(created.body["job_id"].as_str().unwrap()).await;
    assert_eq!((&job["status"], &job["job_type"]), (&json!("succeeded"), &json!("gitrepo")), "{job}");
    let ready = host.client.get(SITE).await.body;
    assert_eq!(ready["state"], "ready");
    let path = PathBuf::from(ready["uri"].as_str().unwrap());
    assert!(path.starts_with(host.data_dir().canonicalize().unwrap()), "{ready}");
    assert_eq!(git(&path, &["rev-parse", "--is-bare-repository"]), "true");

    let removing = host.client.delete(&format!("{SITE}?delete=true")).await;
    assert_eq!(removing.status, 202, "{removing}");
    let job = host.ended_job(removing.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    assert_eq!(host.client.get(SITE).await.status, 404);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_repository_is_made_only_where_that_can_be_done() {
    let host = with_provider(Setup::default()).await;
    let hub = json!({ "name": "hub", "type": "gitea", "base_url": "https://git.example.com" });
    host.client.post("/global/gitproviders", &hub).await;
    for (new, fault) in [
        (json!({ "name": "site" }), "/gitprovider"),
        (json!({ "name": "site", "gitprovider": "nowhere" }), "/gitprovider"),
        (json!({ "name": "site", "gitprovider": "hub" }), "/gitprovider"),
        (json!({ "name": "site", "gitprovider": "own", "uri": "/srv/x.git" }), "/uri"),
    ] {
        let refused = host.client.post("/app/shop/gitrepos", &new).await;
        assert_eq!(refused.fault(), (422, fault), "{new}: {refused}");
    }
}

#[tokio::test]
async fn a_package_becomes_the_tree_of_the_branch() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    upload(&host, "1", &[("a.txt", "one\n"), ("bin/run", "#!/bin/sh\n"), ("gone", "x\n")]).await;
    let first = committed(&host, "1").await;
    assert_eq!(first["is_new"], true, "{first}");
    upload(&host, "2", &[("a.txt", "one\ntwo\n"), ("bin/run", "#!/bin/sh\n"), ("new/b", "y\n")]).await;
    let second = committed(&host, "2").await;

    let repo = repository(&host).await;
    assert_eq!(git(&repo, &["ls-tree", "-r", "--name-only", "master"]), "a.txt\nbin/run\nnew/b");
    assert_eq!(git(&repo, &["show", "master:a.txt"]), "one\ntwo");
    assert_eq!(git(&repo, &["rev-parse", "master"]), second["commit"]);
    assert_eq!(git(&repo, &["rev-parse", "master^"]), first["commit"]);
    git(&repo, &["fsck", "--strict"]);
    let message = git(&repo, &["log", "-1", "--format=%B", "master"]);
    for line in ["Elita-Build: 2", "Elita-Package: master", "Elita-Gitdeploy: web", "Elita-User: admin"] {
        assert!(message.lines().any(|found| found == line), "{message}");
    }
    let shown = host.client.get(SITE).await.body;
    assert_eq!((&shown["last_build"], &shown["last_commit"]), (&json!("2"), &second["commit"]));
}

#[tokio::test]
async fn what_the_branch_has_already_is_not_committed_again() {
    let host = with_gitdeploy(Setup::default(), &json!({ "gitignore": ["*.log"] })).await;
    upload(&host, "1", &[("a", "1")]).await;
    upload(&host, "2", &[("a", "1")]).await;
    let first = committed(&host, "1").await;
    let second = committed(&host, "2").await;
    assert_eq!((&second["commit"], &second["is_new"]), (&first["commit"], &json!(false)));
    assert_eq!(git(&repository(&host).await, &["rev-list", "--count", "master"]), "1");
}

#[tokio::test]
async fn modes_and_links_are_kept() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("run", "#!/bin/sh\n"), ("plain", "x"), ("d/e", "y")]);
    std::fs::set_permissions(folder.path().join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("d/e", folder.path().join("link")).unwrap();
    std::fs::hard_link(folder.path().join("d/e"), folder.path().join("d/f")).unwrap();
    for (build, file_type) in [("1", "tar.gz"), ("2", "tar"), ("3", "zip")] {
        upload_file(&host, build, file_type, packed(folder.path(), file_type)).await;
        committed(&host, build).await;
        let repo = repository(&host).await;
        let tree = git(&repo, &["ls-tree", "-r", "--format=%(objectmode) %(path)", "master"]);
        assert_eq!(tree, "100644 d/e\n100644 d/f\n120000 link\n100644 plain\n100755 run", "{file_type}");
        assert_eq!(git(&repo, &["rev-parse", "master^{tree}"]), written_tree(folder.path()), "{file_type}");
    }
}

#[tokio::test]
async fn a_gitignore_of_the_package_hides_nothing_and_gets_the_gitdeploys_lines() {
    let host = with_gitdeploy(Setup::default(), &json!({ "gitignore": ["*.log", "/run"] })).await;
    upload(&host, "1", &[(".gitignore", "node_modules/"), ("node_modules/a.js", "1"), ("b", "2")]).await;
    committed(&host, "1").await;
    let repo = repository(&host).await;
    assert_eq!(git(&repo, &["show", "master:.gitignore"]), "node_modules/\n*.log\n/run");
    assert_eq!(git(&repo, &["show", "master:node_modules/a.js"]), "1");
    upload(&host, "2", &[("b", "3")]).await;
    committed(&host, "2").await;
    assert_eq!(git(&repo, &["show", "master:.gitignore"]), "*.log\n/run");
}

#[tokio::test]
async fn a_package_that_a_map_makes_is_committed() {
    let host = with_provider(Setup::default()).await;
    make_repository(&host).await;
    let map = json!({ "name": "map", "packages": { "web": { "patterns": ["web/**"], "remove_prefix": "web/" } } });
    assert_eq!(host.client.post("/app/shop/packagemaps", &map).await.status, 201);
    make_gitdeploy(&host, "web", &json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("web/index.html", "hi"), ("web/css/a.css", "x"), ("server/main", "y")]);
    for file_type in ["zip", "tar.gz"] {
        let build = format!("of-{file_type}");
        host.client.post("/app/shop/builds", &json!({ "build_name": build })).await;
        let path = format!("/app/shop/builds/{build}/file?file_type={file_type}&package_map=map");
        let accepted = put(&host.client, &path, packed(folder.path(), file_type)).await;
        host.ended_job(accepted.body["job_id"].as_str().unwrap()).await;
        committed(&host, &build).await;
        let repo = repository(&host).await;
        assert_eq!(git(&repo, &["ls-tree", "-r", "--name-only", "master"]), "css/a.css\nindex.html", "{file_type}");
    }
}

#[tokio::test]
async fn a_package_whose_tree_was_not_kept_is_read_once_more() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    upload(&host, "1", &[("a", "1"), ("b/c", "2")]).await;
    let trees = || all_files(&host.storage_dir()).into_iter().filter(|file| file.ends_with(".tree"));
    let kept: Vec<_> = trees().collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    let content = std::fs::read(&kept[0]).unwrap();
    std::fs::remove_file(&kept[0]).unwrap();
    committed(&host, "1").await;
    assert_eq!(git(&repository(&host).await, &["ls-tree", "-r", "--name-only", "master"]), "a\nb/c");
    assert_eq!(std::fs::read(&kept[0]).unwrap(), content);
}

#[tokio::test]
async fn what_stands_in_the_way_of_a_commit_is_said() {
    let host = with_provider(Setup::default()).await;
    let missing = host.client.post(WEB, &json!({ "commit": true, "build_name": "1" })).await;
    assert_eq!(missing.status, 404, "{missing}");
    make_repository(&host).await;
    make_gitdeploy(&host, "master", &json!({})).await;
    host.client.post("/app/shop/builds", &json!({ "build_name": "1" })).await;
    for (body, status, detail) in [
        (json!({ "commit": true, "build_name": "2" }), 404, "build `2`"),
        (json!({ "commit": true, "build_name": "1" }), 404, "package `master`"),
        (json!({ "commit": false, "build_name": "1" }), 422, "commit"),
        (json!({ "build_name": "1" }), 422, "commit"),
    ] {
        let refused = host.client.post(WEB, &body).await;
        assert_eq!(refused.status, status, "{body}: {refused}");
        assert!(refused.body["detail"].as_str().unwrap().contains(detail), "{body}: {refused}");
    }
    let reader = host.guest(&json!({ "apps": { "shop": "read" } })).await;
    assert_eq!(reader.post(WEB, &json!({ "commit": true, "build_name": "1" })).await.status, 403);
}

#[tokio::test]
async fn a_repository_that_is_gone_fails_the_commit_and_says_so() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    upload(&host, "1", &[("a", "1")]).await;
    std::fs::remove_dir_all(repository(&host).await).unwrap();
    let job = commit(&host, "1").await;
    assert_eq!((&job["status"], &job["error"]["code"]), (&json!("failed"), &json!("git-failed")), "{job}");
    assert!(!job.to_string().contains(&*host.data_dir().display().to_string()), "{job}");
}

#[tokio::test]
async fn hostile_settings_of_the_machine_and_of_the_repository_do_nothing() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    upload(&host, "1", &[("a", "1"), (".gitattributes", "* filter=evil text eol=crlf\n")]).await;
    let repo = repository(&host).await;
    let canary = host.data_dir().join("canary");
    let touch = format!("#!/bin/sh\ntouch {}\n", canary.display());
    std::fs::create_dir_all(repo.join("hooks")).unwrap();
    for hook in ["reference-transaction", "post-update", "pre-auto-gc", "post-commit"] {
        let file = repo.join("hooks").join(hook);
        std::fs::write(&file, &touch).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    committed(&host, "1").await;
    assert_eq!(host.client.get(&format!("{SITE}/log")).await.status, 200);
    assert_eq!(host.client.get(&format!("{SITE}/diff")).await.status, 200);
    assert!(!canary.exists());
}

#[tokio::test]
async fn log_and_diff_show_what_was_committed() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let empty = host.client.get(&format!("{SITE}/log")).await;
    assert_eq!((empty.status, &empty.body["items"]), (200, &json!([])), "{empty}");
    upload(&host, "1", &[("a", "1\n"), ("b", "1\n")]).await;
    upload(&host, "2", &[("a", "1\n2\n"), ("c", "1\n")]).await;
    let (first, second) = (committed(&host, "1").await, committed(&host, "2").await);
    let log = host.client.get(&format!("{SITE}/log?limit=1")).await;
    let newest = &log.body["items"][0];
    assert_eq!((&newest["commit"], &newest["build_name"]), (&second["commit"], &json!("2")), "{log}");
    assert_eq!((&newest["username"], &newest["package"]), (&json!("admin"), &json!("master")), "{log}");
    let next = host.client.get(&format!("{SITE}/log?after={}", log.body["next"].as_str().unwrap())).await;
    assert_eq!((&next.body["items"][0]["commit"], &next.body["next"]), (&first["commit"], &Value::Null), "{next}");
    let diff = host.client.get(&format!("{SITE}/diff")).await;
    assert_eq!(
        diff.body["items"],
        json!([
            { "path": "a", "status": "modified", "binary": false, "insertions": 1, "deletions": 0 },
            { "path": "b", "status": "deleted", "binary": false, "insertions": 0, "deletions": 1 },
            { "path": "c", "status": "added", "binary": false, "insertions": 1, "deletions": 0 },
        ]),
        "{diff}"
    );
    let back = format!("{SITE}/diff?from=master&to={}&limit=1", first["commit"].as_str().unwrap());
    let back = host.client.get(&back).await;
    assert_eq!((back.items("path"), &back.body["next"]), (vec!["a"], &json!("a")), "{back}");
    for query in ["log?branch=nowhere", "log?branch=--all", "log?branch=master~1", "diff?to=0123", "diff?from=x%20y"] {
        assert_eq!(host.client.get(&format!("{SITE}/{query}")).await.status, 422, "{query}");
    }
    let elita = Elita::of(&host);
    let said = elita.run(&["gitrepo", "log", "shop", "site"]).await;
    assert!(said.code == 0 && said.stdout.contains("Build 2 of shop"), "{said}");
    let said = elita.run(&["gitrepo", "diff", "shop", "site"]).await;
    assert!(said.code == 0 && said.stdout.contains("modified\t1\t0\ta"), "{said}");
}

#[tokio::test]
async fn the_client_makes_repositories_and_commits() {
    let host = with_provider(Setup::default()).await;
    let elita = Elita::of(&host);
    let said = elita.run(&["gitrepo", "create", "shop", "site", "--gitprovider", "own"]).await;
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(host.client.get(SITE).await.body["state"], "ready");
    make_gitdeploy(&host, "master", &json!({})).await;
    upload(&host, "1", &[("a", "1")]).await;
    let said = elita.run(&["gitdeploy", "commit", "shop", "web", "1"]).await;
    assert!(said.code == 0 && said.stdout.contains("\"is_new\""), "{said}");
    host.client.delete(WEB).await;
    let said = elita.run(&["gitrepo", "delete", "shop", "site", "--with-files", "--yes"]).await;
    assert_eq!(said.code, 0, "{said}");
    assert_eq!(host.client.get(SITE).await.status, 404);
}

#[tokio::test]
async fn a_commit_that_waits_for_a_place_for_archives_leaves_its_slot_to_others() {
    // Two of the four slots are for commits and their like, and an application may have one of them.
    let host = with_provider(Setup::default().flag("--upload-archives", 1).flag("--plugin-runs", 4)).await;
    host.create_application("blog").await;
    let mut uploads = Vec::new();
    for application in ["shop", "blog"] {
        let location = json!({ "path": format!("/srv/{application}"), "gitrepo": "site" });
        let gitdeploy = json!({ "name": "web", "package": "master", "location": location });
        for (path, new) in [("gitrepos", json!({ "name": "site", "gitprovider": "own" })), ("gitdeploys", gitdeploy)] {
            let created = host.client.post(&format!("/app/{application}/{path}"), &new).await;
            assert_eq!(created.status, 201, "{created}");
            if let Some(job) = created.body["job_id"].as_str() {
                host.ended_job(job).await;
            }
        }
        let path = format!("/app/{application}/builds/1/file?file_type=tar.gz&create=true");
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("a", application)]);
        let accepted = put(&host.client, &path, packed(folder.path(), "tar.gz")).await;
        let upload = accepted.body["job_id"].as_str().unwrap().to_owned();
        assert_eq!(host.ended_job(&upload).await["status"], "succeeded");
        uploads.push(upload);
    }
    // Both packages have to be read once more, and the first one does not end for as long as this test has it.
    let files = all_files(&host.storage_dir());
    for tree in files.iter().filter(|file| file.ends_with(".tree")) {
        std::fs::remove_file(tree).unwrap();
    }
    let endless = files.iter().find(|file| file.contains(&uploads[0]) && file.ends_with(".gz")).unwrap();
    std::fs::remove_file(endless).unwrap();
    assert!(Command::new("mkfifo").arg(endless).status().unwrap().success());
    let held = std::fs::OpenOptions::new().read(true).write(true).open(endless).unwrap();

    let mut jobs = Vec::new();
    for application in ["shop", "blog"] {
        let asked = json!({ "commit": true, "build_name": "1" });
        let accepted = host.client.post(&format!("/app/{application}/gitdeploys/web"), &asked).await;
        let job = accepted.body["job_id"].as_str().unwrap().to_owned();
        eventually("the package to be read", async || {
            let running = host.running_job(&job).await;
            running.body["job_data"].to_string().contains("read 1 master").then_some(())
        })
        .await;
        jobs.push(job);
    }
    host.create_application("wiki").await;
    let created = host.client.post("/app/wiki/gitrepos", &json!({ "name": "site", "gitprovider": "own" })).await;
    let job = host.ended_job(created.body["job_id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    for job in &jobs {
        assert_eq!(host.client.get(&format!("/job/{job}")).await.body["status"], "running");
    }
    drop(held);
    assert_eq!(host.ended_job(&jobs[0]).await["error"]["code"], "invalid-archive");
    assert_eq!(host.ended_job(&jobs[1]).await["status"], "succeeded");
}

#[tokio::test]
async fn one_job_at_a_time_works_on_a_repository() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    for build in 1..=6 {
        upload(&host, &build.to_string(), &[("a", &build.to_string())]).await;
    }
    let mut jobs = Vec::new();
    for build in 1..=6 {
        let accepted = host.client.post(WEB, &json!({ "commit": true, "build_name": build.to_string() })).await;
        jobs.push(accepted.body["job_id"].as_str().unwrap().to_owned());
    }
    let mut said = String::new();
    for job in &jobs {
        let job = host.ended_job(job).await;
        assert_eq!(job["status"], "succeeded", "{job}");
        said += &job["job_data"].to_string();
    }
    // Who waits says for whom.
    let named = jobs
        .iter()
        .any(|job| said.contains(&format!("waits for job {job} (`web`), which works on git repository `site`")));
    assert!(named, "{said}");
    let repo = repository(&host).await;
    assert_eq!(git(&repo, &["rev-list", "--count", "--first-parent", "master"]), "6");
    git(&repo, &["fsck", "--strict"]);
}

#[tokio::test]
async fn what_a_killed_git_has_left_is_cleaned_away_before_the_next_commit() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let repo = repository(&host).await;
    for (build, left) in [("1", "refs/heads/master.lock"), ("2", "objects/pack/tmp_pack_x"), ("3", "packed-refs.lock")]
    {
        upload(&host, build, &[("a", build)]).await;
        std::fs::write(repo.join(left), "").unwrap();
        committed(&host, build).await;
        assert!(!repo.join(left).exists(), "{left}");
    }
    assert_eq!(git(&repo, &["rev-list", "--count", "master"]), "3");
}

#[tokio::test]
async fn what_others_have_put_into_a_branch_leads_nowhere_and_goes_with_the_next_commit() {
    let host = with_servers(&["web1"], &json!({})).await;
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    let repo = repository(&host).await;
    let canary = host.data_dir().join("canary");
    // A submodule whose URL is a command, a link to the git directory, and attributes that ask for a filter.
    let script = format!(
        "export GIT_INDEX_FILE=hostile && git read-tree master && blob() {{ git hash-object -w --stdin; }} && \
         modules=$(printf '[submodule \"sub\"]\\npath=sub\\nurl=ext::sh -c touch%% {0}\\nupdate=!touch {0}\\n' | blob) && \
         attributes=$(echo '* filter=evil' | blob) && link=$(printf .git/hooks | blob) && \
         git update-index --add --cacheinfo 160000,$(git rev-parse master),sub --cacheinfo 100644,$modules,.gitmodules \
         --cacheinfo 100644,$attributes,.gitattributes --cacheinfo 120000,$link,hooks && \
         git update-ref refs/heads/master $(git -c user.name=x -c user.email=x@y commit-tree -p master -m x $(git write-tree))",
        canary.display()
    );
    assert!(Command::new("sh").args(["-c", &script]).current_dir(&repo).status().unwrap().success());
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(sh(&host, "web1", "ls -A shop/sub; readlink shop/hooks; ls shop/.git/modules").await, ".git/hooks");
    assert_eq!(host.client.get(&format!("{SITE}/diff")).await.status, 200);
    upload(&host, "2", &[("a", "2"), ("hooks/x", "2")]).await;
    committed(&host, "2").await;
    assert_eq!(git(&repo, &["ls-tree", "-r", "--name-only", "master"]), "a\nhooks/x");
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat shop/a shop/hooks/x; ls shop/.git/hooks").await, "22");
    assert!(!canary.exists());
}

#[tokio::test]
async fn directories_without_files_are_named_and_names_of_other_characters_are_kept_or_refused() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let folder = tempfile::tempdir().unwrap();
    let names = ["\"quoted", " space ", "\u{fc}"];
    write(folder.path(), &names.map(|name| (name, "x")));
    std::fs::create_dir_all(folder.path().join("empty/below")).unwrap();
    let accepted = sent(&host, "1", "tar.gz", packed(folder.path(), "tar.gz")).await;
    assert_eq!(accepted["status"], "succeeded", "{accepted:#}");
    let job = commit(&host, "1").await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert!(job["job_data"].to_string().contains("empty/below"), "{job:#}");
    assert_eq!(git(&repository(&host).await, &["rev-parse", "master^{tree}"]), written_tree(folder.path()));

    for (build, name, why) in [
        ("2", "new\nline", "control character"),
        ("3", "tab\tname", "control character"),
        ("4", "back\\slash", "backslash"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[(name, "x")]);
        let refused = sent(&host, build, "tar.gz", packed(folder.path(), "tar.gz")).await;
        assert!(refused["error"]["message"].as_str().unwrap().contains(why), "{refused:#}");
    }
    use std::os::unix::ffi::OsStrExt as _;
    std::fs::write(folder.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), "x").unwrap();
    let refused = sent(&host, "5", "tar.gz", packed(folder.path(), "tar.gz")).await;
    assert_eq!(refused["error"]["code"], "invalid-archive", "{refused:#}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("UTF-8"), "{refused:#}");
}

#[tokio::test]
async fn many_packs_are_put_together_by_the_next_commit() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let repo = repository(&host).await;
    let packs = || all_files(&repo.join("objects")).into_iter().filter(|file| file.ends_with(".pack")).count();
    let pack_one = |number: usize| {
        let script = format!("echo {number} | git hash-object -w --stdin | git pack-objects -q objects/pack/pack");
        assert!(Command::new("sh").args(["-c", &script]).current_dir(&repo).status().unwrap().success());
    };
    (0..19).for_each(pack_one);
    upload(&host, "1", &[("a", "1")]).await;
    committed(&host, "1").await;
    assert!(packs() >= 19, "{}", packs());
    (19..25).for_each(pack_one);
    upload(&host, "2", &[("a", "2")]).await;
    committed(&host, "2").await;
    assert!(packs() < 5, "{}", packs());
    assert_eq!(git(&repo, &["show", "master:a"]), "2");
    git(&repo, &["fsck", "--strict"]);
}

#[tokio::test]
async fn any_two_trees_become_commits_with_the_trees_that_git_makes_of_them() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    let seed: u64 = std::env::var("ELITA_SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("ELITA_SEED={seed}");
    let mut dice = Dice(seed);
    let mut files = BTreeMap::new();
    for round in 0..24 {
        dice.change(&mut files);
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in &files {
            let file = folder.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, content).unwrap();
            if content.len() % 3 == 0 {
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let file_type = ["tar.gz", "zip", "tar"][round % 3];
        let build = format!("r{round}");
        upload_file(&host, &build, file_type, packed(folder.path(), file_type)).await;
        committed(&host, &build).await;
        let repo = repository(&host).await;
        let found = git(&repo, &["rev-parse", "master^{tree}"]);
        assert_eq!(found, written_tree(folder.path()), "round {round}: {:?}", files.keys());
    }
    git(&repository(&host).await, &["fsck", "--strict"]);
}

/// Numbers at random, the same for each seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }

    /// Adds, changes and removes files; a file may become a directory, and the reverse.
    fn change(&mut self, files: &mut BTreeMap<String, String>) {
        const NAMES: [&str; 8] = ["a", "b", "\"q\"", " s ", "ä", "x-y", "c.d", "-n"];
        for _ in 0..self.below(12) + 3 {
            let depth = self.below(3) + 1;
            let parts: Vec<_> = (0..depth).map(|_| NAMES[usize::try_from(self.below(8)).unwrap()]).collect();
            let path = parts.join("/");
            let below = format!("{path}/");
            files.retain(|other, _| !other.starts_with(&below) && !path.starts_with(&format!("{other}/")));
            if self.below(4) == 0 {
                files.remove(&path);
            } else {
                let length = usize::try_from(self.below(2000)).unwrap();
                files.insert(path, format!("{}{}", self.below(5), "z\n".repeat(length)));
            }
        }
        files.entry("always".into()).or_insert_with(|| "1".into());
    }
}

/// The application `shop`, and the git provider `own` of this server.
pub(crate) async fn with_provider(setup: Setup) -> TestHost {
    let host = setup.start().await;
    host.create_application("shop").await;
    let own = host.client.post("/global/gitproviders", &json!({ "name": "own", "type": "local" })).await;
    assert_eq!(own.status, 201, "{own}");
    host
}

/// The same with the repository `site` and the gitdeploy `web` of the package `master`, with these options.
pub(crate) async fn with_gitdeploy(setup: Setup, options: &Value) -> TestHost {
    let host = with_provider(setup).await;
    make_repository(&host).await;
    make_gitdeploy(&host, "master", options).await;
    host
}

async fn make_repository(host: &TestHost) {
    let created = host.client.post("/app/shop/gitrepos", &json!({ "name": "site", "gitprovider": "own" })).await;
    assert_eq!(created.status, 201, "{created}");
    eventually("the repository to be ready", async || {
        (host.client.get(SITE).await.body["state"] == "ready").then_some(())
    })
    .await;
}

pub(crate) async fn make_gitdeploy(host: &TestHost, package: &str, options: &Value) -> Reply {
    let location = json!({ "path": "/srv/shop", "gitrepo": "site" });
    let new = json!({ "name": "web", "package": package, "location": location, "options": options });
    let created = host.client.post("/app/shop/gitdeploys", &new).await;
    assert_eq!(created.status, 201, "{created}");
    created
}

/// Where the repository is.
pub(crate) async fn repository(host: &TestHost) -> PathBuf {
    PathBuf::from(host.client.get(SITE).await.body["uri"].as_str().unwrap())
}

/// Uploads a build of these files.
pub(crate) async fn upload(host: &TestHost, build: &str, files: Files<'_>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    upload_file(host, build, "tar.gz", packed(folder.path(), "tar.gz")).await;
}

async fn upload_file(host: &TestHost, build: &str, file_type: &str, file: Vec<u8>) {
    let job = sent(host, build, file_type, file).await;
    assert_eq!(job["status"], "succeeded", "{job}");
}

/// The job of an upload, once it has ended.
async fn sent(host: &TestHost, build: &str, file_type: &str, file: Vec<u8>) -> Value {
    let made = host.client.post("/app/shop/builds", &json!({ "build_name": build })).await;
    assert_eq!(made.status, 201, "{made}");
    let accepted = put(&host.client, &format!("/app/shop/builds/{build}/file?file_type={file_type}"), file).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

/// The job that commits a build, once it has ended.
pub(crate) async fn commit(host: &TestHost, build: &str) -> Value {
    let accepted = host.client.post(WEB, &json!({ "commit": true, "build_name": build })).await;
    assert_eq!(accepted.status, 202, "{accepted}");
    host.ended_job(accepted.body["job_id"].as_str().unwrap()).await
}

/// What a commit of a build has come to.
pub(crate) async fn committed(host: &TestHost, build: &str) -> Value {
    let job = commit(host, build).await;
    assert_eq!(job["status"], "succeeded", "{job}");
    job["result"].clone()
}

fn write(folder: &Path, files: Files<'_>) {
    for (path, content) in files {
        let file = folder.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }
}

/// What is in a folder, as an archive.
fn packed(folder: &Path, file_type: &str) -> Vec<u8> {
    let scratch = TempDir::new().unwrap();
    let file = scratch.path().join("archive");
    let mut command = match file_type {
        "zip" => {
            let mut command = Command::new("python3");
            command.args(["-c", ZIP]).arg(&file);
            command
        }
        _ => {
            let mut command = Command::new("tar");
            command.arg(if file_type == "tar" { "-cf" } else { "-czf" }).arg(&file).arg(".");
            command
        }
    };
    let status = command.current_dir(folder).status().unwrap();
    assert!(status.success());
    std::fs::read(file).unwrap()
}

/// Writes a zip with links and modes, as `zip -y` does.
const ZIP: &str = r"
import os, stat, sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as out:
    for folder, folders, files in os.walk('.'):
        for name in files + [f for f in folders if os.path.islink(os.path.join(folder, f))]:
            path = os.path.join(folder, name)
            info = zipfile.ZipInfo(os.path.relpath(path, '.'))
            info.create_system = 3
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = os.lstat(path).st_mode << 16
            link = os.path.islink(path)
            out.writestr(info, os.readlink(path) if link else open(path, 'rb').read())
";

/// The tree that git itself makes of a folder.
fn written_tree(folder: &Path) -> String {
    let scratch = TempDir::new().unwrap();
    let repo = scratch.path().join("r.git");
    git(scratch.path(), &["init", "-q", "--bare", repo.to_str().unwrap()]);
    let run = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("--git-dir").arg(&repo).arg("--work-tree").arg(folder).current_dir(folder);
        let output = command.args(["-c", "core.autocrlf=false"]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    run(&["add", "-A", "-f", "."]);
    run(&["write-tree"])
}

pub(crate) fn git(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "safe.directory=*"]).arg("-C").arg(directory).args(arguments);
    let output = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

pub(crate) fn all_files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(all_files(&path)),
            false => found.push(path.display().to_string()),
        }
    }
    found
}
