//! Removes finished jobs and their logs when they are old, a few at a time, so that nothing waits for it.

use std::time::Duration;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::JobId;

/// How many jobs are looked at by one statement.
const JOBS: i64 = 500;
/// How many entries are removed by one statement.
const ENTRIES: i64 = 5_000;

impl DataSvc {
    /// Removes jobs that ended longer than `age` ago, with their logs; at most some hundred. Returns how many: with 0
    /// no more are left for now.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn remove_old_jobs(&self, age: Duration) -> Result<u64> {
        // Ids are in the order of creation: the oldest are found without an index of their own. And they do not go back
        // with the database's clock, as the time of an end may have done.
        let ended_before = self.settled_time() - age;
        let old = sqlx::query_scalar!(
            r#"select id as "id: JobId" from jobs
               where id < $1 and status not in ('queued', 'running') and completed_at < $2 order by id limit $3"#,
            JobId::at(ended_before) as _,
            ended_before,
            JOBS
        )
        .fetch_all(&self.pool)
        .await?;
        loop {
            let removed = sqlx::query!(
                "delete from job_entries where (job_id, seq) in
                     (select job_id, seq from job_entries where job_id = any($1) limit $2)",
                &old as _,
                ENTRIES
            );
            if removed.execute(&self.pool).await?.rows_affected() < ENTRIES.unsigned_abs() {
                break;
            }
        }
        sqlx::query!("delete from job_steps where job_id = any($1)", &old as _).execute(&self.pool).await?;
        sqlx::query!("delete from job_traces where job_id = any($1)", &old as _).execute(&self.pool).await?;
        let removed = sqlx::query!("delete from jobs where id = any($1)", &old as _).execute(&self.pool).await?;
        Ok(removed.rows_affected())
    }
}
