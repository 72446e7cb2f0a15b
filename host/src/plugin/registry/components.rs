//! Components ready to run, by digest: compiled once per host, linked once per server, kept while they are in use.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::SetupError;
use crate::datasvc::Digest;
use crate::plugin::bindings::PluginPre;
use crate::plugin::sandbox::engine;
use crate::plugin::sandbox::instance::GuestState;
use crate::storage::{Storage, StorageError};

/// How many components are compiled at a time. One uses all cores by itself.
const MAX_COMPILING: usize = 1;

/// Why a component is not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("component {0} is not in the object store")]
    Missing(Digest),
    #[error("component {0} in the object store is damaged: its content has another digest")]
    Damaged(Digest),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the component cannot be used: {0:#}")]
    Unusable(wasmtime::Error),
    #[error("the host could not load a component: {0}")]
    Task(#[from] tokio::task::JoinError),
}

type Ready = Arc<OnceCell<PluginPre<GuestState>>>;

/// The components of this server.
pub(crate) struct Components {
    linker: Linker<GuestState>,
    storage: Storage,
    compiled: PathBuf,
    ready: Mutex<HashMap<Digest, Ready>>,
    compiling: Semaphore,
}

impl Components {
    /// `cache` is where compiled forms are kept, one folder for each engine they fit.
    pub(crate) fn new(engine: &Engine, storage: Storage, cache: &Path) -> Result<Self, SetupError> {
        let compiled = cache.join(engine::compatibility(engine));
        std::fs::create_dir_all(&compiled)?;
        Ok(Self {
            linker: engine::new_linker(engine)?,
            storage,
            compiled,
            ready: Mutex::default(),
            compiling: Semaphore::new(MAX_COMPILING),
        })
    }

    /// The component, loaded or compiled now if it was not used before. Several askers wait for one compilation.
    pub(crate) async fn get(&self, digest: Digest) -> Result<PluginPre<GuestState>, LoadError> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner).entry(digest).or_default().clone();
        ready.get_or_try_init(|| self.load(digest)).await.cloned()
    }

    /// Those that can run at once.
    pub(crate) fn ready(&self) -> Vec<Digest> {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.iter().filter(|(_, component)| component.initialized()).map(|(digest, _)| *digest).collect()
    }

    /// Whether this one can run at once.
    pub(crate) fn is_ready(&self, digest: Digest) -> bool {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.get(&digest).is_some_and(|component| component.initialized())
    }

    /// Lets go of all but these. Runs of the others go on, and a job that needs one loads it again.
    pub(crate) fn keep_only(&self, digests: &HashSet<Digest>) {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).retain(|digest, _| digests.contains(digest));
    }

    /// From the cache of compiled forms, or from the object store by compiling.
    async fn load(&self, digest: Digest) -> Result<PluginPre<GuestState>, LoadError> {
        let file = self.compiled.join(format!("{}.cwasm", digest.hex()));
        let linker = self.linker.clone();
        let cached = {
            let file = file.clone();
            tokio::task::spawn_blocking(move || link(&linker, &read_compiled(linker.engine(), &file)?).ok()).await?
        };
        if let Some(component) = cached {
            return Ok(component);
        }
        let bytes = self.storage.component(&digest.hex()).await?.ok_or(LoadError::Missing(digest))?;
        if Digest::of(&bytes) != digest {
            return Err(LoadError::Damaged(digest));
        }
        let _turn = self.compiling.acquire().await;
        let linker = self.linker.clone();
        tokio::task::spawn_blocking(move || compile(&linker, &bytes, &file)).await?.map_err(LoadError::Unusable)
    }
}

fn link(linker: &Linker<GuestState>, component: &Component) -> wasmtime::Result<PluginPre<GuestState>> {
    PluginPre::new(linker.instantiate_pre(component)?)
}

fn compile(linker: &Linker<GuestState>, bytes: &Bytes, file: &Path) -> wasmtime::Result<PluginPre<GuestState>> {
    let component = Component::new(linker.engine(), bytes)?;
    let ready = link(linker, &component)?;
    // Without its compiled form the next start is slower, and nothing else is worse.
    if let Err(error) = write_compiled(&component, file) {
        tracing::warn!("the compiled form of a plugin could not be kept in {}: {error:#}", file.display());
    }
    Ok(ready)
}

/// A compiled form that this server's engine can use.
#[expect(unsafe_code, reason = "compiled code is trusted: it is read from where only this server writes")]
fn read_compiled(engine: &Engine, file: &Path) -> Option<Component> {
    if !file.exists() {
        return None;
    }
    // SAFETY: the file was written by `write_compiled`, whole or not at all, in the server's own data directory,
    // which is closed to other users; a form for another engine is recognised and refused.
    unsafe { Component::deserialize_file(engine, file) }.ok()
}

fn write_compiled(component: &Component, file: &Path) -> wasmtime::Result<()> {
    let unfinished = file.with_extension(format!("{}.part", uuid::Uuid::new_v4()));
    let mut whole = File::create(&unfinished)?;
    whole.write_all(&component.serialize()?)?;
    whole.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    Ok(())
}
