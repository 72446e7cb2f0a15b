//! A host that is killed (SIGKILL) between any two steps of committing and of initializing: with the next start it ends
//! right, and nothing is there twice.
//!
//! The points are calls of git. A program in the place of git stops before or after the call that is chosen, and waits
//! until the host is dead: so each point is met, and none is missed.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::commits::{git, repository, upload, with_gitdeploy};
use crate::harness::{Client, Program, Setup, StoppedHost, eventually};
use crate::ssh_copies::{ended, with_server};
use crate::upstreams::over_ssh;

const WEB: &str = "/app/shop/gitdeploys/web";
/// More calls of git than any of these jobs makes.
const MOST_CALLS: usize = 40;

#[tokio::test]
async fn a_host_that_is_killed_at_any_call_of_git_while_it_commits_leaves_one_commit() {
    let host = with_gitdeploy(Setup::default(), &json!({})).await;
    for build in 1..=MOST_CALLS {
        upload(&host, &build.to_string(), &[("a", &build.to_string()), (&format!("b{build}"), "x")]).await;
    }
    let repo = repository(&host).await;
    let commits = || git(&repo, &["log", "--format=%H", "--all"]).lines().count();
    let stopped = host.stop().await;
    let calls = each_call_of_a_commit(&stopped, commits).await;
    assert!(calls.0 >= 5, "{calls:?}");
    git(&repo, &["fsck", "--strict"]);
    assert!(!repo.join("refs/heads/master.lock").exists());
    // What was committed is on the disk, and only what came whole.
    let imports: Vec<_> = calls.1.lines().filter(|call| call.contains("fast-import")).collect();
    assert!(!imports.is_empty());
    for word in ["core.fsync=all", "--done"] {
        assert!(imports.iter().all(|call| call.contains(word)), "no {word}: {}", imports[0]);
    }
}

#[tokio::test]
async fn the_same_of_a_repository_that_others_keep() {
    let (host, sshd) = over_ssh(Setup::default()).await;
    for build in 1..=MOST_CALLS {
        upload(&host, &build.to_string(), &[("a", &build.to_string()), (&format!("b{build}"), "x")]).await;
    }
    let repo = sshd.home.join("site.git");
    let commits = || git(&repo, &["log", "--format=%H", "--all"]).lines().count();
    let stopped = host.stop().await;
    let calls = each_call_of_a_commit(&stopped, commits).await;
    assert!(calls.0 >= 7, "{calls:?}");
    git(&repo, &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_host_that_is_killed_at_any_call_of_git_while_it_initializes_leaves_one_working_copy() {
    let (host, _repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    upload(&host, "1", &[("a", "one")]).await;
    crate::commits::committed(&host, "1").await;
    let stopped = host.stop().await;
    let stand_in = StandIn::new(&sshd.programs);
    let mut running = Running::start(&stopped, None).await;
    let mut calls = 0;
    for point in points() {
        stand_in.stop_at(Some(point));
        let asked = json!({ "initialize": true, "servers": ["web1"] });
        let job = running.client.post(WEB, &asked).await.body;
        let killed = running.is_killed_at(&stand_in, &job).await;
        if killed {
            running = Running::start(&stopped, None).await;
        }
        let job = ended(&running.client, &job).await;
        assert_eq!(job["status"], "succeeded", "{point:?}: {job:#}");
        assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one", "{point:?}");
        assert!(!sshd.home.join("shop.elita-new").exists(), "{point:?}");
        let servers = running.client.get(WEB).await.body["servers"].clone();
        assert_eq!(servers.as_array().unwrap().len(), 1, "{point:?}: {servers}");
        stand_in.stop_at(None);
        let job = running.client.post(WEB, &json!({ "deinitialize": true, "servers": ["web1"] })).await.body;
        assert_eq!(ended(&running.client, &job).await["status"], "succeeded", "{point:?}");
        assert!(!path.exists(), "{point:?}");
        if !killed {
            break;
        }
        calls = point.0;
    }
    assert!(calls >= 10, "{calls}");
}

#[tokio::test]
async fn a_job_goes_on_with_the_gitdeploy_and_the_servers_that_it_began_with() {
    let (host, _repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    let actions = json!({ "postpull": [["sh", "-c", "touch ../first"]] });
    let change = json!({ "location": { "path": path }, "actions": actions });
    assert_eq!(host.client.patch(WEB, &change).await.status, 200);
    upload(&host, "1", &[("a", "one")]).await;
    crate::commits::committed(&host, "1").await;
    let stopped = host.stop().await;
    let stand_in = StandIn::new(&sshd.programs);
    let mut running = Running::start(&stopped, None).await;
    let asked = |task: &str| json!({ task: true, "servers": ["web1"] });
    let job = running.client.post(WEB, &asked("initialize")).await.body;
    assert_eq!(ended(&running.client, &job).await["status"], "succeeded");
    stand_in.stop_at(Some((3, false)));
    let job = running.client.post(WEB, &asked("pull")).await.body;
    assert!(running.is_killed_at(&stand_in, &job).await);
    let mut database = stopped.database.connect().await;
    for change in [
        r#"update gitdeploys set actions = '{"postpull": [["sh", "-c", "touch ../second"]]}'"#,
        r#"update servers set connection = '{"host": "127.0.0.1", "port": 1, "user": "x", "keypair": "deploy"}'"#,
    ] {
        sqlx::query(change).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
    let running = Running::start(&stopped, None).await;
    let job = ended(&running.client, &job).await;
    assert_eq!(job["status"], "succeeded", "{job:#}");
    assert_eq!(["first", "second"].map(|file| sshd.home.join(file).exists()), [true, false], "{job:#}");
}

/// The points: before and after each call, by its number.
fn points() -> impl Iterator<Item = (usize, bool)> {
    (1..=MOST_CALLS).flat_map(|call| [(call, false), (call, true)])
}

/// Commits one build after the other, and kills the host at another point of each. Says how many calls there were,
/// and what all of them were.
async fn each_call_of_a_commit(stopped: &StoppedHost, commits: impl Fn() -> usize) -> (usize, String) {
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::new(folder.path());
    let mut running = Running::start(stopped, Some(folder.path())).await;
    let (mut build, mut calls) = (1, 0);
    for point in points() {
        let before = commits();
        stand_in.stop_at(Some(point));
        let asked = json!({ "commit": true, "build_name": build.to_string() });
        let job = running.client.post(WEB, &asked).await.body;
        let killed = running.is_killed_at(&stand_in, &job).await;
        if killed {
            stand_in.stop_at(None);
            running = Running::start(stopped, Some(folder.path())).await;
        }
        let job = ended(&running.client, &job).await;
        assert_eq!(
            (&job["status"], &job["result"]["is_new"]),
            (&json!("succeeded"), &json!(true)),
            "{point:?}: {job:#}"
        );
        assert_eq!(commits(), before + 1, "{point:?}");
        if !killed {
            break;
        }
        // The next point needs something to commit.
        build = build % MOST_CALLS + 1;
        calls = point.0;
    }
    (calls, std::fs::read_to_string(folder.path().join("said")).unwrap())
}

/// The program in a process of its own.
struct Running {
    program: Program,
    client: Client,
}

impl Running {
    async fn start(stopped: &StoppedHost, programs: Option<&Path>) -> Self {
        let flags = stopped.all_flags();
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        let path = std::env::var("PATH").unwrap();
        let path = programs.map_or(path.clone(), |programs| format!("{}:{path}", programs.display()));
        let mut program = Program::serve_with(&[("PATH", &path)], &flags);
        let (_, client) = program.ready(&stopped.database.token).await;
        Self { program, client }
    }

    /// Kills it at the point that was chosen. False: the job ended before it came to that.
    async fn is_killed_at(&mut self, stand_in: &StandIn, job: &Value) -> bool {
        let path = format!("/job/{}", job["job_id"].as_str().unwrap_or_else(|| panic!("{job:#}")));
        let client = self.client.clone();
        let stopped = eventually("the point, or the end of the job", async || {
            if stand_in.has_stopped() {
                return Some(true);
            }
            let status = client.get(&path).await.body["status"].clone();
            (status != "queued" && status != "running").then_some(false)
        });
        if !stopped.await {
            return false;
        }
        self.program.signal(Signal::KILL);
        self.program.ended().await;
        stand_in.go_on();
        true
    }
}

/// A program in the place of git.
struct StandIn(PathBuf);

impl StandIn {
    fn new(programs: &Path) -> Self {
        let git = ["/usr/bin/git", "/usr/local/bin/git"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        let script = format!(
            "#!/bin/sh\n\
             cd_of={0}\n\
             n=$(($(cat $cd_of/calls 2>/dev/null || echo 0) + 1))\n\
             echo $n >$cd_of/calls\n\
             echo $(echo \"$@\"; env | grep '^GIT_CONFIG') >>$cd_of/said\n\
             point=$(cat $cd_of/point 2>/dev/null)\n\
             wait_() {{ : >$cd_of/stopped; while [ -e $cd_of/stopped ]; do sleep 0.02; done; }}\n\
             [ \"$point\" != \"$n before\" ] || wait_\n\
             {git} \"$@\"\n\
             code=$?\n\
             [ \"$point\" != \"$n after\" ] || wait_\n\
             exit $code\n",
            programs.display()
        );
        let file = programs.join("git");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        // Whoever runs git writes here.
        std::fs::set_permissions(programs, std::fs::Permissions::from_mode(0o777)).unwrap();
        Self(programs.to_owned())
    }

    /// Begins to count anew.
    fn stop_at(&self, point: Option<(usize, bool)>) {
        let _ = std::fs::remove_file(self.0.join("calls"));
        let text =
            point.map_or(String::new(), |(call, after)| format!("{call} {}", if after { "after" } else { "before" }));
        std::fs::write(self.0.join("point"), text).unwrap();
    }

    fn has_stopped(&self) -> bool {
        self.0.join("stopped").exists()
    }

    fn go_on(&self) {
        let _ = std::fs::remove_file(self.0.join("stopped"));
    }
}
