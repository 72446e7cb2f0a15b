//! What a queued job waits for, as far as it can be told from outside the servers: with the limits of this server, and
//! with what runs on all of them.

use serde::Serialize;

use super::Engine;
use crate::datasvc::{Job, JobStanding, JobStatus, Result};

/// What a queued job waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitReason {
    /// For a server that runs jobs of this type: there is none.
    Worker,
    /// The action already has as many running jobs as allowed.
    Action,
    /// The plugin already has as many running jobs as allowed.
    Plugin,
    /// For other work of the same application, of which no more is done at a time.
    Application,
    /// For a place on a server, or for its turn there.
    Server,
}

/// What a queued job waits for, and how many come before it.
#[derive(Clone, Copy, Debug, Serialize, utoipa::ToSchema)]
pub struct WaitsFor {
    /// What has to be free for it to run.
    pub reason: WaitReason,
    /// How many jobs of the same action come before it, up to 1000.
    pub ahead: i64,
}

impl Engine {
    /// What a job waits for, if it is queued.
    ///
    /// # Errors
    /// [`crate::datasvc::Error::Unavailable`].
    pub async fn waits_for(&self, job: &Job) -> Result<Option<WaitsFor>> {
        if job.status != JobStatus::Queued {
            return Ok(None);
        }
        let standing = self.0.svc.job_standing(job).await?;
        let reason = if self.0.kind(&job.job_type).is_none() {
            WaitReason::Worker
        } else {
            self.reason(&standing, job.plugin.is_some())
        };
        Ok(Some(WaitsFor { reason, ahead: standing.ahead }))
    }

    fn reason(&self, standing: &JobStanding, is_of_plugin: bool) -> WaitReason {
        let settings = &self.0.settings;
        let is_full = |running: i64, each: usize| {
            running >= i64::try_from(each).unwrap_or(i64::MAX).saturating_mul(standing.servers)
        };
        match is_of_plugin {
            _ if standing.servers == 0 => WaitReason::Worker,
            true if is_full(standing.of_action, settings.runs_per_action) => WaitReason::Action,
            true if is_full(standing.of_plugin, settings.runs_per_plugin) => WaitReason::Plugin,
            false if is_full(standing.own_of_application, settings.runs.div_ceil(4)) => WaitReason::Application,
            _ => WaitReason::Server,
        }
    }
}
