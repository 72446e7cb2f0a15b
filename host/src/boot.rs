//! The only place where the parts are put together, and taken apart again in the other order.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::config::{HttpSettings, Role, Settings};
use crate::data_dir::{self, DataDir};
use crate::datasvc::{DataSvc, Files, HostId, SecretKeys};
use crate::jobs::{JobSettings, Jobs, Retention, UploadLimits};
use crate::outbound::Outbound;
use crate::plugin::{Loader, Plugins};
use crate::postgres::Embedded;
use crate::rest::{self, Rest, ServerSettings, Tls, TrustedProxies};
use crate::shutdown;
use crate::storage::Storage;
use crate::storage::archive::ArchiveLimits;

/// How long the rest may take after running jobs have had their time: handing back, and replies under way.
const BEYOND_DRAIN: Duration = Duration::from_secs(7);
/// How long to wait for connections to Postgres to be closed.
const CLOSE: Duration = Duration::from_secs(3);

/// A running server.
pub struct Server {
    address: SocketAddr,
    /// `http` or `https`.
    scheme: &'static str,
    made_password: Option<String>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    /// How long to wait for them when the server stops.
    patience: Duration,
    svc: DataSvc,
    postgres: Option<Embedded>,
    /// Locked until the very end.
    _data_dir: DataDir,
}

impl Server {
    /// Starts everything; when this returns, requests are answered.
    ///
    /// # Errors
    /// If a part cannot be started. What was started before it is stopped again.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let data_dir = DataDir::open(&settings.data_dir)?;
        let (postgres, url) = match settings.database_url.clone() {
            Some(url) => (None, url),
            None => {
                let embedded = Embedded::start(&data_dir).await.context("the embedded Postgres did not start")?;
                let url = embedded.url().to_owned();
                (Some(embedded), url)
            }
        };
        match start_on(&settings, &data_dir, &url).await {
            Ok(started) => {
                let patience = Duration::from_secs(settings.drain_seconds) + BEYOND_DRAIN;
                Ok(started.into_server(patience, postgres, data_dir))
            }
            Err(problem) => {
                if let Some(postgres) = postgres {
                    postgres.stop().await;
                }
                Err(problem)
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it is to be reached.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The password of `admin`, if this was the first start and none was given.
    pub fn made_password(&self) -> Option<&str> {
        self.made_password.as_deref()
    }

    /// Stops accepting, lets running jobs end for a bounded time, hands the rest back.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let all_ended = async {
            for task in &mut self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(self.patience, all_ended).await.is_err() {
            warn!("parts of the server do not end, because the database or the machine hangs; they are dropped");
            self.tasks.iter().for_each(JoinHandle::abort);
        }
        // A database that hangs must not keep the server from ending.
        let _ = tokio::time::timeout(CLOSE, self.svc.close()).await;
        if let Some(postgres) = self.postgres {
            postgres.stop().await;
        }
    }
}

/// A server, but for what was there before it.
struct Started {
    address: SocketAddr,
    scheme: &'static str,
    made_password: Option<String>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
    svc: DataSvc,
}

impl Started {
    fn into_server(self, patience: Duration, postgres: Option<Embedded>, data_dir: DataDir) -> Server {
        let Self { address, scheme, made_password, stop, tasks, svc } = self;
        Server { address, scheme, made_password, stop, tasks, patience, svc, postgres, _data_dir: data_dir }
    }
}

async fn start_on(settings: &Settings, data_dir: &DataDir, url: &str) -> anyhow::Result<Started> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("{} cannot be listened on; choose another with --listen", settings.listen))?;
    let address = listener.local_addr()?;
    let server = server_settings(&settings.http).await?;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let svc = DataSvc::connect(url, settings.database_connections).await?;
    let secret_key_file = settings.secret_key_file();
    let unusable = || format!("the secret key in {} cannot be used", secret_key_file.display());
    let keys =
        SecretKeys::parse(&data_dir::secret_key(&secret_key_file, SecretKeys::generate)?).with_context(unusable)?;
    let svc = svc.use_secret_keys(keys).await.with_context(unusable)?;

    let host = data_dir.host_id().into();
    let storage = match &settings.storage_url {
        Some(url) => Storage::at(url)?,
        None => Storage::in_directory(&data_dir.path().join("storage"))?,
    };
    let cache = data_dir.path().join("cache");
    let outbound = Outbound::new(settings.outbound_ca_file.as_deref())?;
    let (limits, grants) = (settings.limits.clone(), settings.grants.clone());
    let plugins = Plugins::new(svc.clone(), storage.clone(), outbound.clone(), &cache, limits, grants)?;
    plugins.refresh().await?;
    let loader = Loader::new(svc.clone(), plugins.clone(), settings.plugin_dir(), host)
        .with_context(|| format!("the plugin directory {} cannot be made", settings.plugin_dir().display()))?;
    let (stop, stopped) = shutdown::channel();
    let files = Files { id: storage.id().await?, shared: settings.storage_shared };
    let (jobs, worker) =
        Jobs::new(svc.clone(), plugins.clone(), storage, outbound, job_settings(settings, host), stopped.clone());
    worker.join(files).await?;

    // Last of what can fail, because the password is shown only once.
    let made_password = first_password(&svc, settings.admin_password.as_deref()).await?;
    let body_within = Duration::from_secs(settings.http.body_seconds);
    let rest = Rest::new(svc.clone(), jobs, body_within, settings.uploads.at_a_time as usize);
    let router = match settings.role {
        Role::All | Role::Api => rest::router(rest),
        Role::Worker => rest::health_router(rest),
    };
    let tasks = vec![
        tokio::spawn(rest::serve(listener, router, server, stopped.clone())),
        tokio::spawn(worker.run()),
        tokio::spawn(async move {
            plugins.warm_up().await;
            loader.run(stopped).await;
        }),
    ];
    info!("listening on {address} for {scheme}");
    Ok(Started { address, scheme, made_password, stop, tasks, svc })
}

/// What is taken of clients.
async fn server_settings(settings: &HttpSettings) -> anyhow::Result<ServerSettings> {
    let tls = match settings.tls_files()? {
        Some((cert, key)) => Some(Tls::load(cert, key).await.context("TLS cannot be turned on")?),
        None => None,
    };
    Ok(ServerSettings {
        connections: settings.connections as usize,
        requests: settings.requests as usize,
        head_within: Duration::from_secs(settings.head_seconds),
        idle_within: Duration::from_secs(settings.idle_seconds),
        trusted_proxies: TrustedProxies::new(settings.trusted_proxies.clone()),
        tls,
    })
}

/// How jobs are handled on this host.
fn job_settings(settings: &Settings, host: HostId) -> JobSettings {
    let runs = settings.limits.runs as usize;
    let at_most = |limit: Option<u32>| limit.map_or(runs, |limit| limit as usize);
    let kept = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    JobSettings {
        host,
        runs_jobs: settings.role != Role::Api,
        runs,
        runs_per_plugin: at_most(settings.limits.runs_per_plugin),
        runs_per_action: at_most(settings.limits.runs_per_action),
        log: settings.limits.job_log(),
        drain: Duration::from_secs(settings.drain_seconds),
        cancel_grace: Duration::from_secs(settings.cancel_grace_seconds),
        uploads: UploadLimits {
            bytes: settings.uploads.bytes,
            time: Duration::from_secs(settings.uploads.seconds),
            patience: Duration::from_secs(settings.http.body_seconds),
            at_a_time: settings.uploads.at_a_time as usize,
            archives: settings.uploads.archives as usize,
            archive: ArchiveLimits {
                entries: settings.uploads.entries,
                unpacked_bytes: settings.uploads.unpacked_bytes,
                names_bytes: settings.uploads.names_bytes,
                packages_factor: settings.uploads.packages_factor,
            },
            places: settings.uploads.from.clone(),
        },
        retention: Retention {
            jobs: kept(settings.job_retention_seconds),
            audit: kept(settings.audit_retention_seconds),
        },
        notify: !settings.no_notify,
    }
}

/// Makes the first user, if there is none: with the given password, or with a random one that is returned.
async fn first_password(svc: &DataSvc, given: Option<&str>) -> anyhow::Result<Option<String>> {
    if svc.has_users().await? {
        return Ok(None);
    }
    match given {
        Some("") => anyhow::bail!("the administrator's password is empty: give one, or leave it out to have one made"),
        Some(given) => {
            svc.ensure_administrator(given).await?;
            Ok(None)
        }
        None => {
            let random = format!("{:032x}", rand::random::<u128>());
            Ok(svc.ensure_administrator(&random).await?.then_some(random))
        }
    }
}
