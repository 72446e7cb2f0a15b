//! The imported interface `jobs`.

use serde::Serialize;

use super::{Call, HostError};
use crate::datasvc::{Error, JobId, Json, MAX_ENTRIES_PAGE_BYTES};
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
        let id = JobId::parse(&id)?;
        // A plugin finds what it has just recorded.
        if id == call.log.job_id() {
            call.lasting(call.log.written()).await?;
        }
        let entries = call.timed(call.svc.job_entries(&call.caller, id, after, limit, MAX_ENTRIES_PAGE_BYTES)).await?;
        Ok(entries.items.into_iter().map(jobs::Entry::try_from).collect::<Result<_, _>>()?)
    }
}

async fn append(call: &Call<'_>, data: Json) -> Result<u64, HostError> {
    let seq = call.lasting(call.log.append(&call.plugin, data)).await?;
    Ok(seq.cast_unsigned())
}
