//! TLS by the server itself: its versions of HTTP, its certificate, and how that one is replaced.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::harness::{Client, Database, Program, Setup, eventually};

/// A certificate and its key, for `localhost`.
struct Pair {
    cert: CertificateDer<'static>,
    cert_pem: String,
    key_pem: String,
}

impl Pair {
    fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (cert, cert_pem) = (made.cert.der().clone(), made.cert.pem());
        Self { cert, cert_pem, key_pem: made.signing_key.serialize_pem() }
    }
}

/// The two files of a server.
struct PemDirectory {
    directory: TempDir,
}

impl PemDirectory {
    fn of(pair: &Pair) -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap() };
        files.put(&pair.cert_pem, &pair.key_pem);
        files
    }

    fn put(&self, cert: &str, key: &str) {
        std::fs::write(self.cert(), cert).unwrap();
        std::fs::write(self.key(), key).unwrap();
    }

    fn cert(&self) -> PathBuf {
        self.directory.path().join("cert.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    fn flags(&self) -> [String; 4] {
        let path = |path: PathBuf| path.display().to_string();
        ["--tls-cert".into(), path(self.cert()), "--tls-key".into(), path(self.key())]
    }
}

#[tokio::test]
async fn http_1_and_2_are_offered_and_http_1_is_for_who_asks_for_nothing() {
    let pair = Pair::new();
    let files = PemDirectory::of(&pair);
    let host = Setup::default().flag("--tls-cert", files.cert().display()).flag("--tls-key", files.key().display());
    let host = host.start().await;
    for (offered, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let mut stream = connect(&host.client, &pair, offered).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        if chosen == Some(b"h2") {
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            assert_eq!(head[3], 4, "the server's settings come first: {head:?}");
        } else {
            assert!(ask(stream).await.starts_with("HTTP/1.1 200 OK\r\n"));
        }
    }
}

#[tokio::test]
async fn who_speaks_no_tls_or_says_nothing_is_let_go_and_others_are_served() {
    let pair = Pair::new();
    let files = PemDirectory::of(&pair);
    let host = Setup::default().flag("--tls-cert", files.cert().display()).flag("--tls-key", files.key().display());
    let host = host.flag("--http-head-seconds", 1).start().await;
    let mut silent = TcpStream::connect(address(&host.client)).await.unwrap();
    let mut plain = TcpStream::connect(address(&host.client)).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: elita\r\n\r\n").await.unwrap();
    let mut after_handshake = connect(&host.client, &pair, &[]).await.unwrap();
    assert!(ask(connect(&host.client, &pair, &[]).await.unwrap()).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let mut reply = Vec::new();
    // A reset is as good as an end.
    let _ = plain.read_to_end(&mut reply).await;
    assert!(!reply.starts_with(b"HTTP"), "{}", reply.escape_ascii());
    assert!(matches!(silent.read(&mut [0]).await, Ok(0) | Err(_)));
    assert!(matches!(after_handshake.read(&mut [0]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_a_restart_and_a_broken_one_is_not() {
    let (old, new) = (Pair::new(), Pair::new());
    let files = PemDirectory::of(&old);
    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let flags = files.flags();
    let mut all = vec!["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    all.extend(flags.iter().map(String::as_str));
    let mut elita = Program::serve(&all);
    let (said, client) = elita.ready(&database.token).await;
    assert!(said.concat().contains(" is ready at https://127.0.0.1:"), "{said:?}");
    assert!(connect(&client, &old, &[]).await.is_some());

    // Neither a key of another certificate, nor garbage, nor nothing is taken. A server looks every second.
    let mut under_way = connect(&client, &old, &[]).await.unwrap();
    for broken in [&new.key_pem, "no key, but a secret", ""] {
        std::fs::write(files.key(), broken).unwrap();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(connect(&client, &old, &[]).await.is_some(), "after {broken}");
    }
    files.put(&new.cert_pem, &new.key_pem);
    eventually("the new certificate to be in use", async || connect(&client, &new, &[]).await).await;
    assert!(connect(&client, &old, &[]).await.is_none(), "the old one is still in use");
    // Connections stay as they are.
    under_way.write_all(b"GET / HTTP/1.1\r\nHost: elita\r\n\r\n").await.unwrap();
    under_way.read_exact(&mut [0; 15]).await.unwrap();

    drop(under_way);
    elita.signal(Signal::TERM);
    let (code, log) = elita.ended().await;
    assert_eq!(code, Some(0), "{log}");
    let warnings = log.lines().filter(|line| line.contains("the certificate that is in use stays in use"));
    assert_eq!(warnings.clone().count(), 2, "one for each reason: {log}");
    assert!(log.contains("the certificate and the private key cannot be used together"), "{log}");
    assert!(log.contains("holds no private key in PEM"), "{log}");
    assert!(!log.contains("but a secret") && !log.contains("PRIVATE KEY"), "{log}");
}

#[tokio::test]
async fn a_server_that_cannot_use_its_certificate_does_not_start_and_says_why() {
    let (pair, other) = (Pair::new(), Pair::new());
    let files = PemDirectory::of(&pair);
    let (database, data_dir) = (Database::new().await, tempfile::tempdir().unwrap());
    let common = ["--data-dir", data_dir.path().to_str().unwrap(), "--database-url", &database.url];
    let [cert_flag, cert, key_flag, key] = &files.flags();
    for (write, flags, reason) in [
        (&pair.key_pem, &[cert_flag, cert][..], "--tls-cert needs --tls-key"),
        (&pair.key_pem, &[key_flag, key], "--tls-key needs --tls-cert"),
        (&other.key_pem, &[cert_flag, cert, key_flag, key], "cannot be used together"),
        (&pair.cert_pem, &[cert_flag, cert, key_flag, key], "holds no private key in PEM"),
        (&pair.key_pem, &[cert_flag, key, key_flag, key], "holds no certificates in PEM"),
        (&pair.key_pem, &[cert_flag, &"/nowhere".to_owned(), key_flag, key], "/nowhere cannot be read"),
    ] {
        std::fs::write(files.key(), write).unwrap();
        let flags: Vec<&str> = common.iter().copied().chain(flags.iter().map(|flag| flag.as_str())).collect();
        let (code, stderr) = Program::serve(&flags).ended().await;
        assert_eq!(code, Some(1), "{stderr}");
        assert!(stderr.contains(reason) && !stderr.contains("PRIVATE KEY"), "{reason}: {stderr}");
    }
}

/// A connection with this certificate's server, if it is that one.
async fn connect(client: &Client, pair: &Pair, alpn: &[&[u8]]) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(pair.cert.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(address(client)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

fn address(client: &Client) -> &str {
    client.base().strip_prefix("http://").unwrap()
}

/// The reply to a request for `/`.
async fn ask(mut stream: TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: elita\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}
