//! Drift: whether a working copy is what was pulled last. Looked at with the check of its server.

use std::time::Duration;

use time::OffsetDateTime;

use super::servers::OnServer;
use crate::datasvc::{Drift, JobId, WorkingCopy};
use crate::remote::{Command, CommandId, Target};
use crate::work::Work;

const DRIFT: &str = concat!(include_str!("common.sh"), include_str!("drift.sh"));

/// How long it may take to look at one.
const WITHIN: Duration = Duration::from_secs(120);
/// How many commits and how many files are named.
const MAX_NAMED: usize = 20;

impl Work {
    /// What a working copy has beside what was pulled last.
    pub(in crate::work) async fn drift_of(&self, job_id: JobId, target: &Target, copy: &WorkingCopy) -> Drift {
        let remote = &self.0.remote;
        let path = remote.path(target, &copy.path);
        let words = ["/bin/sh", "-c", DRIFT, "elita", &path, &copy.owner(), &copy.commit].map(str::to_owned);
        let (id, command) = (CommandId::new(), Command::new(words).for_at_most(WITHIN));
        let report = remote.run(target, id, &command).await;
        remote.forget(target, id).await;
        let said = OnServer::of(&report);
        let mut drift = Drift::unknown(now(), job_id, &copy.commit);
        if !report.is_ok() {
            drift.message = said.message;
            return drift;
        }
        let mut is_behind = false;
        for line in report.stdout.lines() {
            match line.split_once(' ') {
                Some(("local", commit)) => drift.local_commits.push(commit.to_owned()),
                Some(("changed", path)) => drift.uncommitted.push(path.to_owned()),
                None if line == "behind" => is_behind = true,
                _ => {}
            }
        }
        drift.has_more = drift.local_commits.len() > MAX_NAMED || drift.uncommitted.len() > MAX_NAMED;
        drift.local_commits.truncate(MAX_NAMED);
        drift.uncommitted.truncate(MAX_NAMED);
        drift.drifted = Some(is_behind || !drift.local_commits.is_empty() || !drift.uncommitted.is_empty());
        drift.head = said.head;
        if is_behind {
            drift.message = Some("the commit that was pulled last is not there".to_owned());
        }
        drift
    }
}

/// The time, as exact as other times are shown.
fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}
