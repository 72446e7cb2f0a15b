//! The peer of a request for an action: pgbench, which does nothing but the same INSERT.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use sqlx::{Connection as _, Executor as _, PgConnection};

use crate::site::{ACTION, APPLICATION, PLUGIN};

/// What pgbench measured.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    pub(crate) latencies_ms: Vec<f64>,
}

/// Removes all rows that [`run`] has inserted, so that each round begins alike.
pub(crate) async fn empty(url: &str) -> anyhow::Result<()> {
    PgConnection::connect(url).await?.execute("truncate jobs").await?;
    Ok(())
}

/// Runs the INSERT of a request for an action, prepared, with so many clients.
pub(crate) fn run(url: &str, directory: &Path, clients: usize, seconds: u64) -> anyhow::Result<Figures> {
    let script = directory.join("insert.sql");
    std::fs::write(&script, insert() + ";\n")?;
    let prefix = directory.join("pgbench_log");
    let output = Command::new(program()?)
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients.to_string(), "-T", &seconds.to_string(), "-l"])
        .arg(format!("--log-prefix={}", prefix.display()))
        .arg("-f")
        .arg(&script)
        .arg(url)
        .output()?;
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8(output.stdout)?;
    let per_second = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    Ok(Figures { per_second: per_second.context("pgbench printed no tps")?, latencies_ms: latencies(directory)? })
}

/// What Elita's INSERT of a queued job does for one of them, with ids that grow like its own.
pub(crate) fn insert() -> String {
    format!(
        "insert into jobs (id, job_type, name, application, username, data, plugin, component_digest, idempotent, \
             timeout_ms, idempotency_key, idempotency_fingerprint) \
         select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000000)::bigint), 16, '0') \
                 || substr(md5(random()::text), 1, 16))::uuid, \
             'action', '{ACTION}', name, 'admin', '{{\"parameters\":[]}}', '{PLUGIN}', \
             decode(repeat('00', 32), 'hex'), false, 300000, null, null \
         from applications where name = '{APPLICATION}' for key share \
         on conflict (username, idempotency_key) where idempotency_key is not null do nothing returning id"
    )
}

/// Reads and removes pgbench's logs: the third field of a line is the latency in microseconds.
fn latencies(directory: &Path) -> anyhow::Result<Vec<f64>> {
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("pgbench_log.")) {
            let text = std::fs::read_to_string(&path)?;
            latencies.extend(text.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<f64>().ok()));
            std::fs::remove_file(path)?;
        }
    }
    if latencies.is_empty() {
        bail!("pgbench wrote no log");
    }
    Ok(latencies.into_iter().map(|micros| micros / 1000.0).collect())
}

fn program() -> anyhow::Result<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    for entry in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten() {
        folders.push(entry?.path().join("bin"));
    }
    let found = folders.into_iter().map(|folder| folder.join("pgbench")).find(|file| file.is_file());
    found.context("there is no pgbench; it comes with Postgres (apt-get install postgresql)")
}
