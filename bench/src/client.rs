//! An HTTP client that costs as little as can be: a connection that is kept, one request at a time, sent as prepared.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A request as it goes over the wire, and the status that its reply must have.
pub(crate) struct Request {
    text: Vec<u8>,
    status: &'static [u8],
}

impl Request {
    /// One for an action.
    pub(crate) fn post(path: &str, token: &str) -> Self {
        Self { text: head("POST", path, token, "content-length: 0\r\n"), status: b"HTTP/1.1 202 " }
    }

    /// One for a document.
    pub(crate) fn get(path: &str, token: &str) -> Self {
        Self { text: head("GET", path, token, ""), status: b"HTTP/1.1 200 " }
    }
}

fn head(method: &str, path: &str, token: &str, more: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{more}\r\n").into()
}

/// A connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn to(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Sends a request and returns the body of its reply.
    pub(crate) async fn exchange(&mut self, request: &Request) -> anyhow::Result<&[u8]> {
        self.stream.write_all(&request.text).await?;
        self.buffer.clear();
        let body = loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server hung up");
            }
            if let Some((body, length)) = body(&self.buffer)?
                && self.buffer.len() >= body + length
            {
                break body;
            }
        };
        if !self.buffer.starts_with(request.status) {
            bail!("another answer than expected: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(&self.buffer[body..])
    }
}

/// Where the body begins and how long it is, once the head is there.
fn body(reply: &[u8]) -> anyhow::Result<Option<(usize, usize)>> {
    const LENGTH: &[u8] = b"\r\ncontent-length: ";
    let Some(end) = find(reply, b"\r\n\r\n") else { return Ok(None) };
    let start = find(&reply[..end], LENGTH).context("a reply without content-length")? + LENGTH.len();
    let digits = reply[start..].iter().take_while(|byte| byte.is_ascii_digit());
    Ok(Some((end + 4, digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0')))))
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|part| part == wanted)
}
