//! Counts failed logins, so that passwords cannot be guessed: after some failures the next attempt has to wait, longer
//! and longer. The counters are in Postgres, and so the same for all servers.
//!
//! The main counter is for each pair of user and address: so an attacker at another address does not keep users from
//! logging in. Two more counters have higher limits: one for each address, against attackers who try many users, and
//! one for each user, against attackers with many addresses. Both ignore addresses from which the user has logged in
//! before.
//!
//! Attempts that have to wait are refused before the password is checked, and do not count.

use std::net::IpAddr;
use std::time::Duration;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::UserName;
use crate::shares::network;

/// When failures are forgotten, if no other one follows.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(3600);
/// How long an address that a user has logged in from is one of the user's own.
const OWN_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// How many rows of no more use are removed at a time; and of how many failures one sees to it.
const REMOVED: i64 = 1000;
const REMOVING: u32 = 20;

/// How long to wait after how many failures.
struct Patience {
    /// After fewer than these there is no waiting; then it is a second, and twice as long after each one more.
    failures: i32,
    /// The longest wait.
    most: Duration,
}

const WITH_BOTH: Patience = Patience { failures: 5, most: Duration::from_secs(15 * 60) };
const WITH_ADDRESS: Patience = Patience { failures: 20, most: Duration::from_secs(15 * 60) };
const WITH_USER: Patience = Patience { failures: 100, most: Duration::from_secs(60) };

impl Patience {
    /// How long to wait between the last of so many failures and the next attempt.
    fn wait(&self, failures: i32) -> Duration {
        match u32::try_from(failures - self.failures) {
            Ok(more) => Duration::from_secs(1_u64 << more.min(20)).min(self.most),
            Err(_) => Duration::ZERO,
        }
    }
}

/// Somebody who wants to log in. There may be no user of this name.
pub(in crate::datasvc) struct Attempt {
    /// Empty if it cannot be a name at all.
    username: String,
    address: String,
}

/// A row of what is remembered.
struct Remembered {
    username: String,
    address: String,
    failures: i32,
    /// Since the last failure.
    seconds: f64,
    is_own: bool,
}

impl Attempt {
    pub(in crate::datasvc) fn new(username: Option<&UserName>, address: IpAddr) -> Self {
        let username = username.map(ToString::to_string).unwrap_or_default();
        Self { username, address: network(address).to_string() }
    }

    /// As it is remembered.
    pub(in crate::datasvc) fn address(&self) -> &str {
        &self.address
    }
}

impl DataSvc {
    /// # Errors
    /// [`Error::Throttled`] if there were too many failures before.
    pub(in crate::datasvc) async fn admit(&self, attempt: &Attempt) -> Result<()> {
        let Attempt { username, address } = attempt;
        let rows = sqlx::query_as!(
            Remembered,
            r#"select username, address, failures as "failures!",
                   extract(epoch from now() - greatest(failed_at, now() - make_interval(secs => $3)))::float8
                       as "seconds!",
                   succeeded_at > now() - make_interval(secs => $4) as "is_own!"
               from logins where (username, address) in (($1, $2), ('', $2), ($1, ''))"#,
            username,
            address,
            FORGOTTEN_AFTER.as_secs_f64(),
            OWN_FOR.as_secs_f64()
        )
        .fetch_all(&self.pool)
        .await?;
        match wait(&rows) {
            Duration::ZERO => Ok(()),
            wait => Err(Error::Throttled {
                reason: "there were too many failed logins; wait before the next one".into(),
                retry_after: wait,
            }),
        }
    }

    /// Counts a failure.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::datasvc) async fn count_failure(&self, attempt: &Attempt) -> Result<()> {
        let Attempt { username, address } = attempt;
        // All lock one row of each kind, in this order, so that none waits for another in a circle.
        sqlx::query!(
            "insert into logins (username, address, failures, failed_at)
             select name, place, 1, now()
             from (values (1, $1::text, $2::text), (2, '', $2), (3, $1, '')) as counted (rank, name, place)
             where rank = 2 or $1 <> '' order by rank
             on conflict (username, address) do update set
                 failures = case when logins.failed_at > now() - make_interval(secs => $3)
                                 then logins.failures + 1 else 1 end,
                 failed_at = now()",
            username,
            address,
            FORGOTTEN_AFTER.as_secs_f64()
        )
        .execute(&self.pool)
        .await?;
        if rand::random_ratio(1, REMOVING) {
            self.remove_old_logins().await?;
        }
        Ok(())
    }

    /// Removes rows that say nothing any more.
    async fn remove_old_logins(&self) -> Result<()> {
        sqlx::query!(
            "delete from logins where (username, address) in (
                 select username, address from logins
                 where failed_at < now() - make_interval(secs => $1)
                     and succeeded_at < now() - make_interval(secs => $2)
                 limit $3 for update skip locked)",
            FORGOTTEN_AFTER.as_secs_f64(),
            OWN_FOR.as_secs_f64(),
            REMOVED
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// How long an attempt has to wait still.
fn wait(rows: &[Remembered]) -> Duration {
    let is_own = rows.iter().any(|row| row.is_own && !row.username.is_empty() && !row.address.is_empty());
    let waits = rows.iter().map(|row| {
        let patience = match (row.username.is_empty(), row.address.is_empty()) {
            (false, false) => WITH_BOTH,
            _ if is_own => return Duration::ZERO,
            (true, _) => WITH_ADDRESS,
            (false, true) => WITH_USER,
        };
        patience.wait(row.failures).saturating_sub(Duration::from_secs_f64(row.seconds.max(0.0)))
    });
    waits.max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
