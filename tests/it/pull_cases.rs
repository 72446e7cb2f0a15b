//! What a pull meets on servers that people have worked on, or whose git ended in the middle.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::{Value, json};

use crate::commits::{committed, git, repository, upload};
use crate::harness::{TestHost, project_root};
use crate::working_copies::{on, sh, with_servers};

const WEB: &str = "/app/shop/gitdeploys/web";
/// Commits as somebody who works on the server.
const COMMIT: &str = "git -C shop -c user.name=x -c user.email=x@y commit -qam own";

/// A server on which the build `1` is pulled, and the build `2` is committed.
async fn with_two_builds(first: &[(&str, &str)], second: &[(&str, &str)], options: &Value) -> TestHost {
    let host = with_servers(&["web1"], options).await;
    upload(&host, "1", first).await;
    committed(&host, "1").await;
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    upload(&host, "2", second).await;
    committed(&host, "2").await;
    host
}

/// Pulls, which has to succeed.
async fn pulls(host: &TestHost, what: &str) {
    let job = on(host, "pull", &["web1"]).await;
    assert_eq!(job["status"], "succeeded", "{what}: {job:#}");
}

/// Pulls, which has to fail with this code, and changes nothing. Returns what it says.
async fn fails(host: &TestHost, code: &str) -> String {
    let state = "git -C shop rev-parse HEAD; git -C shop status --short; ls -A shop";
    let before = sh(host, "web1", state).await;
    let message = fails_with(host, code).await;
    assert_eq!(sh(host, "web1", state).await, before, "{message}");
    message
}

/// Pulls, which has to fail with this code. Returns what it says.
async fn fails_with(host: &TestHost, code: &str) -> String {
    let job = on(host, "pull", &["web1"]).await;
    let server = &job["error"]["details"]["servers"]["web1"];
    assert_eq!(server["code"], code, "{job:#}");
    server["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_kind_of_uncommitted_change_is_dropped() {
    let files = [("a", "1\n"), ("b", "1\n"), ("c", "1\n")];
    let host = with_two_builds(&files, &files, &json!({})).await;
    for (number, change) in [
        "echo x >shop/a",
        "rm shop/a",
        "rm shop/a && mkdir shop/a && echo x >shop/a/b",
        "echo x >shop/a && git -C shop add a",
        "echo x >shop/new && git -C shop add new",
        "chmod +x shop/a",
        "git -C shop mv a moved",
        "git -C shop rm -q a",
        "ln -sf b shop/a",
        // A merge that was left open.
        "cd shop && git checkout -q -b other && echo o >a && git -c user.name=x -c user.email=x@y commit -qam o && \
         git checkout -q master && git -c user.name=x -c user.email=x@y merge -q --no-commit --no-ff other; \
         git branch -D other; true",
    ]
    .into_iter()
    .enumerate()
    {
        sh(&host, "web1", change).await;
        upload(&host, &format!("c{number}"), &[("a", &format!("{number}\n")), ("b", "1\n"), ("c", "1\n")]).await;
        committed(&host, &format!("c{number}")).await;
        pulls(&host, change).await;
        let found = sh(&host, "web1", "cat shop/a; git -C shop status --short; ls shop").await;
        assert_eq!(found, format!("{number}\na\nb\nc"), "{change}");
    }
}

#[tokio::test]
async fn a_merge_that_stopped_at_a_conflict_is_undone_and_commits_survive_each_pull() {
    let host = with_two_builds(&[("a", "1\n"), ("own", "1\n")], &[("a", "2\n"), ("own", "1\n")], &json!({})).await;
    let merge = "cd shop && git config user.name x && git config user.email x@y && git checkout -q -b side && \
                 echo s >own && git commit -qam s && git checkout -q master && echo m >own && git commit -qam mine && \
                 git merge -q side >/dev/null 2>&1; git branch -D side >/dev/null; ls .git | grep MERGE_HEAD; git rev-parse HEAD";
    let said = sh(&host, "web1", merge).await;
    let (open, own) = said.split_once('\n').unwrap();
    assert_eq!(open, "MERGE_HEAD");
    for build in ["2", "3", "4"] {
        if build != "2" {
            upload(&host, build, &[("a", &format!("{build}\n")), ("own", "1\n")]).await;
            committed(&host, build).await;
        }
        pulls(&host, build).await;
        let look = format!(
            "cd shop && ls .git | grep MERGE_HEAD; cat own a; git merge-base --is-ancestor {own} HEAD && echo kept"
        );
        assert_eq!(sh(&host, "web1", &look).await, format!("m\n{build}\nkept"));
    }
}

#[tokio::test]
async fn a_rebase_that_was_left_open_is_undone() {
    let host = with_two_builds(&[("a", "1\n")], &[("a", "1\n"), ("b", "2\n")], &json!({})).await;
    let rebase = "cd shop && git config user.name x && git config user.email x@y && git checkout -q -b side && \
                  echo s >a && git commit -qam s && git checkout -q master && echo m >a && git commit -qam m && \
                  git rebase -q side >/dev/null 2>&1; git branch -D side; ls .git | grep rebase";
    assert_eq!(sh(&host, "web1", rebase).await.lines().next_back(), Some("rebase-merge"));
    pulls(&host, "a stopped rebase").await;
    assert_eq!(
        sh(&host, "web1", "cd shop; ls .git | grep rebase; cat a b; git symbolic-ref HEAD").await,
        "m\n2\nrefs/heads/master"
    );
}

#[tokio::test]
async fn a_lock_is_removed_if_it_is_older_than_the_job_and_no_git_runs_there() {
    let host = with_two_builds(&[("a", "1")], &[("a", "2")], &json!({})).await;
    // One that comes while the job runs is somebody's.
    let locks = json!({ "actions": { "prepull": [{ "script": "touch .git/index.lock" }] } });
    assert_eq!(host.client.patch(WEB, &locks).await.status, 200);
    let message = fails_with(&host, "locked").await;
    assert!(
        message.contains("shop/.git/index.lock exists since ") && message.contains("no git is seen there"),
        "{message}"
    );
    assert_eq!(host.client.patch(WEB, &json!({ "actions": null })).await.status, 200);
    sh(&host, "web1", "touch -d '1 hour ago' shop/.git/index.lock").await;
    let runs = json!({ "script": "cd shop && sleep 100 | git cat-file --batch" });
    let git = host.client.post("/server/web1/command", &runs).await.body["job_id"].as_str().unwrap().to_owned();
    host.running_job(&git).await;
    let message = fails_with(&host, "locked").await;
    assert!(message.contains("exists since 36") && message.contains("git runs there as process "), "{message}");
    host.client.post_empty(&format!("/job/{git}?cancel=true")).await;
    host.ended_job(&git).await;
    pulls(&host, "an old lock").await;
    assert_eq!(sh(&host, "web1", "cat shop/a; ls shop/.git | grep lock").await, "2");
}

#[tokio::test]
async fn what_only_a_person_can_settle_is_a_conflict_and_leaves_all_as_it_was() {
    for favor in ["ours", "theirs"] {
        let options = json!({ "favor": favor });
        let host = with_two_builds(&[("a", "1\n"), ("b", "1\n")], &[("a", "1\n")], &options).await;
        sh(&host, "web1", &format!("echo mine >shop/b && {COMMIT}")).await;
        let message = fails(&host, "conflict").await;
        assert!(message.contains('b'), "{message}");
        assert_eq!(sh(&host, "web1", "cat shop/b; ls shop/.git | grep MERGE").await, "mine");
    }
}

#[tokio::test]
async fn conflicts_in_a_file_are_settled_for_whom_the_gitdeploy_says() {
    for (favor, expected) in [("ours", "mine"), ("theirs", "build")] {
        let host = with_two_builds(&[("a", "1\n")], &[("a", "build\n")], &json!({ "favor": favor })).await;
        sh(&host, "web1", &format!("echo mine >shop/a && {COMMIT}")).await;
        pulls(&host, favor).await;
        assert_eq!(sh(&host, "web1", "cat shop/a").await, expected);
        // The commit of the server is still there, and so is what was pulled.
        let log = sh(&host, "web1", "git -C shop log --format=%s").await;
        assert!(log.contains("own") && log.contains("Build 2"), "{log}");
    }
}

#[tokio::test]
async fn lines_that_differ_in_white_space_only_are_no_conflict_where_the_gitdeploy_says_so() {
    let options = json!({ "favor": "ours", "ignore-whitespace": true });
    let host = with_two_builds(&[("a", "x\ny\n")], &[("a", "x\n  y\n")], &options).await;
    sh(&host, "web1", &format!("printf 'x\\ny z\\n' >shop/a && {COMMIT}")).await;
    pulls(&host, "white space").await;
    assert_eq!(sh(&host, "web1", "cat shop/a").await, "x\ny z");
}

#[tokio::test]
async fn files_that_git_does_not_have_are_in_the_way_and_named() {
    // With and without a commit of the server: git itself overwrites ignored files in both.
    for own in [false, true] {
        // git lists names with other bytes than printable ASCII in its own way.
        let ignored = ["*.conf", "/i*", "/\u{fc}*", "/q*", "/n*"];
        let second = [
            ("a", "2"),
            ("app.conf", "b"),
            ("d/e", "b"),
            ("f", "b"),
            ("i/\u{e4}", "b"),
            ("\u{fc}", "b"),
            ("q\"/\u{e4}", "b"),
            ("n/file", "b"),
        ];
        let host = with_two_builds(&[("a", "1")], &second, &json!({ "gitignore": ignored })).await;
        if own {
            sh(&host, "web1", &format!("echo own >shop/own && git -C shop add own && {COMMIT}")).await;
        }
        for (file, make) in [
            ("app.conf", "echo mine >shop/app.conf"),
            ("d", "echo mine >shop/d"),
            ("f/mine", "mkdir shop/f && echo mine >shop/f/mine"),
            ("i", "echo mine >shop/i"),
            ("\u{fc}/\u{e4}", "mkdir shop/\u{fc} && echo mine >shop/\u{fc}/\u{e4}"),
            ("q\"", "echo mine >'shop/q\"'"),
            ("n/", "git init -q shop/n && echo mine >shop/n/file"),
        ] {
            let contents = "cd shop && find . -path ./.git -prune -o -type f -exec cat {} +";
            sh(&host, "web1", make).await;
            let before = sh(&host, "web1", contents).await;
            let message = fails(&host, "in-the-way").await;
            assert!(message.contains(&format!("the file {file} in ")), "{message}");
            assert_eq!(sh(&host, "web1", contents).await, before);
            sh(&host, "web1", "cd shop && rm -rf app.conf d f i \u{fc} 'q\"' n").await;
        }
        pulls(&host, "nothing in the way").await;
        let arrived = "cd shop && cat app.conf d/e f i/\u{e4} \u{fc} 'q\"/\u{e4}' n/file";
        assert_eq!(sh(&host, "web1", arrived).await, "bbbbbbb");
    }
}

#[tokio::test]
async fn a_directory_with_files_of_the_server_does_not_become_a_file() {
    let host = with_two_builds(&[("d/a", "1")], &[("d", "2")], &json!({})).await;
    sh(&host, "web1", "echo mine >shop/d/mine").await;
    let message = fails(&host, "in-the-way").await;
    assert!(message.contains("d/mine"), "{message}");
    assert_eq!(sh(&host, "web1", "cat shop/d/a shop/d/mine").await, "1mine");
}

#[tokio::test]
async fn a_branch_that_is_gone_or_became_a_directory_is_said() {
    let host = with_two_builds(&[("a", "1")], &[("a", "2")], &json!({})).await;
    let repo = repository(&host).await;
    // Somebody has another branch whose name cannot be beside that of an old one on the server.
    sh(&host, "web1", "git -C shop update-ref refs/remotes/origin/rel HEAD").await;
    git(&repo, &["update-ref", "refs/heads/rel/1", "master"]);
    pulls(&host, "another branch").await;
    upload(&host, "3", &[("a", "3")]).await;
    let commit = committed(&host, "3").await["commit"].as_str().unwrap().to_owned();
    // The job looks at the branch before, so that it goes away in between only.
    git(&repo, &["update-ref", "refs/heads/kept", &commit]);
    sh(&host, "web1", "git -C shop config remote.origin.url http://127.0.0.1:1/none.git").await;
    let message = fails(&host, "fetch").await;
    assert!(message.contains("master cannot be fetched"), "{message}");
}

#[tokio::test]
async fn a_branch_that_goes_away_or_begins_anew_is_said_and_nothing_moves() {
    let host = with_two_builds(&[("a", "1")], &[("a", "2")], &json!({})).await;
    let repo = repository(&host).await;
    let tip = git(&repo, &["rev-parse", "master"]);
    // The job looks at the branch before.
    let heads = repo.join("refs/heads");
    std::fs::set_permissions(&heads, std::fs::Permissions::from_mode(0o777)).unwrap();
    let remove = format!("rm '{}'", heads.join("master").display());
    assert_eq!(host.client.patch(WEB, &json!({ "actions": { "prepull": [{ "script": remove }] } })).await.status, 200);
    let message = fails(&host, "fetch").await;
    assert!(message.contains("master cannot be fetched") && message.contains("refs/heads/master"), "{message}");
    assert_eq!(host.client.patch(WEB, &json!({ "actions": null })).await.status, 200);
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["error"]["code"], "not-found", "{job:#}");
    // A history that has nothing to do with the one that was pulled.
    git(&repo, &["update-ref", "refs/heads/master", &tip]);
    let commit = "git -c user.name=x -c user.email=x@y commit-tree -m anew 'master^{tree}'";
    let anew = Command::new("sh").args(["-c", commit]).current_dir(&repo).output().unwrap();
    git(&repo, &["update-ref", "refs/heads/master", String::from_utf8(anew.stdout).unwrap().trim()]);
    upload(&host, "3", &[("a", "3")]).await;
    committed(&host, "3").await;
    fails(&host, "rewritten").await;
    // The same where nothing was pulled yet, and the server has begun by itself.
    assert_eq!(on(&host, "deinitialize", &["web1"]).await["status"], "succeeded");
    git(&repo, &["update-ref", "-d", "refs/heads/master"]);
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    sh(&host, "web1", &format!("echo own >shop/own && git -C shop add own && {COMMIT}")).await;
    git(&repo, &["update-ref", "refs/heads/master", &tip]);
    let message = fails(&host, "conflict").await;
    assert!(message.contains("unrelated histories"), "{message}");
}

#[tokio::test]
async fn a_branch_with_another_name_is_checked_out_whatever_the_repositorys_head_says() {
    let host = with_servers(&["web1", "web2"], &json!({})).await;
    let branch = json!({ "location": { "default_branch": "release/1-x" } });
    assert_eq!(host.client.patch(WEB, &branch).await.status, 200);
    assert_eq!(on(&host, "initialize", &["web1"]).await["status"], "succeeded");
    upload(&host, "1", &[("a", "1"), ("run", "#!/bin/sh\n")]).await;
    committed(&host, "1").await;
    assert_eq!(git(&repository(&host).await, &["symbolic-ref", "HEAD"]), "refs/heads/master");
    assert_eq!(on(&host, "initialize", &["web2"]).await["status"], "succeeded");
    let job = on(&host, "pull", &["web1", "web2"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    for server in ["web1", "web2"] {
        let look = "cd shop && cat a && git symbolic-ref HEAD && git branch -a --format='%(refname)'";
        let expected = "1refs/heads/release/1-x\nrefs/heads/release/1-x\nrefs/remotes/origin/release/1-x";
        assert_eq!(sh(&host, server, look).await, expected, "{server}");
    }
}

#[tokio::test]
async fn a_copy_that_belongs_to_another_user_is_pulled_and_nobody_is_asked_for_a_password() {
    let host = with_two_builds(&[("a", "1")], &[("a", "2")], &json!({})).await;
    // Where the test may not do that, the directory stays as it is.
    let copy = sh(&host, "web1", "cd shop && pwd -P").await;
    let _ = Command::new("sh").args(["-c", "chown -R 54321 \"$0\" && chmod -R a+rwX \"$0\"", &copy]).status();
    pulls(&host, "another owner").await;
    assert_eq!(sh(&host, "web1", "cat shop/a").await, "2");
    // Credentials that are not valid any more.
    sh(&host, "web1", "sed -i 's/elita:[^@]*@/elita:none@/' shop/.git/elita/credentials").await;
    let began = std::time::Instant::now();
    let message = fails(&host, "fetch").await;
    assert!(message.contains("master cannot be fetched") && !message.contains("elita:none"), "{message}");
    assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
}

#[tokio::test]
async fn settings_of_the_account_and_attributes_of_the_package_decide_nothing() {
    let attributes = "* text eol=crlf ident filter=lfs diff=lfs merge=lfs working-tree-encoding=UTF-16\n";
    let id = "$Id$\n";
    let first = [(".gitattributes", attributes), ("a", "one\n"), ("id", id)];
    let second = [(".gitattributes", attributes), ("a", "one\ntwo\n"), ("id", id)];
    let host = with_two_builds(&first, &second, &json!({})).await;
    let hostile = "mkdir -p hooks && printf '#!/bin/sh\\ntouch ~/canary\\n' >hooks/post-merge && \
        cp hooks/post-merge hooks/post-checkout && cp hooks/post-merge hooks/reference-transaction && chmod +x hooks/* && \
        printf '[core]\\nhooksPath=~/hooks\\neditor=touch ~/canary\\nautocrlf=true\\n[pull]\\nrebase=true\\n\
        [commit]\\ngpgsign=true\\n[fetch]\\nfsckObjects=true\\n[merge]\\nff=only\\n[submodule]\\nrecurse=true\\n[init]\\ntemplateDir=~/templates\\n\
        [merge]\\ntool=canary\\n[filter \"lfs\"]\\nsmudge=touch ~/canary\\nclean=touch ~/canary\\nrequired=true\\n' >.gitconfig && \
        mkdir -p templates/hooks && cp hooks/* templates/hooks/ && \
        cp hooks/* shop/.git/hooks/ 2>/dev/null || { mkdir -p shop/.git/hooks && cp hooks/* shop/.git/hooks/; }";
    sh(&host, "web1", hostile).await;
    let own = format!(
        "cd ~ && echo own >shop/own && git -C shop add own && GIT_CONFIG_GLOBAL=/dev/null {COMMIT}; rm -f canary"
    );
    sh(&host, "web1", &own).await;
    pulls(&host, "hostile settings").await;
    let found = sh(
        &host,
        "web1",
        "od -c shop/a | head -n 1; cat shop/id; GIT_CONFIG_GLOBAL=/dev/null git -C shop status --short; ls canary",
    );
    assert_eq!(found.await, "0000000   o   n   e  \\n   t   w   o  \\n\n$Id$");
    // Nor do they where a working copy is made.
    for task in ["deinitialize", "initialize"] {
        assert_eq!(on(&host, task, &["web1"]).await["status"], "succeeded", "{task}");
    }
    assert_eq!(sh(&host, "web1", "cat shop/id; ls shop/.git/hooks canary").await, "$Id$");
}

#[tokio::test]
async fn a_clone_that_broke_off_is_begun_anew_and_one_of_somebody_else_stays() {
    let host = with_two_builds(&[("a", "1")], &[("a", "2")], &json!({})).await;
    // What an interrupted initializing leaves: half a clone beside, with its owner.
    let left = "cp -r shop/.git/elita kept && rm -r shop && mkdir -p shop.elita-new/.git && \
                cp -r kept shop.elita-new/.git/elita && echo x >shop.elita-new/.git/HEAD && echo x >shop.elita-new/half";
    sh(&host, "web1", left).await;
    let job = on(&host, "initialize", &["web1"]).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat shop/a; ls -A | grep shop").await, "2shop");
    // What one leaves that was interrupted before it had said whose that is, or when it removed that again.
    for task in ["deinitialize", "initialize"] {
        sh(&host, "web1", "rm -rf shop; mkdir -p shop/.git/elita shop.elita-new/.git/elita").await;
        sh(&host, "web1", "touch shop.elita-new/.git/elita/owner.new").await;
        let job = on(&host, task, &["web1"]).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
    assert_eq!(sh(&host, "web1", "cat shop/a; ls -A | grep shop").await, "2shop");
    sh(&host, "web1", "rm -r shop && mkdir shop.elita-new && echo precious >shop.elita-new/file").await;
    let job = on(&host, "initialize", &["web1"]).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "not-ours", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat shop.elita-new/file").await, "precious");
}

#[tokio::test]
async fn objects_that_cannot_be_written_fail_the_pull_and_the_next_one_succeeds() {
    let big = "0123456789abcdef".repeat(40_000);
    let host = with_two_builds(&[("a", "1")], &[("a", "2"), ("big", &big)], &json!({})).await;
    let limit = json!({ "actions": { "prepull": [["sh", "-c", "chmod a-w .git/objects .git/objects/*"]] } });
    assert_eq!(host.client.patch(WEB, &limit).await.status, 200);
    let job = on(&host, "pull", &["web1"]).await;
    assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "fetch", "{job:#}");
    assert_eq!(sh(&host, "web1", "cat shop/a; git -C shop status --short").await, "1");
    assert_eq!(host.client.patch(WEB, &json!({ "actions": { "prepull": [] } })).await.status, 200);
    sh(&host, "web1", "chmod u+w shop/.git/objects shop/.git/objects/*").await;
    pulls(&host, "room again").await;
    assert_eq!(sh(&host, "web1", "cat shop/a; wc -c <shop/big").await, "2640000");
}

#[test]
fn every_code_of_the_scripts_is_in_the_guide() {
    let guide = std::fs::read_to_string(project_root().join("docs/git.md")).unwrap();
    let table = guide.split("### Codes of servers").nth(1).unwrap().split("\n## ").next().unwrap();
    for script in ["common", "initialize", "pull", "deinitialize"] {
        let file = project_root().join(format!("host/src/work/gitdeploys/{script}.sh"));
        for code in std::fs::read_to_string(&file).unwrap().split("fail ").skip(1) {
            let code = code.split(' ').next().unwrap();
            assert!(table.contains(&format!("`{code}`")), "{}: {code}", file.display());
        }
    }
}
