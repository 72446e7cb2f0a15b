//! How a file is taken in: read, looked through, stored, compiled, asked what it registers, and put in force. Or how it
//! is refused, with a sentence for its author.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::sync::SemaphorePermit;
use tracing::{Instrument as _, info, warn};

use super::components::LoadError;
use super::inspect::{self, Refusal};
use super::{Plugins, register};
use crate::datasvc::{ActivePlugin, DataSvc, Digest, Error, HostId, PluginName, SOURCE_HOST};
use crate::plugin::sandbox::error::without_nul;
use crate::storage::StorageError;

/// Why a component was not put in force.
#[derive(Debug, thiserror::Error)]
pub(super) enum OfferError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Datasvc(#[from] Error),
    #[error("the plugin directory cannot be read: {0}")]
    Directory(std::io::Error),
}

/// A file of the plugin directory of this host, on its way in.
pub(super) struct Offer {
    pub(super) svc: DataSvc,
    pub(super) plugins: Plugins,
    pub(super) host: HostId,
    pub(super) name: PluginName,
    pub(super) path: PathBuf,
    /// The component that is in force, if it is the last one that this host was offered.
    pub(super) settled: Option<Digest>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Taken {
    /// It is in force, or refused for good.
    Done,
    /// It is refused for what another plugin holds, which may change.
    Blocked,
}

impl Offer {
    /// Takes the file in, or refuses it.
    ///
    /// # Errors
    /// Only what has nothing to do with the file, so that it is worth trying again.
    pub(super) async fn take_in(self) -> Result<Taken, OfferError> {
        let turn = self.plugins.0.inspecting.acquire().await.ok();
        let Some(bytes) = self.read().await? else { return Ok(Taken::Done) };
        let digest = Digest::of(&bytes);
        if self.settled == Some(digest) {
            return Ok(Taken::Done);
        }
        let offered = self.put_in_force(bytes, digest, turn).await;
        let (taken, reason) = match offered {
            Ok(()) => {
                let name = &self.name;
                info!(plugin.name = %name, plugin.digest = %digest, "plugin `{name}` is active");
                return Ok(Taken::Done);
            }
            Err(OfferError::Refused(refusal)) => (Taken::Done, refusal.to_string()),
            Err(OfferError::Load(LoadError::Unusable(reason))) => (Taken::Done, format!("it cannot be used: {reason}")),
            Err(OfferError::Load(LoadError::Task(problem))) if problem.is_panic() => {
                (Taken::Done, "the host could not read it; the server's log says why".into())
            }
            Err(OfferError::Datasvc(conflict @ Error::Conflict { .. })) => (Taken::Blocked, conflict.to_string()),
            Err(problem) => return Err(problem),
        };
        self.refuse(digest, &reason).await?;
        Ok(taken)
    }

    /// The file's bytes, unless it is refused for its size or its name, or has gone meanwhile.
    async fn read(&self) -> Result<Option<Bytes>, OfferError> {
        let reason = match readable(&self.name, &self.path, self.plugins.limits().file_bytes() as u64).await {
            Ok(bytes) => return Ok(bytes),
            Err(reason) => reason,
        };
        self.refuse(Digest::of(&[]), &reason).await?;
        Ok(None)
    }

    /// `turn` ends with what happens to the file as a whole: it is not in memory while it is compiled.
    async fn put_in_force(
        &self,
        bytes: Bytes,
        digest: Digest,
        turn: Option<SemaphorePermit<'_>>,
    ) -> Result<(), OfferError> {
        let inner = &self.plugins.0;
        let size_bytes = bytes.len() as u64;
        let imports = self.inspect(bytes.clone()).await?;
        inner.storage.put_component(&digest.hex(), bytes).await?;
        drop(turn);
        let component = inner.components.get(digest).await?;
        let _one_at_a_time = inner.registering.acquire().await;
        let asked = inner.clone();
        let registration = async move { register::register(&component, &asked.limits).await };
        let registration = inner.guests.run(registration.in_current_span()).await.map_err(LoadError::Task)??;
        let offered = ActivePlugin { name: self.name.clone(), digest, registration };
        self.svc.activate_plugin(self.host, &offered, size_bytes, &imports).await?;
        Ok(())
    }

    async fn inspect(&self, bytes: Bytes) -> Result<Vec<String>, OfferError> {
        let inner = self.plugins.0.clone();
        let inspecting = tokio::task::spawn_blocking(move || inspect::inspect(&bytes, &inner.limits));
        Ok(inspecting.await.map_err(LoadError::Task)??)
    }

    async fn refuse(&self, digest: Digest, reason: &str) -> Result<(), OfferError> {
        let (name, reason) = (&self.name, &without_nul(reason));
        warn!(plugin.name = %name, plugin.digest = %digest, "the file of plugin `{name}` was refused: {reason}");
        self.svc.refuse_plugin(name, digest, reason).await?;
        Ok(())
    }
}

/// The file's bytes; none if it has gone. Or why it is refused unread.
async fn readable(name: &PluginName, path: &Path, limit: u64) -> Result<Option<Bytes>, String> {
    if name.as_str() == SOURCE_HOST {
        return Err(format!("a plugin cannot be called `{SOURCE_HOST}`, which is how the host signs its own entries"));
    }
    let Ok(metadata) = tokio::fs::metadata(path).await else { return Ok(None) };
    if metadata.len() > limit {
        return Err(format!("the file has {} bytes, and at most {limit} are taken", metadata.len()));
    }
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes.into())),
        Err(problem) if problem.kind() == ErrorKind::NotFound => Ok(None),
        Err(problem) => Err(format!("the file cannot be read ({problem}); put one there that can")),
    }
}
