//! What is measured on: a Postgres of its own, with a database for each arm of a comparison.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use elita::data_dir::DataDir;
use elita::datasvc::{AppName, Attributes, DataSvc, TokenTerms};
use elita::postgres::Embedded;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use tempfile::TempDir;

/// The plugin that is run, and its application.
pub(crate) const PLUGIN: &str = "misbehave";
pub(crate) const APPLICATION: &str = "hostile";
/// Its action that does nothing.
pub(crate) const ACTION: &str = "Noop";

const PASSWORD: &str = "for measuring only";

pub(crate) struct Site {
    pub(crate) directory: TempDir,
    postgres: Embedded,
}

/// A database with Elita's schema, the application and a token.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Site {
    pub(crate) async fn new() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let postgres = Embedded::start(&DataDir::open(&directory.path().join("database"))?).await?;
        Ok(Self { directory, postgres })
    }

    /// One whose Postgres counts statements, where it can; that takes some of its time.
    pub(crate) async fn counting() -> anyhow::Result<(Self, bool)> {
        let Self { directory, postgres } = Self::new().await?;
        let mut connection = PgConnection::connect(postgres.url()).await?;
        let known = "select exists (select from pg_available_extensions where name = 'pg_stat_statements')";
        let counts = sqlx::query_scalar(known).fetch_one(&mut connection).await?;
        if counts {
            connection.execute("alter system set shared_preload_libraries = 'pg_stat_statements'").await?;
        }
        connection.close().await?;
        postgres.stop().await;
        let postgres = Embedded::start(&DataDir::open(&directory.path().join("database"))?).await?;
        Ok((Self { directory, postgres }, counts))
    }

    /// An empty database of this name, in place of one that is there. Returns its URL.
    pub(crate) async fn empty_database(&self, name: &str) -> anyhow::Result<String> {
        let mut connection = PgConnection::connect(self.postgres.url()).await?;
        connection.execute(AssertSqlSafe(format!("drop database if exists {name} with (force)"))).await?;
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await?;
        Ok(self.postgres.url().replacen("/elita?", &format!("/{name}?"), 1))
    }

    /// A database of this name, made ready for Elita.
    pub(crate) async fn database(&self, name: &str) -> anyhow::Result<Database> {
        let url = self.empty_database(name).await?;
        let svc = DataSvc::connect(&url, 1).await?;
        svc.ensure_administrator(PASSWORD).await?;
        let token =
            svc.log_in(Ipv4Addr::LOCALHOST.into(), "admin", PASSWORD.into(), TokenTerms::default()).await?.token;
        let caller = svc.caller_of(&token).await?;
        svc.create_application(&caller, &AppName::parse(APPLICATION)?, &Attributes::default(), None).await?;
        svc.close().await;
        Ok(Database { url, token })
    }

    pub(crate) async fn close(self) {
        self.postgres.stop().await;
    }
}

/// The component's file, as `just plugins` has built it.
pub(crate) fn component() -> anyhow::Result<PathBuf> {
    built(&format!("tests/{PLUGIN}"))
}

/// A component's file, as `just plugins` or `just polyglot` has built it.
pub(crate) fn built(name: &str) -> anyhow::Result<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../target/plugins/{name}.wasm"));
    let built = file.canonicalize();
    built.with_context(|| format!("there is no {}; `just plugins` and `just polyglot` build it", file.display()))
}
