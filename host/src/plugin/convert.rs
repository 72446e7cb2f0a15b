//! Domain types to WIT records, and what a plugin registers to domain types.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::bindings::elita::plugin::{applications, builds, jobs};
use super::bindings::exports::elita::plugin::registration;
use crate::datasvc::{
    ActionName, AppName, Application, Build, Error, Job, JobEntry, JobProgress, JobStatus, PackageFile, PluginHooks,
    RegisteredAction, RegisteredParameter,
};

pub(super) fn timestamp(at: OffsetDateTime) -> Result<String, Error> {
    at.format(&Rfc3339).map_err(|error| Error::Internal(error.into()))
}

/// A value of the data services as the JSON text that guests get.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::Internal(error.into()))
}

impl TryFrom<Application> for applications::Application {
    type Error = Error;

    fn try_from(application: Application) -> Result<Self, Error> {
        let Application {
            application: name,
            app_name: _,
            attributes,
            retention: _,
            created_at,
            updated_at,
            revision: _,
        } = application;
        Ok(Self {
            name: name.to_string(),
            attributes: json(&attributes)?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}

impl TryFrom<Build> for builds::Build {
    type Error = Error;

    fn try_from(build: Build) -> Result<Self, Error> {
        let Build {
            build_name,
            application,
            app_name: _,
            stored,
            master_file,
            packages,
            file_count: _,
            attributes,
            created_at,
            updated_at,
            revision: _,
        } = build;
        let packages = packages.0.into_iter().map(|(name, file)| {
            let PackageFile { filename, file_type, size_bytes, sha256 } = file;
            builds::PackageFile {
                name: name.to_string(),
                filename,
                file_type: file_type.to_string(),
                size_bytes,
                sha256,
            }
        });
        Ok(Self {
            application: application.to_string(),
            name: build_name.to_string(),
            stored,
            master_file,
            packages: packages.collect(),
            attributes: json(&attributes)?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}

impl From<JobStatus> for jobs::Status {
    fn from(status: JobStatus) -> Self {
        match status {
            JobStatus::Queued => Self::Queued,
            // What only a newer server knows goes on there.
            JobStatus::Running | JobStatus::Unknown => Self::Running,
            JobStatus::Succeeded => Self::Succeeded,
            JobStatus::Failed => Self::Failed,
            JobStatus::Cancelled => Self::Cancelled,
            JobStatus::Lost => Self::Lost,
        }
    }
}

impl TryFrom<Job> for jobs::Job {
    type Error = Error;

    fn try_from(job: Job) -> Result<Self, Error> {
        let Job {
            job_id,
            name,
            job_type,
            status,
            application,
            // Who asked, which component runs and where, and how long it took are not a plugin's business.
            username: _,
            data,
            attempt,
            plugin: _,
            host: _,
            // These are in `standing`.
            parent: _,
            rerun_of: _,
            idempotent: _,
            timeout_seconds: _,
            progress: _,
            last_seq: _,
            result,
            error,
            created_at,
            updated_at: _,
            started_at,
            completed_at,
            cancel_requested_at: _,
            duration_in_seconds: _,
        } = job;
        Ok(Self {
            id: job_id.to_string(),
            name,
            job_type: job_type.as_str().into(),
            application: application.map(|application| application.to_string()),
            status: status.into(),
            attempt: attempt.cast_unsigned(),
            created_at: timestamp(created_at)?,
            started_at: started_at.map(timestamp).transpose()?,
            completed_at: completed_at.map(timestamp).transpose()?,
            data: data.map_or_else(|| "null".into(), |data| data.get().into()),
            result: result.flatten().map(|result| result.get().into()),
            error: match error {
                Some(error) => Some(serde_json::to_string(&error).map_err(|error| Error::Internal(error.into()))?),
                None => None,
            },
        })
    }
}

impl TryFrom<Job> for jobs::JobStanding {
    type Error = Error;

    fn try_from(job: Job) -> Result<Self, Error> {
        let progress = job.progress.map(|JobProgress { percent, status, seq, at }| {
            Ok::<_, Error>(jobs::ProgressMark {
                percent: u8::try_from(percent).unwrap_or(100),
                status,
                seq: seq.cast_unsigned(),
                at: timestamp(at)?,
            })
        });
        Ok(Self {
            status: job.status.into(),
            last_seq: job.last_seq.cast_unsigned(),
            progress: progress.transpose()?,
            parent: job.parent.map(|parent| parent.to_string()),
            rerun_of: job.rerun_of.map(|earlier| earlier.to_string()),
            idempotent: job.idempotent,
            timeout_seconds: job.timeout_seconds.cast_unsigned(),
        })
    }
}

impl TryFrom<JobEntry> for jobs::Entry {
    type Error = Error;

    fn try_from(entry: JobEntry) -> Result<Self, Error> {
        let JobEntry { seq, at, source, data } = entry;
        Ok(Self { seq: seq.cast_unsigned(), at: timestamp(at)?, source, data: data.get().into() })
    }
}

/// One action of a registration. Its names are checked here.
pub(super) fn action(application: &AppName, action: registration::Action) -> Result<RegisteredAction, Error> {
    let registration::Action { name, description, parameters, idempotent, timeout_seconds } = action;
    Ok(RegisteredAction {
        application: application.clone(),
        name: ActionName::parse(name)?,
        description,
        parameters: parameters.into_iter().map(parameter).collect(),
        idempotent,
        // More than the database has room for is more than any host's maximum.
        timeout_seconds: timeout_seconds.map(|seconds| seconds.min(i32::MAX.cast_unsigned())),
    })
}

fn parameter(parameter: registration::Parameter) -> RegisteredParameter {
    let registration::Parameter { name, type_, description } = parameter;
    let (r#type, optional) = match type_.trim_end().strip_suffix('?') {
        Some(before) => (before.trim_end().to_owned(), true),
        None => (type_, false),
    };
    RegisteredParameter { name, r#type, description, optional }
}

/// The hooks of a registration for one application. The application's name is checked here.
pub(super) fn hooks(hooks: registration::ApplicationHooks) -> Result<PluginHooks, Error> {
    let registration::ApplicationHooks { application, hooks } = hooks;
    Ok(PluginHooks { application: AppName::parse(application)?, hooks })
}
