//! One pull on many servers by SSH, beside Ansible doing the same on the same servers. Each server is a real sshd that sees
//! a directory of its own at the same path, which takes root.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::sleep;

use crate::commits::{commit, prepare};
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::{APPLICATION, Site};
use crate::uploads::{ask, ended, shell, upload};

const SERVERS: usize = 50;
/// How many of them Elita works on at a time, and so does Ansible.
const AT_A_TIME: usize = 32;
/// Files of the package, of which so many differ from one build to the other.
const FILES: usize = 500;
const CHANGED: usize = 20;
/// Who logs in on the servers.
const USER: &str = "postgres";

pub(crate) async fn measure(site: &Site, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    ensure!(
        Path::new(ANSIBLE).join("ansible-playbook").exists(),
        "there is no Ansible; `just bench-peers` installs it"
    );
    let here = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let (address, url) = (here.to_string(), format!("http://{here}"));
    let flags = ["--listen", &address, "--public-url", &url, "--server-check-seconds", "0"];
    let mut server = Server::start(site, "pulls", &flags).await?;
    prepare(&mut server).await?;
    let servers = Servers::start(&server).await?;
    let web = format!("/app/{APPLICATION}/gitdeploys/web");
    let location = format!(r#"{{"location": {{"path": "{}/elita"}}}}"#, servers.seen.display());
    ask(&server, "PATCH", &web, &location).await?;
    make_builds(&mut server, servers.directory.path()).await?;
    commit(&mut server, "even").await?;
    on_all(&mut server, "initialize").await?;
    let ansible = Ansible {
        servers: &servers,
        repo: format!("{url}/git/{APPLICATION}/site.git"),
        token: &server.database.token.clone(),
    };
    ansible.pull().await?;
    let mut figures = Vec::new();
    for round in 0..rounds {
        commit(&mut server, if round % 2 == 0 { "odd" } else { "even" }).await?;
        let elita = on_all(&mut server, "pull").await?;
        figures.push((1.0 / elita.as_secs_f64(), 1.0 / ansible.pull().await?.as_secs_f64()));
        servers.have_the_same()?;
    }
    let what = format!("pulls on {SERVERS} servers by SSH");
    let comparison = Comparison::new("15", &what, "Ansible's module git, 32 forks", "/s", figures);
    report.add(comparison.goal(Goal::AtLeast(5.0)));
    server.stop().await
}

/// From the request to the end of its job.
async fn on_all(server: &mut Server, task: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let asked = format!(r#"{{"{task}": true, "servers": "node-*"}}"#);
    ask(server, "POST", &format!("/app/{APPLICATION}/gitdeploys/web"), &asked).await?;
    let took = server.settled().await?.duration_since(began.into());
    let job = "select id::text from jobs where job_type = 'gitdeploy' order by id desc limit 1";
    let job: String = sqlx::query_scalar(job).fetch_one(&mut server.connection).await?;
    ended(server, &job).await?;
    Ok(took)
}

/// Two builds that differ in some files.
async fn make_builds(server: &mut Server, directory: &Path) -> anyhow::Result<()> {
    let script = format!(
        "mkdir build && cd build && for n in $(seq {FILES}); do seq $n $((n + 200)) >f$n; done && tar -cf ../even.tar . && \
         for n in $(seq {CHANGED}); do echo odd >>f$n; done && tar -cf ../odd.tar . && cd .. && rm -r build"
    );
    shell(&script, directory).await?;
    for build in ["even", "odd"] {
        let (_, job) = upload(server, &directory.join(format!("{build}.tar")), build, "").await?;
        ended(server, &job).await?;
    }
    Ok(())
}

/// Servers of this machine, each with a directory of its own that it sees at the same path. They end with this.
struct Servers {
    directory: TempDir,
    /// What each of them sees there.
    seen: PathBuf,
    ports: Vec<u16>,
    _processes: Vec<Child>,
}

impl Servers {
    /// Starts them, and makes them known.
    async fn start(server: &Server) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir_in("/tmp")?;
        let at = |name: &str| directory.path().join(name);
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755))?;
        let program = sshd(directory.path())?;
        ask(server, "POST", "/global/keypairs", r#"{"name": "bench", "generate": true}"#).await?;
        let key = format!(
            "ssh-keygen -q -t ed25519 -N '' -f key && ssh-keygen -q -t ed25519 -N '' -f host_key && \
             {{ cat key.pub; curl -sS -H 'authorization: Bearer {}' http://{}/global/keypairs/bench | \
             python3 -c 'import json, sys; print(json.load(sys.stdin)[\"public_key\"])'; }} >authorized_keys && \
             mkdir seen && chown {USER} host_key authorized_keys",
            server.database.token, server.address
        );
        shell(&key, directory.path()).await?;
        let (uid, gid) = (id("-u").await?, id("-g").await?);
        let (mut ports, mut processes) = (Vec::new(), Vec::new());
        for number in 1..=SERVERS {
            let own = at(&format!("node-{number}"));
            std::fs::create_dir(&own)?;
            chown(&own, Some(uid), Some(gid))?;
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
            let config = at(&format!("config-{number}"));
            std::fs::write(
                &config,
                format!(
                    "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
                     StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 100\n\
                     SetEnv HOME={} PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n",
                    at("host_key").display(),
                    at("authorized_keys").display(),
                    at("seen").display()
                ),
            )?;
            let mut process = Command::new("unshare");
            process
                .args(["-m", "sh", "-c", r#"mount --bind "$0" "$1" && shift && exec "$@""#])
                .arg(&own)
                .arg(at("seen"));
            process.args(["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}"), "--clear-groups"]);
            process.arg(&program).args(["-D", "-f"]).arg(&config);
            process.env("LD_LIBRARY_PATH", directory.path()).stdin(Stdio::null()).stderr(Stdio::null());
            processes.push(process.kill_on_drop(true).spawn()?);
            let connection =
                format!(r#"{{"host": "127.0.0.1", "port": {port}, "user": "{USER}", "keypair": "bench"}}"#);
            let new = format!(
                r#"{{"name": "node-{number}", "environment": "bench", "driver": "ssh", "connection": {connection}}}"#
            );
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
                sleep(Duration::from_millis(20)).await;
            }
            ask(server, "POST", "/server", &new).await?;
            ports.push(port);
        }
        let seen = at("seen");
        Ok(Self { directory, seen, ports, _processes: processes })
    }

    /// Whether both have brought each server to the same commit.
    fn have_the_same(&self) -> anyhow::Result<()> {
        for number in 1..=SERVERS {
            let file = |by: &str| self.directory.path().join(format!("node-{number}/{by}/f1"));
            let [elita, ansible] = ["elita", "ansible"].map(|by| std::fs::read(file(by)));
            ensure!(elita? == ansible?, "node-{number} has two builds");
        }
        Ok(())
    }
}

/// The program, where those who log in can run it: as `scripts/sshd` has unpacked it, unless the machine has one.
fn sshd(directory: &Path) -> anyhow::Result<PathBuf> {
    let own = PathBuf::from("/usr/sbin/sshd");
    if own.exists() {
        return Ok(own);
    }
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/sshd/usr");
    for library in std::fs::read_dir(unpacked.join("lib/x86_64-linux-gnu")).context("there is no sshd")?.flatten() {
        if library.path().is_file() {
            std::fs::copy(library.path(), directory.join(library.file_name()))?;
        }
    }
    let program = directory.join("sshd");
    std::fs::copy(unpacked.join("sbin/sshd"), &program)?;
    Ok(program)
}

async fn id(which: &str) -> anyhow::Result<u32> {
    let said = Command::new("id").args([which, USER]).output().await?;
    Ok(String::from_utf8(said.stdout)?.trim().parse()?)
}

const ANSIBLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/peers/ansible/bin");

/// Ansible on the same servers, with its connections kept and as few steps on each as it can.
struct Ansible<'a> {
    servers: &'a Servers,
    repo: String,
    token: &'a str,
}

impl Ansible<'_> {
    async fn pull(&self) -> anyhow::Result<Duration> {
        let directory = self.servers.directory.path();
        let hosts = self.servers.ports.iter().enumerate().map(|(at, port)| {
            format!("node-{} ansible_host=127.0.0.1 ansible_port={port} ansible_user={USER}\n", at + 1)
        });
        std::fs::write(directory.join("inventory"), hosts.collect::<String>())?;
        let variables = serde_json::json!({
            "repo": self.repo,
            "header": format!("Authorization: Bearer {}", self.token),
            "dest": self.servers.seen.join("ansible"),
            "ansible_ssh_private_key_file": directory.join("key"),
            "ansible_python_interpreter": "/usr/bin/python3",
        });
        let playbook = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/ansible/pull.yml");
        let mut command = Command::new(Path::new(ANSIBLE).join("ansible-playbook"));
        command.args(["-i", "inventory", "-f", &AT_A_TIME.to_string(), "-e", &variables.to_string(), playbook]);
        command.current_dir(directory).env("HOME", directory).env("ANSIBLE_HOST_KEY_CHECKING", "False");
        command.env("ANSIBLE_PIPELINING", "True").env("ANSIBLE_SSH_CONTROL_PATH_DIR", directory.join("cp"));
        let began = Instant::now();
        let done = command.output().await?;
        let took = began.elapsed();
        ensure!(done.status.success(), "Ansible failed: {}", String::from_utf8_lossy(&done.stdout));
        Ok(took)
    }
}
