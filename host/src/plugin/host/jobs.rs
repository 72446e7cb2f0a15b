//! The imported interface `jobs`.

use serde::Serialize;

use super::{Call, HostError};
use crate::datasvc::{Error, JobId, Json, LogPart, MAX_ENTRIES_PAGE_BYTES};
use crate::plugin::bindings::elita::plugin::jobs;
use crate::plugin::json;
use crate::plugin::sandbox::instance::GuestState;

/// An entry of `progress`, in the order in which it is shown.
#[derive(Serialize)]
struct Progress {
    status: String,
    progress: u8,
}

impl jobs::Host for GuestState {
    async fn current(&mut self) -> wasmtime::Result<String> {
        let call = self.call("jobs.current", &[])?;
        call.comes_to("ok");
        Ok(call.log.job_id().to_string())
    }

    async fn append(&mut self, data: String) -> Result<u64, HostError> {
        let call = self.call("jobs.append", &[])?;
        let data = json::parse(data).map_err(|reason| Error::invalid("data", reason))?;
        append(&call, data).await
    }

    async fn progress(&mut self, percent: u8, status: String) -> Result<u64, HostError> {
        let call = self.call("jobs.progress", &[])?;
        if percent > 100 {
            return Err(Error::invalid("percent", format!("{percent} is more than 100")).into());
        }
        let data = serde_json::to_string(&Progress { status, progress: percent })
            .map_err(|error| Error::Internal(error.into()))?;
        let data = json::parse(data).map_err(|reason| Error::invalid("status", reason))?;
        append(&call, data).await
    }

    async fn cancel_requested(&mut self) -> wasmtime::Result<bool> {
        let call = self.call("jobs.cancel-requested", &[])?;
        call.comes_to("ok");
        Ok((call.cancel_requested)())
    }

    async fn get(&mut self, id: String) -> Result<jobs::Job, HostError> {
        let call = self.call("jobs.get", &[&id])?;
        let job = call.timed(call.svc.job(&call.caller, JobId::parse(&id)?)).await?;
        Ok(job.try_into()?)
    }

    async fn entries(&mut self, id: String, after: u64, limit: u32) -> Result<Vec<jobs::Entry>, HostError> {
        let call = self.call("jobs.entries", &[&id])?;
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        entries(&call, &id, LogPart::After(after), limit).await
    }

    async fn tail(&mut self, id: String, limit: u32) -> Result<Vec<jobs::Entry>, HostError> {
        let call = self.call("jobs.tail", &[&id])?;
        entries(&call, &id, LogPart::Before(i64::MAX), limit).await
    }

    async fn before(&mut self, id: String, seq: u64, limit: u32) -> Result<Vec<jobs::Entry>, HostError> {
        let call = self.call("jobs.before", &[&id])?;
        let seq = i64::try_from(seq).unwrap_or(i64::MAX);
        entries(&call, &id, LogPart::Before(seq), limit).await
    }

    async fn standing(&mut self, id: String) -> Result<jobs::JobStanding, HostError> {
        let call = self.call("jobs.standing", &[&id])?;
        let id = JobId::parse(&id)?;
        written(&call, id).await?;
        Ok(call.timed(call.svc.job(&call.caller, id)).await?.try_into()?)
    }
}

/// A part of a job's log.
async fn entries(call: &Call<'_>, id: &str, part: LogPart, limit: u32) -> Result<Vec<jobs::Entry>, HostError> {
    let id = JobId::parse(id)?;
    written(call, id).await?;
    let entries = call.timed(call.svc.job_entries(&call.caller, id, part, limit, MAX_ENTRIES_PAGE_BYTES)).await?;
    Ok(entries.items.into_iter().map(jobs::Entry::try_from).collect::<Result<_, _>>()?)
}

/// A plugin finds what it has just recorded.
async fn written(call: &Call<'_>, id: JobId) -> Result<(), HostError> {
    if id == call.log.job_id() { call.lasting(call.log.written()).await } else { Ok(()) }
}

async fn append(call: &Call<'_>, data: Json) -> Result<u64, HostError> {
    let seq = call.lasting(call.log.append(&call.plugin, data)).await?;
    Ok(seq.cast_unsigned())
}
