//! Clones of a repository over HTTP, beside `git http-backend` behind a server that does nothing else.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinSet;

use crate::report::{Comparison, Report};
use crate::server::Server;
use crate::site::{APPLICATION, Site};

/// Clients at a time, and clones of each.
const CLIENTS: usize = 4;
const CLONES: usize = 2;

pub(crate) async fn measure(site: &Site, server: &Server, rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let git = site.directory.path().join("commits/git");
    let repository = std::fs::read_dir(&git)?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "git"));
    let repository = repository.context("there is no repository")?;
    let peer = backend(repository).await?;
    let elita_url = format!("http://{}/git/{APPLICATION}/site.git", server.address);
    let peer_url = format!("http://{peer}/repository.git");
    let mut figures = Vec::new();
    for _ in 0..rounds {
        let elita = clones(&elita_url, &server.database.token).await?;
        figures.push((elita, clones(&peer_url, "none").await?));
    }
    report.add(Comparison::new("", "clones of 10000 files, 4 clients", "git http-backend", "/s", figures));
    Ok(())
}

/// Clones the repository of a server into a directory.
pub(crate) async fn clone(server: &Server, directory: &Path, name: &str) -> anyhow::Result<()> {
    let url = format!("http://{}/git/{APPLICATION}/site.git", server.address);
    cloned(&url, &server.database.token, &directory.join(format!("{name}.git"))).await
}

/// How many a second.
async fn clones(url: &str, token: &str) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (url, token, directory) = (url.to_owned(), token.to_owned(), directory.path().to_owned());
        clients.spawn(async move {
            for number in 0..CLONES {
                cloned(&url, &token, &directory.join(format!("{client}-{number}.git"))).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok((CLIENTS * CLONES) as f64 / began.elapsed().as_secs_f64())
}

async fn cloned(url: &str, token: &str, to: &Path) -> anyhow::Result<()> {
    let mut git = Command::new("git");
    git.args(["clone", "-q", "--bare", url]).arg(to).stdin(Stdio::null());
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_TERMINAL_PROMPT", "0").env("GIT_CONFIG_COUNT", "1");
    git.env("GIT_CONFIG_KEY_0", "http.extraHeader").env("GIT_CONFIG_VALUE_0", format!("Authorization: Bearer {token}"));
    ensure!(git.status().await?.success(), "a clone of {url} failed");
    Ok(())
}

/// Serves the repository by `git http-backend`.
async fn backend(repository: PathBuf) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let repository = Arc::new(repository);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let repository = repository.clone();
            tokio::spawn(async move { answer(connection, &repository).await });
        }
    });
    Ok(address)
}

/// One request a connection.
async fn answer(connection: TcpStream, repository: &Path) -> Option<()> {
    let mut connection = BufReader::new(connection);
    let (mut request, mut headers) = (String::new(), Vec::new());
    connection.read_line(&mut request).await.ok()?;
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let header = |name: &str| headers.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value.as_str());
    let mut body = vec![0; header("content-length").parse().unwrap_or(0)];
    connection.read_exact(&mut body).await.ok()?;
    let mut words = request.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let translated = format!("{}{}", repository.display(), path.strip_prefix("/repository.git")?);
    let mut cgi = Command::new("git");
    cgi.arg("http-backend").env("PATH_TRANSLATED", translated).env("GIT_HTTP_EXPORT_ALL", "1");
    cgi.env("REQUEST_METHOD", method).env("PATH_INFO", path).env("QUERY_STRING", query);
    cgi.env("CONTENT_LENGTH", body.len().to_string()).env("CONTENT_TYPE", header("content-type"));
    cgi.env("HTTP_CONTENT_ENCODING", header("content-encoding")).env("GIT_PROTOCOL", header("git-protocol"));
    let mut cgi = cgi.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().ok()?;
    let (mut stdin, mut stdout) = (cgi.stdin.take()?, cgi.stdout.take()?);
    stdin.write_all(&body).await.ok()?;
    drop(stdin);
    connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n").await.ok()?;
    tokio::io::copy(&mut stdout, &mut connection).await.ok()?;
    connection.shutdown().await.ok()
}
