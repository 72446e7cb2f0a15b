//! Behind a proxy, with certificates that are not right, and with a clock that is off.

use std::net::SocketAddr;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::with_widgets;
use crate::harness::{Elita, Said, Setup, faked};

/// A proxy that leads every request for a tunnel to one server, or refuses it with an answer.
struct Proxy {
    url: String,
    /// The tunnels that were asked for, with the credentials that came.
    asked: UnboundedReceiver<String>,
}

impl Proxy {
    async fn to(server: SocketAddr) -> Self {
        Self::start(Ok(server)).await
    }

    async fn refusing(answer: &'static str) -> Self {
        Self::start(Err(answer)).await
    }

    async fn start(leads: Result<SocketAddr, &'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, asked) = unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = client.read_u8().await else { return };
                        head.push(byte);
                    }
                    let _ = tell.send(String::from_utf8(head).unwrap());
                    match leads {
                        Ok(server) => {
                            let mut server = TcpStream::connect(server).await.unwrap();
                            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                            let _ = copy_bidirectional(&mut client, &mut server).await;
                        }
                        Err(answer) => {
                            let _ = client.write_all(answer.as_bytes()).await;
                            let _ = client.shutdown().await;
                        }
                    }
                });
            }
        });
        Self { url, asked }
    }
}

/// Makes a certificate for `elita.test`, and a server that shows it. Returns its port with the server.
async fn with_certificate(elita: &Elita, params: CertificateParams) -> (crate::harness::TestHost, SocketAddr) {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let (cert, key_file) = (elita.home().join("cert.pem"), elita.home().join("key.pem"));
    std::fs::write(&cert, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let setup = Setup::default().flag("--tls-cert", cert.display()).flag("--tls-key", key_file.display());
    let host = setup.start().await;
    let address = host.client.base().rsplit('/').next().unwrap().parse().unwrap();
    (host, address)
}

fn for_elita_test() -> CertificateParams {
    CertificateParams::new(["elita.test".to_owned(), "localhost".to_owned()]).unwrap()
}

#[tokio::test]
async fn a_server_behind_a_proxy_is_reached_through_it_and_only_then() {
    let elita = Elita::new();
    let (host, address) = with_certificate(&elita, for_elita_test()).await;
    let mut proxy = Proxy::to(address).await;
    let with_user = proxy.url.replace("http://", "http://me:secret@");
    let url = format!("https://elita.test:{}", address.port());
    let elita =
        elita.with("ELITA_TOKEN", &host.database.token).with("ELITA_SERVER", &url).with("HTTPS_PROXY", &with_user);
    let trusting = ["--ca-file", "cert.pem", "--retry-for", "0s"];
    let run = async |elita: &Elita, words: &[&str]| elita.run(&[&trusting, words].concat()).await;

    let said = run(&elita, &["-v", "app", "list"]).await;
    assert_eq!(said.code, 0, "{said}");
    assert!(!said.to_string().contains("secret"), "{said}");
    let asked = proxy.asked.recv().await.unwrap();
    assert!(asked.starts_with(&format!("CONNECT elita.test:{} ", address.port())), "{asked}");
    assert!(asked.to_lowercase().contains("proxy-authorization: basic "), "{asked}");
    assert!(!asked.contains(&host.database.token), "the token is for the server alone: {asked}");
    let said = run(&elita, &["doctor"]).await;
    assert!(said.stdout.contains(&format!("✓ proxy    {}, of HTTPS_PROXY", &proxy.url[7..])), "{said}");
    assert!(!said.to_string().contains("secret"), "{said}");

    // One that is excepted is not reached through it: its name is known to the proxy alone.
    let elita = elita.with("NO_PROXY", "elita.test");
    let said = run(&elita, &["app", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("the host name of")), (6, true), "{said}");
    // A server on this machine is never looked for through a proxy.
    let elita = elita.with("NO_PROXY", "").with("ELITA_SERVER", &url.replace("elita.test", "localhost"));
    while proxy.asked.try_recv().is_ok() {}
    let said = run(&elita, &["app", "list"]).await;
    assert_eq!((said.code, proxy.asked.try_recv().is_err()), (0, true), "{said}");
}

#[tokio::test]
async fn what_is_wrong_with_a_proxy_is_said_of_the_proxy() {
    let elita = Elita::at("https://elita.test", "no-token");
    let said = async |proxy: &str| {
        let said = Elita::at("https://elita.test", "no-token").with("HTTPS_PROXY", proxy);
        said.run(&["--retry-for", "0s", "app", "list"]).await
    };
    let refuses = "HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    let asks = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    let (refusing, asking) = (Proxy::refusing(refuses).await, Proxy::refusing(asks).await);
    for (proxy, why) in [
        ("http://127.0.0.1:9", "it refused the connection"),
        (&*refusing.url, "it does not lead there"),
        (&*asking.url, "it wants a user and a password"),
    ] {
        let Said { code, stderr, .. } = said(proxy).await;
        let name = proxy.trim_start_matches("http://");
        let expected = format!(
            "elita: https://elita.test/ cannot be reached through the proxy {name}: {why}\n\
             try: check HTTPS_PROXY and HTTP_PROXY, or except this server with NO_PROXY\n"
        );
        assert_eq!((code, stderr), (6, expected));
    }
    // HTTP_PROXY is for http:// alone.
    let said = elita.with("HTTP_PROXY", "http://127.0.0.1:9").run(&["--retry-for", "0s", "app", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("proxy")), (6, false), "{said}");
    let elita = Elita::at("http://elita.test", "no-token").with("HTTP_PROXY", "http://127.0.0.1:9");
    let said = elita.run(&["--retry-for", "0s", "--plain-http", "app", "list"]).await;
    assert_eq!((said.code, said.stderr.contains("through the proxy 127.0.0.1:9")), (6, true), "{said}");
}

#[tokio::test]
async fn a_certificate_of_another_time_may_be_the_clocks_fault() {
    let mut old = for_elita_test();
    (old.not_before, old.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    let mut coming = for_elita_test();
    (coming.not_before, coming.not_after) = (date_time_ymd(2100, 1, 1), date_time_ymd(2101, 1, 1));
    for (params, why, hint) in [
        (old, "its certificate has expired", "try: renew it; or is this machine's clock right? elita doctor\n"),
        (coming, "its certificate is not valid yet", "try: is this machine's clock right? elita doctor\n"),
    ] {
        let elita = Elita::new();
        let (host, address) = with_certificate(&elita, params).await;
        let url = format!("https://localhost:{}", address.port());
        let elita = elita.with("ELITA_TOKEN", &host.database.token).with("ELITA_SERVER", &url);
        let said = elita.run(&["--retry-for", "0s", "--ca-file", "cert.pem", "app", "list"]).await;
        assert_eq!((said.code, said.stderr), (6, format!("elita: {url}/ is not trusted: {why}\n{hint}")));
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_found_by_the_doctor() {
    let (host, elita) = with_widgets().await;
    let clock = elita.home().join("clock");
    std::fs::write(&clock, "-3h").unwrap();
    let off = with_clock(elita, &clock);
    let said = off.run(&["doctor"]).await;
    assert_eq!(said.code, 1, "{said}");
    let line = said.stdout.lines().find(|line| line.starts_with("✗ clock")).unwrap();
    let seconds: i64 = line.split_whitespace().find_map(|word| word.parse().ok()).unwrap();
    assert!((seconds - 3 * 3600).abs() < 60, "{said}");
    assert!(said.stdout.contains("    try: set the clocks by NTP"), "{said}");
    // Commands work all the same.
    assert_eq!(off.run(&["run", "my_application", "DeleteWidgets", "testing=true", "count=1"]).await.code, 0);
    drop(host);
}

fn with_clock(elita: Elita, clock: &Path) -> Elita {
    faked(clock).into_iter().fold(elita, |elita, (name, value)| elita.with(name, value.to_str().unwrap()))
}
