//! How a [`DataSvc`] is made: the connections, and the schema brought up to date.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection as _, Executor as _};

use super::documents::pulls::PullRecorder;
use super::ground::clock::Clock;
use super::ground::connections::{Connections, TRUSTED_IDLE};
use super::jobs::heads::Heads;
use super::jobs::intake::Intake;
use super::jobs::recorder::Recorder;
use super::{DataSvc, access::passwords::PasswordHasher, ground::pooler};

static MIGRATOR: Migrator = sqlx::migrate!();

/// How long a request waits for a connection before it is told that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections of the job engine: for the intake, the recorder, claims, the heartbeat, and to be woken by.
const ENGINE_CONNECTIONS: u32 = 5;
/// How many of them stay out between two statements: those of the first three.
const ENGINE_AT_HAND: u32 = 3;
/// The engine's statements look up a handful of rows by an index. A plan that was made while the table was small, and
/// is kept while it grows, has to do the same. Nor is an index read to its end to sort what is in it: most of what is
/// in that of the queue may be dead.
const ENGINE_PLANS: &str = "
    set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_sort = off; set jit = off";

/// The part of a server's connections that is for long lists, and how many of them stay out.
const LISTS_SHARE: u32 = 4;
/// Lists go along an index, whatever Postgres makes of the table's figures. A statement that takes longer than anyone
/// waits for it is given up.
const LIST_PLANS: &str = "
    set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set enable_bitmapscan = off;
    set jit = off; set plan_cache_mode = force_custom_plan;
    set statement_timeout = '5s'";
/// A statement whose client has closed the connection is given up, which Postgres can from 14 on. [`Connections::run`]
/// closes it when nobody waits any more.
const GIVES_UP: &str =
    "select set_config(name, '250', false) from pg_settings where name = 'client_connection_check_interval'";

/// Why the server cannot use this database.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// The URL is not a valid Postgres URL.
    #[error("the database URL is not valid; it looks like postgres://user:password@host:5432/name")]
    Url(#[source] sqlx::Error),
    /// The database cannot be reached.
    #[error("the database does not answer")]
    Connect(#[source] sqlx::Error),
    /// A pooler is in between that gives a session no connection of its own.
    #[error(
        "the database URL leads to a pooler that spreads a session over several connections, as pgbouncer does with \
         `pool_mode = transaction`: set `pool_mode = session` for this database, with a `pool_size` of at least \
         {connections} for each server, or give the URL of Postgres itself"
    )]
    Pooler {
        /// How many this server uses.
        connections: u32,
    },
    /// A newer Elita has been here.
    #[error(
        "the database has schema version {database}, and this elita {program} knows versions up to {known}; \
         start the newer elita that migrated it, or restore a backup from before"
    )]
    Newer {
        /// The newest migration that the database has seen.
        database: i64,
        /// The newest migration of this program.
        known: i64,
        /// This program's version.
        program: &'static str,
    },
    /// It was there, and did not say what time it is.
    #[error("the database's clock could not be read")]
    Time(#[source] super::Error),
    /// A migration failed. It was rolled back.
    #[error("the database's schema could not be brought up to date")]
    Migrate(#[source] MigrateError),
}

impl DataSvc {
    /// Connects, and brings the schema up to date under a lock that all servers share.
    ///
    /// # Errors
    /// [`SchemaError`]: nothing was changed, or the database has seen some of the missing migrations.
    pub async fn connect(url: &str, max_connections: u32) -> std::result::Result<Self, SchemaError> {
        let options = PgConnectOptions::from_str(url).map_err(SchemaError::Url)?.application_name("elita");
        // Poolers refuse the setting, which changes nothing for us.
        let options = options.extra_float_digits(None);
        if pooler::mixes_sessions(&options).await.map_err(SchemaError::Connect)? {
            return Err(SchemaError::Pooler { connections: max_connections + ENGINE_CONNECTIONS });
        }
        // Lists have a share of the connections, and can take no others.
        let share = (max_connections / LISTS_SHARE).max(1);
        let max_connections = max_connections.saturating_sub(share).max(1);
        let pool = Self::pool(max_connections)
            .after_connect(|connection, _| Box::pin(async move { connection.execute(GIVES_UP).await.map(drop) }))
            .connect_with(options.clone())
            .await
            .map_err(SchemaError::Connect)?;
        let lists = Self::pool(share)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    connection.execute(LIST_PLANS).await?;
                    connection.execute(GIVES_UP).await.map(drop)
                })
            })
            .connect_lazy_with(options.clone());
        let engine = Self::pool(ENGINE_CONNECTIONS)
            .after_connect(|connection, _| Box::pin(async move { connection.execute(ENGINE_PLANS).await.map(drop) }))
            .connect_lazy_with(options);
        let engine = Connections::of(engine, ENGINE_AT_HAND);
        match MIGRATOR.run(&pool).await {
            Ok(()) => {}
            Err(MigrateError::VersionMissing(version)) => return Err(newer(version)),
            Err(error) => return Err(SchemaError::Migrate(error)),
        }
        let reads = Connections::of(pool.clone(), max_connections / 4);
        let svc = Self {
            recorder: Recorder::start(engine.clone()),
            intake: Intake::open(engine.clone()),
            pulls: PullRecorder::start(reads.clone()),
            passwords: Arc::new(PasswordHasher::new()),
            secrets: None,
            known_receipt_keys: Arc::default(),
            heads: Heads::default(),
            quotas: Arc::default(),
            host: None,
            git_hosts: Arc::from([]),
            git_home: None,
            reads,
            lists: Connections::of(lists, share),
            pool,
            engine,
            clock: Clock::new(),
            bound: Arc::default(),
        };
        svc.learn_time().await.map_err(SchemaError::Time)?;
        Ok(svc)
    }

    fn pool(max_connections: u32) -> PgPoolOptions {
        PgPoolOptions::new()
            .max_connections(max_connections)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    // One that does not work is an error, which closes it.
                    if meta.idle_for > TRUSTED_IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
    }

    /// Whether the database answers.
    pub async fn is_ready(&self) -> bool {
        sqlx::query("select 1").execute(&self.pool).await.is_ok()
    }

    /// Waits for what runs and closes all connections.
    pub async fn close(&self) {
        self.reads.close().await;
        self.lists.close().await;
        self.engine.close().await;
    }
}

fn newer(database: i64) -> SchemaError {
    let known = MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0);
    SchemaError::Newer { database, known, program: env!("CARGO_PKG_VERSION") }
}
