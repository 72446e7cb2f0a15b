//! GET of a job, beside a bare server that answers with the same row, and asks nobody for a token.

use anyhow::Context as _;
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::client::{Connection, Request};
use crate::latency::job_id;
use crate::load::load;
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::Site;

pub(crate) async fn measure(site: &Site, rounds: usize, seconds: u64, report: &mut Report) -> anyhow::Result<()> {
    let mut server = Server::start(site, "reading", &[]).await?;
    let (_process, bare) = bare(&server.database.url).await?;
    let mut connection = Connection::to(server.address).await?;
    let job = job_id(connection.exchange(&server.post()).await?)?.to_owned();
    server.settled().await?;
    let request = || Request::get(&format!("/job/{job}"), &server.database.token);
    let of_elita = connection.exchange(&request()).await?.to_owned();
    let of_peer = Connection::to(bare).await?.exchange(&request()).await?.to_owned();
    let (of_elita, of_peer) = (String::from_utf8(of_elita)?, String::from_utf8(of_peer)?);
    anyhow::ensure!(of_elita == of_peer, "they answer differently:\n{of_elita}\n{of_peer}");

    let mut figures = Vec::new();
    for _ in 0..rounds {
        let elita = load(server.address, request(), seconds).await? as f64 / seconds as f64;
        let peer = load(bare, request(), seconds).await? as f64 / seconds as f64;
        figures.push((elita, peer));
    }
    let beside = "bare hyper with that prepared SELECT";
    report.add(Comparison::new("7", "GET /job/{id}", beside, "/s", figures).goal(Goal::AtLeast(0.8)));
    server.stop().await
}

/// Starts this program as the bare server.
pub(crate) async fn bare(url: &str) -> anyhow::Result<(Child, std::net::SocketAddr)> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bare-server", "--database-url", url]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn()?;
    let mut lines = BufReader::new(process.stdout.take().context("no stdout")?).lines();
    let address = lines.next_line().await?.context("the bare server did not start")?.parse()?;
    Ok((process, address))
}
