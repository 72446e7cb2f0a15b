//! How Postgres carried out the statements of the server's own code, as auto_explain logs them.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

/// How long after a statement's answer its plan may be missing from the log.
const LOG_DELAY: Duration = Duration::from_millis(20);

/// Where the plans of a database's statements are found.
pub(crate) struct Plans {
    log: PathBuf,
    read: u64,
}

/// How one statement was carried out.
pub(crate) struct Plan {
    pub(crate) millis: f64,
    /// The log's lines: the query, then its plan.
    pub(crate) text: String,
}

impl Plans {
    /// Has all connections made to a database from now on log their plans.
    pub(crate) async fn of(url: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::connect(url).await?;
        let name: String = sqlx::query_scalar("select current_database()::text").fetch_one(&mut connection).await?;
        for setting in [
            "session_preload_libraries = 'auto_explain'",
            "auto_explain.log_min_duration = 0",
            "auto_explain.log_analyze = on",
            "auto_explain.log_buffers = on",
        ] {
            connection.execute(AssertSqlSafe(format!("alter database {name} set {setting}"))).await?;
        }
        let directory: String = sqlx::query_scalar("show data_directory").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(Self { log: PathBuf::from(directory).with_file_name("postgres.log"), read: 0 })
    }

    /// The plans of the statements since the last call that read or write jobs.
    pub(crate) async fn since(&mut self) -> anyhow::Result<Vec<Plan>> {
        tokio::time::sleep(LOG_DELAY).await;
        let mut log = std::fs::File::open(&self.log)?;
        log.seek(SeekFrom::Start(self.read))?;
        let mut text = Vec::new();
        self.read += log.read_to_end(&mut text)? as u64;
        let text = String::from_utf8_lossy(&text);
        let plans = text.split("LOG:  duration: ").skip(1).filter_map(|entry| {
            let (millis, rest) = entry.split_once(" ms  plan:\n")?;
            // Lines that go on begin with a tab.
            let lines = rest.lines().take_while(|line| line.starts_with('\t'));
            let text = lines.map(|line| format!("{}\n", &line[1..])).collect();
            Some(Plan { millis: millis.parse().ok()?, text })
        });
        Ok(plans.filter(|plan| plan.text.contains("job")).collect())
    }
}

impl Plan {
    /// Rows that were read and thrown away, over all nodes.
    pub(crate) fn thrown_away(&self) -> u64 {
        let mut loops = 1;
        let mut rows = 0;
        for line in self.text.lines() {
            if let Some((_, rest)) = line.split_once(" loops=") {
                loops = rest.trim_end_matches(')').parse().unwrap_or(1);
            }
            if let Some((_, removed)) = line.split_once("Rows Removed by ")
                && let Some((_, removed)) = removed.split_once(": ")
            {
                // Printed as the average of the loops.
                rows += removed.parse::<u64>().unwrap_or(0) * loops;
            }
        }
        rows
    }

    /// Whether it read all jobs, or all entries.
    pub(crate) fn scans_a_table(&self) -> bool {
        self.text.contains("Seq Scan on jobs") || self.text.contains("Seq Scan on job_entries")
    }

    /// Pages that were looked at.
    pub(crate) fn pages(&self) -> u64 {
        let line = self.text.lines().find_map(|line| line.trim().strip_prefix("Buffers: shared "));
        let count = |name: &str| {
            line.and_then(|line| line.split(' ').find_map(|part| part.strip_prefix(name)))
                .and_then(|count| count.trim_end_matches(',').parse().ok())
                .unwrap_or(0)
        };
        count("hit=") + count("read=")
    }
}
