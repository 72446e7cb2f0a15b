//! A deployment to very many servers, beside what its commands and pauses take alone; and what each server takes of
//! statements and memory.

use std::time::{Duration, Instant};

use anyhow::ensure;
use sqlx::Executor as _;
use tokio::time::sleep;

use crate::commits::{commit, prepare};
use crate::costs::{count_statements, statements};
use crate::fake_salt::FakeSalt;
use crate::report::{Comparison, Goal, Report};
use crate::server::Server;
use crate::site::{APPLICATION, Site};
use crate::uploads::{ask, ended, peak_mib, shell, upload};

/// Servers, in so many batches, with so long a pause between two of them.
const SERVERS: u32 = 1000;
const BATCHES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);
/// How long each pull takes, and how many servers of a batch pull at the same time.
const TAKES: Duration = Duration::from_millis(500);
const AT_A_TIME: u32 = 32;

pub(crate) async fn measure(rounds: usize, report: &mut Report) -> anyhow::Result<()> {
    let (site, counts) = Site::counting().await?;
    let salt = FakeSalt::start(TAKES).await?;
    let (password, url) = (site.directory.path().join("salt-password"), format!("http://{}", salt.address));
    std::fs::write(&password, "any\n")?;
    let password = password.display().to_string();
    let flags = ["--salt-url", &url, "--salt-eauth", "sharedsecret", "--salt-password-file", &password];
    // No server fetches anything.
    let more = ["--public-url", "http://127.0.0.1:9", "--server-check-seconds", "0"];
    let mut server = Server::start(&site, "deployments", &[&flags[..], &more].concat()).await?;
    prepare(&mut server).await?;
    make_servers(&mut server).await?;
    let files = tempfile::tempdir_in(site.directory.path())?;
    shell("echo 1 >a && tar -cf build.tar a", files.path()).await?;
    let (_, job) = upload(&server, &files.path().join("build.tar"), "1", "").await?;
    ended(&mut server, &job).await?;
    // What is committed already is not what is measured.
    commit(&mut server, "1").await?;
    let (before, mut figures, mut taken) = (peak_mib(&server)?, Vec::new(), Vec::new());
    for _ in 0..rounds {
        if counts {
            count_statements(&mut server).await?;
        }
        figures.push((deploy(&mut server).await?.as_secs_f64(), alone().await.as_secs_f64()));
        if counts {
            taken.push(statements(&mut server).await?);
        }
    }
    let what = format!("deployment to {SERVERS} servers in {BATCHES} batches");
    let comparison = Comparison::new("17", &what, "its commands, 32 at a time, and pauses", "s", figures);
    report.add(comparison.goal(Goal::AtMost(1.1)));
    let peak = peak_mib(&server)?;
    report.remark(&format!("deployments: {before} MiB of memory before, a peak of {peak} MiB with {SERVERS} servers"));
    for statements in taken {
        let each = statements as f64 / f64::from(SERVERS);
        report.remark(&format!("deployments: {statements} statements, {each:.2} for each server (goal: at most 8)"));
    }
    server.stop().await?;
    site.close().await;
    Ok(())
}

/// From the request to the end of its job.
async fn deploy(server: &mut Server) -> anyhow::Result<Duration> {
    let asked = format!(
        r#"{{"build_name": "1", "environments": ["bench"], "groups": ["all"], "rolling_divisor": {BATCHES}, "rolling_pause": {}}}"#,
        PAUSE.as_secs()
    );
    let began = Instant::now();
    ask(server, "POST", &format!("/app/{APPLICATION}/deployments"), &asked).await?;
    let took = server.settled().await?.duration_since(began.into());
    let status = "select status from deployments order by id desc limit 1";
    let status: String = sqlx::query_scalar(status).fetch_one(&mut server.connection).await?;
    ensure!(status == "complete", "the deployment has {status}");
    Ok(took)
}

/// The same with nobody in between.
async fn alone() -> Duration {
    let began = Instant::now();
    for batch in 1..=BATCHES {
        for _ in 0..(SERVERS / BATCHES).div_ceil(AT_A_TIME) {
            sleep(TAKES).await;
        }
        if batch < BATCHES {
            sleep(PAUSE).await;
        }
    }
    began.elapsed()
}

/// Servers that have a working copy already, and a group of all of them.
async fn make_servers(server: &mut Server) -> anyhow::Result<()> {
    let made = format!(
        "insert into servers (name, environment, driver, connection, attributes)
         select 'minion-' || n, 'bench', 'salt', json_build_object('minion', 'minion-' || n), '{{}}'
         from generate_series(1, {SERVERS}) as n;
         insert into gitdeploy_servers (application, gitdeploy, server)
         select application, gitdeploys.name, servers.name from gitdeploys, servers"
    );
    server.connection.execute(sqlx::AssertSqlSafe(made)).await?;
    let group = r#"{"name": "all", "gitdeploys": ["web"], "rolling_deploy": true}"#;
    ask(server, "POST", &format!("/app/{APPLICATION}/groups"), group).await
}
