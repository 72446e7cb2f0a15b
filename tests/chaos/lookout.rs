//! Looks at Postgres all the time, on a connection that no fault but those of Postgres touches: so that a stall of
//! Postgres, or of the machine, is not taken for one of the servers.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Row as _};
use time::OffsetDateTime;
use tokio::task::JoinHandle;

/// How often it looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// A statement of a server that takes longer is written down, and so is a look.
const LONG: Duration = Duration::from_secs(2);

/// Statements of the servers that wait or work for long, and whom they wait for.
const LONG_STATEMENTS: &str = "select format('%s for %s s, %s %s, blocked by %s: %s', pid,
        round(extract(epoch from clock_timestamp() - query_start), 1), wait_event_type, wait_event,
        pg_blocking_pids(pid), regexp_replace(left(query, 300), '\\s+', ' ', 'g'))
    from pg_stat_activity
    where application_name = 'elita' and state <> 'idle' and wait_event is distinct from 'ClientRead'
        and clock_timestamp() - query_start > make_interval(secs => $1)";

/// What looks until it is asked how it was.
pub(crate) struct Lookout {
    task: JoinHandle<()>,
    log: PathBuf,
}

impl Lookout {
    /// Looks at this database, and writes down what takes long.
    pub(crate) fn start(options: PgConnectOptions, log: PathBuf) -> Self {
        let task = tokio::spawn(look_for_ever(options, log.clone()));
        Self { task, log }
    }

    /// Ends it. Says how many lines it has written.
    pub(crate) fn end(self) -> usize {
        self.task.abort();
        std::fs::read_to_string(&self.log).map_or(0, |text| text.lines().count())
    }
}

async fn look_for_ever(options: PgConnectOptions, log: PathBuf) {
    let mut connection = None;
    loop {
        let began = Instant::now();
        let looked = look(&options, &mut connection).await;
        let mut lines = looked.unwrap_or_else(|_| {
            // It is away, as it has to be now and then.
            connection = None;
            Vec::new()
        });
        if began.elapsed() > LONG {
            lines.push(format!("it took {:.1} s to look", began.elapsed().as_secs_f64()));
        }
        if let Ok(mut log) = OpenOptions::new().append(true).create(true).open(&log) {
            for line in lines {
                let _ = writeln!(log, "{} {line}", OffsetDateTime::now_utc());
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn look(options: &PgConnectOptions, connection: &mut Option<PgConnection>) -> Result<Vec<String>> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(options.connect().await?),
    };
    let rows = sqlx::query(LONG_STATEMENTS).bind(LONG.as_secs_f64()).fetch_all(connection).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
