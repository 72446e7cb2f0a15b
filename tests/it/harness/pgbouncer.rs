//! A pgbouncer in front of a test's database.

use std::fs::Permissions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;

use sqlx::postgres::PgConnectOptions;
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::eventually;
use super::postgres::Database;

/// One as Debian has it, with its defaults but for the pool's mode. Killed when it is dropped.
pub(crate) struct PgBouncer {
    program: Child,
    port: u16,
    to: PgConnectOptions,
    _directory: TempDir,
}

impl PgBouncer {
    /// One in a mode such as `transaction`.
    pub(crate) async fn to(database: &Database, mode: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let to = PgConnectOptions::from_str(&database.url).unwrap();
        let host = to.get_socket().map_or(to.get_host().into(), |directory| directory.display().to_string());
        let name = to.get_database().unwrap();
        // Free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let settings = format!(
            "[databases]\n{name} = host={host} port={} dbname={name} user={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\ndefault_pool_size = 30\n",
            to.get_port(),
            to.get_username(),
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let mut command = Command::new("pgbouncer");
        let path = std::env::var("PATH").unwrap_or_default();
        command.arg("--quiet").env("PATH", format!("{path}:/usr/sbin"));
        if rustix::process::getuid().is_root() {
            // It refuses to run as root.
            std::fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
            command.args(["--user", "postgres"]);
        }
        let program = command.arg(&file).stderr(Stdio::null()).spawn().expect("scripts/test-tools installs pgbouncer");
        eventually("pgbouncer to listen", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()).await;
        Self { program, port, to, _directory: directory }
    }

    /// The database's URL through it.
    pub(crate) fn url(&self) -> String {
        let (user, name) = (self.to.get_username(), self.to.get_database().unwrap());
        format!("postgres://{user}@127.0.0.1:{}/{name}?sslmode=disable", self.port)
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
