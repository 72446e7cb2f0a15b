//! A real Salt on this machine: a master, two minions and salt-api, on free ports of loopback. All tests share one, because
//! it takes its time to start.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use elita::outbound::provide_cryptography;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::task::JoinHandle;

use super::{Setup, TestHost, project_root};

/// The password of its user `elita`.
pub(crate) const SALT_SECRET: &str = "elita-test-secret";
/// How long all of it may take to be ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(240);

/// What `sh` makes of a program: it and all that it starts end when this process does.
const TIED: &str = r#""$@" </dev/null & cat >/dev/null; kill -KILL 0"#;

/// A master, its minions `m1` and `m2`, and its salt-api.
pub(crate) struct Salt {
    directory: PathBuf,
    api_port: u16,
    programs: Mutex<Vec<(&'static str, Child)>>,
    /// Whoever stops a part of it holds it alone.
    turn: RwLock<()>,
}

/// The Salt of all tests, in use by one of them beside others.
pub(crate) struct SharedSalt {
    pub(crate) salt: &'static Salt,
    _turn: RwLockReadGuard<'static, ()>,
}

/// The same, in use by nobody else.
pub(crate) struct OwnSalt {
    pub(crate) salt: &'static Salt,
    _turn: RwLockWriteGuard<'static, ()>,
}

static SALT: OnceCell<Salt> = OnceCell::const_new();

impl Salt {
    /// To use beside others.
    pub(crate) async fn shared() -> SharedSalt {
        let salt = SALT.get_or_init(Self::start).await;
        SharedSalt { salt, _turn: salt.turn.read().await }
    }

    /// To stop parts of it, which have to run again at the end.
    pub(crate) async fn alone() -> OwnSalt {
        let salt = SALT.get_or_init(Self::start).await;
        OwnSalt { salt, _turn: salt.turn.write().await }
    }

    async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("elita-salt-").tempdir_in("/tmp").unwrap().keep();
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ports = [free(), free(), free()];
        let [publish, returns, api] = ports.each_ref().map(|port| port.local_addr().unwrap().port());
        drop(ports);
        provide_cryptography();
        let mut sweeper = Command::new("/bin/sh");
        sweeper.args(["-c", "cat >/dev/null; sleep 1; rm -rf \"$1\"", "sh"]).arg(&directory).stdin(Stdio::piped());
        let sweeper = ("sweeper", sweeper.process_group(0).spawn().unwrap());
        let programs = Mutex::new(vec![sweeper]);
        let salt = Self { directory, api_port: api, programs, turn: RwLock::default() };
        salt.write_settings(publish, returns, api);
        for program in ["salt-master", "salt-api", "m1", "m2"] {
            salt.start_program(program);
        }
        let began = Instant::now();
        while !salt.is_ready().await {
            assert!(began.elapsed() < READY_WITHIN, "Salt does not begin:\n{}", salt.logs());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        salt
    }

    fn write_settings(&self, publish: u16, returns: u16, api: u16) {
        let (at, user) = (self.directory.display(), said("id", "-un"));
        let master = format!(
            "root_dir: {at}/master\npki_dir: pki\ncachedir: cache\nsock_dir: {at}/s\nlog_file: master.log\n\
             pidfile: master.pid\napi_pidfile: api.pid\napi_logfile: api.log\nuser: {user}\ninterface: 127.0.0.1\n\
             publish_port: {publish}\nret_port: {returns}\nauto_accept: True\nworker_threads: 3\ntimeout: 5\n\
             gather_job_timeout: 5\nkeep_jobs_seconds: 3600\npresence_events: False\nlog_level: warning\n\
             file_roots:\n  base: [{at}/states]\nsharedsecret: {SALT_SECRET}\nexternal_auth:\n  sharedsecret:\n    \
             elita:\n      - '.*'\n      - '@jobs'\ntoken_expire: 60\n\
             netapi_enable_clients: [local_async, runner]\nrest_cherrypy:\n  host: 127.0.0.1\n  port: {api}\n  \
             disable_ssl: True\n  thread_pool: 20\n  expire_responses: False\n"
        );
        self.write("conf/master", &master);
        for minion in ["m1", "m2"] {
            let settings = format!(
                "root_dir: {at}/{minion}\npki_dir: pki\ncachedir: cache\nsock_dir: {at}/s{minion}\n\
                 log_file: minion.log\npidfile: minion.pid\nuser: {user}\nid: {minion}\nmaster: 127.0.0.1\n\
                 master_port: {returns}\npublish_port: {publish}\nlog_level: warning\nmine_enabled: False\n\
                 grains_cache: True\nenable_gpu_grains: False\nenable_fqdns_grains: False\n\
                 acceptance_wait_time: 1\nrandom_reauth_delay: 1\nrecon_default: 300\nrecon_max: 1000\n\
                 recon_randomize: False\nmaster_alive_interval: 0\n"
            );
            self.write(&format!("conf-{minion}/minion"), &settings);
            std::fs::create_dir_all(self.home(minion)).unwrap();
        }
        self.write("states/slow.sls", "wait:\n  cmd.run:\n    - name: sleep 3; echo x >> ~/states\n");
        self.write("states/bad.sls", "fail:\n  test.fail_without_changes: []\n");
        self.write("states/top.sls", "base:\n  '*':\n    - fine\n");
        self.write("states/fine.sls", "fine:\n  test.succeed_without_changes: []\n");
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.directory.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// Starts a part: `salt-master`, `salt-api`, or a minion by its name.
    pub(crate) fn start_program(&self, part: &'static str) {
        let (program, settings) = match part {
            "salt-master" | "salt-api" => (part, self.directory.join("conf")),
            minion => ("salt-minion", self.directory.join(format!("conf-{minion}"))),
        };
        let program = project_root().join("target/tools/salt/bin").join(program);
        assert!(program.exists(), "there is no {}; `scripts/salt` installs it", program.display());
        let log = std::fs::File::options().create(true).append(true).open(self.directory.join(format!("{part}.out")));
        let log = log.unwrap();
        let mut tied = Command::new("/bin/sh");
        tied.args(["-c", TIED, "sh"]).arg(program).arg("-c").arg(settings).env("HOME", self.home(part));
        tied.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        self.programs.lock().unwrap().push((part, tied.spawn().unwrap()));
    }

    /// Ends a part with all that it has started itself.
    pub(crate) fn stop_program(&self, part: &str) {
        let mut programs = self.programs.lock().unwrap();
        let at = programs.iter().position(|(name, _)| *name == part).unwrap();
        let (_, mut program) = programs.remove(at);
        drop(program.stdin.take());
        program.wait().unwrap();
        let _ = std::fs::remove_file(self.directory.join(part).join("minion.pid"));
    }

    /// Sends a signal to a part and all that it has started itself.
    pub(crate) fn signal_program(&self, part: &str, signal: Signal) {
        let programs = self.programs.lock().unwrap();
        let (_, program) = programs.iter().find(|(name, _)| *name == part).unwrap();
        kill_process_group(Pid::from_child(program), signal).unwrap();
    }

    /// Listens to all events of the master from now on.
    pub(crate) async fn listen(&self) -> SaltEvents {
        let token = self.log_in().await.unwrap();
        let asked = reqwest::Client::new().get(format!("http://127.0.0.1:{}/events", self.api_port));
        let mut stream = asked.header("X-Auth-Token", token).send().await.unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let hears = heard.clone();
        let listening = tokio::spawn(async move {
            while let Ok(Some(piece)) = stream.chunk().await {
                hears.lock().unwrap().extend_from_slice(&piece);
            }
        });
        let events = SaltEvents { heard, listening };
        // It says something at once.
        super::eventually("the events of Salt", async || (!events.text().is_empty()).then_some(())).await;
        events
    }

    /// The files of the master and the minions with this in them: keys, caches, logs, but not what is in the homes.
    pub(crate) fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.directory.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let (path, is) = (entry.path(), entry.file_type().unwrap());
                if is.is_dir() && !entry.file_name().to_string_lossy().starts_with("home-") {
                    folders.push(path);
                } else if is.is_file()
                    && std::fs::read(&path).is_ok_and(|all| String::from_utf8_lossy(&all).contains(text))
                {
                    found.push(path);
                }
            }
        }
        found
    }

    /// Waits until all of it answers again.
    pub(crate) async fn is_back(&self) {
        let began = Instant::now();
        while !self.is_ready().await {
            assert!(began.elapsed() < READY_WITHIN, "Salt does not come back:\n{}", self.logs());
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// The home of what runs on a minion.
    pub(crate) fn home(&self, part: &str) -> PathBuf {
        self.directory.join(format!("home-{part}"))
    }

    /// The settings of a server that uses it.
    pub(crate) fn settings(&self, setup: Setup) -> Setup {
        salt_settings(setup, &format!("http://127.0.0.1:{}", self.api_port))
    }

    /// Logs in beside the server.
    pub(crate) async fn log_in(&self) -> Option<String> {
        let body = json!({ "username": "elita", "password": SALT_SECRET, "eauth": "sharedsecret" });
        let asked = reqwest::Client::new().post(format!("http://127.0.0.1:{}/login", self.api_port)).json(&body);
        let answer: Value = asked.send().await.ok()?.json().await.ok()?;
        answer["return"][0]["token"].as_str().map(str::to_owned)
    }

    /// Asks salt-api beside the server.
    pub(crate) async fn ask(&self, token: &str, low: &Value) -> Option<Value> {
        let asked = reqwest::Client::new().post(format!("http://127.0.0.1:{}/", self.api_port));
        let asked = asked.header("X-Auth-Token", token).json(&json!([low])).send().await.ok()?;
        let answer: Value = asked.json().await.ok()?;
        Some(answer["return"][0].clone())
    }

    /// Whether both minions answer now.
    async fn is_ready(&self) -> bool {
        let Some(token) = self.log_in().await else { return false };
        let ping = json!({ "client": "local_async", "tgt": ["m1", "m2"], "tgt_type": "list", "fun": "test.ping" });
        let Some(Value::String(jid)) = self.ask(&token, &ping).await.map(|answer| answer["jid"].clone()) else {
            return false;
        };
        tokio::time::sleep(Duration::from_secs(2)).await;
        let look = json!({ "client": "runner", "fun": "jobs.list_job", "kwarg": { "jid": jid } });
        let Some(answer) = self.ask(&token, &look).await else { return false };
        answer["Result"].as_object().is_some_and(|returned| returned.len() == 2)
    }

    fn logs(&self) -> String {
        let logs = ["salt-master.out", "salt-api.out", "m1.out", "m2.out"];
        let read = |name: &&str| std::fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        logs.iter().map(read).collect()
    }
}

/// What the master has told of since somebody began to listen.
pub(crate) struct SaltEvents {
    heard: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl SaltEvents {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap()).into_owned()
    }
}

impl Drop for SaltEvents {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

/// The settings of a server that uses the salt-api at this URL.
pub(crate) fn salt_settings(setup: Setup, url: &str) -> Setup {
    let file = project_root().join("target/tests/salt-password");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, format!("{SALT_SECRET}\n")).unwrap();
    setup.flag("--salt-url", url).flag("--salt-eauth", "sharedsecret").flag("--salt-password-file", file.display())
}

/// Makes a server of the driver `salt`, of the minion with the same name.
pub(crate) async fn create_minion(host: &TestHost, name: &str) {
    let new = json!({ "name": name, "environment": "test", "driver": "salt" });
    let created = host.client.post("/server", &new).await;
    assert_eq!(created.status, 201, "{created}");
}

fn said(program: &str, argument: &str) -> String {
    let said = Command::new(program).arg(argument).output().unwrap().stdout;
    String::from_utf8(said).unwrap().trim().to_owned()
}
