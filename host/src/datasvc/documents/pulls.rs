//! What pulls on servers come to: what a server has now, with the receipt of that, and how a target of a deployment has
//! ended. What comes from several servers while a statement is running shares the next statement and its commit.
//!
//! Every record carries its claim's fencing number: if another server has taken over the claim, nothing is written. To
//! record something again changes nothing.

use std::collections::{BTreeMap, HashSet};

use tokio::sync::{mpsc, oneshot};

use super::deployments::{Target, TargetOutcome, TargetState};
use super::receipts::{NewReceipt, Provenance, PulledOnServer};
use crate::datasvc::DataSvc;
use crate::datasvc::ground::connections::Connections;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitdeployName, JobId, ServerName};
use crate::datasvc::jobs::claim::Claim;
use crate::datasvc::jobs::queue::no_longer_held;

/// How many records share a statement, at most.
const MAX_BATCH: usize = 256;
/// How many wait for their turn before the next caller waits with its own.
const MAX_WAITING: usize = 1024;

/// What is recorded of a gitdeploy on a server.
struct Record {
    job_id: JobId,
    fence: i64,
    gitdeploy: GitdeployName,
    server: ServerName,
    what: What,
}

enum What {
    /// It has pulled this.
    Pulled { build: Option<BuildName>, commit: String, receipt: Option<NewReceipt> },
    /// As a target of a deployment it has ended.
    Ended(TargetOutcome),
}

struct Request {
    record: Record,
    answer: oneshot::Sender<Result<()>>,
}

/// The way to the writer. Cheap to clone; the writer ends with its last clone.
#[derive(Clone, Debug)]
pub(in crate::datasvc) struct PullRecorder(mpsc::Sender<Request>);

impl PullRecorder {
    /// Starts a writer to this database.
    pub(in crate::datasvc) fn start(connections: Connections) -> Self {
        let (sender, mut requests) = mpsc::channel(MAX_WAITING);
        tokio::spawn(async move {
            let mut batch = Vec::with_capacity(MAX_BATCH);
            while requests.recv_many(&mut batch, MAX_BATCH).await > 0 {
                record(&connections, std::mem::take(&mut batch)).await;
            }
        });
        Self(sender)
    }

    /// Returns when the record is durable.
    async fn add(&self, record: Record) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Request { record, answer }).await.map_err(Error::internal)?;
        answered.await.map_err(Error::internal)?
    }
}

impl DataSvc {
    /// Records what a server has pulled, with a receipt for a build, which says what is known of that. To do it again
    /// changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn record_pulled(
        &self,
        claim: &Claim,
        pulled: PulledOnServer<'_>,
        provenance: Option<&Provenance>,
    ) -> Result<()> {
        let PulledOnServer { gitdeploy, server, build, commit, .. } = pulled;
        let receipt = provenance.map(|known| self.receipt(claim, known, pulled)).transpose()?.flatten();
        let what = What::Pulled { build: build.cloned(), commit: commit.to_owned(), receipt };
        self.record(claim, gitdeploy, server, what).await
    }

    /// Records what a target of a deployment came to. To do it again changes nothing.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the claim is no longer held.
    pub async fn end_target(&self, claim: &Claim, target: &Target, outcome: &TargetOutcome) -> Result<()> {
        self.record(claim, &target.gitdeploy, &target.server, What::Ended(outcome.clone())).await
    }

    async fn record(&self, claim: &Claim, gitdeploy: &GitdeployName, server: &ServerName, what: What) -> Result<()> {
        let (gitdeploy, server) = (gitdeploy.clone(), server.clone());
        self.pulls.add(Record { job_id: claim.job_id, fence: claim.fence, gitdeploy, server, what }).await
    }

    /// The commits that servers have pulled last, of those targets that are initialized. `None`: nothing was pulled there
    /// yet.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn pulled_commits(
        &self,
        application: &AppName,
        targets: &[Target],
    ) -> Result<BTreeMap<Target, Option<String>>> {
        let found = sqlx::query!(
            r#"select gitdeploy as "gitdeploy!: GitdeployName", server as "server!: ServerName", pulled_commit
               from unnest($2::text[], $3::text[]) as target (gitdeploy, server)
                   join gitdeploy_servers using (gitdeploy, server)
               where application = $1"#,
            application.as_str(),
            &targets.iter().map(|target| target.gitdeploy.to_string()).collect::<Vec<_>>(),
            &targets.iter().map(|target| target.server.to_string()).collect::<Vec<_>>()
        );
        let found = found.fetch_all(&self.pool).await?.into_iter();
        Ok(found.map(|row| (Target { server: row.server, gitdeploy: row.gitdeploy }, row.pulled_commit)).collect())
    }
}

async fn record(connections: &Connections, batch: Vec<Request>) {
    let (records, answers): (Vec<_>, Vec<_>) =
        batch.into_iter().map(|request| (request.record, request.answer)).unzip();
    match write(connections, &records).await {
        Ok(held) => {
            for (record, answer) in records.iter().zip(answers) {
                let _ = answer.send(record.told(&held));
            }
        }
        // Each of them asks again.
        Err(Error::Unavailable(cause)) => {
            for answer in answers {
                let _ = answer.send(Err(Error::Unavailable(cause.clone())));
            }
        }
        // One bad record must not take the others with it.
        Err(_) => {
            for (record, answer) in records.iter().zip(answers) {
                let alone = write(connections, std::slice::from_ref(record)).await;
                let _ = answer.send(alone.and_then(|held| record.told(&held)));
            }
        }
    }
}

impl Record {
    /// What its sender is told, if these claims are held.
    fn told(&self, held: &HashSet<(JobId, i64)>) -> Result<()> {
        match held.contains(&(self.job_id, self.fence)) {
            true => Ok(()),
            false => Err(no_longer_held(self.job_id)),
        }
    }
}

/// What a pull is recorded as.
type Arrived<'a> = (&'a Record, Option<&'a BuildName>, &'a str, Option<&'a NewReceipt>);

/// Writes records under their claims. Returns the claims that were held.
async fn write(connections: &Connections, records: &[Record]) -> Result<HashSet<(JobId, i64)>> {
    let (mut pulled, mut ended): (Vec<Arrived<'_>>, Vec<(&Record, &TargetOutcome)>) = Default::default();
    for record in records {
        match &record.what {
            What::Pulled { build, commit, receipt } => pulled.push((record, build.as_ref(), commit, receipt.as_ref())),
            What::Ended(outcome) => ended.push((record, outcome)),
        }
    }
    let text_of = |of: fn(&NewReceipt) -> &str| {
        let texts = pulled.iter().map(|(.., receipt)| receipt.map(|receipt| of(receipt).to_owned()));
        texts.collect::<Vec<_>>()
    };
    let writing = sqlx::query!(
        r#"with pulled as (
               select * from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[],
                                    $7::uuid[], $8::text[], $9::text[], $10::bytea[]) with ordinality
                   as pull (job_id, fence, gitdeploy, server, build, commit, receipt, content, key_id, signature, place)
           ), ended as (
               select * from unnest($11::uuid[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[],
                                    $17::text[], $18::text[])
                   as ending (job_id, fence, gitdeploy, server, state, code, message, head)
           ), held as (
               -- The row lock holds off a takeover until all is written.
               select jobs.id, jobs.fence, jobs.application, jobs.username from jobs
                   join (select job_id, fence from pulled union select job_id, fence from ended) as written
                       on written.job_id = jobs.id and written.fence = jobs.fence
               where jobs.status = 'running'
               for share of jobs
           ), there as (
               update gitdeploy_servers as s set deployed_build = now.build, pulled_commit = now.commit, drift = null,
                   deployed_at = case when is_same then s.deployed_at else now() end,
                   deployed_by = case when is_same then s.deployed_by else now.job_id end,
                   deployed_by_user = case when is_same then s.deployed_by_user else now.username end
               from (
                   -- Of several jobs the last one.
                   select distinct on (application, gitdeploy, server) application, gitdeploy, server, build, commit,
                       job_id, held.username, deployed_at is not null and deployed_build is not distinct from build as is_same
                   from pulled join held on held.id = pulled.job_id and held.fence = pulled.fence
                       join gitdeploy_servers using (application, gitdeploy, server)
                   order by application, gitdeploy, server, place desc
               ) as now
               where s.application = now.application and s.gitdeploy = now.gitdeploy and s.server = now.server
           ), receipted as (
               insert into receipts (id, application, server, gitdeploy, build, job_id, content, key_id, signature)
               select receipt, held.application, server, gitdeploy, build, job_id, content, key_id, signature
               from pulled join held on held.id = pulled.job_id and held.fence = pulled.fence
               where receipt is not null
               on conflict (job_id, gitdeploy, server) do nothing
           ), told as (
               update deployment_targets as t set state = ended.state, code = ended.code, message = ended.message,
                   head = ended.head, ended_at = now()
               from ended join held on held.id = ended.job_id and held.fence = ended.fence
               where t.deployment = ended.job_id and t.server = ended.server and t.gitdeploy = ended.gitdeploy
                   and t.state in ('pending', 'running')
           )
           select id as "id: JobId", fence from held"#,
        &pulled.iter().map(|(record, ..)| record.job_id).collect::<Vec<_>>() as _,
        &pulled.iter().map(|(record, ..)| record.fence).collect::<Vec<_>>(),
        &pulled.iter().map(|(record, ..)| record.gitdeploy.to_string()).collect::<Vec<_>>(),
        &pulled.iter().map(|(record, ..)| record.server.to_string()).collect::<Vec<_>>(),
        &pulled.iter().map(|(_, build, ..)| build.map(ToString::to_string)).collect::<Vec<_>>() as _,
        &pulled.iter().map(|(_, _, commit, _)| (*commit).to_owned()).collect::<Vec<_>>(),
        &pulled.iter().map(|(.., receipt)| receipt.map(|receipt| receipt.id)).collect::<Vec<_>>() as _,
        &text_of(|receipt| &receipt.content) as _,
        &text_of(|receipt| &receipt.key_id) as _,
        &pulled.iter().map(|(.., receipt)| receipt.map(|receipt| receipt.signature.clone())).collect::<Vec<_>>() as _,
        &ended.iter().map(|(record, _)| record.job_id).collect::<Vec<_>>() as _,
        &ended.iter().map(|(record, _)| record.fence).collect::<Vec<_>>(),
        &ended.iter().map(|(record, _)| record.gitdeploy.to_string()).collect::<Vec<_>>(),
        &ended.iter().map(|(record, _)| record.server.to_string()).collect::<Vec<_>>(),
        &ended.iter().map(|(_, outcome)| outcome.state).collect::<Vec<TargetState>>() as _,
        &ended.iter().map(|(_, outcome)| outcome.code.clone()).collect::<Vec<_>>() as _,
        &ended.iter().map(|(_, outcome)| outcome.message.clone()).collect::<Vec<_>>() as _,
        &ended.iter().map(|(_, outcome)| outcome.head.clone()).collect::<Vec<_>>() as _
    );
    let held = connections.run(async |connection| Ok(writing.fetch_all(connection).await?)).await?;
    Ok(held.into_iter().map(|claim| (claim.id, claim.fence)).collect())
}
