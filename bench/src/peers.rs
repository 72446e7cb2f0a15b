//! The other queues, and the other plugin host: the programs of `bench/peers` and `bench/extism`.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::load::CLIENTS;

/// Those on Postgres, as the program calls them.
pub(crate) const ON_POSTGRES: [&str; 3] = ["graphile", "river", "apalis"];

pub(crate) fn are_built() -> bool {
    program().is_file()
}

/// Jobs per second of one of [`ON_POSTGRES`] on an empty database.
pub(crate) async fn on_postgres(peer: &str, url: &str, seconds: u64) -> anyhow::Result<f64> {
    run(&[peer, "--database-url", url], seconds).await
}

/// Tasks per second of Celery.
pub(crate) async fn celery(seconds: u64) -> anyhow::Result<f64> {
    run(&["celery"], seconds).await
}

pub(crate) fn extism_is_built() -> bool {
    extism_program().is_file()
}

/// Microseconds that extism takes for a call.
pub(crate) async fn extism(calls: usize) -> anyhow::Result<f64> {
    figure(Command::new(extism_program()).args(["--calls", &calls.to_string()]), "micros_per_call").await
}

async fn run(arguments: &[&str], seconds: u64) -> anyhow::Result<f64> {
    let mut command = Command::new(program());
    command.args(arguments).args(["--clients", &CLIENTS.to_string(), "--seconds", &seconds.to_string()]);
    figure(&mut command, "per_second").await
}

/// One of the figures that a program prints, as JSON.
async fn figure(command: &mut Command, name: &str) -> anyhow::Result<f64> {
    let output = command.stderr(Stdio::piped()).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{:?} ended with {}: {said}", command.as_std(), output.status);
    let figures: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    figures[name].as_f64().context("no figure")
}

fn program() -> PathBuf {
    target().join("peers/release/peers")
}

fn extism_program() -> PathBuf {
    target().join("extism/release/elita-bench-extism")
}

fn target() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target")
}
