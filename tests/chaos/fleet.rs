//! All servers, and the doors that clients knock at.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use super::cable::Cable;
use super::host::{Host, PASSWORD};
use super::postgres::Postgres;
use super::random::Random;

/// What the servers are, in turn.
pub(crate) const ROLES: [&str; 4] = ["all", "worker", "all", "api"];
/// How long the plugin may take until it is in force everywhere.
const PATIENCE: Duration = Duration::from_secs(60);

/// The servers of this run.
pub(crate) struct Fleet {
    pub(crate) hosts: Vec<Host>,
    directory: PathBuf,
    doors: Doors,
    logs: Vec<PathBuf>,
}

/// Where actions can be asked for, whether anybody is there just now or not. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Doors {
    bases: Arc<RwLock<Vec<String>>>,
    pub(crate) token: Arc<str>,
}

impl Doors {
    pub(crate) fn any(&self, random: &mut Random) -> String {
        let bases = self.bases.read().unwrap_or_else(PoisonError::into_inner);
        bases[random.below(bases.len())].clone()
    }

    fn set(&self, bases: Vec<String>) {
        *self.bases.write().unwrap_or_else(PoisonError::into_inner) = bases;
    }
}

impl Fleet {
    /// Starts so many, with an application and the plugin.
    pub(crate) async fn start(directory: &Path, postgres: &Postgres, count: usize) -> Result<Self> {
        let mut hosts = Vec::new();
        for (number, role) in (1..=count).zip(ROLES.into_iter().cycle()) {
            let cable = Cable::to(postgres.socket()).await?;
            hosts.push(Host::new(directory, &format!("host-{number}"), role, cable)?);
        }
        let first = hosts.first_mut().context("there is no server")?;
        first.start().await?;
        let doors = Doors { bases: Arc::default(), token: prepare(&first.base()).await?.into() };
        for host in hosts.iter_mut().skip(1) {
            host.start().await?;
        }
        let logs = hosts.iter().map(|host| host.log.clone()).collect();
        let fleet = Self { hosts, directory: directory.to_owned(), doors, logs };
        fleet.open_doors();
        for host in fleet.hosts.iter().filter(|host| host.is_door()) {
            fleet.wait_for_plugin(host).await?;
        }
        Ok(fleet)
    }

    /// Puts a new server in the place of one that has gone for good.
    pub(crate) async fn replace(&mut self, gone: usize, postgres: &Postgres) -> Result<()> {
        let name = format!("host-{}", self.logs.len() + 1);
        let host = Host::new(&self.directory, &name, self.hosts[gone].role, Cable::to(postgres.socket()).await?)?;
        self.logs.push(host.log.clone());
        self.hosts[gone] = host;
        self.open_doors();
        self.hosts[gone].start().await
    }

    /// Stops all of them in good order.
    pub(crate) async fn stop(&mut self) {
        for host in &mut self.hosts {
            if let Err(problem) = host.stop().await {
                println!("{problem:#}");
            }
        }
    }

    pub(crate) fn doors(&self) -> Doors {
        self.doors.clone()
    }

    /// The logs of all servers that there ever were.
    pub(crate) fn logs(&self) -> Vec<PathBuf> {
        self.logs.clone()
    }

    fn open_doors(&self) {
        self.doors.set(self.hosts.iter().filter(|host| host.is_door()).map(Host::base).collect());
    }

    async fn wait_for_plugin(&self, host: &Host) -> Result<()> {
        let began = Instant::now();
        let http = reqwest::Client::new();
        let action = format!("{}/app/chaos/actions/Once", host.base());
        while began.elapsed() < PATIENCE {
            if http.get(&action).bearer_auth(&self.doors.token).send().await?.status() == 200 {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{} does not know the plugin, see {}", host.name, host.log.display())
    }
}

/// Logs in and makes the application. Returns the token.
async fn prepare(base: &str) -> Result<String> {
    let http = reqwest::Client::new();
    let log_in = json!({ "username": "admin", "password": PASSWORD });
    let reply: Value = http.post(format!("{base}/global/tokens")).json(&log_in).send().await?.json().await?;
    let token = reply["token"].as_str().with_context(|| format!("nobody could log in: {reply}"))?.to_owned();
    let application = http.post(format!("{base}/app")).json(&json!({ "app_name": "chaos" }));
    let made = application.bearer_auth(&token).send().await?;
    ensure!(made.status() == 201, "the application could not be made: {}", made.text().await?);
    Ok(token)
}
