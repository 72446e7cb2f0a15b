//! Checks of servers: whether each can be reached, what there is on it, and whether its working copies are what was pulled. A job is made when a server is new or is
//! reached in another way, when somebody asks for it, and by the clock.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::watch;
use tracing::{info, warn};

use super::Work;
use super::commands::{SERVERS_AT_A_TIME, internal, target_of};
use crate::datasvc::{Caller, Enqueued, JobError, Result, ServerHealth, ServerName, patiently};
use crate::engine::{Run, StepResult, jittered};
use crate::remote::{Equipment, Os, System, Target};

/// How often it is looked which servers are due, as a part of the time between two checks of one.
const LOOKS: u32 = 10;

/// What a check was asked: the `data` of its job.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Check {
    /// The servers.
    check: Vec<ServerName>,
}

impl Work {
    /// Makes the job that checks a server.
    ///
    /// # Errors
    /// Those of [`crate::datasvc::DataSvc::enqueue_check`].
    pub async fn submit_check(&self, caller: &Caller, server: &ServerName) -> Result<Enqueued> {
        let enqueued = self.0.svc.enqueue_check(caller, server).await?;
        self.0.engine.tell_queued();
        Ok(enqueued)
    }

    /// Checks servers: the health of each that is there.
    pub(super) async fn check(&self, run: &Run, asked: &Check) -> StepResult<BTreeMap<String, ServerHealth>> {
        let _lent = run.lend_slot();
        let found = patiently(|| self.0.svc.targets_for_work(&asked.check)).await.map_err(|error| internal(&error))?;
        let checking = stream::iter(found).map(|server| async move {
            if run.cancel.is_requested() {
                return Err(JobError::cancelled("someone"));
            }
            let health = self.health_of(run, &target_of(&server)).await;
            let recorded = patiently(|| self.0.svc.record_health(&server.name, &health)).await;
            recorded.map_err(|error| internal(&error))?;
            if health.reachable {
                self.look_for_drift(run, &server.name, &target_of(&server)).await?;
            }
            Ok((server.name.to_string(), health))
        });
        let checked: Vec<_> = checking.buffer_unordered(SERVERS_AT_A_TIME).collect().await;
        checked.into_iter().collect()
    }

    /// Compares the working copies on a server with what was pulled there last. Whoever may check a server may not know all
    /// applications, so that the log says how many there are.
    async fn look_for_drift(&self, run: &Run, server: &ServerName, target: &Target) -> StepResult<()> {
        let copies = patiently(|| self.0.svc.working_copies(server)).await.map_err(|error| internal(&error))?;
        let (mut looked_at, mut drifted) = (0, 0);
        for copy in &copies {
            let drift = tokio::select! {
                drift = self.drift_of(run.claim.job_id, target, copy) => drift,
                () = run.cancel.requested() => return Err(JobError::cancelled("someone")),
            };
            let recorded = patiently(|| self.0.svc.record_drift(server, copy, &drift)).await;
            recorded.map_err(|error| internal(&error))?;
            looked_at += usize::from(drift.drifted.is_some());
            drifted += usize::from(drift.drifted == Some(true));
        }
        if !copies.is_empty() {
            run.note(&json!({ "status": "drift", "server": server, "working_copies": copies.len(),
                "looked_at": looked_at, "drifted": drifted }));
        }
        Ok(())
    }

    async fn health_of(&self, run: &Run, target: &Target) -> ServerHealth {
        let inspected = tokio::select! {
            inspected = self.0.remote.inspect(target) => inspected,
            () = run.cancel.requested() => Err("the check was stopped".to_owned()),
        };
        let mut health = ServerHealth {
            checked_at: self.0.svc.now(),
            job_id: run.claim.job_id,
            reachable: inspected.is_ok(),
            message: None,
            os: None,
            system: None,
            git_version: None,
            shell: None,
            clock_difference_in_seconds: None,
        };
        match inspected {
            Ok(Equipment { system: System { os, name }, git_version, shell, clock_difference }) => {
                health.os = Some(if os == Os::Windows { "windows" } else { "unix" }.to_owned());
                health.system = Some(name);
                health.git_version = git_version;
                health.shell = shell;
                health.clock_difference_in_seconds = clock_difference;
            }
            Err(why) => health.message = Some(why),
        }
        run.note(&json!({ "status": if health.reachable { "ok" } else { "no-response" }, "server": target.name,
            "driver": target.reach.driver(), "health": health }));
        health
    }
}

/// Makes jobs that check servers, so that each is checked so often, until the server stops.
pub async fn check_servers(work: Work, every: Duration, mut stop: watch::Receiver<bool>) {
    let checking = async {
        loop {
            tokio::time::sleep(jittered((every / LOOKS).max(Duration::from_millis(500)))).await;
            match work.0.svc.enqueue_checks_due(every).await {
                Ok(0) => {}
                Ok(servers) => {
                    info!("{servers} servers are checked, because it is time");
                    work.0.engine.tell_queued();
                }
                Err(problem) => warn!("the servers that are to be checked could not be found: {problem}"),
            }
        }
    };
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        () = checking, if !every.is_zero() => {}
    }
}
