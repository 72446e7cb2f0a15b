//! The running job, its log, and other jobs of the plugin's applications.
//!
//! What an action or a hook adds to its job's log is what users see of it:
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! # fn example() -> Result<()> {
//! jobs::progress(0, "starting")?;
//! jobs::append(&json!({ "status": "frobnicating the foobar", "foobars": ["left", "right"] }))?;
//! jobs::progress(100, "finished")?;
//! # Ok(())
//! # }
//! ```

use serde::Serialize;
use serde_json::Value;

use crate::Result;
use crate::host::jobs as wit;

/// A job, as it was when it was asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Job {
    /// The job's UUID.
    pub id: String,
    /// What runs, such as the action's name.
    pub name: String,
    /// `action`, `upload`, `gitdeploy`, `deployment` and so on.
    pub job_type: String,
    /// None: the job belongs to no application.
    pub application: Option<String>,
    /// How far it is.
    pub status: Status,
    /// 0 before the first run, 1 in it.
    pub attempt: u32,
    /// When it was asked for. Times are RFC 3339, UTC.
    pub created_at: String,
    /// When its run began.
    pub started_at: Option<String>,
    /// When it ended.
    pub completed_at: Option<String>,
    /// What was asked.
    pub data: Value,
    /// What it returned, once it has succeeded.
    pub result: Option<Value>,
    /// Why it ended otherwise: an object with `code` and `message`.
    pub error: Option<Value>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for its turn.
    Queued,
    /// It runs.
    Running,
    /// It ended well.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was asked to stop, and did.
    Cancelled,
    /// Its host died while it ran, and it may not be run again.
    Lost,
}

/// One line of a job's log.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: u64,
    /// RFC 3339, UTC.
    pub at: String,
    /// `host`, or the name of the plugin that recorded it.
    pub source: String,
    /// What was recorded.
    pub data: Value,
}

/// How a job goes, and where it comes from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Standing {
    /// How far it is.
    pub status: Status,
    /// The number of its log's last entry; 0: the log is empty.
    pub last_seq: u64,
    /// The newest entry that has a progress, if there is one.
    pub progress: Option<Progress>,
    /// The job that has started it.
    pub parent: Option<String>,
    /// The job that it runs again.
    pub rerun_of: Option<String>,
    /// Whether it may be run again when its host dies.
    pub idempotent: bool,
    /// The wall-clock limit of a run.
    pub timeout_seconds: u64,
}

/// What a job's log says of its progress.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Progress {
    /// 0 to 100.
    pub percent: u8,
    /// The entry's `status`, of which 200 characters are given.
    pub status: Option<String>,
    /// The entry.
    pub seq: u64,
    /// When it was recorded: RFC 3339, UTC.
    pub at: String,
}

/// The id of the job that this call runs in.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// log::info!("this is job {}", jobs::current());
/// ```
pub fn current() -> String {
    wit::current()
}

/// Adds an entry to the current job's log, for its users to see, and returns the entry's number.
/// It may be anything that serializes to JSON of at most 64 KiB.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// jobs::append(&json!({ "status": "frobnicating the foobar", "progress": 45 }))?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`LimitExceeded`](crate::Code::LimitExceeded) if it is too long or the job's log is full, [`Conflict`](crate::Code::Conflict) if the
/// job was taken away from this run; a value that does not serialize.
pub fn append(data: &(impl Serialize + ?Sized)) -> Result<u64> {
    Ok(wit::append(&serde_json::to_string(data)?)?)
}

/// Adds the entry `{"status": status, "progress": percent}`, as [`append`] does.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// jobs::progress(45, "frobnicating the foobar")?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Invalid`](crate::Code::Invalid) if `percent` is over 100, and those of [`append`].
pub fn progress(percent: u8, status: &str) -> Result<u64> {
    Ok(wit::progress(percent, status)?)
}

/// Whether someone asked for the current job to stop, as known a few seconds ago at most. A run that does not end by
/// itself is stopped where it stands, by default 10 seconds later.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// if jobs::cancel_requested() {
///     return Err(Error::new("stopped before the third widget"));
/// }
/// # Ok(())
/// # }
/// ```
pub fn cancel_requested() -> bool {
    wit::cancel_requested()
}

/// A job of an application that this plugin may read.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// let job = jobs::get(&jobs::current())?;
/// log::info!("{} is in attempt {}", job.name, job.attempt);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`NotFound`](crate::Code::NotFound), also where the plugin may not read it.
pub fn get(id: &str) -> Result<Job> {
    from_wit(wit::get(id)?)
}

/// Entries of such a job's log with a number above `after` (0: from the beginning), in order, at most `limit`
/// (1 to 1000).
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// for entry in jobs::entries(&jobs::current(), 0, 100)? {
///     log::info!("{}: {}", entry.source, entry.data);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`get`], and [`Invalid`](crate::Code::Invalid) for a limit out of range.
pub fn entries(id: &str, after: u64, limit: u32) -> Result<Vec<Entry>> {
    wit::entries(id, after, limit)?.into_iter().map(entry_from_wit).collect()
}

/// The last entries of such a job's log, in order, at most `limit` (1 to 1000).
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// for entry in jobs::tail(&jobs::current(), 10)? {
///     log::info!("{}: {}", entry.source, entry.data);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`entries`].
pub fn tail(id: &str, limit: u32) -> Result<Vec<Entry>> {
    wit::tail(id, limit)?.into_iter().map(entry_from_wit).collect()
}

/// The last entries before the one with the number `seq`, in order, at most `limit` (1 to 1000).
///
/// # Errors
/// Those of [`entries`].
pub fn before(id: &str, seq: u64, limit: u32) -> Result<Vec<Entry>> {
    wit::before(id, seq, limit)?.into_iter().map(entry_from_wit).collect()
}

/// How a job of an application goes that this plugin may read, and where it comes from, without its data and its result.
///
/// ```no_run
/// use elita_plugin::prelude::*;
/// # fn example() -> Result<()> {
/// let started = actions::run("my_application", "DeleteWidgets", &[("testing", "true"), ("count", "1")])?;
/// if let Some(progress) = jobs::standing(&started)?.progress {
///     log::info!("{} %", progress.percent);
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// Those of [`get`].
pub fn standing(id: &str) -> Result<Standing> {
    let wit::JobStanding { status, last_seq, progress, parent, rerun_of, idempotent, timeout_seconds } =
        wit::standing(id)?;
    let progress = progress.map(|mark| {
        let wit::ProgressMark { percent, status, seq, at } = mark;
        Progress { percent, status, seq, at }
    });
    let status = status_from_wit(status);
    Ok(Standing { status, last_seq, progress, parent, rerun_of, idempotent, timeout_seconds })
}

fn from_wit(job: wit::Job) -> Result<Job> {
    let wit::Job {
        id,
        name,
        job_type,
        application,
        status,
        attempt,
        created_at,
        started_at,
        completed_at,
        data,
        result,
        error,
    } = job;
    Ok(Job {
        id,
        name,
        job_type,
        application,
        status: status_from_wit(status),
        attempt,
        created_at,
        started_at,
        completed_at,
        data: serde_json::from_str(&data)?,
        result: result.map(|text| serde_json::from_str(&text)).transpose()?,
        error: error.map(|text| serde_json::from_str(&text)).transpose()?,
    })
}

fn status_from_wit(status: wit::Status) -> Status {
    match status {
        wit::Status::Queued => Status::Queued,
        wit::Status::Running => Status::Running,
        wit::Status::Succeeded => Status::Succeeded,
        wit::Status::Failed => Status::Failed,
        wit::Status::Cancelled => Status::Cancelled,
        wit::Status::Lost => Status::Lost,
    }
}

fn entry_from_wit(entry: wit::Entry) -> Result<Entry> {
    let wit::Entry { seq, at, source, data } = entry;
    Ok(Entry { seq, at, source, data: serde_json::from_str(&data)? })
}
