//! Which object store belongs to this installation, and who may use it.

use std::time::Duration;

use uuid::Uuid;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::HostId;
use crate::datasvc::jobs::queue::TIME_TO_LIVE;

/// How often a store's owner is looked at, while it may be gone.
const LOOK: Duration = Duration::from_millis(500);

/// The object store that a server was started with.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// Its id, which is written into it.
    pub id: Uuid,
    /// Whether all hosts have it.
    pub shared: bool,
}

impl DataSvc {
    /// Makes a store the one of this installation, or checks that it is. A store that only one host has belongs to
    /// that host for as long as it lives; after that another host may start with its own.
    ///
    /// # Errors
    /// [`Error::Conflict`] saying why this host cannot work with the others, and what to do.
    pub async fn bind_storage(&self, host: HostId, files: Files) -> Result<()> {
        let deadline = tokio::time::Instant::now() + TIME_TO_LIVE + LOOK;
        loop {
            match self.try_to_bind_storage(host, files).await {
                // Its owner may have just died.
                Err(Error::Conflict { .. }) if tokio::time::Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                other => return other,
            }
        }
    }

    async fn try_to_bind_storage(&self, host: HostId, files: Files) -> Result<()> {
        let own = (!files.shared).then_some(host);
        let bound = sqlx::query!(
            r#"insert into storage (id, host_id) values ($1, $2)
               on conflict (only_row) do update set id = $1, host_id = $2
                   where (storage.id = $1 and storage.host_id is not distinct from $2)
                       or not exists (select from workers where seen_at > now() - make_interval(secs => $4)
                                          and host_id <> $3 and host_id = coalesce(storage.host_id, host_id))"#,
            files.id,
            own as _,
            host as _,
            TIME_TO_LIVE.as_secs_f64()
        )
        .execute(&self.pool)
        .await?;
        if bound.rows_affected() == 1 {
            return Ok(());
        }
        let present =
            sqlx::query!(r#"select id, host_id as "host: HostId" from storage"#).fetch_one(&self.pool).await?;
        let why = match (present.host, files.shared) {
            (Some(other), _) => format!(
                "host {other} uses this database with a storage directory that it has for itself, so files of one \
                 host would be missing on the other; give all hosts the same --storage-url, and --storage-shared if \
                 it is a directory"
            ),
            (None, false) => "other hosts share the storage of this database; start this one with the same \
                              --storage-url, and --storage-shared if it is a directory"
                .into(),
            (None, true) => format!(
                "the storage is not that of the other hosts on this database ({} here, {} there); give all hosts the \
                 same --storage-url",
                files.id, present.id
            ),
        };
        Err(Error::conflict(why))
    }
}
