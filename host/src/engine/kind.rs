//! What a kind of work is to the engine, which knows none of them by name.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use super::run::Run;
use crate::datasvc::{Caller, Claim, Digest, JobError, JobId, JobLane, Outcome, Result, plainly};

/// A kind of work: what the jobs of one `job_type` do. `boot` registers each with
/// [`Engine::register`](super::Engine::register).
pub trait Kind: Send + Sync + 'static {
    /// The `job_type` of its jobs.
    const NAME: &'static str;

    /// What was asked: the `data` of a job.
    type Asked: DeserializeOwned + Send;

    /// Whether the caller may stop such a job. Who may write to `_global` always may.
    ///
    /// # Errors
    /// [`Error::Denied`](crate::datasvc::Error::Denied) otherwise.
    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()>;

    /// How long such a job goes on by itself once someone has asked for it to stop, if that is longer than the server's
    /// setting. It is then begun, too, where that was asked before, so that it can say so.
    fn winds_up_within(&self) -> Option<Duration> {
        None
    }

    /// The threads that its jobs run on, if not on those of the server.
    fn threads(&self) -> Option<&Handle> {
        None
    }

    /// The components whose guests can start at once. Jobs of others are claimed and then prepared.
    fn ready(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// Makes ready what a job needs before its start is on record.
    ///
    /// # Errors
    /// What the job ends with if it cannot run at all.
    fn prepare(&self, _claim: &Claim) -> impl Future<Output = Result<(), JobError>> + Send {
        async { Ok(()) }
    }

    /// Does the work.
    fn run(&self, run: &Run, asked: Self::Asked) -> impl Future<Output = Outcome> + Send;

    /// Lets go of what a job holds that has failed or was stopped, before its end is on record.
    fn give_up(&self, _claim: &Claim) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Lets go of what a job holds that was stopped before any server had claimed it.
    fn forget(&self, _job: JobId) -> impl Future<Output = ()> + Send {
        async {}
    }
}

/// Any kind of work, as the engine keeps it.
pub(super) trait AnyKind: Send + Sync {
    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()>;
    fn winds_up_within(&self) -> Option<Duration>;
    fn threads(&self) -> Option<&Handle>;
    fn ready(&self) -> Vec<Digest>;
    fn prepare<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), JobError>>;
    fn run<'a>(&'a self, run: &'a Run) -> BoxFuture<'a, Outcome>;
    fn give_up<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, ()>;
    fn forget(&self, job: JobId) -> BoxFuture<'_, ()>;
}

impl<K: Kind> AnyKind for K {
    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        Kind::may_cancel(self, caller, lane)
    }

    fn winds_up_within(&self) -> Option<Duration> {
        Kind::winds_up_within(self)
    }

    fn threads(&self) -> Option<&Handle> {
        Kind::threads(self)
    }

    fn ready(&self) -> Vec<Digest> {
        Kind::ready(self)
    }

    fn prepare<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, Result<(), JobError>> {
        Kind::prepare(self, claim).boxed()
    }

    fn run<'a>(&'a self, run: &'a Run) -> BoxFuture<'a, Outcome> {
        let asked = serde_json::from_str(run.claim.data.get());
        async move {
            match asked {
                Ok(asked) => Kind::run(self, run, asked).await,
                Err(error) => {
                    let what = format!(
                        "its data is not that of a job of the kind `{}` ({})",
                        K::NAME,
                        plainly(&error.to_string())
                    );
                    Outcome::Failed(JobError::unreadable(&what))
                }
            }
        }
        .boxed()
    }

    fn give_up<'a>(&'a self, claim: &'a Claim) -> BoxFuture<'a, ()> {
        Kind::give_up(self, claim).boxed()
    }

    fn forget(&self, job: JobId) -> BoxFuture<'_, ()> {
        Kind::forget(self, job).boxed()
    }
}
