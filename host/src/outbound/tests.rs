use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::*;

const LIMITS: RequestLimits = RequestLimits {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(10),
    between_bytes: Duration::from_secs(10),
    total: Duration::from_secs(10),
    request_bytes: 1024,
    response_bytes: 1024,
};

/// A server on an address of this machine, with what it was asked.
struct Server {
    address: SocketAddr,
    asked: tokio::sync::mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// One that reads a request's head, and does `answer` then.
    async fn on<F: Future<Output = ()> + Send>(
        address: SocketAddr,
        answer: impl Fn(TcpStream) -> F + Copy + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                tokio::spawn(async move {
                    let _ = tell.send(head(&mut stream).await);
                    answer(stream).await;
                });
            }
        });
        Self { address, asked }
    }

    async fn answering<F: Future<Output = ()> + Send>(answer: impl Fn(TcpStream) -> F + Copy + Send + 'static) -> Self {
        Self::on((Ipv4Addr::LOCALHOST, 0).into(), answer).await
    }

    /// One that answers this and closes the connection.
    async fn saying(text: &'static str) -> Self {
        Self::answering(move |mut stream| async move { stream.write_all(text.as_bytes()).await.unwrap() }).await
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// That it may be asked, at its address.
    fn granted(&self) -> Vec<Destination> {
        granted(&format!("{:?}", self.address.to_string()))
    }

    fn was_asked(&mut self) -> Option<String> {
        self.asked.try_recv().ok()
    }
}

async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(head).unwrap()
}

fn granted(list: &str) -> Vec<Destination> {
    #[derive(serde::Deserialize)]
    struct File {
        http: Vec<Destination>,
    }
    toml::from_str::<File>(&format!("http = [{list}]")).unwrap().http
}

/// Answers each question with the next of these, and then with the last again; and counts.
fn resolving(answers: &'static [&'static [&'static str]]) -> (Outbound, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolve: Resolve = Arc::new(move |_| {
        let answer = answers[count.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)];
        Box::pin(async move { Ok(answer.iter().map(|address| address.parse().unwrap()).collect()) })
    });
    (Outbound::with_resolver(None, resolve).unwrap(), asked)
}

fn outbound() -> Outbound {
    resolving(&[&[]]).0
}

fn permit() -> RequestPermit {
    permit_of("plugin")
}

fn permit_of(sender: &str) -> RequestPermit {
    RequestPermit::new(sender, Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap())
}

fn get(url: &str) -> Request<Empty<Bytes>> {
    Request::get(url).body(Empty::new()).unwrap()
}

async fn body(response: Response<ResponseBody>) -> Result<Bytes, Error> {
    response.into_body().collect().await.map(|body| body.to_bytes())
}

#[tokio::test]
async fn a_request_is_sent_to_its_host_with_its_path() {
    let mut server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
    let (outbound, _) = resolving(&[&["127.0.0.1"]]);
    let port = server.address.port();
    let reach = granted(&format!("{{ host = \"api.example.org:{port}\", addresses = [\"127.0.0.0/8\"] }}"));
    let request = get(&format!("http://API.example.org.:{port}?a=b"));
    let response = outbound.send(request, Reach::Granted(&reach), LIMITS, &permit()).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(body(response).await.unwrap(), "hello");
    assert_eq!(server.was_asked().unwrap(), format!("GET /?a=b HTTP/1.1\r\nhost: api.example.org:{port}\r\n\r\n"));
}

#[tokio::test]
async fn what_is_not_granted_is_not_even_looked_up() {
    let (outbound, asked) = resolving(&[&["127.0.0.1"]]);
    let reach = granted(r#""api.example.org:443", "10.0.0.5:80""#);
    for url in ["https://api.example.org:444", "http://api.example.org", "https://example.org", "http://10.0.0.5:81"] {
        let sent = outbound.send(get(url), Reach::Granted(&reach), LIMITS, &permit()).await;
        assert!(matches!(sent, Err(Error::NotGranted { .. })), "{url}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_name_that_changes_its_answer_leads_nowhere_else() {
    const HELLO: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    let mut meant = Server::saying(HELLO).await;
    let other_address = (Ipv4Addr::new(127, 0, 0, 2), meant.address.port()).into();
    let say_hello = |mut stream: TcpStream| async move { stream.write_all(HELLO.as_bytes()).await.unwrap() };
    let mut other = Server::on(other_address, say_hello).await;
    let (outbound, asked) = resolving(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let port = meant.address.port();
    let reach = granted(&format!("{{ host = \"api.example.org:{port}\", addresses = [\"127.0.0.1\"] }}"));
    let url = format!("http://api.example.org:{port}");

    let first = outbound.send(get(&url), Reach::Granted(&reach), LIMITS, &permit()).await.unwrap();
    assert_eq!(first.status(), 204);
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a second answer could be another one");
    let second = outbound.send(get(&url), Reach::Granted(&reach), LIMITS, &permit()).await;
    assert!(matches!(second, Err(Error::Prohibited { .. })));
    assert!(meant.was_asked().is_some());
    assert_eq!(other.was_asked(), None);
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_is_not_reached() {
    for answer in [
        &["127.0.0.1"] as &'static [&'static str],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::a9fe:a9fe"],
        &["2002:7f00:1::"],
        &["0.0.0.0"],
        &["::"],
        &["169.254.169.254"],
        &["fd00:ec2::254"],
        &["100.64.0.1"],
        &["224.0.0.1"],
        &["10.0.0.1", "192.168.0.1", "fe80::1"],
        &[],
    ] {
        let (outbound, _) = resolving(Box::leak(Box::new([answer])));
        let public = outbound.send(get("http://example.org"), Reach::PublicAnd(&[]), LIMITS, &permit()).await;
        assert!(matches!(public, Err(Error::Prohibited { .. })), "{answer:?}");
        let reach = granted(r#""example.org:80""#);
        let named = outbound.send(get("http://example.org"), Reach::Granted(&reach), LIMITS, &permit()).await;
        assert!(matches!(named, Err(Error::Prohibited { .. })), "{answer:?}");
    }
}

#[tokio::test]
async fn among_several_addresses_only_those_that_are_allowed_are_tried() {
    let mut server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let port = server.address.port();
    let (outbound, _) = resolving(&[&["127.0.0.3", "169.254.169.254", "::ffff:127.0.0.1"]]);
    let reach = granted(&format!("{{ host = \"example.org:{port}\", addresses = [\"127.0.0.1\"] }}"));
    let request = get(&format!("http://example.org:{port}"));
    outbound.send(request, Reach::Granted(&reach), LIMITS, &permit()).await.unwrap();
    assert!(server.was_asked().is_some());
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_passed_over() {
    let mut server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let port = server.address.port();
    // Nobody listens at the first.
    let (outbound, _) = resolving(&[&["127.0.0.4", "127.0.0.1"]]);
    let reach = granted(&format!("{{ host = \"example.org:{port}\", addresses = [\"127.0.0.0/8\"] }}"));
    let request = get(&format!("http://example.org:{port}"));
    outbound.send(request, Reach::Granted(&reach), LIMITS, &permit()).await.unwrap();
    assert!(server.was_asked().is_some());
}

#[tokio::test]
async fn an_address_is_prohibited_in_every_spelling() {
    for host in [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0.0.0.0",
        "0",
        "[::]",
        "100.64.0.1",
        "224.0.0.1",
        "169.254.169.254",
        "2852039166",
        "[fd00:ec2::254]",
    ] {
        let sent = outbound().send(get(&format!("http://{host}/")), Reach::PublicAnd(&[]), LIMITS, &permit()).await;
        assert!(matches!(sent, Err(Error::Prohibited { .. })), "{host}");
    }
}

#[tokio::test]
async fn nothing_allows_the_address_of_no_machine() {
    let (outbound, _) = resolving(&[&["0.0.0.0", "::", "224.0.0.1", "255.255.255.255"]]);
    let reach = granted(r#"{ host = "example.org:80", addresses = ["0.0.0.0/0", "::/0"] }"#);
    let sent = outbound.send(get("http://example.org"), Reach::Granted(&reach), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::Prohibited { .. })));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let mut server = Server::saying("HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n").await;
    let reach = server.granted();
    let response = outbound().send(get(&server.url()), Reach::Granted(&reach), LIMITS, &permit()).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["location"]), (302, &"/elsewhere".parse().unwrap()));
    assert!(server.was_asked().is_some());
    assert!(server.was_asked().is_none());
}

#[tokio::test]
async fn a_response_that_says_that_it_is_too_large_is_not_read() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 1025\r\n\r\n").await;
    let sent = outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::ResponseTooLarge(1024))));
}

#[tokio::test]
async fn a_response_without_end_is_cut_where_it_is_too_large() {
    let server = Server::answering(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 100]).await.is_ok() {}
    })
    .await;
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await.unwrap();
    assert!(matches!(body(response).await, Err(Error::ResponseTooLarge(1024))));
}

#[tokio::test]
async fn a_response_that_does_not_end_in_time_is_no_complete_one() {
    // Where a body ends with its connection, one that is cut looks complete.
    let server = Server::answering(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let limits = RequestLimits { total: Duration::from_millis(300), ..LIMITS };
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), limits, &permit()).await.unwrap();
    assert!(matches!(body(response).await, Err(Error::TimedOut(_))));
}

#[tokio::test]
async fn a_body_that_comes_slowly_ends_with_the_whole_time() {
    let server = Server::answering(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(b".").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let (total, between_bytes) = (Duration::from_millis(300), Duration::from_millis(250));
    let limits = RequestLimits { total, between_bytes, ..LIMITS };
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), limits, &permit()).await.unwrap();
    assert!(matches!(body(response).await, Err(Error::TimedOut(_))));
}

#[tokio::test]
async fn a_response_that_stops_in_the_middle_is_not_waited_for() {
    let server = Server::answering(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let limits = RequestLimits { between_bytes: Duration::from_millis(100), ..LIMITS };
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), limits, &permit()).await.unwrap();
    assert!(matches!(body(response).await, Err(Error::Stalled(_))));
}

#[tokio::test]
async fn a_response_that_does_not_begin_is_not_waited_for() {
    let server = Server::answering(|mut stream| async move {
        let _ = stream.read_u8().await;
    })
    .await;
    let limits = RequestLimits { first_byte: Duration::from_millis(100), ..LIMITS };
    let sent = outbound().send(get(&server.url()), Reach::Granted(&server.granted()), limits, &permit()).await;
    assert!(matches!(sent, Err(Error::NoAnswer(_))));
    let limits = RequestLimits { total: Duration::from_millis(100), ..LIMITS };
    let sent = outbound().send(get(&server.url()), Reach::Granted(&server.granted()), limits, &permit()).await;
    assert!(matches!(sent, Err(Error::TimedOut(_))));
}

#[tokio::test]
async fn a_name_that_is_not_found_in_time_is_not_waited_for() {
    let resolve: Resolve = Arc::new(|_| Box::pin(std::future::pending()));
    let outbound = Outbound::with_resolver(None, resolve).unwrap();
    let limits = RequestLimits { connect: Duration::from_millis(100), ..LIMITS };
    let sent = outbound.send(get("http://example.org"), Reach::PublicAnd(&[]), limits, &permit()).await;
    assert!(matches!(sent, Err(Error::LookupTimedOut { .. })));
}

#[tokio::test]
async fn a_request_that_is_given_up_keeps_its_place_until_its_lookup_has_ended() {
    let (asked, answered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (ask, answer) = (asked.clone(), answered.clone());
    let resolve: Resolve = Arc::new(move |_| {
        let (ask, answer) = (ask.clone(), answer.clone());
        Box::pin(async move {
            ask.notify_one();
            answer.notified().await;
            Ok(Vec::new())
        })
    });
    let outbound = Outbound::with_resolver(None, resolve).unwrap();
    let permits = Arc::new(Semaphore::new(1));
    let permit = RequestPermit::new("plugin", permits.clone().try_acquire_owned().unwrap());
    let sent =
        tokio::spawn(
            async move { outbound.send(get("http://example.org"), Reach::PublicAnd(&[]), LIMITS, &permit).await },
        );
    asked.notified().await;
    sent.abort();
    assert!(sent.await.is_err());
    assert_eq!(permits.available_permits(), 0);
    answered.notify_one();
    let free = tokio::time::timeout(LIMITS.total, permits.acquire()).await;
    assert!(free.is_ok(), "the lookup has ended");
}

#[tokio::test]
async fn a_sender_whose_names_hang_leaves_turns_for_others() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let resolve: Resolve = Arc::new(move |name| {
        let hangs = name.starts_with("hangs");
        count.fetch_add(usize::from(hangs), Ordering::SeqCst);
        Box::pin(async move { if hangs { std::future::pending().await } else { Ok(Vec::new()) } })
    });
    let outbound = Outbound::with_resolver(None, resolve).unwrap();
    let limits = RequestLimits { connect: Duration::from_millis(100), ..LIMITS };
    let send = async |sender: &str, url: &str| {
        outbound.send(get(url), Reach::PublicAnd(&[]), limits, &permit_of(sender)).await.err().unwrap()
    };
    let hang = (0..100).map(|number| {
        let (send, url) = (&send, format!("http://hangs{number}.example.org"));
        async move { send("hostile", &url).await }
    });
    for error in futures_util::future::join_all(hang).await {
        assert!(matches!(error, Error::LookupTimedOut { .. }), "{error}");
    }
    // Nobody waits for them any more, and they go on.
    assert_eq!(asked.load(Ordering::SeqCst), 16);
    let error = send("other", "http://example.org").await;
    assert!(matches!(error, Error::Prohibited { .. }), "{error}");
    let error = send("hostile", "http://example.org").await;
    assert!(matches!(error, Error::LookupTimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_response_that_is_cut_off_is_no_complete_one() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await.unwrap();
    assert!(matches!(body(response).await, Err(Error::Incomplete)));
    let server = Server::saying("").await;
    let sent = outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::Incomplete)));
}

#[tokio::test]
async fn headers_without_end_are_not_read() {
    let server = Server::answering(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
        while stream.write_all(&[b'x'; 1000]).await.is_ok() {}
    })
    .await;
    let sent = outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::HeadTooLarge)), "{:?}", sent.err());
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    let server = Server::saying("SSH-2.0-OpenSSH_9.2\r\n").await;
    let sent = outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::Protocol(_))), "{:?}", sent.err());
}

#[tokio::test]
async fn what_is_no_tls_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let reach = granted(&format!("\"{address}\""));
    let sent = outbound().send(get(&format!("https://{address}/")), Reach::Granted(&reach), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::Tls { .. })), "{:?}", sent.err());
}

#[tokio::test]
async fn a_request_that_is_too_large_is_not_sent_to_its_end() {
    let server = Server::answering(|mut stream| async move {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let declared = Request::post(server.url()).body(Full::from(vec![0; 1025])).unwrap();
    let sent = outbound().send(declared, Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::RequestTooLarge(1024))));
    let chunk = || Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(&[0; 100])));
    let endless = StreamBody::new(futures_util::stream::repeat_with(chunk));
    let endless = Request::post(server.url()).body(endless).unwrap();
    let sent = outbound().send(endless, Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::RequestTooLarge(1024))), "{:?}", sent.err());
}

#[tokio::test]
async fn nobody_makes_a_tunnel() {
    let server = Server::saying("HTTP/1.1 200 OK\r\n\r\n").await;
    let request = Request::connect(server.url()).body(Empty::new()).unwrap();
    let sent = outbound().send(request, Reach::Granted(&server.granted()), LIMITS, &permit()).await;
    assert!(matches!(sent, Err(Error::Tunnel)));
}

#[tokio::test]
async fn a_response_that_nobody_wants_any_more_closes_its_connection() {
    let (tell, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let tell: &'static _ = Box::leak(Box::new(tell));
    let server = Server::answering(move |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        let _ = tell.send(stream.read_u8().await.is_err());
    })
    .await;
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), LIMITS, &permit()).await.unwrap();
    drop(response);
    assert!(closed.recv().await.unwrap());
}

#[tokio::test]
async fn a_response_that_nobody_reads_waits_at_its_server() {
    const SIZE: usize = 64 * 1024 * 1024;
    let (tell, mut written) = tokio::sync::mpsc::unbounded_channel();
    let tell: &'static _ = Box::leak(Box::new(tell));
    let server = Server::answering(move |mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        stream.write_all(&vec![b'x'; SIZE]).await.unwrap();
        tell.send(()).unwrap();
    })
    .await;
    let limits = RequestLimits { response_bytes: SIZE as u64, ..LIMITS };
    let response =
        outbound().send(get(&server.url()), Reach::Granted(&server.granted()), limits, &permit()).await.unwrap();
    // Much longer than it takes to write that much to somebody who reads.
    assert!(tokio::time::timeout(Duration::from_millis(500), written.recv()).await.is_err());
    assert_eq!(body(response).await.unwrap().len(), SIZE);
    written.recv().await.unwrap();
}

#[test]
fn the_authorities_file_has_to_have_one() {
    let missing = Outbound::new(Some(Path::new("/nowhere/ca.pem"))).err().unwrap().to_string();
    assert!(missing.starts_with("the certificate authorities of /nowhere/ca.pem cannot be used: "), "{missing}");
    let file = std::env::temp_dir().join(format!("elita-authorities-{}.pem", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let empty = Outbound::new(Some(&file)).err().unwrap().to_string();
    assert!(empty.ends_with("there is no certificate in it"), "{empty}");
}

#[tokio::test]
async fn the_systems_resolver_knows_this_machine() {
    let found = connect::system_resolver()("localhost".into()).await.unwrap();
    assert!(found.iter().all(IpAddr::is_loopback) && !found.is_empty(), "{found:?}");
}
