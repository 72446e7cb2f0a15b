//! What is measured: a server in this process with an embedded Postgres of its own, and the plugin with an action
//! that does nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser as _;
use elita::boot::Server;
use elita::config::{Cli, Commands};
use elita::data_dir::DataDir;
use elita::datasvc::DataSvc;
use elita::postgres::Embedded;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// The plugin that is run, and its application.
pub(crate) const PLUGIN: &str = "misbehave";
pub(crate) const APPLICATION: &str = "hostile";
/// Its action that does nothing.
pub(crate) const ACTION: &str = "Noop";

const PASSWORD: &str = "for measuring only";

pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    pub(crate) svc: DataSvc,
    /// A database of the same schema, for the peer alone.
    pub(crate) peer_url: String,
    pub(crate) directory: TempDir,
    server: Server,
    postgres: Embedded,
}

impl Site {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let postgres = Embedded::start(&DataDir::open(&directory.path().join("database"))?).await?;
        let peer_url = peer_database(postgres.url()).await?;
        std::fs::create_dir_all(directory.path().join("server/plugins"))?;
        std::fs::copy(component()?, directory.path().join(format!("server/plugins/{PLUGIN}.wasm")))?;
        let data_dir = directory.path().join("server").display().to_string();
        let arguments = ["elita", "serve", "--listen", "127.0.0.1:0", "--data-dir", &data_dir];
        let more = ["--database-url", postgres.url(), "--admin-password", PASSWORD];
        let Cli { command: Commands::Serve(settings) } = Cli::parse_from(arguments.into_iter().chain(more));
        let server = Server::start(*settings).await?;
        let svc = DataSvc::connect(postgres.url(), 4).await?;
        let token = svc.log_in("admin", PASSWORD.into(), None).await?.token;
        make_application(&svc, &token).await?;
        Ok(Self { address: server.address(), token, svc, peer_url, directory, server, postgres })
    }

    pub(crate) async fn close(self) {
        self.svc.close().await;
        self.server.stop().await;
        self.postgres.stop().await;
    }
}

/// The component's file, as `just plugins` has built it.
pub(crate) fn component() -> anyhow::Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/plugins/tests/{PLUGIN}.wasm"));
    file.canonicalize().with_context(|| format!("there is no {}; `just plugins` builds it", file.display()))
}

async fn peer_database(url: &str) -> anyhow::Result<String> {
    let mut connection = PgConnection::connect(url).await?;
    connection.execute("create database peer").await?;
    let peer_url = url.replacen("/elita?", "/peer?", 1);
    // For the schema.
    let svc = DataSvc::connect(&peer_url, 1).await?;
    svc.ensure_administrator(PASSWORD).await?;
    let token = svc.log_in("admin", PASSWORD.into(), None).await?.token;
    make_application(&svc, &token).await?;
    svc.close().await;
    Ok(peer_url)
}

async fn make_application(svc: &DataSvc, token: &str) -> anyhow::Result<()> {
    let caller = svc.caller_of(token).await?;
    svc.create_application(&caller, &elita::datasvc::AppName::parse(APPLICATION)?).await?;
    Ok(())
}
