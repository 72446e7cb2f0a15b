//! The only place where the parts are started and connected, and stopped again in reverse order.

mod admin;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use crate::config::{HttpSettings, RemoteSettings, Role, Settings};
use crate::data_dir::{self, Announcement, DataDir};
use crate::datasvc::{DataSvc, GitHome, HostId, SecretKeys, StoreIdentity};
use crate::engine::{Engine, EngineSettings, Retention};
use crate::outbound::{Outbound, provide_cryptography};
use crate::plugin::{Loader, Plugins, Sandbox};
use crate::postgres::Embedded;
use crate::remote::{Handovers, LocalServers, Remote, Salt, SaltSettings, Ssh};
use crate::rest::{self, Rest, ServerSettings, Tls, TrustedProxies};
use crate::shutdown;
use crate::storage::archive::ArchiveLimits;
use crate::storage::{MAX_FILE_BYTES, Storage};
use crate::work::{self, Addresses, Parts, StoredHandovers, StoredKeys, UploadLimits, Work};

pub use self::admin::{lost_secrets, replace_receipt_key, reset_password};

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
    ready: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    /// Why it cannot go on, once that is so.
    failure: watch::Receiver<Option<String>>,
    tasks: Vec<JoinHandle<()>>,
    /// How long to wait for them when the server stops.
    patience: Duration,
    svc: DataSvc,
    postgres: Option<Embedded>,
    /// Says to this machine's clients where it is.
    announcement: Option<Announcement>,
    /// Locked until the very end.
    _data_dir: DataDir,
}

impl Server {
    /// Starts everything; when this returns, requests are answered. When it is [`ready`](Self::ready), plugins are
    /// there.
    ///
    /// # Errors
    /// If a part cannot be started. What was started before it is stopped again.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        provide_cryptography();
        let data_dir =
            if settings.adopt { DataDir::adopt(&settings.data_dir)? } else { DataDir::open(&settings.data_dir)? };
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
                let announcement = Announcement::make(&data_dir, started.scheme, started.address);
                let announcement = announcement
                    .inspect_err(|problem| {
                        warn!("clients on this machine have to be told where the server is: {problem}")
                    })
                    .ok();
                Ok(started.into_server(patience, postgres, announcement, data_dir))
            }
            Err(problem) => {
                if let Some(postgres) = postgres {
                    postgres.stop().await;
                }
                Err(problem)
            }
        }
    }

    /// Waits until the plugins that were there at the start are in force or refused, or have taken too long.
    pub async fn ready(&self) {
        // Otherwise the server is being stopped.
        let _ = self.ready.clone().wait_for(|ready| *ready).await;
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

    /// Waits until it cannot go on, and says why. It is to be stopped then.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.clone();
        match failure.wait_for(Option::is_some).await.map(|failure| failure.clone()) {
            Ok(Some(failure)) => failure,
            // It stops because it was told to.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Stops accepting, lets running jobs end for a bounded time, hands the rest back.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        drop(self.announcement.take());
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

/// A running server, without the parts that were there before it.
struct Started {
    address: SocketAddr,
    scheme: &'static str,
    made_password: Option<String>,
    ready: watch::Receiver<bool>,
    stop: watch::Sender<bool>,
    failure: watch::Receiver<Option<String>>,
    tasks: Vec<JoinHandle<()>>,
    svc: DataSvc,
}

impl Started {
    fn into_server(
        self,
        patience: Duration,
        postgres: Option<Embedded>,
        announcement: Option<Announcement>,
        data_dir: DataDir,
    ) -> Server {
        let Self { address, scheme, made_password, ready, stop, failure, tasks, svc } = self;
        Server {
            address,
            scheme,
            made_password,
            ready,
            stop,
            failure,
            tasks,
            patience,
            svc,
            postgres,
            announcement,
            _data_dir: data_dir,
        }
    }
}

async fn start_on(settings: &Settings, data_dir: &DataDir, url: &str) -> anyhow::Result<Started> {
    let listener = TcpListener::bind(settings.listen)
        .await
        .with_context(|| format!("{} cannot be listened on; choose another with --listen", settings.listen))?;
    let address = listener.local_addr()?;
    let server = server_settings(&settings.http).await?;
    let scheme = if server.tls.is_some() { "https" } else { "http" };
    let svc = DataSvc::connect(url, settings.database_connections).await?.allow_git_hosts(settings.git_hosts.clone());
    let svc = svc.on_host(data_dir.host_id().into());
    let secret_key_file = settings.secret_key_file();
    let unusable = || format!("the secret key in {} cannot be used", secret_key_file.display());
    let keys =
        SecretKeys::parse(&data_dir::secret_key(&secret_key_file, SecretKeys::generate)?).with_context(unusable)?;
    let svc = svc.use_secret_keys(keys).await.with_context(unusable)?;

    let host = HostId::from(data_dir.host_id());
    let git_home = GitHome { host, directory: data_dir.path().join("git") };
    let svc = svc.keep_git_at(git_home.clone());
    let storage = match &settings.storage_url {
        Some(url) => Storage::at(url, &data_dir.path().join("storage"))?,
        None => Storage::in_directory(&data_dir.path().join("storage"))?,
    };
    if storage.is_bucket() && settings.uploads.bytes > MAX_FILE_BYTES {
        anyhow::bail!("--upload-bytes is at most {MAX_FILE_BYTES} with an object store in --storage-url");
    }
    let cache = data_dir.path().join("cache");
    let outbound = Outbound::new(settings.outbound_ca_file.as_deref())?;
    let git_authorities = match &settings.outbound_ca_file {
        Some(file) => Some(
            work::joined_authorities(file, &git_home.directory)
                .context("git cannot be given certificate authorities")?,
        ),
        None => None,
    };
    let (limits, grants) = (settings.limits.clone(), settings.grants.clone());
    let plugins = Plugins::new(svc.clone(), storage.clone(), &cache, limits, grants)?;
    plugins.refresh().await?;
    let loader = Loader::new(svc.clone(), plugins.clone(), settings.plugin_dir(), host)
        .with_context(|| format!("the plugin directory {} cannot be made", settings.plugin_dir().display()))?;
    let (stop, stopped) = shutdown::channel();
    let store = StoreIdentity { id: storage.id().await?, shared: settings.storage_shared || storage.is_bucket() };
    let (engine, worker) = Engine::new(svc.clone(), engine_settings(settings, data_dir), stopped.clone());
    let body_within = Duration::from_secs(settings.http.body_seconds);
    let uploads = upload_limits(settings, body_within);
    let remote = remote(settings, data_dir, &svc)?;
    let here = (scheme == "http").then(|| format!("http://{}", on_this_machine(address)));
    let work = Work::new(Parts {
        svc: svc.clone(),
        engine: engine.clone(),
        plugins: plugins.clone(),
        storage,
        outbound: outbound.clone(),
        remote,
        commands_at_a_time: settings.remote.commands as usize,
        uploads,
        git_home,
        git_authorities,
        addresses: Addresses { public: settings.public_url.clone(), here },
    });
    let sandbox = Sandbox::new(svc.clone(), plugins.clone(), outbound, Arc::new(work.clone()));
    engine.register(work.kinds(&sandbox));
    worker.join(store).await?;

    // Last of what can fail, because the password is shown only once.
    let made_password = first_password(&svc, settings.admin_password.as_deref()).await?;
    let (started, ready) = watch::channel(false);
    let rest =
        Rest::new(svc.clone(), engine, work.clone(), ready.clone(), body_within, settings.uploads.at_a_time as usize);
    let router = match settings.role {
        Role::All | Role::Api => rest::router(rest, &settings.http.cors_origins),
        Role::Worker => rest::health_router(rest),
    };
    let (fail, failure) = watch::channel(None);
    let prune_interval = Duration::from_secs(settings.prune_interval_seconds);
    let check_interval = Duration::from_secs(settings.remote.check_seconds.into());
    let mut tasks = vec![
        tokio::spawn(rest::serve(listener, router, server, stopped.clone())),
        tokio::spawn(async move {
            if let Err(problem) = worker.run().await {
                error!("this server cannot go on: {problem}");
                let _ = fail.send(Some(problem.to_string()));
            }
        }),
        tokio::spawn(work::apply_rules(work.clone(), prune_interval, stopped.clone())),
        tokio::spawn(work::check_servers(work.clone(), check_interval, stopped.clone())),
        tokio::spawn(work::sweep(work.clone(), stopped.clone())),
        tokio::spawn(tell_when_ready(started, loader.settled(), settings.limits.start())),
        tokio::spawn(loader.run(stopped.clone())),
    ];
    if let Some(former) = data_dir.former_host_id() {
        tasks.push(tokio::spawn(work::adopt_repositories(work, former.into(), stopped)));
    }
    info!("listening on {address} for {scheme}");
    Ok(Started { address, scheme, made_password, ready, stop, failure, tasks, svc })
}

/// Says that the server is ready, once its plugins are settled or have taken this long. Until it is stopped before.
async fn tell_when_ready(started: watch::Sender<bool>, mut settled: watch::Receiver<bool>, within: Duration) {
    match tokio::time::timeout(within, settled.wait_for(|settled| *settled)).await {
        Ok(Err(_)) => return,
        Ok(Ok(_)) => {}
        Err(_) => warn!("plugins are still being compiled; the server is said to be ready without them"),
    }
    started.send_replace(true);
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
        reply_bytes: (settings.reply_mib as usize) << 20,
        head_within: Duration::from_secs(settings.head_seconds),
        idle_within: Duration::from_secs(settings.idle_seconds),
        trusted_proxies: TrustedProxies::new(settings.trusted_proxies.clone()),
        tls,
    })
}

/// How jobs are handled on this host.
fn engine_settings(settings: &Settings, data_dir: &DataDir) -> EngineSettings {
    let runs = settings.limits.runs as usize;
    let at_most = |limit: Option<u32>| limit.map_or(runs, |limit| limit as usize);
    let kept = |seconds: u64| (seconds > 0).then(|| Duration::from_secs(seconds));
    EngineSettings {
        host: data_dir.host_id().into(),
        place: data_dir.place().to_owned(),
        runs_jobs: settings.role != Role::Api,
        runs,
        runs_per_plugin: at_most(settings.limits.runs_per_plugin),
        runs_per_action: at_most(settings.limits.runs_per_action),
        log: settings.limits.job_log(),
        drain: Duration::from_secs(settings.drain_seconds),
        cancel_grace: Duration::from_secs(settings.cancel_grace_seconds),
        retention: Retention {
            jobs: kept(settings.job_retention_seconds),
            audit: kept(settings.audit_retention_seconds),
        },
        notify: !settings.no_notify,
    }
}

/// Where a listener is reached from its own machine.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => (Ipv4Addr::LOCALHOST, address.port()).into(),
        IpAddr::V6(ip) if ip.is_unspecified() => (Ipv6Addr::LOCALHOST, address.port()).into(),
        _ => address,
    }
}

/// How servers are reached.
fn remote(settings: &Settings, data_dir: &DataDir, svc: &DataSvc) -> anyhow::Result<Remote> {
    let local = match settings.allows_local_servers() {
        true => Some(LocalServers::below(data_dir.path(), data_dir.host_id())?),
        false => None,
    };
    let ssh = Ssh::new(Arc::new(StoredKeys(svc.clone()))).context("there is no place for the sockets of SSH")?;
    let public_url = &settings.public_url;
    let salt = match salt_settings(&settings.remote)? {
        Some(settings) => {
            let handovers = public_url
                .clone()
                .map(|public_url| -> Arc<dyn Handovers> { Arc::new(StoredHandovers { svc: svc.clone(), public_url }) });
            let made = Salt::new(settings, handovers).map_err(|why| anyhow::anyhow!("salt-api cannot be used: {why}"));
            Some(made?)
        }
        None => None,
    };
    Ok(Remote::new(local, ssh, salt, settings.remote.commands as usize))
}

/// How salt-api is reached. `None`: it is not.
fn salt_settings(settings: &RemoteSettings) -> anyhow::Result<Option<SaltSettings>> {
    let Some(url) = settings.salt_url.clone() else { return Ok(None) };
    let file = settings.salt_password_file.as_ref().context("--salt-url needs --salt-password-file")?;
    let password = std::fs::read_to_string(file)
        .with_context(|| format!("the password for salt-api in {} cannot be read", file.display()))?;
    let password = password.strip_suffix('\n').unwrap_or(&password).trim_end_matches('\r').to_owned();
    anyhow::ensure!(!password.is_empty(), "there is no password for salt-api in {}", file.display());
    let authorities = match &settings.salt_ca {
        Some(file) => {
            let read = std::fs::read(file);
            Some(read.with_context(|| format!("the certificate authorities in {} cannot be read", file.display()))?)
        }
        None => None,
    };
    let (eauth, username) = (settings.salt_eauth.clone(), settings.salt_username.clone());
    Ok(Some(SaltSettings { url, eauth, username, password, authorities }))
}

/// What may be uploaded.
fn upload_limits(settings: &Settings, patience: Duration) -> UploadLimits {
    let (lends, settings) = (settings.storage_redirect, &settings.uploads);
    UploadLimits {
        bytes: settings.bytes,
        time: Duration::from_secs(settings.seconds),
        patience,
        at_a_time: settings.at_a_time as usize,
        archives: settings.archives as usize,
        archive: ArchiveLimits {
            entries: settings.entries,
            unpacked_bytes: settings.unpacked_bytes,
            names_bytes: settings.names_bytes,
            packages_factor: settings.packages_factor,
        },
        places: settings.from.clone(),
        lends,
    }
}

/// Makes the first user, if there are no users: with the given password, or with a random one that is returned.
async fn first_password(svc: &DataSvc, given: Option<&str>) -> anyhow::Result<Option<String>> {
    if svc.has_users().await? {
        return Ok(None);
    }
    match given {
        Some("") => anyhow::bail!("the administrator's password is empty: give one, or leave it out to have one made"),
        Some(given) => {
            let unfit = "the administrator's password cannot be taken";
            svc.ensure_administrator(given).await.context(unfit)?;
            Ok(None)
        }
        None => {
            let random = format!("{:032x}", rand::random::<u128>());
            Ok(svc.ensure_administrator(&random).await?.then_some(random))
        }
    }
}
