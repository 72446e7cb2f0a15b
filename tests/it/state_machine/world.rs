//! Some workers on one database, and what happens to them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use elita::datasvc::{
    ActionName, AppName, Caller, Claim, ClaimedPlugin, DataSvc, Digest, Error, HeldClaim, HostId, JobError,
    JobErrorCode, JobId, JobStatus, LogLimits, NewActionJob, Outcome, PluginName, Room, Taker, WorkerId,
};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::value::to_raw_value;
use sqlx::Executor as _;
use sqlx::postgres::PgConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::call::{Answer, Asker, Call, ClaimedJob, Heard, Loss, together};
use super::journal::{Broken, Journal, Request, Token, entries};
use super::rows::{self, Rows};
use crate::harness::{Database, PATIENCE, eventually};

const WORKERS: usize = 3;
/// How many jobs are asked for in a sequence, at most: few, so that much happens to each.
const MAX_REQUESTS: usize = 8;
/// How many steps are on their way at a time, at most.
const MAX_LATE: usize = 3;
const LIMITS: LogLimits = LogLimits { entries: 6, bytes: 1000 };

pub(super) struct World {
    seed: u64,
    rng: StdRng,
    url: String,
    /// A connection of the test's own.
    eye: PgConnection,
    caller: Caller,
    workers: Vec<Worker>,
    /// Steps whose answers have not been learned yet.
    late: Vec<Flight>,
    journal: Journal,
    rows: Rows,
    step: usize,
    tokens: usize,
}

struct Worker {
    svc: DataSvc,
    id: WorkerId,
    host: HostId,
    /// Closed when it dies.
    alive: watch::Sender<()>,
    /// It keeps what it holds, and does nothing.
    frozen: bool,
    /// It was made to look dead, and no heartbeat can have come since.
    dead: bool,
    /// How many of its heartbeats may still be on their way.
    beats: usize,
    /// What it holds, as far as it knows.
    runs: Vec<ClaimedJob>,
    /// The claims that it has learned of.
    learned: BTreeSet<(JobId, i64)>,
    /// What the database says it holds, and it never learned of.
    strays: Vec<(JobId, i64)>,
    /// Its calls that may give it claims: how many there were, and how many of them are on their way.
    claims_asked: usize,
    claims_awaited: usize,
}

/// What a worker asks in a step.
struct Asked {
    worker: usize,
    /// Which run of the worker it was.
    id: WorkerId,
    call: Call,
    loss: Loss,
    /// How many calls for claims came before, if none of them was on its way.
    quiet: Option<usize>,
    /// Whether the asker looked dead.
    dead: bool,
}

/// A step on its way.
struct Flight {
    step: usize,
    asked: Vec<Asked>,
    answers: JoinHandle<Vec<Heard>>,
}

impl World {
    /// An empty database with some workers.
    pub(super) async fn new(database: &Database, seed: u64) -> Self {
        let mut eye = database.connect().await;
        eye.execute("truncate jobs, job_entries, workers").await.unwrap();
        let names = "insert into applications (name) values ('one'), ('two') on conflict do nothing";
        eye.execute(names).await.unwrap();
        eye.execute(if seed.is_multiple_of(2) { LINGER } else { NO_LINGER }).await.unwrap();
        let svc = DataSvc::connect(&database.url, 1).await.unwrap();
        let caller = svc.caller_of(&database.token).await.unwrap();
        let mut workers = Vec::new();
        for connections in 1..=WORKERS {
            workers.push(Worker::new(&database.url, connections).await);
        }
        Self {
            seed,
            rng: StdRng::seed_from_u64(seed),
            url: database.url.clone(),
            eye,
            caller,
            workers,
            late: Vec::new(),
            journal: Journal::default(),
            rows: Rows::default(),
            step: 0,
            tokens: 0,
        }
    }

    /// So many steps, each with its failures, and a look at the rows after each.
    pub(super) async fn live(&mut self, steps: usize) -> Result<(), Broken> {
        for step in 0..steps {
            self.step = step;
            // Of its own, so that answers which come otherwise do not change all steps to come.
            self.rng = StdRng::seed_from_u64(self.seed.wrapping_mul(1_000_003).wrapping_add(step as u64));
            match self.rng.random_range(0..100) {
                0..79 => self.ask_some().await?,
                79..86 => self.hear_late().await?,
                86..90 => self.freeze_or_thaw(),
                90..92 => self.crash().await?,
                92..99 => self.make_look_dead().await?,
                _ => self.kill_connections().await,
            }
            self.rows.look(&mut self.eye, step).await?;
        }
        Ok(())
    }

    /// All workers die, and a healthy one ends what they have left. Then everything is compared.
    pub(super) async fn recover(&mut self) -> Result<(), Broken> {
        self.step += 1;
        self.hear_late().await?;
        self.kill_connections().await;
        eventually("the last statements to end", async || {
            let left = "select count(*) from pg_stat_activity where datname = current_database() and \
                        application_name = 'elita' and state = 'active'";
            (sqlx::query_scalar::<_, i64>(left).fetch_one(&mut self.eye).await.unwrap() == 0).then_some(())
        })
        .await;
        self.eye.execute("update workers set seen_at = now() - interval '1 minute'").await.unwrap();
        self.workers = vec![Worker::new(&self.url, 2).await];
        self.ask(vec![(0, Call::Beat, Loss::None)], false, None).await?;
        let began = Instant::now();
        while self.rows.seen().any(|row| !row.status.is_final()) {
            if began.elapsed() > PATIENCE {
                return Err(Broken::new("some jobs never end"));
            }
            self.step += 1;
            let room = Room { jobs: 50, per_plugin: 50, per_action: 50, ..Room::default() };
            self.ask(vec![(0, Call::TakeOver, Loss::None)], false, None).await?;
            self.ask(vec![(0, Call::Claim(room), Loss::None)], false, None).await?;
            self.rows.look(&mut self.eye, self.step).await?;
            self.step += 1;
            for run in std::mem::take(&mut self.workers[0].runs) {
                self.workers[0].runs.push(run.clone());
                self.ask(vec![(0, Call::Start(run.claim.clone()), Loss::None)], false, None).await?;
                let token = self.token();
                let succeeded = Outcome::Succeeded(to_raw_value(&token.to_string()).unwrap());
                self.ask(vec![(0, Call::Finish(run, succeeded, token), Loss::None)], false, None).await?;
            }
            self.rows.look(&mut self.eye, self.step).await?;
        }
        self.journal.check(&self.rows, &entries(&mut self.eye).await)
    }

    /// What became of the jobs, and how much happened to them.
    pub(super) fn summary(&self) -> String {
        let mut summary = format!("{} jobs", self.rows.seen().count());
        for status in [JobStatus::Succeeded, JobStatus::Failed, JobStatus::Cancelled, JobStatus::Lost] {
            let count = self.rows.seen().filter(|row| row.status == status).count();
            write!(summary, ", {count} {}", status.as_str()).unwrap();
        }
        for (what, count) in &self.journal.counts {
            write!(summary, ", {count} {what}").unwrap();
        }
        summary
    }

    /// What is wrong, and how it came to that.
    pub(super) async fn report(&mut self, broken: &Broken) -> String {
        let of = broken.job.map(|job| format!("{}: ", self.name(job))).unwrap_or_default();
        let mut report = format!("{of}{}\nThe steps:\n{}\nThe jobs:\n", broken.what, self.journal.steps.join("\n"));
        for row in rows::all(&mut self.eye).await {
            writeln!(report, "{} {row:?}", self.name(row.id)).unwrap();
        }
        for entry in entries(&mut self.eye).await.iter().filter(|entry| broken.job == Some(entry.job_id)) {
            writeln!(report, "{} {}: {} {}", self.name(entry.job_id), entry.seq, entry.source, entry.data).unwrap();
        }
        report
    }

    /// A job's name in the report: the number of its request.
    fn name(&self, job: JobId) -> String {
        self.rows.of(job).map_or_else(|| "j?".into(), |row| format!("j{}", row.request))
    }

    fn token(&mut self) -> Token {
        self.tokens += 1;
        Token(self.tokens)
    }

    /// One call, or some at once; maybe their answers come much later, or the connections are lost meanwhile.
    async fn ask_some(&mut self) -> Result<(), Broken> {
        let count = if self.rng.random_bool(0.4) { self.rng.random_range(2..6) } else { 1 };
        let mut calls = Vec::new();
        for _ in 0..count {
            let planned = self.choose();
            if planned.iter().any(|(.., call)| matches!(call, Call::Write(..) | Call::Finish(..))) {
                calls.extend(planned.into_iter().map(|(worker, call)| (worker, call, Loss::None)));
                continue;
            }
            for (worker, call) in planned {
                match self.rng.random_range(0..100) {
                    0..5 => {
                        self.journal.say(format!("{:>3} w{worker} {} does not happen", self.step, self.shown(&call)))
                    }
                    5..12 => calls.push((worker, call, Loss::Unheard)),
                    12..22 => calls.push((worker, call, Loss::GivenUp(self.rng.random_range(0..6)))),
                    _ => calls.push((worker, call, Loss::None)),
                }
            }
        }
        let late = self.late.len() < MAX_LATE && self.rng.random_bool(0.2);
        let kill = self.rng.random_bool(0.02).then(|| self.rng.random_range(0..4));
        self.ask(calls, late, kill).await
    }

    async fn ask(&mut self, calls: Vec<(usize, Call, Loss)>, late: bool, kill: Option<u64>) -> Result<(), Broken> {
        let (mut asked, mut asking) = (Vec::new(), Vec::new());
        for (worker, call, loss) in calls {
            let one = self.prepare(worker, call, loss);
            if late || kill.is_some() {
                let how = if late { "goes out" } else { "and the connections are killed" };
                self.journal.say(format!("{:>3} w{worker} {} {how}", self.step, self.shown(&one.call)));
            }
            let asker = self.workers[worker].asker(&self.caller);
            asking.push(one.call.clone().ask(asker, loss));
            asked.push(one);
        }
        let flight = Flight { step: self.step, asked, answers: tokio::spawn(together(asking)) };
        if let Some(wait) = kill {
            tokio::time::sleep(Duration::from_millis(wait)).await;
            self.kill_connections().await;
        }
        match late {
            true => self.late.push(flight),
            false => self.hear(flight).await?,
        }
        Ok(())
    }

    /// What the asker notes down before it asks.
    fn prepare(&mut self, index: usize, call: Call, loss: Loss) -> Asked {
        let worker = &mut self.workers[index];
        let (quiet, dead) = ((worker.claims_awaited == 0).then_some(worker.claims_asked), worker.dead);
        match &call {
            Call::Claim(_) | Call::Enqueue(..) => {
                worker.claims_asked += 1;
                worker.claims_awaited += 1;
                worker.strays.clear();
            }
            Call::Beat => {
                worker.beats += 1;
                worker.dead = false;
            }
            Call::Start(claim) => worker.set_busy((claim.job_id, claim.fence), true),
            Call::Write(run, _) => worker.set_busy(run.key(), true),
            Call::HandBack { .. } => {
                worker.runs.clear();
                worker.strays.clear();
            }
            Call::HandBackUnbegun(_) => worker.strays.clear(),
            Call::Cancel(job) => {
                self.journal.cancels.insert(*job);
            }
            Call::Finish(..) | Call::TakeOver | Call::Recover => {}
        }
        Asked { worker: index, id: worker.id, call, loss, quiet, dead }
    }

    /// Learns the answers of the steps that are on their way.
    async fn hear_late(&mut self) -> Result<(), Broken> {
        for flight in std::mem::take(&mut self.late) {
            self.hear(flight).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, flight: Flight) -> Result<(), Broken> {
        let Ok(answers) = tokio::time::timeout(PATIENCE, flight.answers).await else {
            return Err(Broken::new(format!("step {} is never answered", flight.step)));
        };
        for (asked, heard) in flight.asked.into_iter().zip(answers.expect("a call does not panic")) {
            let shown = self.shown(&asked.call);
            let said = self.said(&heard);
            let since = if flight.step == self.step { String::new() } else { format!(" (of step {})", flight.step) };
            self.journal.say(format!("{:>3} w{} {shown}{}{since} -> {said}", self.step, asked.worker, asked.loss));
            self.learn(asked, heard, flight.step)?;
        }
        Ok(())
    }

    fn learn(&mut self, asked: Asked, heard: Heard, step: usize) -> Result<(), Broken> {
        // That the database is away says nothing of whether it happened.
        let heard = heard.filter(|answer| !matches!(answer, Err(Error::Unavailable(_))));
        let Asked { worker: index, id, call, quiet, dead, .. } = asked;
        let worker = &mut self.workers[index];
        let is_same = worker.id == id;
        // No heartbeat has gone out meanwhile.
        let dead = is_same && dead && worker.dead;
        if is_same {
            worker.settle(&call, heard.is_some());
        }
        // One that has died meanwhile learns nothing, and one that is frozen learns it when it is too late.
        let learns = is_same && !worker.frozen;
        match (call, heard) {
            (Call::Write(run, tokens), Some(Ok(Answer::Written(written)))) => {
                let tokens = tokens.into_iter().map(|(_, token)| token);
                return self.journal.wrote(run.key(), tokens.zip(written), step, self.step);
            }
            (Call::Finish(run, outcome, token), heard) => {
                let recorded = match heard {
                    None => None,
                    Some(Ok(_)) => Some(true),
                    Some(Err(Error::Conflict { .. })) => Some(false),
                    Some(Err(problem)) => return Err(faulty(run.claim.job_id, &problem)),
                };
                self.journal.count(if recorded == Some(false) { "ends refused" } else { "ends" });
                self.journal.finished(run.key(), (token, status_of(&outcome)), recorded, step);
                if recorded == Some(false) {
                    self.journal.refused(run.key(), self.step);
                }
            }
            (Call::Enqueue(request, _), Some(Ok(Answer::Enqueued(enqueued)))) => {
                self.journal.enqueued(request, Some(&enqueued));
                if let Some(claim) = enqueued.claim.filter(|_| learns) {
                    self.take(index, claim, step)?;
                }
            }
            (Call::Enqueue(request, _), Some(Err(Error::KeyReused { .. }))) => self.journal.enqueued(request, None),
            (Call::Beat, Some(Ok(Answer::HeldClaims(held)))) if learns => self.settle_runs(index, &held, quiet),
            (Call::Claim(room), Some(Ok(Answer::Claims(claims)))) => {
                check_room(&room, &claims, dead)?;
                for claim in claims.into_iter().filter(|_| learns) {
                    self.take(index, claim, step)?;
                }
            }
            (Call::Start(_), Some(Ok(Answer::Started(claim)))) if learns => {
                self.journal.count("starts");
                self.journal.started(&claim, step, &self.rows)?;
                let started = (claim.job_id, claim.fence);
                if let Some(run) = self.workers[index].runs.iter_mut().find(|run| run.key() == started) {
                    run.claim = claim;
                }
            }
            (Call::Start(claim), Some(Err(Error::Conflict { .. }))) => {
                self.journal.count("starts refused");
                self.journal.refused((claim.job_id, claim.fence), self.step);
                self.workers[index].runs.retain(|run| run.key() != (claim.job_id, claim.fence));
            }
            (Call::Cancel(_), Some(Err(Error::Conflict { .. }))) | (_, Some(Ok(_)) | None) => {}
            (Call::Cancel(job), Some(Err(problem))) => return Err(faulty(job, &problem)),
            (_, Some(Err(problem))) => return Err(Broken::new(format!("an answer may not be {problem:?}"))),
        }
        Ok(())
    }

    /// A worker has learned that it holds a job.
    fn take(&mut self, index: usize, claim: Claim, step: usize) -> Result<(), Broken> {
        self.journal.count("claims");
        self.journal.claimed(&claim, step, &self.rows)?;
        let worker = &mut self.workers[index];
        let log = worker.svc.job_log(&claim, LIMITS);
        worker.learned.insert((claim.job_id, claim.fence));
        worker.runs.push(ClaimedJob { claim, log, busy: false });
        Ok(())
    }

    /// A worker has learned what it holds. It drops what was given away, though not always in time. What it never
    /// learned of is astray, if no claim is on its way.
    fn settle_runs(&mut self, index: usize, held: &[HeldClaim], quiet: Option<usize>) {
        let worker = &mut self.workers[index];
        let is_held = |run: &ClaimedJob| held.iter().any(|held| (held.job_id, held.fence) == run.key());
        worker.runs.retain(|run| is_held(run) || self.rng.random_bool(0.7));
        worker.strays.clear();
        if quiet == Some(worker.claims_asked) {
            let strays = held.iter().filter(|held| !worker.learned.contains(&(held.job_id, held.fence)));
            worker.strays = strays.map(|held| (held.job_id, held.fence)).collect();
        }
    }

    /// What some worker does next; nothing if it has nothing to do it with.
    fn choose(&mut self) -> Vec<(usize, Call)> {
        if let Some(index) = self.workers.iter().position(|worker| !worker.frozen && !worker.strays.is_empty()) {
            return self.hand_back_strays(index);
        }
        let awake: Vec<usize> = (0..WORKERS).filter(|index| !self.workers[*index].frozen).collect();
        let Some(&index) = awake.choose(&mut self.rng) else { return Vec::new() };
        let call = match self.rng.random_range(0..100) {
            0..12 => self.enqueue(index),
            12..24 => Some(Call::Beat),
            24..46 => Some(self.claim()),
            46..56 => self.some_run(index).filter(|run| !run.claim.started).map(|run| Call::Start(run.claim)),
            56..76 => return self.write_all(index),
            76..79 => self.some_run(index).map(|run| self.finish(run, index)),
            79..80 => self.some_job().map(Call::Cancel),
            80..85 => Some(Call::HandBack { remove: self.rng.random_bool(0.5) }),
            _ => Some(Call::TakeOver),
        };
        call.into_iter().map(|call| (index, call)).collect()
    }

    /// Meanwhile the worker may claim some again.
    fn hand_back_strays(&mut self, index: usize) -> Vec<(usize, Call)> {
        let strays = std::mem::take(&mut self.workers[index].strays);
        self.journal.count("strays");
        let mut calls = vec![(index, Call::HandBackUnbegun(strays))];
        for _ in 0..self.rng.random_range(0..3) {
            calls.push((index, self.claim()));
        }
        calls
    }

    fn enqueue(&mut self, index: usize) -> Option<Call> {
        let number = self.journal.requests.len();
        if number >= MAX_REQUESTS {
            return None;
        }
        let rng = &mut self.rng;
        let key = rng.random_bool(0.5).then(|| {
            let print = Digest::of(&[rng.random_range(0..2)]);
            (format!("key-{}", rng.random_range(0..4)), print)
        });
        let plugin = rng.random_range(0..2);
        let taker = rng.random_bool(0.3).then(|| Taker { worker: self.workers[index].id, starts: rng.random() });
        let job = NewActionJob {
            application: AppName::parse(["one", "two"][rng.random_range(0..2)]).unwrap(),
            action: ActionName::parse(["A", "B"][plugin]).unwrap(),
            plugin: PluginName::parse(PLUGINS[plugin]).unwrap(),
            digest: digest(plugin),
            idempotent: rng.random_bool(0.6),
            timeout: Duration::from_secs(1),
            data: to_raw_value(&serde_json::json!({ "request": number })).unwrap(),
            idempotency: key.clone(),
            taker,
            parent: None,
            rerun_of: None,
        };
        self.journal.requests.push(Request { key, idempotent: job.idempotent, answers: Vec::new() });
        Some(Call::Enqueue(number, job))
    }

    fn claim(&mut self) -> Call {
        let rng = &mut self.rng;
        let ready = (0..PLUGINS.len()).filter(|_| rng.random_bool(0.5)).map(digest).collect();
        let (jobs, per_plugin) = (rng.random_range(1..5), rng.random_range(1..5));
        let per_action = rng.random_range(1..=per_plugin);
        Call::Claim(Room { jobs, per_plugin, per_action, ready, ..Room::default() })
    }

    fn some_job(&mut self) -> Option<JobId> {
        self.rows.seen().map(|row| row.id).choose(&mut self.rng)
    }

    fn some_run(&mut self, index: usize) -> Option<ClaimedJob> {
        self.workers[index].runs.iter().filter(|run| !run.busy).choose(&mut self.rng).cloned()
    }

    /// A worker writes to all logs that it has, and ends some of the jobs, all in one.
    fn write_all(&mut self, index: usize) -> Vec<(usize, Call)> {
        let runs: Vec<ClaimedJob> = self.workers[index].runs.iter().filter(|run| !run.busy).cloned().collect();
        let mut calls = Vec::new();
        for run in runs {
            let mut entries = Vec::new();
            for _ in 0..self.rng.random_range(0..4) {
                let plugin = self.rng.random_bool(0.7).then(|| plugin(&run.claim).name.clone());
                entries.push((plugin, self.token()));
            }
            calls.push((index, Call::Write(run.clone(), entries)));
            if self.rng.random_bool(0.2) {
                calls.push((index, self.finish(run, index)));
            }
        }
        calls
    }

    /// The worker is done with that job, whatever the answer.
    fn finish(&mut self, run: ClaimedJob, index: usize) -> Call {
        self.workers[index].runs.retain(|other| other.key() != run.key());
        let token = self.token();
        let outcome = match self.rng.random_range(0..4) {
            0 => Outcome::Failed(JobError::new(JobErrorCode::ActionFailed, token.to_string())),
            1 => Outcome::Cancelled(JobError::new(JobErrorCode::Cancelled, token.to_string())),
            _ => Outcome::Succeeded(to_raw_value(&token.to_string()).unwrap()),
        };
        Call::Finish(run, outcome, token)
    }

    fn freeze_or_thaw(&mut self) {
        let index = self.rng.random_range(0..WORKERS);
        let worker = &mut self.workers[index];
        worker.frozen = !worker.frozen;
        worker.strays.clear();
        let how = if worker.frozen { "freezes" } else { "goes on" };
        self.journal.say(format!("{:>3} w{index} {how}", self.step));
    }

    /// A worker forgets everything, and starts again. Maybe its last records are lost, too, and maybe it takes from its
    /// former self what that left behind.
    async fn crash(&mut self) -> Result<(), Broken> {
        let index = self.rng.random_range(0..WORKERS);
        let mut fresh = Worker::new(&self.url, index + 1).await;
        let old = &mut self.workers[index];
        fresh.host = old.host;
        std::mem::swap(old, &mut fresh);
        let loses_records = self.rng.random_bool(0.5);
        if loses_records {
            // What is on its way there waits in vain.
            let svc = fresh.svc.clone();
            tokio::spawn(async move { svc.close().await });
        }
        let records = if loses_records { ", with its records" } else { "" };
        self.journal.say(format!("{:>3} w{index} crashes{records}", self.step));
        self.journal.count("crashes");
        let mut calls = vec![(index, Call::Beat, Loss::None)];
        if self.rng.random_bool(0.5) {
            calls.push((index, Call::Recover, Loss::None));
        }
        self.ask(calls, false, None).await
    }

    /// Maybe its jobs are taken over at once, and maybe it comes back and takes them again, while it has not yet learned
    /// that they were given away.
    async fn make_look_dead(&mut self) -> Result<(), Broken> {
        let index = self.rng.random_range(0..WORKERS);
        let worker = &mut self.workers[index];
        let dead = sqlx::query("update workers set seen_at = now() - interval '1 minute' where id = $1");
        dead.bind(worker.id).execute(&mut self.eye).await.unwrap();
        worker.dead = worker.beats == 0;
        self.journal.say(format!("{:>3} w{index} looks dead", self.step));
        let Some(other) = (0..WORKERS).find(|other| *other != index && !self.workers[*other].frozen) else {
            return Ok(());
        };
        if self.workers[index].frozen || self.rng.random_bool(0.5) {
            return Ok(());
        }
        let room = Room { jobs: 4, per_plugin: 4, per_action: 4, ..Room::default() };
        for (worker, call) in [(other, Call::TakeOver), (index, Call::Beat), (index, Call::Claim(room))] {
            self.ask(vec![(worker, call, Loss::None)], false, None).await?;
        }
        let calls = self.write_all(index).into_iter().map(|(worker, call)| (worker, call, Loss::None)).collect();
        self.ask(calls, false, None).await
    }

    async fn kill_connections(&mut self) {
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                    where datname = current_database() and application_name = 'elita'";
        self.eye.execute(kill).await.unwrap();
        self.journal.say(format!("{:>3} all connections are killed", self.step));
        self.journal.count("kills");
    }

    fn shown(&self, call: &Call) -> String {
        let of = |run: &ClaimedJob| format!("{}/{}", self.name(run.claim.job_id), run.claim.fence);
        match call {
            Call::Enqueue(number, job) => {
                let idempotent = if job.idempotent { " idempotent" } else { "" };
                let key = job.idempotency.as_ref().map(|(key, print)| format!(" {key}:{}", &print.hex()[..2]));
                let taker = job.taker.map_or("", |taker| if taker.starts { " and starts" } else { " and takes" });
                format!("asks for j{number}{idempotent}{}{taker}", key.unwrap_or_default())
            }
            Call::Beat => "beats".into(),
            Call::Claim(Room { jobs, per_plugin, per_action, ready, .. }) => {
                format!("claims {jobs} ({per_plugin} {per_action} ready {})", ready.len())
            }
            Call::Start(claim) => format!("starts {}/{}", self.name(claim.job_id), claim.fence),
            Call::Write(run, entries) => {
                let entries: Vec<_> = entries.iter().map(|(_, token)| token.to_string()).collect();
                format!("writes {} {}", of(run), entries.join(" "))
            }
            Call::Finish(run, outcome, token) => {
                format!("ends {} {} {token}", of(run), status_of(outcome).as_str())
            }
            Call::Cancel(job) => format!("cancels {}", self.name(*job)),
            Call::HandBack { remove } => format!("hands back{}", if *remove { " and ends" } else { "" }),
            Call::HandBackUnbegun(jobs) => {
                let jobs: Vec<_> = jobs.iter().map(|(job, fence)| format!("{}/{fence}", self.name(*job))).collect();
                format!("hands back unbegun {}", jobs.join(" "))
            }
            Call::TakeOver => "takes over".into(),
            Call::Recover => "recovers".into(),
        }
    }

    fn said(&self, heard: &Heard) -> String {
        let claim = |claim: &Claim| {
            let started = if claim.started { "!" } else { "" };
            format!("{}/{}{started}", self.name(claim.job_id), claim.fence)
        };
        match heard {
            None => "nothing".into(),
            Some(Err(problem)) => format!("{problem:?}").chars().take(60).collect(),
            Some(Ok(Answer::Enqueued(enqueued))) => {
                format!("{} {}", self.name(enqueued.job_id), enqueued.claim.as_ref().map(claim).unwrap_or_default())
            }
            Some(Ok(Answer::HeldClaims(held))) => {
                let held: Vec<_> =
                    held.iter().map(|held| format!("{}/{}", self.name(held.job_id), held.fence)).collect();
                format!("holds {}", held.join(" "))
            }
            Some(Ok(Answer::Claims(claims))) => claims.iter().map(claim).collect::<Vec<_>>().join(" "),
            Some(Ok(Answer::Started(started))) => format!("attempt {}", started.attempt),
            Some(Ok(Answer::Written(written))) => {
                let place = |place: &Result<i64, Error>| place.as_ref().map_or("-".into(), ToString::to_string);
                written.iter().map(place).collect::<Vec<_>>().join(" ")
            }
            Some(Ok(Answer::Finished)) => "ok".into(),
            Some(Ok(Answer::HandedOn(on))) => format!("{} queued, {} lost", on.queued, on.lost),
            Some(Ok(Answer::Cancelled(job))) => job.status.as_str().into(),
        }
    }
}

impl Worker {
    async fn new(url: &str, connections: usize) -> Self {
        Self {
            svc: DataSvc::connect(url, u32::try_from(connections).unwrap()).await.unwrap(),
            id: WorkerId::new(),
            host: HostId::new(),
            alive: watch::Sender::new(()),
            frozen: false,
            dead: false,
            beats: 0,
            runs: Vec::new(),
            learned: BTreeSet::new(),
            strays: Vec::new(),
            claims_asked: 0,
            claims_awaited: 0,
        }
    }

    fn asker(&self, caller: &Caller) -> Asker {
        let Self { svc, id, host, alive, .. } = self;
        Asker { svc: svc.clone(), caller: caller.clone(), worker: *id, host: *host, alive: alive.subscribe() }
    }

    fn set_busy(&mut self, key: (JobId, i64), busy: bool) {
        if let Some(run) = self.runs.iter_mut().find(|run| run.key() == key) {
            run.busy = busy;
        }
    }

    /// A call is over for it, whatever it learns.
    fn settle(&mut self, call: &Call, answered: bool) {
        match call {
            Call::Claim(_) | Call::Enqueue(..) => self.claims_awaited -= 1,
            // One whose answer was lost may still be on its way.
            Call::Beat if answered => self.beats -= 1,
            Call::Start(claim) => self.set_busy((claim.job_id, claim.fence), false),
            Call::Write(run, _) => self.set_busy(run.key(), false),
            _ => {}
        }
    }
}

const PLUGINS: [&str; 2] = ["alpha", "beta"];

fn digest(plugin: usize) -> Digest {
    Digest::of(PLUGINS[plugin].as_bytes())
}

fn status_of(outcome: &Outcome) -> JobStatus {
    match outcome {
        Outcome::Succeeded(_) => JobStatus::Succeeded,
        Outcome::Failed(_) => JobStatus::Failed,
        Outcome::Cancelled(_) => JobStatus::Cancelled,
    }
}

fn faulty(job: JobId, problem: &Error) -> Broken {
    Broken::of(job, format!("an answer may not be {problem:?}"))
}

/// A worker gets no more than it has room for, and none while it looks dead.
fn check_room(room: &Room, claims: &[Claim], dead: bool) -> Result<(), Broken> {
    let most = |of: fn(&Claim) -> String| {
        let all: Vec<String> = claims.iter().map(of).collect();
        all.iter().map(|one| all.iter().filter(|other| one == *other).count()).max().unwrap_or(0)
    };
    let per_plugin = most(|claim| plugin(claim).name.to_string());
    let per_action = most(|claim| format!("{:?} {}", claim.application, claim.name));
    if claims.len() > room.jobs || per_plugin > room.per_plugin || per_action > room.per_action {
        return Err(Broken::new("a worker got more than it had room for"));
    }
    if dead && !claims.is_empty() {
        return Err(Broken::new("a worker that gave no sign of life got a job"));
    }
    match claims.iter().find(|claim| claim.started != room.ready.contains(&plugin(claim).digest)) {
        Some(claim) => Err(Broken::of(claim.job_id, "a guest is started where its component is ready, and only there")),
        None => Ok(()),
    }
}

/// All jobs run actions here.
fn plugin(claim: &Claim) -> &ClaimedPlugin {
    claim.plugin.as_ref().unwrap()
}

/// Statements linger between their snapshot and their first row, and before their commit: what is a matter of luck
/// otherwise happens often.
const LINGER: &str = "
    create or replace function linger() returns trigger language plpgsql as
        $$ begin perform pg_sleep(random() * 0.004); return null; end $$;
    create or replace trigger linger_before before update on jobs execute function linger();
    create or replace trigger linger_after after update on jobs execute function linger();
    create or replace trigger linger_entries after insert on job_entries execute function linger();";
const NO_LINGER: &str = "
    drop trigger if exists linger_before on jobs;
    drop trigger if exists linger_after on jobs;
    drop trigger if exists linger_entries on job_entries;";
