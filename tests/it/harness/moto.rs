//! An S3 on this machine, as moto plays it. It checks no signatures.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};

use elita::outbound::provide_cryptography;
use tokio::net::TcpStream;

use super::{eventually, project_root};

/// A store with a bucket `elita`. Killed when it is dropped.
pub(crate) struct Moto {
    program: Child,
    port: u16,
    http: reqwest::Client,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        // Free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let python = project_root().join("target/tools/moto/bin/python");
        let program = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("scripts/test-tools installs moto");
        provide_cryptography();
        let moto = Self { program, port, http: reqwest::Client::new() };
        eventually("moto to listen", async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()).await;
        let made = moto.http.put(format!("{}/elita", moto.url())).send().await.unwrap();
        assert!(made.status().is_success(), "{made:?}");
        moto
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The keys in the bucket, in order.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let listed = self.http.get(format!("{}/elita?list-type=2", self.url())).send().await.unwrap();
        let listed = listed.text().await.unwrap();
        let keys = listed.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned());
        keys.collect()
    }

    /// How many uploads in parts have begun and are not ended.
    pub(crate) async fn unfinished(&self) -> usize {
        let listed = self.http.get(format!("{}/elita?uploads", self.url())).send().await.unwrap();
        listed.text().await.unwrap().matches("<UploadId>").count()
    }

    /// Stops and continues it.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.program.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// The variables by which servers find a store at this URL.
pub(crate) fn variables(url: &str) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", url.to_owned()),
        ("AWS_ALLOW_HTTP", "true".into()),
        ("AWS_REGION", "eu-central-1".into()),
        ("AWS_ACCESS_KEY_ID", "key".into()),
        ("AWS_SECRET_ACCESS_KEY", "secret".into()),
    ]
}
