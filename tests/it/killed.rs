//! A host that is killed (SIGKILL) between any two steps of committing and of initializing: with the next start it ends
//! right, and nothing is there twice.
//!
//! The points are calls of git. A program in the place of git stops before or after the call that is chosen, and waits
//! until the host is dead: so each point is met, and none is missed. The same of scripts that are killed on their server.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::commits::{git, repository, upload, with_gitdeploy};
use crate::harness::{Client, Program, Setup, Sshd, StoppedHost, TestHost, eventually};
use crate::ssh_copies::{ended, with_server};
use crate::upstreams::over_ssh;
use crate::working_copies::{sh, with_servers_on};

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
    assert!(calls.0 >= 3, "{calls:?}");
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
    let (host, _repos, sshd, path) = with_a_commit("1", "one").await;
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
async fn a_host_that_is_killed_at_any_moment_of_a_clone_by_a_server_of_its_own_leaves_one_working_copy() {
    // Working copies are cloned from the address that they were made with.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let setup = Setup::default().flag("--listen", format!("127.0.0.1:{port}"));
    let host = with_servers_on(setup, &["web1"], &json!({})).await;
    let files: Vec<_> = (0..2000).map(|number| (format!("many/{number:04}"), "x".to_owned())).collect();
    let files: Vec<_> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
    upload(&host, "1", &files).await;
    crate::commits::committed(&host, "1").await;
    let root = PathBuf::from(sh(&host, "web1", "pwd").await);
    let stopped = host.stop().await;
    let asked = |task: &str| json!({ task: true, "servers": ["web1"] });
    let mut running = Running::start(&stopped, None).await;
    // What is there after one step and before the next one.
    for moment in [
        "shop.elita-new",
        "shop.elita-new/.git/elita/owner",
        "shop.elita-new/.git/HEAD",
        "shop.elita-new/.git/elita/credentials",
        "shop.elita-new/.git/elita/ssh_config",
        "shop.elita-new/.git/info/attributes",
        "shop.elita-new/.git/FETCH_HEAD",
        "shop.elita-new/many/0010",
        "shop.elita-new/.git/index",
        "shop",
    ] {
        let job = running.client.post(WEB, &asked("initialize")).await.body;
        let path = format!("/job/{}", job["job_id"].as_str().unwrap_or_else(|| panic!("{job:#}")));
        let mut looks = 0;
        while !root.join(moment).exists() {
            looks += 1;
            if looks % 500 == 0 {
                let job = running.client.get(&path).await.body;
                assert!(job["status"] == "queued" || job["status"] == "running", "{moment} was not met: {job:#}");
            }
            tokio::task::yield_now().await;
        }
        running.program.signal(Signal::KILL);
        running.program.ended().await;
        running = Running::start(&stopped, None).await;
        let mut job = ended(&running.client, &job).await;
        if job["status"] == "failed" {
            // There was nobody to clone from.
            assert_eq!(job["error"]["details"]["servers"]["web1"]["code"], "fetch", "{moment}: {job:#}");
            let again = running.client.post(WEB, &asked("initialize")).await.body;
            job = ended(&running.client, &again).await;
        }
        assert_eq!(job["status"], "succeeded", "{moment}: {job:#}");
        assert_eq!(std::fs::read_dir(root.join("shop/many")).unwrap().count(), 2000, "{moment}");
        assert!(!root.join("shop.elita-new").exists(), "{moment}");
        let job = running.client.post(WEB, &asked("deinitialize")).await.body;
        assert_eq!(ended(&running.client, &job).await["status"], "succeeded", "{moment}");
        assert!(!root.join("shop").exists(), "{moment}");
    }
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

#[tokio::test]
async fn a_repository_whose_job_was_on_a_host_that_is_killed_is_its_own_on_another_host_before_others_have_it() {
    let storage = tempfile::tempdir().unwrap();
    let (host, sshd) = over_ssh(Setup::default().sharing(&storage)).await;
    for build in ["1", "2"] {
        upload(&host, build, &[("a", build)]).await;
    }
    let repo = sshd.home.join("site.git");
    let stopped = host.stop().await;
    let folder = tempfile::tempdir().unwrap();
    let stand_in = StandIn::new(folder.path());
    let mut doomed = Running::start(&stopped, Some(folder.path())).await;
    // It has committed, and has pushed nothing.
    stand_in.stop_before("push");
    let commit = |build: &str| json!({ "commit": true, "build_name": build });
    let first = doomed.client.post(WEB, &commit("1")).await.body;
    eventually("the first to push", async || stand_in.has_stopped().then_some(())).await;
    let survivor = Setup::default().sharing(&storage).flag("--git-hosts", format!("127.0.0.1:{}", sshd.port));
    let survivor = survivor.start_on(stopped.database.clone()).await;
    // So the other host has the second one.
    doomed.program.signal(Signal::STOP);
    let second = survivor.client.post(WEB, &commit("2")).await.body;
    let holder = format!("waits for job {} (`web`)", first["job_id"].as_str().unwrap());
    let path = format!("/job/{}?results=true", second["job_id"].as_str().unwrap());
    eventually("the second to wait for the first", async || {
        survivor.client.get(&path).await.body.to_string().contains(&holder).then_some(())
    })
    .await;
    doomed.program.signal(Signal::KILL);
    let killed = Instant::now();
    doomed.program.ended().await;
    let mut commits = Vec::new();
    for job in [first, second] {
        let job = ended(&survivor.client, &job).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
        commits.push(job["result"]["commit"].as_str().unwrap().to_owned());
    }
    assert!(killed.elapsed() < Duration::from_secs(15), "{:?}", killed.elapsed());
    assert_eq!(git(&repo, &["log", "--reverse", "--format=%H", "--all"]).lines().collect::<Vec<_>>(), commits);
    git(&repo, &["fsck", "--strict"]);
}

#[tokio::test]
async fn a_script_that_is_killed_at_any_call_of_git_on_its_server_is_begun_anew() {
    let (host, _repos, sshd, path) = with_a_commit("0", "0").await;
    let stand_in = StandIn::new(&sshd.programs);
    let on = async |task: &str| {
        let job = host.client.post(WEB, &json!({ task: true, "servers": ["web1"] })).await.body;
        ended(&host.client, &job).await
    };
    for task in ["initialize", "pull"] {
        let (mut killed, mut build) = (0, 0);
        // After a call is before the next one.
        for point in points().filter(|(_, after)| !after) {
            if task == "pull" {
                build += 1;
                upload(&host, &build.to_string(), &[("a", &build.to_string())]).await;
                crate::commits::committed(&host, &build.to_string()).await;
            }
            stand_in.stop_at(Some(point));
            let job = host.client.post(WEB, &json!({ task: true, "servers": ["web1"] })).await.body;
            let is_killed = stand_in.kill(&host.client, &job).await;
            let job = ended(&host.client, &job).await;
            assert_eq!(job["status"] == "failed", is_killed, "{task} {point:?}: {job:#}");
            stand_in.stop_at(None);
            let again = on(task).await;
            assert_eq!(again["status"], "succeeded", "{task} {point:?}: {again:#}");
            assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), build.to_string(), "{task} {point:?}");
            assert!(!sshd.home.join("shop.elita-new").exists(), "{task} {point:?}");
            if task == "initialize" && is_killed {
                assert_eq!(on("deinitialize").await["status"], "succeeded", "{point:?}");
            }
            if !is_killed {
                break;
            }
            killed += 1;
        }
        assert!(killed >= 8, "{task}: {killed}");
    }
}

#[tokio::test]
async fn two_jobs_that_initialize_the_same_place_never_work_there_at_the_same_time() {
    let (host, _repos, sshd, path) = with_a_commit("1", "one").await;
    let stand_in = StandIn::new(&sshd.programs);
    stand_in.stop_at(Some((1, true)));
    let initialize = async || host.client.post(WEB, &json!({ "initialize": true, "servers": ["web1"] })).await.body;
    let first = initialize().await;
    eventually("the first to work there", async || stand_in.has_stopped().then_some(())).await;
    for task in ["initialize", "deinitialize"] {
        let job = host.client.post(WEB, &json!({ task: true, "servers": ["web1"] })).await.body;
        let job = ended(&host.client, &job).await;
        let web1 = &job["error"]["details"]["servers"]["web1"];
        assert_eq!(web1["code"], "busy", "{task}: {job:#}");
        assert!(web1["message"].as_str().unwrap().contains("another job works on "), "{task}: {job:#}");
    }
    // One that waits for less time than it has.
    let commands = || std::fs::read_dir(sshd.home.join(".elita/commands")).unwrap().flatten();
    let begun = || commands().filter(|command| command.path().join("started").exists()).count();
    let before = begun();
    let waiting = initialize().await;
    eventually("the other to begin", async || (begun() > before).then_some(())).await;
    stand_in.stop_at(None);
    stand_in.go_on();
    for job in [first, waiting] {
        let job = ended(&host.client, &job).await;
        assert_eq!(job["status"], "succeeded", "{job:#}");
    }
    assert_eq!(std::fs::read_to_string(path.join("a")).unwrap(), "one");
    assert!(!sshd.home.join("shop.elita-new").exists());
    // All calls of one come before those of the other.
    let mut scripts = stand_in.scripts();
    scripts.dedup();
    assert_eq!(scripts.len(), 2, "{scripts:?}");
}

/// The points: before and after each call, by its number.
fn points() -> impl Iterator<Item = (usize, bool)> {
    (1..=MOST_CALLS).flat_map(|call| [(call, false), (call, true)])
}

/// A host whose repository is kept by the first sshd, with this build committed to it, and `web1`, which is the second
/// one; with the place that `web` has there.
async fn with_a_commit(build: &str, content: &str) -> (TestHost, Sshd, Sshd, PathBuf) {
    let (host, repos) = over_ssh(Setup::default()).await;
    let sshd = with_server(&host).await;
    let path = sshd.home.join("shop");
    assert_eq!(host.client.patch(WEB, &json!({ "location": { "path": path } })).await.status, 200);
    upload(&host, build, &[("a", content)]).await;
    crate::commits::committed(&host, build).await;
    (host, repos, sshd, path)
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
pub(crate) struct Running {
    program: Program,
    pub(crate) client: Client,
}

impl Running {
    pub(crate) async fn start(stopped: &StoppedHost, programs: Option<&Path>) -> Self {
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
pub(crate) struct StandIn(PathBuf);

impl StandIn {
    pub(crate) fn new(programs: &Path) -> Self {
        let git = ["/usr/bin/git", "/usr/local/bin/git"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        let script = format!(
            "#!/bin/sh\n\
             cd_of={0}\n\
             n=$(($(cat $cd_of/calls 2>/dev/null || echo 0) + 1))\n\
             echo $n >$cd_of/calls\n\
             echo $(echo \"$@\"; env | grep '^GIT_CONFIG') >>$cd_of/said\n\
             cut -d' ' -f6 /proc/$$/stat >>$cd_of/scripts\n\
             point=$(cat $cd_of/point 2>/dev/null)\n\
             word=$(cat $cd_of/word 2>/dev/null)\n\
             wait_() {{ : >$cd_of/stopped; while [ -e $cd_of/stopped ]; do sleep 0.02; done; }}\n\
             [ \"$point\" != \"$n before\" ] || wait_\n\
             case \" $* \" in *\" ${{word:-none}} \"*) wait_ ;; esac\n\
             [ ! -e $cd_of/limit ] || {{ trap '' XFSZ; ulimit -f $(cat $cd_of/limit); }}\n\
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

    /// Has git write no file of more than this many KiB, as if the disk were full; without a number, as large files as it wants.
    pub(crate) fn limit(&self, kib: Option<u32>) {
        let file = self.0.join("limit");
        match kib {
            Some(kib) => std::fs::write(file, (2 * kib).to_string()).unwrap(),
            None => std::fs::remove_file(file).unwrap(),
        }
    }

    /// Stops before the first call that has this word in it, and any later one.
    fn stop_before(&self, word: &str) {
        std::fs::write(self.0.join("word"), word).unwrap();
    }

    /// Kills the script on the server that waits here. False: the job ended before it came to that.
    async fn kill(&self, client: &Client, job: &Value) -> bool {
        let path = format!("/job/{}", job["job_id"].as_str().unwrap_or_else(|| panic!("{job:#}")));
        let stopped = eventually("the point, or the end of the job", async || {
            let status = client.get(&path).await.body["status"].clone();
            let has_ended = status != "queued" && status != "running";
            self.has_stopped().then_some(true).or(has_ended.then_some(false))
        });
        if !stopped.await {
            return false;
        }
        self.kill_last();
        self.go_on();
        true
    }

    /// Kills the script on the server that was the last one to call it.
    pub(crate) fn kill_last(&self) {
        let script = self.scripts().pop().unwrap();
        kill_process_group(Pid::from_raw(script.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }

    /// The script that each call was part of, by its session.
    fn scripts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join("scripts")).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn has_stopped(&self) -> bool {
        self.0.join("stopped").exists()
    }

    fn go_on(&self) {
        let _ = std::fs::remove_file(self.0.join("stopped"));
    }
}
