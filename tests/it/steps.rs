//! Durable steps: work of random steps, on servers that die between every two writes, decided by a seed. In the end every
//! step has one outcome, and the world shows that each was done as its kind promises.
//!
//! `ELITA_SEEDS=200` tries more seeds, `ELITA_SEED=17` that one alone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use elita::datasvc::{
    Caller, DataSvc, HostId, Job, JobError, JobErrorCode, JobId, JobLane, JobStatus, LogLimits, LogPart, Outcome,
    Result, StoreIdentity,
};
use elita::engine::{Engine, EngineSettings, Journal, Kind, Kinds, Retention, Run, Seen, StepResult};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::harness::{Database, PATIENCE};

/// How many seeds are tried where nobody asks for more.
const SEEDS: u64 = 12;
/// How often the server of a job dies: more often than an action of a plugin would be run again.
const DEATHS: usize = 6;
/// How long a pause lasts.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug)]
enum Step {
    Repeatable,
    Once,
    Inspected,
    Pause,
}

/// What is outside: it stays when a server dies.
#[derive(Default)]
struct World {
    /// How often each step was done.
    done: Mutex<HashMap<String, u32>>,
    /// The identity with which each inspected step was done.
    seen: Mutex<HashMap<String, Uuid>>,
    /// What steps have returned to earlier runs.
    returned: Mutex<HashMap<String, Value>>,
    /// How many points a run has to pass before its server dies; null: it lives.
    left: Mutex<Option<usize>>,
    dead: Notify,
}

impl World {
    /// A place where the server may die.
    async fn point(&self) {
        {
            let mut left = self.left.lock().unwrap();
            match &mut *left {
                None => return,
                Some(0) => {}
                Some(left) => {
                    *left -= 1;
                    return;
                }
            }
        }
        self.dead.notify_one();
        std::future::pending::<()>().await;
    }

    /// Does a step, and says how often it was done by now.
    async fn do_step(&self, name: &str) -> u32 {
        self.point().await;
        let times = {
            let mut done = self.done.lock().unwrap();
            let times = done.entry(name.to_owned()).or_default();
            *times += 1;
            *times
        };
        self.point().await;
        times
    }
}

/// Work of these steps.
struct Scripted {
    world: Arc<World>,
    steps: Vec<Step>,
}

impl Kind for Scripted {
    const NAME: &'static str = "scripted";

    type Asked = Value;

    fn may_cancel(&self, caller: &Caller, lane: &JobLane) -> Result<()> {
        caller.require(elita::datasvc::Permission::Write, lane.application()?)
    }

    async fn run(&self, run: &Run, _asked: Value) -> Outcome {
        let journal = run.journal().await.unwrap();
        for (index, step) in self.steps.iter().enumerate() {
            let name = format!("{index} {step:?}");
            let returned = match self.step(&journal, *step, &name).await {
                Ok(outcome) => outcome,
                Err(failure) => json!(failure.code),
            };
            let before = self.world.returned.lock().unwrap().insert(name.clone(), returned.clone());
            assert!(before.is_none_or(|before| before == returned), "`{name}` has returned two different outcomes");
            self.world.point().await;
        }
        Outcome::Succeeded(to_raw_value(&"done").unwrap())
    }
}

impl Scripted {
    async fn step(&self, journal: &Journal<'_>, step: Step, name: &str) -> StepResult<Value> {
        let world = &self.world;
        match step {
            Step::Repeatable => journal.repeatable(name, async { Ok(json!(world.do_step(name).await)) }).await,
            Step::Once => journal.once(name, async { Ok(json!(world.do_step(name).await)) }).await,
            Step::Inspected => {
                let work = async |identity: &Uuid| {
                    world.point().await;
                    let before = world.seen.lock().unwrap().insert(name.to_owned(), *identity);
                    assert_eq!(before, None, "`{name}` was done twice");
                    world.point().await;
                    Ok(json!(identity))
                };
                let look = async |identity: &Uuid| match world.seen.lock().unwrap().get(name) {
                    None => Ok(Seen::NotDone),
                    Some(seen) if seen == identity => Ok(Seen::Done(json!(identity))),
                    Some(_) => Err(JobError::new(JobErrorCode::Conflict, "somebody else has done it")),
                };
                journal.inspected(name, Uuid::new_v4, work, look).await
            }
            Step::Pause => journal.pause(name, PAUSE).await.map(Value::from),
        }
    }
}

#[tokio::test]
async fn work_goes_on_after_its_last_recorded_step_wherever_its_server_dies() {
    let asked = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let seeds = match (asked("ELITA_SEED"), asked("ELITA_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    };
    let database = Database::new().await;
    let svc = DataSvc::connect(&database.url, 4).await.unwrap();
    let caller = svc.caller_of(&database.token).await.unwrap();
    sqlx::query("insert into applications (name) values ('stepping')")
        .execute(&mut database.connect().await)
        .await
        .unwrap();
    for seed in seeds {
        println!("seed {seed} begins");
        try_seed(&database, &svc, &caller, seed).await;
    }
    svc.close().await;
}

async fn try_seed(database: &Database, svc: &DataSvc, caller: &Caller, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let kinds = [Step::Repeatable, Step::Once, Step::Inspected, Step::Pause];
    let steps: Vec<Step> = (0..rng.random_range(2..7)).map(|_| kinds[rng.random_range(0..kinds.len())]).collect();
    let world = Arc::new(World::default());
    let job = insert_job(database).await;
    for attempt in 0..=DEATHS {
        // A death for every attempt but the last one, which may come later than the work's end.
        let dies_after = (attempt < DEATHS).then(|| rng.random_range(0..12));
        *world.left.lock().unwrap() = dies_after;
        let server = Server::start(&database.url, Scripted { world: world.clone(), steps: steps.clone() });
        let ended = tokio::time::timeout(PATIENCE, async {
            tokio::select! {
                () = world.dead.notified() => None,
                job = ended(svc, caller, job) => Some(job),
            }
        });
        let ended = ended.await.unwrap_or_else(|_| panic!("seed {seed}: {steps:?} does not go on"));
        server.kill();
        if let Some(job) = ended {
            assert_eq!(job.status, JobStatus::Succeeded, "seed {seed}: {steps:?}: {:?}", job.error);
            return check((database, svc, caller), &world, &steps, job.job_id, seed).await;
        }
        hand_back(database, svc).await;
    }
    panic!("seed {seed}: {steps:?} has not ended");
}

/// What the rows say of the work, against what the world has seen.
async fn check(
    (database, svc, caller): (&Database, &DataSvc, &Caller),
    world: &World,
    steps: &[Step],
    job: JobId,
    seed: u64,
) {
    let shown = svc.job_steps(caller, job, 0).await.unwrap().steps;
    let names: Vec<_> = steps.iter().enumerate().map(|(index, step)| format!("{index} {step:?}")).collect();
    assert_eq!(shown.iter().map(|step| step.name.clone()).collect::<Vec<_>>(), names, "seed {seed}");
    for (step, shown) in steps.iter().zip(&shown) {
        let (returned, name) = (world.returned.lock().unwrap()[&shown.name].clone(), &shown.name);
        let outcome: Value = serde_json::from_str(shown.outcome.as_ref().unwrap().get()).unwrap();
        let done = world.done.lock().unwrap().get(name).copied().unwrap_or(0);
        match step {
            Step::Repeatable => assert_eq!((&outcome, done), (&returned, done), "seed {seed}: {name}"),
            Step::Once if returned == "interrupted" => {
                assert!(done <= 1, "seed {seed}: {name} was done {done} times");
                assert_eq!(outcome["code"], "interrupted", "seed {seed}: {name}");
            }
            Step::Once => assert_eq!((&outcome, done), (&returned, 1), "seed {seed}: {name}"),
            Step::Inspected => assert_eq!(outcome, json!(world.seen.lock().unwrap()[name]), "seed {seed}: {name}"),
            Step::Pause => assert_eq!(outcome, Value::Null, "seed {seed}: {name}"),
        }
    }
    let pauses_too_short: i64 = sqlx::query_scalar(
        "select count(*) from job_steps where job_id = $1 and kind = 'pause'
             and (until <> started_at + make_interval(secs => $2) or ended_at < until)",
    )
    .bind(Uuid::from(job))
    .bind(PAUSE.as_secs_f64())
    .fetch_one(&mut database.connect().await)
    .await
    .unwrap();
    assert_eq!(pauses_too_short, 0, "seed {seed}");
    let log = svc.job_entries(caller, job, LogPart::After(0), 1000, i64::MAX).await.unwrap().items;
    assert!(log.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "seed {seed}: the log has gaps");
    let ends = log.iter().filter(|entry| entry.data.get().contains(r#""status":"succeeded""#)).count();
    let interrupted = log.iter().filter(|entry| entry.data.get().contains(r#""code":"interrupted""#)).count();
    assert_eq!(ends + interrupted, steps.len(), "seed {seed}: each step ends once in the log");
}

/// A server in this process, on threads of its own.
struct Server(tokio::runtime::Runtime);

impl Server {
    fn start(url: &str, kind: Scripted) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let url = url.to_owned();
        runtime.spawn(async move {
            let svc = DataSvc::connect(&url, 2).await.unwrap();
            let (stop, stopped) = watch::channel(false);
            let (engine, worker) = Engine::new(svc, settings(), stopped);
            engine.register(Kinds::default().with(kind));
            worker.join(StoreIdentity { id: Uuid::nil(), shared: true }).await.unwrap();
            worker.run().await.unwrap();
            drop(stop);
        });
        Self(runtime)
    }

    /// Nothing of it goes on.
    fn kill(self) {
        self.0.shutdown_background();
    }
}

fn settings() -> EngineSettings {
    EngineSettings {
        host: HostId::new(),
        place: String::new(),
        runs_jobs: true,
        runs: 4,
        runs_per_plugin: 4,
        runs_per_action: 4,
        log: LogLimits { entries: 100, bytes: 100_000 },
        drain: Duration::ZERO,
        cancel_grace: Duration::ZERO,
        retention: Retention { jobs: None, audit: None },
        notify: true,
    }
}

async fn insert_job(database: &Database) -> JobId {
    let id = Uuid::now_v7();
    sqlx::query(
        "insert into jobs (id, job_type, name, application, data, idempotent, timeout_ms)
         values ($1, 'scripted', 'script', 'stepping', '{}', true, 60000)",
    )
    .bind(id)
    .execute(&mut database.connect().await)
    .await
    .unwrap();
    JobId::from(id)
}

/// What servers do that see a dead one's silence.
async fn hand_back(database: &Database, svc: &DataSvc) {
    let workers: Vec<Uuid> =
        sqlx::query_scalar("select id from workers").fetch_all(&mut database.connect().await).await.unwrap();
    for worker in workers {
        svc.hand_back(worker.into(), "its server died").await.unwrap();
        svc.remove_worker(worker.into()).await.unwrap();
    }
}

async fn ended(svc: &DataSvc, caller: &Caller, id: JobId) -> Job {
    loop {
        let job = svc.job(caller, id).await.unwrap();
        if job.status.is_final() {
            return job;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
