//! Commands for servers: how one becomes a job, and what that job may know of the servers.
//!
//! Such a job belongs to the installation and to no application. Who asked for it may look at it and stop it. The audit
//! says what is to be run, and where, before it runs.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::servers::{Connection, Driver};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{COMMAND, Caller};
use crate::datasvc::ground::error::{Error, Noun, Result};
use crate::datasvc::ground::ids::{Digest, HostId, JobId, ServerName, TokenId, WorkerId};
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::job::{Enqueued, JobStatus, JobType, Json, Parent};

/// The kind of work of jobs that do something with servers: the `job_type` of commands.
pub const SERVER: &str = "server";

/// How many servers one command is for.
const MAX_SERVERS: usize = 5_000;

/// A command for servers, as it becomes a job.
#[derive(Clone, Debug)]
pub struct NewCommand {
    /// The operation that asks for it, for the audit.
    pub operation: &'static str,
    /// The servers, each once.
    pub servers: Vec<ServerName>,
    /// What was asked, for the job's document and its run.
    pub data: Json,
    /// The same for the audit: without what looks like a secret.
    pub audited: Value,
    /// How long the job may take.
    pub timeout: Duration,
    /// The client's key and what its request was.
    pub idempotency: Option<(String, Digest)>,
    /// The job that asks for it and waits, and the worker that runs both. Then the new one waits in no queue.
    pub within: Option<(Parent, WorkerId)>,
}

/// A server that a command is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandTarget {
    /// The server.
    pub name: ServerName,
    /// What it is reached by.
    pub driver: Driver,
    /// How.
    pub connection: Connection,
    /// The server that it is reached through, and how that is reached.
    pub jump: Option<(ServerName, Connection)>,
}

impl DataSvc {
    /// The servers of these names, in their order, if the caller may send commands to all of them.
    ///
    /// # Errors
    /// [`Error::Denied`]; [`Error::NotFound`]; [`Error::Invalid`] for none, too many, or one that is given twice.
    pub async fn command_targets(&self, caller: &Caller, servers: &[ServerName]) -> Result<Vec<CommandTarget>> {
        Ok(self.located_targets(caller, servers).await?.into_iter().map(|(target, _)| target).collect())
    }

    async fn located_targets(
        &self,
        caller: &Caller,
        servers: &[ServerName],
    ) -> Result<Vec<(CommandTarget, Option<HostId>)>> {
        if servers.is_empty() || servers.len() > MAX_SERVERS {
            return Err(Error::invalid("servers", format!("a command is for 1 to {MAX_SERVERS} servers")));
        }
        let mut sorted: Vec<_> = servers.iter().collect();
        sorted.sort();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("servers", format!("server `{}` is given twice", pair[0])));
        }
        for server in servers {
            caller.require_command(server)?;
        }
        let located = self.locate(servers).await?;
        if located.len() < servers.len() {
            let missing = servers.iter().find(|server| !located.iter().any(|(target, _)| target.name == **server));
            return Err(missing.map_or_else(Error::too_busy, |server| Error::not_found(Noun::Server, server)));
        }
        Ok(located)
    }

    /// Those of these servers that exist, in their order, with the host that each is bound to.
    pub(super) async fn locate(&self, servers: &[ServerName]) -> Result<Vec<(CommandTarget, Option<HostId>)>> {
        let rows = sqlx::query!(
            r#"select servers.name as "name: ServerName", servers.driver as "driver: Driver",
                   servers.connection as "connection: Connection", servers.host_id as "host: HostId",
                   jump.name as "jump_name?: ServerName", jump.connection as "jump_connection?: Connection"
               from unnest($1::text[]) with ordinality as wanted (wanted, place)
                   join servers on servers.name = wanted
                   left join servers jump on jump.name = servers.connection ->> 'jump' and jump.driver = 'ssh'
               order by place"#,
            &servers.iter().map(|server| server.as_str().to_owned()).collect::<Vec<_>>()
        )
        .fetch_all(&self.pool)
        .await?;
        let located = rows.into_iter().map(|row| {
            let jump = row.jump_name.zip(row.jump_connection);
            let target = CommandTarget { name: row.name, driver: row.driver, connection: row.connection, jump };
            (target, row.host)
        });
        Ok(located.collect())
    }

    /// Makes the job of a command durable, and the audit say so.
    ///
    /// # Errors
    /// Those of [`DataSvc::command_targets`]; [`Error::Invalid`] for servers of the driver `local` on several hosts;
    /// [`Error::KeyReused`] if the idempotency key came with another request; for a job that is within another one
    /// [`Error::TooMany`] if too many have come of its root, and [`Error::Conflict`] for servers that are on another
    /// host.
    pub async fn enqueue_command(&self, caller: &Caller, new: &NewCommand) -> Result<Enqueued> {
        let NewCommand { operation, servers, data, audited, timeout, idempotency, within } = new;
        if let Some((key, fingerprint)) = idempotency
            && let Some(before) = self.enqueued_before(caller, key, *fingerprint).await?
        {
            return Ok(before);
        }
        let located = self.located_targets(caller, servers).await?;
        let host = one_host(&located)?;
        let (parent, worker) = within.unzip();
        if let Some(parent) = &parent {
            parent.check()?;
            self.check_descendants(parent).await?;
            if host.is_some_and(|host| self.host != Some(host)) {
                let reason = "servers of the driver `local` are on another host than the one that runs this job";
                return Err(Error::conflict(reason));
            }
        }
        let asked_at = Instant::now();
        let (key, fingerprint) = idempotency.as_ref().map(|(key, print)| (key.as_str(), print.as_bytes())).unzip();
        let job_id = self.new_job_id();
        let username = caller.username().map(|name| name.as_str());
        let mut transaction = self.change(caller, operation).await?;
        let inserted = sqlx::query!(
            r#"insert into jobs (id, job_type, name, username, data, idempotent, timeout_ms, idempotency_key,
                                 idempotency_fingerprint, bound_to, token_id, created_at, parent, depth, root,
                                 status, worker, fence, attempt, started_at)
               select $1, $2, $3, $4, $5::text::json, true, $6, $7, $8, $9, $10, coalesce($11, now()), $12, $13, $14,
                   case when worker is null then 'queued' else 'running' end, worker, (worker is not null)::int,
                   (worker is not null)::int, case when worker is not null then now() end
               from (select $15::uuid as worker) as taker
               on conflict (username, idempotency_key) where idempotency_key is not null do nothing"#,
            job_id as _,
            SERVER,
            COMMAND,
            username,
            data.get(),
            i64::try_from(timeout.as_millis()).map_err(Error::internal)?,
            key,
            fingerprint,
            host as _,
            caller.token() as _,
            // As in the id, so that what is listed by one is in the order of the other.
            job_id.made_at(),
            parent.map(|parent| parent.job_id) as _,
            parent.map_or(0, |parent| parent.depth + 1),
            parent.map(|parent| parent.root) as _,
            worker as _
        )
        .execute(&mut *transaction)
        .await?;
        if inserted.rows_affected() == 0 {
            transaction.rollback().await?;
            let found = match idempotency {
                Some((key, fingerprint)) => self.enqueued_before(caller, key, *fingerprint).await?,
                None => None,
            };
            return found.ok_or_else(Error::too_busy);
        }
        let name = match &servers[..] {
            [one] => one.to_string(),
            several => format!("{} and {} more", several[0], several.len() - 1),
        };
        transaction.created(None, &name, &serde_json::json!({ "job_id": job_id, "asked": audited })).await?;
        let claim = parent.map(|parent| Claim {
            job_id,
            fence: 1,
            asked_at,
            attempt: 1,
            started: true,
            root: parent.root,
            depth: parent.depth + 1,
            entries: 0,
            plugin_entries: 0,
            plugin_bytes: 0,
            application: None,
            name: COMMAND.to_owned(),
            job_type: JobType::new(SERVER),
            plugin: None,
            unreadable: None,
            username: username.map(str::to_owned),
            data: data.clone(),
            timeout: *timeout,
        });
        Ok(Enqueued { job_id, status: JobStatus::Queued, claim })
    }

    /// Who asked for a job of the installation, with what they may do now. `None`: their token has ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn requester(&self, job: JobId) -> Result<Option<Caller>> {
        let token = sqlx::query_scalar!(r#"select token_id as "token: TokenId" from jobs where id = $1"#, job as _)
            .fetch_optional(&self.pool)
            .await?
            .flatten();
        match token {
            Some(token) => Ok(self.callers_of(&[token]).await?.pop()),
            None => Ok(None),
        }
    }
}

/// The host that servers of the driver `local` are on, if there are any. `None`: any host will do.
fn one_host(located: &[(CommandTarget, Option<HostId>)]) -> Result<Option<HostId>> {
    let local = located.iter().filter(|(target, _)| target.driver == Driver::Local);
    let mut hosts: Vec<HostId> = local.filter_map(|(_, host)| *host).collect();
    hosts.sort();
    hosts.dedup();
    match hosts[..] {
        [] => Ok(None),
        [host] => Ok(Some(host)),
        _ => Err(Error::invalid(
            "servers",
            "these servers of the driver `local` are on several hosts; ask for those of each host by themselves",
        )),
    }
}
