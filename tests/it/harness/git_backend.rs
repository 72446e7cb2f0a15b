//! Git's own server of repositories over HTTP (`git http-backend`), which takes pushes of one user.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;

/// A server of the repositories in a directory. It goes with its test.
pub(crate) struct GitBackend {
    address: SocketAddr,
}

struct Served {
    root: PathBuf,
    /// What the header `Authorization` has to be.
    authorization: String,
}

impl GitBackend {
    /// One for this user.
    pub(crate) async fn start(root: PathBuf, username: &str, password: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let authorization = format!("Basic {}", STANDARD.encode(format!("{username}:{password}")));
        let served = Arc::new(Served { root, authorization });
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let served = served.clone();
                tokio::spawn(async move { served.answer(connection).await });
            }
        });
        Self { address }
    }

    /// `http://` and the address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The address.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Served {
    async fn answer(&self, connection: TcpStream) -> Option<()> {
        let mut connection = BufReader::new(connection);
        let (mut request, mut headers) = (String::new(), Vec::new());
        connection.read_line(&mut request).await.ok()?;
        loop {
            let mut line = String::new();
            connection.read_line(&mut line).await.ok()?;
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let header = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        if header("authorization").as_deref() != Some(&*self.authorization) {
            let refused = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\n\
                           Content-Length: 0\r\nConnection: close\r\n\r\n";
            connection.write_all(refused.as_bytes()).await.ok()?;
            return Some(());
        }
        let body = match (header("content-length"), header("transfer-encoding")) {
            (Some(length), _) => {
                let mut body = vec![0; length.parse().ok()?];
                connection.read_exact(&mut body).await.ok()?;
                body
            }
            (None, Some(_)) => chunked(&mut connection).await?,
            (None, None) => Vec::new(),
        };
        let mut words = request.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut cgi = Command::new("git");
        cgi.arg("http-backend").env("GIT_PROJECT_ROOT", &self.root).env("GIT_HTTP_EXPORT_ALL", "1");
        cgi.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
        cgi.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
        cgi.env("REMOTE_USER", "user").env("CONTENT_LENGTH", body.len().to_string());
        for (name, variable) in [
            ("content-type", "CONTENT_TYPE"),
            ("content-encoding", "HTTP_CONTENT_ENCODING"),
            ("git-protocol", "GIT_PROTOCOL"),
        ] {
            if let Some(value) = header(name) {
                cgi.env(variable, value);
            }
        }
        let mut cgi = cgi.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().ok()?;
        let mut stdin = cgi.stdin.take()?;
        let writing = tokio::spawn(async move { stdin.write_all(&body).await });
        let output = cgi.wait_with_output().await.ok()?.stdout;
        let _ = writing.await;
        let end = output.windows(4).position(|window| window == b"\r\n\r\n")?;
        let (head, body) = (String::from_utf8_lossy(&output[..end]), &output[end + 4..]);
        let status = head.lines().find_map(|line| line.strip_prefix("Status: ")).unwrap_or("200 OK");
        let others: Vec<_> = head.lines().filter(|line| !line.starts_with("Status: ")).collect();
        let head = format!(
            "HTTP/1.1 {status}\r\n{}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            others.join("\r\n"),
            body.len()
        );
        connection.write_all(head.as_bytes()).await.ok()?;
        connection.write_all(body).await.ok()
    }
}

async fn chunked(connection: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok()?;
        let length = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut chunk = vec![0; length + 2];
        connection.read_exact(&mut chunk).await.ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}
