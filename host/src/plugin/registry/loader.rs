//! The plugin directory: every `*.wasm` in it is taken in, again when it changes, and withdrawn when it goes.
//!
//! Here it is only looked. What takes long, such as compiling, is done by a task of each file's own (`offer`), so that
//! a file which goes, or another one that comes, never waits for it.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::Plugins;
use super::offer::{Offer, OfferError, Taken};
use crate::datasvc::{DataSvc, FedPlugin, HostId, PluginName};
use crate::errors::Outage;

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
    /// The files whose names are not valid for plugins, which are logged once.
    passed_over: HashSet<PathBuf>,
    /// The revision of the catalog at the last look.
    revision: i64,
    /// Whether files may have gone without the database knowing: at the start, and until it has been told.
    is_behind: bool,
    /// Tasks that compile what is active, before a job needs it.
    warming: JoinSet<()>,
    /// Told when a task has ended, so that its file is looked at.
    ended: Arc<Notify>,
    /// Becomes true once what was there at the start is in force or refused.
    settled: watch::Sender<bool>,
}

/// What is known of a file that was seen.
struct File {
    stamp: Stamp,
    progress: Progress,
}

enum Progress {
    /// It may still be written to, or is to be tried again.
    Settling,
    /// It is being taken in, since the catalog had this revision. Dropping the task gives that up.
    UnderWay { task: AbortOnDropHandle<Result<Taken, OfferError>>, since: i64 },
    /// It was taken in, or refused.
    Taken(Taken),
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Stamp {
    modified: Option<SystemTime>,
    /// When its inode was changed, as nobody can set it: also by another mode, and by a write that hides itself.
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Self { modified: metadata.modified().ok(), changed, length: metadata.len(), inode: metadata.ino() }
    }

    fn is_settled(&self) -> bool {
        self.modified.and_then(|modified| modified.elapsed().ok()).is_some_and(|age| age >= SETTLED)
    }
}

/// A file of the directory.
type PluginFile = (PluginName, PathBuf, Stamp);

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
            warming: JoinSet::new(),
            ended: Arc::default(),
            settled: watch::Sender::new(false),
        })
    }

    /// Becomes true once the plugins that are there at the start are in force or refused.
    pub fn settled(&self) -> watch::Receiver<bool> {
        self.settled.subscribe()
    }

    /// Looks again and again until the server stops.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut outage = Outage::default();
        while !*stop.borrow() {
            match self.look().await {
                Ok(()) => {
                    outage.is_over("the plugins can be loaded again");
                    self.tell_if_settled();
                }
                Err(problem) => {
                    outage.goes_on("the plugins cannot be loaded; it is tried again and again", &problem);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => {}
                () = self.ended.notified() => {}
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
            self.warm_up();
        }
        while self.warming.try_join_next().is_some() {}
        looked
    }

    /// What has gone is withdrawn, what is new or changed is taken in.
    async fn look_at_files(&mut self) -> Result<(), OfferError> {
        // A directory that cannot be read does not mean that all plugins have gone.
        let found = self.list().map_err(OfferError::Directory)?;
        let ended = self.take_note_of_ends().await;
        self.forget_missing(&found).await;
        let due: Vec<_> = found.iter().filter(|(name, _, stamp)| self.is_due(name, *stamp)).collect();
        if self.is_behind || !due.is_empty() {
            let fed = self.svc.plugins_fed_by(self.host).await?;
            self.withdraw_missing(&fed, &found).await?;
            self.is_behind = false;
            for file in due {
                self.begin(&fed, file).await?;
            }
        }
        ended
    }

    /// The components in the directory, by name.
    fn list(&mut self) -> std::io::Result<Vec<PluginFile>> {
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

    /// What became of the files whose tasks have ended.
    ///
    /// # Errors
    /// That of the last one that has to be tried again.
    async fn take_note_of_ends(&mut self) -> Result<(), OfferError> {
        let mut outcome = Ok(());
        for (name, file) in &mut self.files {
            let Progress::UnderWay { task, since } = &mut file.progress else { continue };
            if !task.is_finished() {
                continue;
            }
            file.progress = match task.await {
                // What held it may have gone since.
                Ok(Ok(Taken::Blocked)) if *since != self.revision => Progress::Settling,
                Ok(Ok(taken)) => Progress::Taken(taken),
                Ok(Err(problem)) => {
                    outcome = Err(problem);
                    Progress::Settling
                }
                Err(problem) => {
                    error!("the host failed at the file of plugin `{name}`: {problem}");
                    Progress::Taken(Taken::Done)
                }
            };
        }
        outcome
    }

    /// Forgets the files that are no longer there. A task that has one under way is over when this returns, so that it
    /// puts nothing in force afterwards.
    async fn forget_missing(&mut self, found: &[PluginFile]) {
        let gone = self.files.extract_if(|name, _| !found.iter().any(|(there, ..)| there == name));
        for (_, file) in gone.collect::<Vec<_>>() {
            self.is_behind = true;
            give_up(file.progress).await;
        }
    }

    async fn withdraw_missing(&self, fed: &[FedPlugin], found: &[PluginFile]) -> Result<(), OfferError> {
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
        for file in self.files.values_mut() {
            if let Progress::Taken(Taken::Blocked) = file.progress {
                file.progress = Progress::Settling;
            }
        }
    }

    /// A plugin that is no longer known, and whose file is here, was withdrawn by another host that had a file of this
    /// name and has lost it.
    async fn offer_again_what_others_withdrew(&mut self) -> Result<(), OfferError> {
        let known = self.svc.plugin_names().await?;
        let withdrawn = self.files.iter_mut().filter(|(name, _)| !known.contains(name));
        for (_, file) in withdrawn {
            give_up(std::mem::replace(&mut file.progress, Progress::Settling)).await;
        }
        Ok(())
    }

    /// Whether the file is to be taken in now: new or changed, and no longer being written to.
    fn is_due(&mut self, name: &PluginName, stamp: Stamp) -> bool {
        match self.files.get(name) {
            Some(file) if file.stamp == stamp => matches!(file.progress, Progress::Settling),
            _ => {
                // What was there before is given up, if it is under way.
                self.files.insert(name.clone(), File { stamp, progress: Progress::Settling });
                stamp.is_settled()
            }
        }
    }

    /// Says that the file is being compiled, and has a task take it in.
    async fn begin(&mut self, fed: &[FedPlugin], (name, path, stamp): &PluginFile) -> Result<(), OfferError> {
        self.svc.announce_plugin(self.host, name).await?;
        let settled = fed.iter().find(|fed| fed.name == *name).and_then(|fed| fed.settled);
        let (svc, plugins) = (self.svc.clone(), self.plugins.clone());
        let offer = Offer { svc, plugins, host: self.host, name: name.clone(), path: path.clone(), settled };
        let ended = self.ended.clone();
        let task = tokio::spawn(async move {
            let taken = offer.take_in().await;
            // What has to be tried again has time.
            if taken.is_ok() {
                ended.notify_one();
            }
            taken
        });
        let progress = Progress::UnderWay { task: AbortOnDropHandle::new(task), since: self.revision };
        self.files.insert(name.clone(), File { stamp: *stamp, progress });
        Ok(())
    }

    /// Has what is active compiled, so that no job waits for it.
    fn warm_up(&mut self) {
        for digest in self.plugins.unready() {
            let (plugins, ended) = (self.plugins.clone(), self.ended.clone());
            self.warming.spawn(async move {
                if let Err(error) = plugins.prepare(digest).await {
                    error!("component {digest} is active and cannot be loaded: {}", error.message);
                }
                ended.notify_one();
            });
        }
    }

    /// A file that comes meanwhile is waited for, too: it is all the same to whoever waits.
    fn tell_if_settled(&self) {
        let is_settled = |file: &File| matches!(file.progress, Progress::Taken(_));
        if !*self.settled.borrow() && self.warming.is_empty() && self.files.values().all(is_settled) {
            self.settled.send_replace(true);
        }
    }
}

/// Ends the task that takes a file in, if there is one.
async fn give_up(progress: Progress) {
    if let Progress::UnderWay { task, .. } = progress {
        task.abort();
        // Whatever it came to, it is over.
        let _ = task.await;
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
