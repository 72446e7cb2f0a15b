//! Components ready to run, by digest: compiled once per host, linked once per server, kept while they are in use.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};

use super::SetupError;
use super::compiler::{CompileError, Compiler};
use super::misfit;
use super::turns::{LARGE_BYTES, Turns, is_large};
use crate::datasvc::Digest;
use crate::plugin::bindings::PluginPre;
use crate::plugin::engine;
use crate::plugin::sandbox::instance::GuestState;
use crate::plugin::sandbox::limits::Limits;
use crate::storage::{Storage, StorageError};

/// Why a component is not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("component {0} is not in the object store")]
    Missing(Digest),
    #[error("component {0} in the object store is damaged: its content has another digest")]
    Damaged(Digest),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("the component cannot be used: {0}")]
    Unusable(String),
    #[error("the compiler could not be run: {0}")]
    Compiler(std::io::Error),
    #[error("the host could not load a component: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl LoadError {
    fn unusable(problem: wasmtime::Error) -> Self {
        Self::Unusable(misfit::reason(&problem))
    }
}

type Ready = Arc<OnceCell<PluginPre<GuestState>>>;

/// The components of this server.
pub(crate) struct Components {
    linker: Linker<GuestState>,
    storage: Storage,
    compiled: PathBuf,
    compiler: Compiler,
    turns: Turns,
    ready: Mutex<HashMap<Digest, Ready>>,
}

impl Components {
    /// `cache` is where compiled forms are kept, one folder for each engine they fit.
    pub(crate) fn new(engine: &Engine, storage: Storage, cache: &Path, limits: &Limits) -> Result<Self, SetupError> {
        let compiled = cache.join(engine::compatibility(engine));
        std::fs::create_dir_all(&compiled)?;
        Ok(Self {
            linker: engine::new_linker(engine)?,
            storage,
            compiled,
            compiler: Compiler::new(limits),
            turns: Turns::default(),
            ready: Mutex::default(),
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
        // One that this engine does not take is made anew.
        if let Some(Ok(component)) = self.read(&file).await? {
            return Ok(component);
        }
        if let Some(reason) = self.compiler.refused_before(&file) {
            return Err(LoadError::Unusable(reason));
        }
        let size_bytes = self.storage.component_bytes(&digest.hex()).await?.ok_or(LoadError::Missing(digest))?;
        let (mut size, mut costs) = (size_bytes, self.compiler.first_costs());
        loop {
            if is_large(size) {
                costs = self.compiler.costs();
            }
            let _turn = self.turns.take(size).await;
            // Only now, so that those that wait are not in memory.
            let bytes = self.storage.component(&digest.hex()).await?.ok_or(LoadError::Missing(digest))?;
            if Digest::of(&bytes) != digest {
                return Err(LoadError::Damaged(digest));
            }
            match self.compiler.compile(bytes, &file, costs).await {
                Ok(()) => break,
                // It is not small for what it takes.
                Err(CompileError::TooSlow(_)) if costs != self.compiler.costs() => size = LARGE_BYTES + 1,
                Err(CompileError::Refused(reason) | CompileError::TooSlow(reason)) => {
                    self.compiler.remember(&file, &reason);
                    return Err(LoadError::Unusable(reason));
                }
                Err(CompileError::Ended(reason)) => return Err(LoadError::Unusable(reason)),
                Err(CompileError::Io(problem)) => return Err(LoadError::Compiler(problem)),
            }
        }
        match self.read(&file).await? {
            Some(component) => component.map_err(LoadError::unusable),
            None => Err(LoadError::Compiler(ErrorKind::NotFound.into())),
        }
    }

    /// A compiled form that is there, linked; the inner error says why it cannot be used.
    async fn read(&self, file: &Path) -> Result<Option<wasmtime::Result<PluginPre<GuestState>>>, LoadError> {
        let (linker, file) = (self.linker.clone(), file.to_owned());
        let reading = move || read_compiled(linker.engine(), &file).map(|read| link(&linker, &read?));
        Ok(tokio::task::spawn_blocking(reading).await?)
    }
}

fn link(linker: &Linker<GuestState>, component: &Component) -> wasmtime::Result<PluginPre<GuestState>> {
    PluginPre::new(linker.instantiate_pre(component)?)
}

/// A compiled component, if there is one. The inner error: it was not compiled for this engine.
#[expect(unsafe_code, reason = "compiled code is trusted: it is read from where only this server writes")]
fn read_compiled(engine: &Engine, file: &Path) -> Option<wasmtime::Result<Component>> {
    if !file.exists() {
        return None;
    }
    // SAFETY: the file was written by the compiler that this server started, whole or not at all, in the server's own
    // data directory, which is closed to other users; a form for another engine is recognised and refused.
    Some(unsafe { Component::deserialize_file(engine, file) })
}
