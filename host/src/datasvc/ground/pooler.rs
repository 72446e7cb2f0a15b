//! Poolers between this server and Postgres. One that may give each transaction of a session another connection cannot
//! be used: prepared statements, settings, locks and LISTEN belong to a connection.

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions as _, Executor as _, Row as _, raw_sql};
use tokio::time::timeout;

/// How long it may take to find out.
const PATIENCE: Duration = Duration::from_secs(15);

/// Whether sessions do not have a connection of Postgres each, for as long as they last.
///
/// # Errors
/// If the database cannot be reached.
pub(in crate::datasvc) async fn mixes_sessions(options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let compared = timeout(PATIENCE, async {
        let (mut one, mut other) = (options.connect().await?, options.connect().await?);
        let [first, second] = [served_by(&mut one).await?, served_by(&mut other).await?];
        let is_mixed =
            first == second || first != served_by(&mut one).await? || second != served_by(&mut other).await?;
        Ok(is_mixed)
    });
    compared.await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// The process of Postgres that answers a statement, which is not prepared: any pooler can pass it on.
async fn served_by(session: &mut PgConnection) -> Result<i32, sqlx::Error> {
    session.fetch_one(raw_sql("select pg_backend_pid()")).await?.try_get(0)
}
