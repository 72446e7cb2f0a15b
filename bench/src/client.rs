//! An HTTP client that costs as little as can be: one connection, one request at a time, always the same one.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

pub(crate) struct Poster {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Poster {
    pub(crate) async fn new(address: SocketAddr, path: &str, token: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n"
        );
        Ok(Self { stream, request: request.into(), buffer: Vec::new() })
    }

    /// Sends the request and reads the whole reply, which must be a 202.
    pub(crate) async fn post(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        while !is_complete(&self.buffer)? {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server hung up");
            }
        }
        if !self.buffer.starts_with(b"HTTP/1.1 202") {
            bail!("not accepted: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }
}

fn is_complete(reply: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&reply[..end])?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no content-length")?;
    Ok(reply.len() >= end + 4 + length.parse::<usize>()?)
}
