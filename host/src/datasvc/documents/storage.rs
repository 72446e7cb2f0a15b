//! Which object store belongs to this installation, and who may use it.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::datasvc::DataSvc;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::HostId;
use crate::datasvc::jobs::peers::Silent;

/// The object store that a server was started with.
#[derive(Clone, Copy, Debug)]
pub struct StoreIdentity {
    /// Its id, which is written into it.
    pub id: Uuid,
    /// Whether all hosts have it.
    pub shared: bool,
}

impl DataSvc {
    /// Makes a store the one of this installation, or checks that it is. A store that only one host has belongs to
    /// that host while it lives; after that another host may come with the same files, or with others where no build
    /// has any. Servers that are `silent` live no longer.
    ///
    /// # Errors
    /// [`Error::Conflict`] saying why this host cannot work with the others, and what to do.
    pub async fn bind_storage(&self, host: HostId, store: StoreIdentity, silent: &[Silent]) -> Result<()> {
        let own = (!store.shared).then_some(host);
        let (workers, beats): (Vec<_>, Vec<_>) = silent.iter().copied().unzip();
        let bound = sqlx::query!(
            r#"insert into storage (id, host_id) values ($1, $2)
               on conflict (only_row) do update set id = $1, host_id = $2
                   where (storage.id = $1 and storage.host_id is not distinct from $2)
                       or (not exists (select from workers
                                       where host_id <> $3 and host_id = coalesce(storage.host_id, host_id)
                                           and (id, seen_at) not in (select * from unnest($4::uuid[], $5::timestamptz[])))
                           and (storage.id = $1 or not exists (select from builds where upload is not null)))"#,
            store.id,
            own as _,
            host as _,
            workers as _,
            &beats
        )
        .execute(&self.pool)
        .await?;
        if bound.rows_affected() == 0 {
            return Err(self.why_unbound(store, silent.is_empty()).await?);
        }
        let _ = self.bound.set((store.id, own));
        Ok(())
    }

    /// `lives`: whether none of the others is known to be dead.
    async fn why_unbound(&self, store: StoreIdentity, lives: bool) -> Result<Error> {
        let present = sqlx::query!(
            r#"select storage.id, storage.host_id as "host: HostId",
                   exists (select from workers where workers.host_id = storage.host_id) as "entered!",
                   exists (select from builds where upload is not null) as "needed!"
               from storage"#
        )
        .fetch_one(&self.pool)
        .await?;
        let is_gone = present.host.is_some() && (!present.entered || !lives);
        Ok(Error::conflict(match (present.host, store.shared) {
            (Some(owner), _) if is_gone && present.needed && present.id != store.id => format!(
                "the builds of this database are in the storage directory of host {owner}, which is not this one: start \
                 with that directory as --storage-url, or with a copy of it. If it is lost for good, write its id, \
                 {}, into the file `storage-id` of the new one",
                present.id
            ),
            (Some(owner), _) => format!(
                "host {owner} uses this database with a storage directory that it has for itself, so files of one \
                 host would be missing on the other; give all hosts the same --storage-url, and --storage-shared if \
                 it is a directory"
            ),
            (None, false) => "other hosts share the storage of this database; start this one with the same \
                              --storage-url, and --storage-shared if it is a directory"
                .into(),
            (None, true) => format!(
                "the storage is not that of the other hosts on this database ({} here, {} there); give all hosts the \
                 same --storage-url",
                store.id, present.id
            ),
        }))
    }

    /// Makes sure that this server's storage is that of the installation until the transaction ends.
    ///
    /// # Errors
    /// [`Error::Conflict`].
    pub(super) async fn hold_storage(&self, connection: &mut PgConnection) -> Result<()> {
        let Some((id, owner)) = self.bound.get() else { return Ok(()) };
        let held = sqlx::query!(
            "select from storage where id = $1 and host_id is not distinct from $2 for share",
            id,
            *owner as _
        );
        let held = held.fetch_optional(connection).await?;
        held.map(|_| ()).ok_or_else(|| {
            Error::conflict("the storage of this server was replaced while it ran; send the file to another server")
        })
    }
}
