//! Another S3 on this machine: nanio checks signatures. It does not know `If-None-Match`.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{eventually, project_root};

/// A store with a bucket `elita`, for the keys that [`variables`](super::variables) name. Killed when it is dropped.
pub(crate) struct Nanio {
    program: Child,
    port: u16,
    data: TempDir,
}

impl Nanio {
    pub(crate) async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("elita")).unwrap();
        // Free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let program = Command::new(project_root().join("target/tools/nanio/bin/nanio"))
            .args(["serve", "--host", "127.0.0.1", "--region", "eu-central-1", "--port", &port.to_string()])
            .arg("--data-dir")
            .arg(data.path())
            .envs([("NANIO_ACCESS_KEY", "key"), ("NANIO_SECRET_KEY", "secret")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/test-tools installs nanio");
        let nanio = Self { program, port, data };
        eventually("nanio to listen", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()).await;
        nanio
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The directory of the bucket.
    pub(crate) fn bucket(&self) -> std::path::PathBuf {
        self.data.path().join("elita")
    }
}

impl Drop for Nanio {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
