//! A real sshd on a free port of this machine, run by a user without rights, who logs in as themselves.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{eventually, project_root};

/// An sshd, killed when it is dropped with all its sessions.
pub(crate) struct Sshd {
    pub(crate) port: u16,
    /// Who logs in.
    pub(crate) user: String,
    /// The home of who logs in.
    pub(crate) home: PathBuf,
    /// Where commands look for programs first. There is nothing.
    pub(crate) programs: PathBuf,
    directory: TempDir,
    account: Option<(u32, u32)>,
    process: Child,
    config: String,
}

impl Sshd {
    /// One that lets this key in, a line of `authorized_keys`; `more` are lines of its settings.
    pub(crate) async fn start(public_key: &str, more: &str) -> Self {
        let directory = tempfile::tempdir_in("/tmp").unwrap();
        // Root cannot run it without a directory that belongs to the machine.
        let (user, account) = match rustix::process::geteuid().is_root() {
            true => account("postgres"),
            false => (said(Command::new("id").arg("-un")), None),
        };
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let home = directory.path().join("home");
        let programs = directory.path().join("programs");
        for made in [&home, &programs] {
            std::fs::create_dir(made).unwrap();
        }
        std::fs::write(directory.path().join("authorized_keys"), format!("{public_key}\n")).unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        // Whoever asks for another address says so.
        let address = if more.contains("ListenAddress") { "" } else { "ListenAddress 127.0.0.1\n" };
        let config = format!(
            "{address}Port {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             SetEnv HOME={} PATH={}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin\n{more}\n",
            path("host_key"),
            path("authorized_keys"),
            home.display(),
            programs.display(),
        );
        std::fs::write(directory.path().join("config"), &config).unwrap();
        make_host_key(directory.path());
        give(directory.path(), account);
        let process = spawn(directory.path(), account);
        let sshd = Self { port, user, home, programs, directory, account, process, config };
        sshd.answers().await;
        sshd
    }

    /// Has who logs in own what the test has made in their home.
    pub(crate) fn give_home(&self) {
        give_all(&self.home, self.account);
    }

    /// Starts it anew with another host key.
    pub(crate) async fn change_host_key(&mut self) {
        self.stop();
        for half in ["host_key", "host_key.pub"] {
            std::fs::remove_file(self.directory.path().join(half)).unwrap();
        }
        make_host_key(self.directory.path());
        give(self.directory.path(), self.account);
        self.process = spawn(self.directory.path(), self.account);
        self.answers().await;
    }

    /// Starts it anew with these lines more in its settings.
    pub(crate) async fn restart_with(&mut self, more: &str) {
        self.stop();
        std::fs::write(self.directory.path().join("config"), format!("{}{more}\n", self.config)).unwrap();
        self.process = spawn(self.directory.path(), self.account);
        self.answers().await;
    }

    /// Ends it with all its sessions.
    pub(crate) fn stop(&mut self) {
        for pid in std::iter::once(self.process.id()).chain(self.sessions()) {
            let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.process.wait();
    }

    /// The processes that serve its connections.
    pub(crate) fn sessions(&self) -> Vec<u32> {
        let mut below = vec![self.process.id()];
        let mut at = 0;
        while let Some(parent) = below.get(at).copied() {
            let children =
                std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            let is_sshd = |pid: &u32| {
                std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sshd")
            };
            below.extend(children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_sshd));
            at += 1;
        }
        below.split_off(1)
    }

    /// The public half of its host key.
    pub(crate) fn host_key_file(&self) -> PathBuf {
        self.directory.path().join("host_key.pub")
    }

    async fn answers(&self) {
        let port = self.port;
        eventually("sshd to answer", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()).await;
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(directory: &Path, account: Option<(u32, u32)>) -> Child {
    let unpacked = project_root().join("target/tools/sshd");
    let own = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].map(PathBuf::from).into_iter().find(|path| path.exists());
    let program = own.unwrap_or_else(|| unpacked.join("usr/sbin/sshd"));
    assert!(program.exists(), "there is no sshd; `scripts/sshd` unpacks one");
    // Somebody else has to reach it.
    let program = if account.is_some() && program.starts_with(&unpacked) {
        let reachable = directory.join("sshd");
        if !reachable.exists() {
            std::fs::copy(&program, &reachable).unwrap();
            for library in std::fs::read_dir(unpacked.join("usr/lib/x86_64-linux-gnu")).into_iter().flatten().flatten()
            {
                let _ = std::fs::copy(library.path(), directory.join(library.file_name()));
            }
        }
        reachable
    } else {
        program
    };
    let mut sshd = Command::new(program);
    sshd.args(["-D", "-e", "-f"]).arg(directory.join("config")).env_clear();
    sshd.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    sshd.env(
        "LD_LIBRARY_PATH",
        format!("{}:{}", directory.display(), unpacked.join("usr/lib/x86_64-linux-gnu").display()),
    );
    sshd.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(directory.join("log")).unwrap());
    if let Some((uid, gid)) = account {
        sshd.uid(uid).gid(gid);
    }
    sshd.current_dir("/");
    // A program that another thread starts at this moment may still have the copy open for writing.
    for _ in 0..100 {
        match sshd.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(Duration::from_millis(20));
            }
            started => return started.unwrap(),
        }
    }
    panic!("the copy of sshd stays busy")
}

fn make_host_key(directory: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(directory.join("host_key"));
    assert!(keygen.status().unwrap().success());
}

fn give(directory: &Path, account: Option<(u32, u32)>) {
    let Some((uid, gid)) = account else { return };
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    chown(directory, Some(uid), Some(gid)).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        chown(entry.unwrap().path(), Some(uid), Some(gid)).unwrap();
    }
}

fn give_all(path: &Path, account: Option<(u32, u32)>) {
    let Some((uid, gid)) = account else { return };
    chown(path, Some(uid), Some(gid)).unwrap();
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_all(&entry.unwrap().path(), account);
        }
    }
}

fn account(name: &str) -> (String, Option<(u32, u32)>) {
    let id = |what: &str| said(Command::new("id").args([what, name])).parse().unwrap();
    (name.to_owned(), Some((id("-u"), id("-g"))))
}

fn said(command: &mut Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap().trim().to_owned()
}
