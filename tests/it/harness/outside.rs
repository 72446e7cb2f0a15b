//! Servers outside: what plugins send requests to, on this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// What a server does when it has been asked for something.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Sends this, and closes the connection.
    Says(String),
    /// Sends that, after so long.
    SaysAfter(Duration, String),
    /// Reads the body to its end, and answers with its length.
    Measures,
    /// Keeps the body with the head, and answers with a short page.
    Keeps,
    /// Sends a body without end.
    Floods,
    /// Sends a body without end, some bytes a second.
    Drips,
    /// Sends a header without end.
    FloodsHeaders,
    /// Waits until the other side closes the connection.
    Waits,
}

/// A server. It goes with its test.
pub(crate) struct Outside {
    address: SocketAddr,
    asked: UnboundedReceiver<String>,
    closed: UnboundedReceiver<()>,
}

/// An authority that makes certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Answer {
    /// A short page.
    pub(crate) fn hello() -> Self {
        Self::Says("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".into())
    }

    /// A redirect.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::Says(format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Writes its certificate to a PEM file.
    pub(crate) fn write_to(&self, file: &Path) {
        std::fs::write(file, self.0.pem()).unwrap();
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

impl Outside {
    /// A server without TLS.
    pub(crate) async fn new(answer: Answer) -> Self {
        Self::start(answer, None).await
    }

    /// One with a certificate for this name or address.
    pub(crate) async fn with_tls(answer: Answer, authority: &Authority, name: &str) -> Self {
        Self::start(answer, Some(authority.acceptor(name))).await
    }

    async fn start(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let ((tell_asked, asked), (tell_closed, closed)) = (unbounded_channel(), unbounded_channel());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, tls, tell_asked, tell_closed) =
                    (answer.clone(), tls.clone(), tell_asked.clone(), tell_closed.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, answer, tell_asked).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => serve(stream, answer, tell_asked).await,
                            // The client does not trust us.
                            Err(_) => return,
                        },
                    }
                    let _ = tell_closed.send(());
                });
            }
        });
        Self { address, asked, closed }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The heads of the requests that have come in since this was asked; with their bodies where they are kept.
    pub(crate) fn asked(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.asked.try_recv().ok()).collect()
    }

    /// Waits for a request.
    pub(crate) async fn is_asked(&mut self) {
        self.asked.recv().await.unwrap();
    }

    /// Waits until a connection has been closed.
    pub(crate) async fn is_left(&mut self) {
        self.closed.recv().await.unwrap();
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, tell: UnboundedSender<String>) {
    let Some(mut head) = read_head(&mut stream).await else { return };
    let length = content_length(&head);
    if let Answer::Keeps = answer {
        let _ = (&mut stream).take(length).read_to_string(&mut head).await;
    }
    let _ = tell.send(head);
    // Whatever goes wrong from here on is the other side's choice.
    let _ = match answer {
        Answer::Says(text) => stream.write_all(text.as_bytes()).await,
        Answer::Keeps => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await,
        Answer::SaysAfter(delay, text) => {
            tokio::time::sleep(delay).await;
            stream.write_all(text.as_bytes()).await
        }
        Answer::Measures => {
            let measured = tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await;
            let body = measured.unwrap_or_default().to_string();
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(text.as_bytes()).await
        }
        Answer::Floods => {
            flood(&mut stream, "HTTP/1.1 200 OK\r\n\r\nPK\x03\x04", &[b'x'; 10_000], Duration::ZERO).await
        }
        Answer::Drips => flood(&mut stream, "HTTP/1.1 200 OK\r\n\r\n", b".", Duration::from_millis(20)).await,
        Answer::FloodsHeaders => {
            flood(&mut stream, "HTTP/1.1 200 OK\r\nx-flood: ", &[b'x'; 10_000], Duration::ZERO).await
        }
        Answer::Waits => stream.read_to_end(&mut Vec::new()).await.map(drop),
    };
    let _ = stream.shutdown().await;
}

/// Writes until nobody reads any more.
async fn flood(
    stream: &mut (impl AsyncWrite + Unpin),
    head: &str,
    more: &[u8],
    pause: Duration,
) -> std::io::Result<()> {
    stream.write_all(head.as_bytes()).await?;
    loop {
        stream.write_all(more).await?;
        stream.flush().await?;
        tokio::time::sleep(pause).await;
    }
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}

fn content_length(head: &str) -> u64 {
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.map_or(0, |length| length.parse().unwrap())
}
