//! What every test needs: [`TestHost`], a server of its own with a database of its own, and a client for it.

mod api;
mod cable;
mod client;
mod components;
mod elita;
mod fake_salt;
mod git_backend;
mod host;
mod moto;
mod nanio;
mod outside;
mod own_postgres;
mod pgbouncer;
mod postgres;
mod program;
mod salt;
mod sshd;

pub(crate) use self::api::{Api, Operation, filled_in};
pub(crate) use self::cable::Cable;
pub(crate) use self::client::{Client, Reply};
pub(crate) use self::components::{component, component_for, core_module, plugin_file};
pub(crate) use self::elita::{Elita, Said};
pub(crate) use self::fake_salt::FakeSalt;
pub(crate) use self::git_backend::GitBackend;
pub(crate) use self::host::{Setup, StoppedHost, TestHost, settled_plugin};
pub(crate) use self::moto::{Moto, variables};
pub(crate) use self::nanio::Nanio;
pub(crate) use self::outside::{Answer, Authority, Outside};
pub(crate) use self::own_postgres::{OwnPostgres, faked};
pub(crate) use self::pgbouncer::PgBouncer;
pub(crate) use self::postgres::{Database, PASSWORD};
pub(crate) use self::program::{Program, elita, project_root, secret_key_file};
pub(crate) use self::salt::{Salt, SharedSalt, create_minion, salt_settings};
pub(crate) use self::sshd::Sshd;

use std::time::{Duration, Instant};

/// How long anything that a test waits for may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How long what takes a moment may take on a busy machine. What would happen otherwise takes longer, or never ends.
pub(crate) const SOON: Duration = Duration::from_secs(25);

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none in time: with what was waited for.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
