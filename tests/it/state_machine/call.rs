//! What is asked of the data services, and how it may fail.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use elita::datasvc::{
    Caller, Claim, DataSvc, Enqueued, Error, HandedOn, HeldClaim, HostId, Job, JobId, JobLog, NewActionJob, Outcome,
    PluginName, Room, WorkerId,
};
use serde_json::value::to_raw_value;
use time::OffsetDateTime;
use tokio::sync::watch;

use super::journal::Token;

/// Who asks.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) svc: DataSvc,
    pub(super) caller: Caller,
    pub(super) worker: WorkerId,
    pub(super) host: HostId,
    /// Closed when it dies.
    pub(super) alive: watch::Receiver<()>,
}

/// What is asked.
#[derive(Clone)]
pub(super) enum Call {
    /// The number of the request, and what is asked for.
    Enqueue(usize, NewActionJob),
    /// A heartbeat, and what is held.
    Beat,
    Claim(Room),
    Start(Claim),
    /// Entries of the plugin, or else of the host.
    Write(ClaimedJob, Vec<(Option<PluginName>, Token)>),
    Finish(ClaimedJob, Outcome, Token),
    Cancel(JobId),
    /// All of the worker, which then may end.
    HandBack {
        remove: bool,
    },
    HandBackUnbegun(Vec<(JobId, i64)>),
    TakeOver,
    /// What earlier runs of the asker's host have left.
    Recover,
}

/// A job in the hands of a worker.
#[derive(Clone)]
pub(super) struct ClaimedJob {
    pub(super) claim: Claim,
    pub(super) log: JobLog,
    /// What was asked for it has not been answered.
    pub(super) busy: bool,
}

impl ClaimedJob {
    pub(super) fn key(&self) -> (JobId, i64) {
        (self.claim.job_id, self.claim.fence)
    }
}

/// What the data services answer.
pub(super) enum Answer {
    Enqueued(Enqueued),
    HeldClaims(Vec<HeldClaim>),
    Claims(Vec<Claim>),
    Started(Claim),
    Written(Vec<Result<i64, Error>>),
    Finished,
    HandedOn(HandedOn),
    Cancelled(Box<Job>),
}

/// What the asker learns; none if the answer was lost.
pub(super) type Heard = Option<Result<Answer, Error>>;

/// How a call fails.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    None,
    /// It happens, and nobody learns what came of it.
    Unheard,
    /// It is given up at its so-manieth wait.
    GivenUp(u32),
}

pub(super) type Asking = Pin<Box<dyn Future<Output = Heard> + Send>>;

impl Call {
    /// Asks, and loses the answer.
    pub(super) fn ask(self, asker: Asker, loss: Loss) -> Asking {
        Box::pin(async move {
            let mut alive = asker.alive.clone();
            let answer = self.answer(asker);
            let heard = async {
                match loss {
                    Loss::None => Some(answer.await),
                    Loss::Unheard => {
                        drop(answer.await);
                        None
                    }
                    Loss::GivenUp(waits) => given_up(waits, answer).await,
                }
            };
            tokio::select! {
                biased;
                heard = heard => heard,
                _ = alive.changed() => None,
            }
        })
    }

    async fn answer(self, asker: Asker) -> Result<Answer, Error> {
        let Asker { svc, caller, worker, host, .. } = asker;
        Ok(match self {
            Self::Enqueue(_, job) => Answer::Enqueued(svc.enqueue_action(&caller, job).await?),
            Self::Beat => {
                svc.beat(worker, host, true).await?;
                Answer::HeldClaims(svc.held_jobs(worker).await?)
            }
            Self::Claim(room) => Answer::Claims(svc.claim_jobs(worker, &room).await?),
            Self::Start(mut claim) => {
                claim.attempt = svc.start_job(&claim).await?;
                claim.started = true;
                Answer::Started(claim)
            }
            Self::Write(ClaimedJob { log, .. }, entries) => {
                let mut written = Vec::new();
                for (plugin, token) in entries {
                    written.push(match plugin {
                        Some(plugin) => log.append(&plugin, to_raw_value(&token.to_string()).unwrap()).await,
                        None => log.note(&token.to_string()),
                    });
                }
                Answer::Written(written)
            }
            Self::Finish(ClaimedJob { log, .. }, outcome, _) => {
                log.finish(&outcome).await?;
                Answer::Finished
            }
            Self::Cancel(job) => Answer::Cancelled(Box::new(svc.cancel_job(&caller, job, |_| Ok(())).await?)),
            Self::HandBack { remove } => {
                let handed_on = svc.hand_back(worker, "its worker stops").await?;
                if remove {
                    svc.remove_worker(worker).await?;
                }
                Answer::HandedOn(handed_on)
            }
            Self::HandBackUnbegun(jobs) => {
                Answer::HandedOn(svc.hand_back_strays(worker, &jobs, false, "its claim went astray").await?)
            }
            Self::TakeOver => {
                // Here whoever is to be dead has a beat of long ago.
                let long_ago = OffsetDateTime::now_utc() - Duration::from_secs(30);
                let dead = svc.peers(worker).await?.into_iter().filter(|peer| peer.beat < long_ago);
                let mut silent = svc.forgotten_holders().await?;
                silent.extend(dead.map(|peer| (peer.worker, peer.beat)));
                Answer::HandedOn(svc.take_over(worker, &silent).await?)
            }
            Self::Recover => Answer::HandedOn(svc.recover_jobs(host, worker).await?),
        })
    }
}

/// Drops the future once it has been waited for so often.
async fn given_up<T>(waits: u32, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut waited) = (pin!(future), 0);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if waited >= waits => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

/// Asks all at once: what they hand over before their first wait is on its way together.
pub(super) async fn together(mut calls: Vec<Asking>) -> Vec<Heard> {
    let mut all: Vec<Option<Heard>> = calls.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (call, heard) in calls.iter_mut().zip(&mut all).filter(|(_, heard)| heard.is_none()) {
            if let Poll::Ready(answer) = call.as_mut().poll(context) {
                *heard = Some(answer);
            }
        }
        if all.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    all.into_iter().flatten().collect()
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => Ok(()),
            Self::Unheard => f.write_str(" (answer lost)"),
            Self::GivenUp(waits) => write!(f, " (given up after {waits} waits)"),
        }
    }
}
