//! An S3 on this machine, as moto plays it. It checks no signatures.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use elita::outbound::provide_cryptography;
use tokio::net::TcpStream;

use super::{eventually, faked, project_root};

/// Moto, if it did not know `If-None-Match`.
const FORGETFUL: &str = "
import sys
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple
moto = DomainDispatcherApplication(create_backend_app)
def forgetful(environ, start_response):
    environ.pop('HTTP_IF_NONE_MATCH', None)
    return moto(environ, start_response)
run_simple('127.0.0.1', int(sys.argv[1]), forgetful, threaded=True)
";

/// Reading and removing are for those only who have signed their request; how does not matter.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=key/20260101/eu-central-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// A store with a bucket `elita`. Killed when it is dropped.
pub(crate) struct Moto {
    program: Child,
    port: u16,
    http: reqwest::Client,
}

impl Moto {
    pub(crate) async fn start() -> Self {
        Self::spawn(&["-m", "moto.server", "-H", "127.0.0.1", "-p"], None).await
    }

    /// The same with a clock that is off by this, such as `-2d`, by which it says how old its objects are.
    pub(crate) async fn start_off_by(offset: &str) -> Self {
        Self::spawn(&["-m", "moto.server", "-H", "127.0.0.1", "-p"], Some(offset)).await
    }

    /// One that writes over what is there, though it is asked not to.
    pub(crate) async fn start_forgetful() -> Self {
        Self::spawn(&["-c", FORGETFUL], None).await
    }

    async fn spawn(arguments: &[&str], offset: Option<&str>) -> Self {
        // Free a moment ago.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let mut command = Command::new(project_root().join("target/tools/moto/bin/python"));
        if let Some(offset) = offset {
            let faked = faked(Path::new("")).into_iter().filter(|(name, _)| *name != "FAKETIME_TIMESTAMP_FILE");
            command.env("FAKETIME", offset).envs(faked);
        }
        let program = command
            .args(arguments)
            .arg(port.to_string())
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
        keys(&self.http, &format!("{}/elita?list-type=2", self.url())).await
    }

    /// What an object holds.
    pub(crate) async fn object(&self, key: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}/elita/{key}", self.url()));
        let reply = request.header("authorization", SIGNED).send().await.unwrap();
        reply.error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }

    /// Makes an object.
    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) {
        let reply = self.http.put(format!("{}/elita/{key}", self.url())).body(bytes).send().await.unwrap();
        reply.error_for_status().unwrap();
    }

    /// Gives an object another key.
    pub(crate) async fn rename(&self, key: &str, to: &str) {
        let copied = self.http.put(format!("{}/elita/{to}", self.url()));
        let copied = copied.header("x-amz-copy-source", format!("/elita/{key}")).send().await.unwrap();
        copied.error_for_status().unwrap();
        let request = self.http.delete(format!("{}/elita/{key}", self.url()));
        request.header("authorization", SIGNED).send().await.unwrap().error_for_status().unwrap();
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

async fn keys(http: &reqwest::Client, url: &str) -> Vec<String> {
    let listed = http.get(url).send().await.unwrap().text().await.unwrap();
    listed.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
}

/// The keys at this place of the bucket that `just test-s3` has the tests run on, such as `elita/site/builds/`; without
/// that place.
pub(crate) async fn keys_below(place: &str) -> Vec<String> {
    let (bucket, prefix) = place.split_once('/').unwrap();
    let store = std::env::var("AWS_ENDPOINT_URL").unwrap();
    let found = keys(&reqwest::Client::new(), &format!("{store}/{bucket}?list-type=2&prefix={prefix}")).await;
    found.iter().map(|key| key.strip_prefix(prefix).unwrap().to_owned()).collect()
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
