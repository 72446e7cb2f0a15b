//! `elita plugin dev`: builds a plugin after each change, loads it into the server on this machine, says what changed
//! and follows its jobs.

mod load;
mod watch;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use clap::Args;
use futures_util::future::{FutureExt as _, LocalBoxFuture};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use self::load::{Loaded, load};
use self::watch::Watch;
use crate::destination::Local;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::{Following, Lines, Patience, describe};
use crate::globals::Globals;
use crate::output::Output;
use crate::session::{Session, short, text};

/// How often new jobs of the plugin are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Build, load and follow a plugin while you write it
///
/// In a folder that `elita plugin new` made: builds after each change of a file, puts the component into the plugin
/// directory of the server on this machine, says what changed in what it registers, and follows its jobs. Ctrl-C ends it.
#[derive(Args, Debug)]
pub(crate) struct Dev {
    /// The plugin's folder, with `plugin.toml`
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// What builds it, instead of what `plugin.toml` says
    #[arg(long, value_name = "COMMAND")]
    build: Option<String>,
    /// The component that is built, instead of what `plugin.toml` says
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The plugin directory of the server [default: that of the server on this machine]
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Build and load it, then exit: with code 0 if the server has accepted it
    #[arg(long)]
    once: bool,
}

/// What stands in `plugin.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    build: String,
    file: PathBuf,
}

/// A plugin in the making.
pub(super) struct Project {
    pub(super) name: String,
    folder: PathBuf,
    build: String,
    /// Where the component is, once it is built.
    pub(super) file: PathBuf,
    /// The server's plugin directory.
    pub(super) directory: PathBuf,
}

impl Dev {
    pub(crate) async fn run(self, globals: &Globals, output: &Output) -> Result<Code> {
        let session = Session::open(globals, output)?;
        let project = self.project(&session)?;
        let mut watch = Watch::new(&project.folder, &project.file);
        let mut loaded = None;
        if self.once {
            let taken = renew(&session, &project, &mut loaded).await?;
            return Ok(if taken { Code::Done } else { Code::Failed });
        }
        // Before it is in force, so that none of its jobs is missed.
        let mut jobs = Jobs::new(&session, &project.name).await?;
        renew(&session, &project, &mut loaded).await?;
        watch.was_built_first();
        output.note("watching for changes; Ctrl-C ends it");
        tokio::select! {
            ended = work(&session, &project, &mut watch, &mut loaded, &mut jobs) => ended.map(|()| Code::Done),
            _ = tokio::signal::ctrl_c() => Ok(Code::Done),
        }
    }

    fn project(&self, session: &Session) -> Result<Project> {
        let path = self.folder.join("plugin.toml");
        let text = std::fs::read_to_string(&path)
            .map_err(|error| Failure::file("read", &path, &error).hint("elita plugin new makes a folder with one"))?;
        let Manifest { name, build, file } = toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{} cannot be understood: {}", path.display(), error.message())))?;
        let directory = match &self.dir {
            Some(directory) => directory.clone(),
            None => data_dir(session)?.join("plugins"),
        };
        let folder = self.folder.canonicalize().map_err(|error| Failure::file("find", &self.folder, &error))?;
        let file = folder.join(self.file.as_ref().unwrap_or(&file));
        Ok(Project { name, build: self.build.clone().unwrap_or(build), file, directory, folder })
    }
}

/// The data directory of the server that is talked to, which has to be one on this machine.
fn data_dir(session: &Session) -> Result<PathBuf> {
    if let Some(folder) = &session.data_dir {
        return Ok(folder.clone());
    }
    let base = session.client.base();
    match Local::find() {
        // It is called by a context, or by its address.
        Some(local) if local.url == *base => Ok(local.data_dir),
        Some(local) => Err(Failure::usage(format!(
            "plugins are loaded from files, and {base} is another server than the one here"
        ))
        .hint(format!("--server {}, or --dir with the plugin directory of that server", local.url))),
        None => Err(Failure::usage(format!(
            "plugins are loaded from files, and {base} is not a server of yours on this machine"
        ))
        .hint("./justw up, or --dir with the plugin directory of that server")),
    }
}

/// Builds and loads it. True: it is in force.
async fn renew(session: &Session, project: &Project, loaded: &mut Option<Loaded>) -> Result<bool> {
    let output = &session.output;
    output.note(format!("building: {}", project.build));
    let built = Command::new("sh")
        .arg("-c")
        .arg(&project.build)
        .current_dir(&project.folder)
        .stdin(Stdio::null())
        // What a compiler says is not the answer.
        .stdout(std::io::stderr())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| Failure::usage(format!("the build cannot be started: {error}")))?;
    if !built.success() {
        output.warn(format!("✗ the build failed ({built})"));
        return Ok(false);
    }
    load(session, project, loaded).await
}

/// Goes on until Ctrl-C.
async fn work(
    session: &Session,
    project: &Project,
    watch: &mut Watch,
    loaded: &mut Option<Loaded>,
    jobs: &mut Jobs<'_>,
) -> Result<()> {
    loop {
        tokio::select! {
            () = watch.changed() => {
                renew(session, project, loaded).await?;
                for file in watch.was_built() {
                    session.output.note(format!("the build changes {}, which is no longer watched", shown(&file, &project.folder)));
                }
            }
            never = jobs.follow() => match never? {},
        }
    }
}

fn shown(file: &Path, folder: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

/// The jobs of a plugin, as they come.
struct Jobs<'a> {
    session: &'a Session,
    plugin: &'a str,
    /// Those that were seen before.
    seen: HashSet<String>,
    /// Those that have not ended. They are followed on after a build.
    followed: FuturesUnordered<LocalBoxFuture<'a, Result<()>>>,
}

/// What cannot be.
enum Never {}

impl<'a> Jobs<'a> {
    async fn new(session: &'a Session, plugin: &'a str) -> Result<Self> {
        let mut jobs = Self { session, plugin, seen: HashSet::new(), followed: FuturesUnordered::new() };
        // Those that there are already are old.
        jobs.fresh().await?;
        Ok(jobs)
    }

    /// The jobs that were not seen before, the oldest first.
    async fn fresh(&mut self) -> Result<Vec<Value>> {
        let query = [("plugin", self.plugin.to_owned())];
        let mut found = self.session.client.list("/job", &query, Some(20)).await?.items;
        found.retain(|job| self.seen.insert(text(job, "job_id").to_owned()));
        found.reverse();
        Ok(found)
    }

    /// Follows each to its end.
    async fn follow(&mut self) -> Result<Never> {
        let session = self.session;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {
                    for job in self.fresh().await? {
                        self.followed.push(follow_one(session, job).boxed_local());
                    }
                }
                Some(ended) = self.followed.next() => ended?,
            }
        }
    }
}

async fn follow_one(session: &Session, job: Value) -> Result<()> {
    let id = text(&job, "job_id").to_owned();
    let prefix = short(&id);
    session.output.note(format!("{prefix}  {} of {}", text(&job, "name"), text(&job, "application")));
    let lines = Lines { are_answer: true, prefix: Some(prefix.clone()), ..Lines::default() };
    let (job, _) = Following { session, id, after: 0, lines }.until_the_end(&Patience::default()).await?;
    describe(&session.output, &job, Some(&prefix));
    Ok(())
}
