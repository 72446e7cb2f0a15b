//! The plugin directory: every `*.wasm` in it is taken in, again when it changes, and withdrawn when it goes.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{info, warn};

use super::error::without_nul;
use super::{OfferError, Plugins};
use crate::datasvc::{DataSvc, Digest, FedPlugin, HostId, PluginName, SOURCE_HOST};

/// How often the directory is looked at, and the catalog of other hosts' plugins.
const INTERVAL: Duration = Duration::from_millis(500);
/// A file younger than this may still be written to: it is taken once it looks the same a second time.
const SETTLED: Duration = Duration::from_secs(2);

/// Watches this host's plugin directory.
pub struct Loader {
    svc: DataSvc,
    plugins: Plugins,
    directory: PathBuf,
    host: HostId,
    files: HashMap<PluginName, File>,
    /// The files whose names are no plugin's, which are told of once.
    passed_over: HashSet<PathBuf>,
    /// The revision of the catalog at the last look.
    revision: i64,
    /// Whether files may have gone without the database knowing: at the start, and until it has been told.
    is_behind: bool,
}

/// What is known of a file that was seen.
struct File {
    stamp: Stamp,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// It may still be written to.
    Settling,
    /// It was taken in, or refused for good.
    Done,
    /// It was refused for what another plugin holds, which may change.
    Blocked,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() }
    }

    fn is_settled(&self) -> bool {
        self.modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age >= SETTLED)
    }
}

impl Loader {
    /// `directory` is made if it is missing.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(svc: DataSvc, plugins: Plugins, directory: PathBuf, host: HostId) -> std::io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            svc,
            plugins,
            directory,
            host,
            files: HashMap::new(),
            passed_over: HashSet::new(),
            revision: 0,
            is_behind: true,
        })
    }

    /// Looks again and again until the server stops.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut told_of_outage = false;
        while !*stop.borrow() {
            match self.look().await {
                Ok(()) => told_of_outage = false,
                Err(problem) => {
                    if !told_of_outage {
                        let error: &(dyn Error + 'static) = &problem;
                        warn!(error, "the plugins could not be looked after; it is tried again and again");
                    }
                    told_of_outage = true;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
        }
    }

    /// Looks once, at the directory and at what other hosts have made active.
    async fn look(&mut self) -> Result<(), OfferError> {
        let looked = self.look_at_files().await;
        let revision = self.plugins.refresh().await?;
        if revision != self.revision {
            self.retry_blocked();
            self.offer_again_what_others_withdrew().await?;
            self.revision = revision;
            // What another host has made active is compiled before a job needs it.
            self.plugins.warm_up().await;
        }
        looked
    }

    /// What has gone is withdrawn, what is new or changed is taken in.
    async fn look_at_files(&mut self) -> Result<(), OfferError> {
        // A directory that cannot be read does not mean that all plugins have gone.
        let found = self.list().map_err(OfferError::Directory)?;
        let known = self.files.len();
        self.files.retain(|name, _| found.iter().any(|(there, ..)| there == name));
        self.is_behind |= self.files.len() < known;
        let due: Vec<_> = found.iter().filter(|(name, _, stamp)| self.is_due(name, *stamp)).collect();
        if !self.is_behind && due.is_empty() {
            return Ok(());
        }
        let fed = self.svc.plugins_fed_by(self.host).await?;
        self.withdraw_missing(&fed, &found).await?;
        self.is_behind = false;
        let mut outcome = Ok(());
        for (name, path, stamp) in due {
            // A file with a problem is tried again at the next look; the others don't wait for it.
            outcome = outcome.and(self.take_in(&fed, name, path, *stamp).await);
        }
        outcome
    }

    /// The components in the directory, by name.
    fn list(&mut self) -> std::io::Result<Vec<(PluginName, PathBuf, Stamp)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Some((stem, stamp)) = component_file(&path) else { continue };
            match PluginName::parse(stem) {
                Ok(name) => found.push((name, path, stamp)),
                Err(problem) => {
                    if self.passed_over.insert(path.clone()) {
                        warn!("{} is passed over, because no plugin can be called so: {problem}", path.display());
                    }
                }
            }
        }
        found.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        Ok(found)
    }

    async fn withdraw_missing(
        &self,
        fed: &[FedPlugin],
        found: &[(PluginName, PathBuf, Stamp)],
    ) -> Result<(), OfferError> {
        for FedPlugin { name, .. } in fed {
            if !found.iter().any(|(there, ..)| there == name) {
                self.svc.withdraw_plugin(self.host, name).await?;
                info!(plugin.name = %name, "plugin `{name}` was withdrawn: its file has gone");
            }
        }
        Ok(())
    }

    /// What another plugin held may be free now.
    fn retry_blocked(&mut self) {
        for file in self.files.values_mut().filter(|file| file.progress == Progress::Blocked) {
            file.progress = Progress::Settling;
        }
    }

    /// A plugin that is no longer known, and whose file is here, was withdrawn by another host that had a file of this
    /// name and has lost it.
    async fn offer_again_what_others_withdrew(&mut self) -> Result<(), OfferError> {
        let known = self.svc.plugin_names().await?;
        let withdrawn = self.files.iter_mut().filter(|(name, _)| !known.contains(name));
        withdrawn.for_each(|(_, file)| file.progress = Progress::Settling);
        Ok(())
    }

    /// Whether the file is to be taken in now: new or changed, and no longer being written to.
    fn is_due(&mut self, name: &PluginName, stamp: Stamp) -> bool {
        match self.files.get(name) {
            Some(file) if file.stamp == stamp => file.progress == Progress::Settling,
            _ => {
                self.files.insert(name.clone(), File { stamp, progress: Progress::Settling });
                stamp.is_settled()
            }
        }
    }

    /// Takes in one file, or refuses it.
    ///
    /// # Errors
    /// Only what has nothing to do with the file, so that it is worth trying again.
    async fn take_in(
        &mut self,
        fed: &[FedPlugin],
        name: &PluginName,
        path: &Path,
        stamp: Stamp,
    ) -> Result<(), OfferError> {
        let Some(bytes) = self.read(name, path).await? else { return Ok(()) };
        let digest = Digest::of(&bytes);
        if fed.iter().any(|fed| fed.name == *name && fed.settled == Some(digest)) {
            self.done(name, stamp, Progress::Done);
            return Ok(());
        }
        self.svc.announce_plugin(self.host, name).await?;
        let offered = self.plugins.offer(self.host, name, bytes, digest).await;
        let (progress, reason) = match offered {
            Ok(()) => {
                self.done(name, stamp, Progress::Done);
                info!(plugin.name = %name, plugin.digest = %digest, "plugin `{name}` is active");
                return Ok(());
            }
            Err(OfferError::Refused(refusal)) => (Progress::Done, refusal.to_string()),
            Err(OfferError::Load(super::LoadError::Unusable(problem))) => {
                (Progress::Done, format!("it cannot be used: {problem:#}"))
            }
            Err(OfferError::Load(super::LoadError::Task(problem))) if problem.is_panic() => {
                (Progress::Done, "the host could not make anything of it; the server's log says why".into())
            }
            Err(OfferError::Datasvc(conflict @ crate::datasvc::Error::Conflict { .. })) => {
                (Progress::Blocked, conflict.to_string())
            }
            Err(problem) => return Err(problem),
        };
        self.refuse(name, digest, &reason).await?;
        self.done(name, stamp, progress);
        Ok(())
    }

    /// The file's bytes, unless it is refused for its size or its name, or has gone meanwhile.
    async fn read(&mut self, name: &PluginName, path: &Path) -> Result<Option<Bytes>, OfferError> {
        let limit = self.plugins.limits().file_bytes() as u64;
        let length = match std::fs::metadata(path) {
            Ok(metadata) => metadata.len(),
            Err(_) => return Ok(None),
        };
        let reason = if name.as_str() == SOURCE_HOST {
            format!("a plugin cannot be called `{SOURCE_HOST}`, which is how the host signs its own entries")
        } else if length > limit {
            format!("the file has {length} bytes, and at most {limit} are taken")
        } else {
            match tokio::fs::read(path).await {
                Ok(bytes) => return Ok(Some(bytes.into())),
                Err(problem) if problem.kind() == ErrorKind::NotFound => return Ok(None),
                Err(problem) => format!("the file cannot be read ({problem}); put one there that can"),
            }
        };
        self.svc.announce_plugin(self.host, name).await?;
        self.refuse(name, Digest::of(&[]), &reason).await?;
        if let Some(file) = self.files.get_mut(name) {
            file.progress = Progress::Done;
        }
        Ok(None)
    }

    async fn refuse(&self, name: &PluginName, digest: Digest, reason: &str) -> Result<(), OfferError> {
        let reason = &without_nul(reason);
        warn!(plugin.name = %name, plugin.digest = %digest, "the file of plugin `{name}` was refused: {reason}");
        self.svc.refuse_plugin(name, digest, reason).await?;
        Ok(())
    }

    fn done(&mut self, name: &PluginName, stamp: Stamp, progress: Progress) {
        self.files.insert(name.clone(), File { stamp, progress });
    }
}

/// The name without its ending and the stamp of a path, if it is a `*.wasm`.
fn component_file(path: &Path) -> Option<(String, Stamp)> {
    if path.extension()? != "wasm" {
        return None;
    }
    let metadata = std::fs::metadata(path).ok().filter(Metadata::is_file)?;
    Some((path.file_stem()?.to_string_lossy().into_owned(), Stamp::of(&metadata)))
}
