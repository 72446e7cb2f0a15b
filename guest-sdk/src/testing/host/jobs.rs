//! The running job, and those that it has started.

use serde_json::{Value, json};

use super::{Error, Host, Started, TIME, ask, key};
use crate::bindings::elita::plugin::jobs as wit;
use crate::calls::TEST_JOB;

pub(crate) use wit::{Entry, Job, JobStanding, ProgressMark, Status};

/// The longest entry, as on a server.
const MAX_ENTRY_BYTES: usize = 64 * 1024;
/// What a run may take, unless its action declares something else.
const TIMEOUT_SECONDS: u64 = 300;

pub(crate) fn current() -> String {
    ask("jobs::current", |_| TEST_JOB.into())
}

pub(crate) fn cancel_requested() -> bool {
    ask("jobs::cancel_requested", |host| host.is_cancelled)
}

pub(crate) fn append(data: &str) -> Result<u64, Error> {
    ask("jobs::append", |host| {
        if data.len() > MAX_ENTRY_BYTES {
            return Err(Error::LimitExceeded(format!("an entry has at most {MAX_ENTRY_BYTES} bytes")));
        }
        host.entries.push(serde_json::from_str(data).map_err(|error| Error::Invalid(error.to_string()))?);
        Ok(host.entries.len() as u64)
    })
}

pub(crate) fn progress(percent: u8, status: &str) -> Result<u64, Error> {
    ask("jobs::progress", |host| {
        if percent > 100 {
            return Err(Error::Invalid(format!("percent: {percent} is more than 100")));
        }
        host.entries.push(json!({ "status": status, "progress": percent }));
        Ok(host.entries.len() as u64)
    })
}

pub(crate) fn get(id: &str) -> Result<Job, Error> {
    ask("jobs::get", |host| {
        let started = find(host, id)?;
        let result = started.map(|it| host.actions[&key(&it.application, &it.action)].to_string());
        let data = started.map_or_else(|| json!({}), |it| json!({ "parameters": it.parameters }));
        Ok(Job {
            id: id.into(),
            name: started.map_or_else(|| "test".into(), |it| it.action.clone()),
            job_type: "action".into(),
            application: started.map(|it| it.application.clone()),
            status: status(started),
            attempt: 1,
            created_at: TIME.into(),
            started_at: Some(TIME.into()),
            completed_at: started.map(|_| TIME.into()),
            data: data.to_string(),
            result,
            error: None,
        })
    })
}

pub(crate) fn entries(id: &str, after: u64, limit: u32) -> Result<Vec<Entry>, Error> {
    ask("jobs::entries", |host| {
        let all = entries_of(host, id)?;
        Ok(all.into_iter().filter(|entry| entry.seq > after).take(limit as usize).collect())
    })
}

pub(crate) fn tail(id: &str, limit: u32) -> Result<Vec<Entry>, Error> {
    ask("jobs::tail", |host| Ok(last(entries_of(host, id)?, limit)))
}

pub(crate) fn before(id: &str, seq: u64, limit: u32) -> Result<Vec<Entry>, Error> {
    ask("jobs::before", |host| {
        let all = entries_of(host, id)?.into_iter();
        Ok(last(all.filter(|entry| entry.seq < seq).collect(), limit))
    })
}

pub(crate) fn standing(id: &str) -> Result<JobStanding, Error> {
    ask("jobs::standing", |host| {
        let started = find(host, id)?;
        let all = entries_of(host, id)?;
        let last_seq = all.len() as u64;
        let progress = all.iter().rev().find_map(|entry| {
            let data: Value = serde_json::from_str(&entry.data).ok()?;
            let percent = u8::try_from(data["progress"].as_u64()?).ok()?;
            let status = data["status"].as_str().map(|status| status.chars().take(200).collect());
            Some(ProgressMark { percent, status, seq: entry.seq, at: TIME.into() })
        });
        Ok(JobStanding {
            status: status(started),
            last_seq,
            progress,
            parent: started.map(|_| TEST_JOB.into()),
            rerun_of: None,
            idempotent: false,
            timeout_seconds: TIMEOUT_SECONDS,
        })
    })
}

/// A job that was started; none for the one that runs.
fn find<'h>(host: &'h Host, id: &str) -> Result<Option<&'h Started>, Error> {
    let found = host.started.iter().find(|started| started.job == id);
    if found.is_none() && id != TEST_JOB {
        return Err(Error::NotFound(format!("job `{id}` does not exist")));
    }
    Ok(found)
}

fn status(started: Option<&Started>) -> Status {
    if started.is_some() { Status::Succeeded } else { Status::Running }
}

fn entries_of(host: &Host, id: &str) -> Result<Vec<Entry>, Error> {
    if find(host, id)?.is_some() {
        return Ok(Vec::new());
    }
    let entry =
        |(seq, data): (u64, &Value)| Entry { seq, at: TIME.into(), source: "test".into(), data: data.to_string() };
    Ok((1..).zip(&host.entries).map(entry).collect())
}

fn last(mut all: Vec<Entry>, limit: u32) -> Vec<Entry> {
    all.split_off(all.len().saturating_sub(limit as usize))
}
