//! Clients that ask for actions, as often as it takes, and remember what they were promised.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use sqlx::types::Uuid;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::fleet::Doors;
use super::journal::{Acknowledgement, Action, Journal};
use super::random::Random;
use super::streams::follow;

/// How long a client waits for a reply before it asks elsewhere.
const REPLY: Duration = Duration::from_secs(3);
/// How long a client waits for its job before it asks for the next one.
const WAIT: Duration = Duration::from_secs(8);
/// How long those that follow a job may take to see its end, once all jobs have ended.
const FINISH: Duration = Duration::from_secs(15);

/// The clients of this run.
pub(crate) struct Clients {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

struct Client {
    name: String,
    doors: Doors,
    journal: Journal,
    random: Random,
    http: reqwest::Client,
    stop: watch::Receiver<bool>,
}

/// What a client asks for.
struct Order {
    key: String,
    action: Action,
    steps: u64,
    pause_ms: u64,
}

impl Clients {
    pub(crate) fn start(doors: Doors, journal: &Journal, random: &mut Random, count: usize) -> Self {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for number in 0..count {
            let client = Client {
                name: format!("client-{number}"),
                doors: doors.clone(),
                journal: journal.clone(),
                random: random.fork(),
                http: reqwest::Client::builder().connect_timeout(REPLY).build().unwrap_or_default(),
                stop: stopped.clone(),
            };
            // Some only ask, so that at any time somebody does.
            tasks.spawn(client.run(number % 4 == 0));
        }
        Self { stop, tasks }
    }

    /// No more jobs are asked for.
    pub(crate) fn stop_asking(&self) {
        self.stop.send_replace(true);
    }

    /// Lets those that follow a job see its end.
    pub(crate) async fn finish(mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // Those that have not seen it by then leave a stream without an end in the journal.
        let _ = tokio::time::timeout(FINISH, all).await;
    }
}

impl Client {
    async fn run(mut self, only_asks: bool) {
        let mut number = 0;
        while !*self.stop.borrow() {
            number += 1;
            let order = self.order(number);
            let Some(job) = self.ask(&order).await else { return };
            match self.random.below(100) {
                _ if only_asks => {
                    let pause = self.random.millis(500..1_500);
                    tokio::time::sleep(pause).await;
                }
                // The same request with the same key is the same job: the check sees it.
                0..15 => {
                    self.ask(&order).await;
                    self.wait_for(job).await;
                }
                15..30 => {
                    let pause = self.random.millis(0..400);
                    tokio::time::sleep(pause).await;
                    self.cancel(job).await;
                    self.wait_for(job).await;
                }
                30..65 => follow(&self.doors, &self.journal, &mut self.random, &self.http, job).await,
                _ => self.wait_for(job).await,
            }
        }
    }

    fn order(&mut self, number: u64) -> Order {
        let action = if self.random.chance(50) { Action::Once } else { Action::Again };
        // Long ones are hit by faults, short ones come to their end between them.
        let (steps, pause_ms) = if self.random.chance(12) { (8, 350) } else { (4, 50) };
        Order { key: format!("{}-{number}", self.name), action, steps, pause_ms }
    }

    /// Asks one server after the other until one has promised it; none if it is too late for that.
    async fn ask(&mut self, order: &Order) -> Option<Uuid> {
        let Order { key, action, steps, pause_ms } = order;
        while !*self.stop.borrow() {
            let door = self.doors.any(&mut self.random);
            let url = format!("{door}/app/chaos/actions/{}?steps={steps}&pause_ms={pause_ms}", action.name());
            let request = self.http.post(url).header("Idempotency-Key", key).bearer_auth(&self.doors.token);
            match reply(request).await {
                Ok((StatusCode::ACCEPTED, body)) => {
                    if let Some(job) = body["job_id"].as_str().and_then(|id| id.parse().ok()) {
                        let at = OffsetDateTime::now_utc();
                        let (key, action, steps) = (key.clone(), *action, *steps);
                        let promised = Acknowledgement { key, job, door, at, action, steps };
                        self.journal.note().acknowledged.push(promised);
                        return Some(job);
                    }
                    self.journal.refused(format!("POST: 202 with {body}"));
                }
                Ok((status, body)) => self.journal.refused(format!("POST: {status} {}", body["code"])),
                Err(problem) => self.journal.refused(format!("POST: {problem}")),
            }
            let pause = self.random.millis(100..400);
            tokio::time::sleep(pause).await;
        }
        None
    }

    /// Impatiently: again and again.
    async fn cancel(&mut self, job: Uuid) {
        for _ in 0..6 {
            let url = format!("{}/job/{job}?cancel=true", self.doors.any(&mut self.random));
            match reply(self.http.post(url).bearer_auth(&self.doors.token)).await {
                Ok((StatusCode::ACCEPTED, body)) => {
                    // A job that waited has ended by that.
                    if self.told(job, body["status"].as_str()) {
                        return;
                    }
                }
                Ok((StatusCode::CONFLICT, _)) => return,
                Ok((status, body)) => self.journal.refused(format!("cancel: {status} {}", body["code"])),
                Err(problem) => self.journal.refused(format!("cancel: {problem}")),
            }
            let pause = self.random.millis(20..200);
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks at a job until it has ended, but not for ever.
    async fn wait_for(&mut self, job: Uuid) {
        let began = Instant::now();
        while began.elapsed() < WAIT && !*self.stop.borrow() {
            let url = format!("{}/job/{job}", self.doors.any(&mut self.random));
            match reply(self.http.get(url).bearer_auth(&self.doors.token)).await {
                Ok((StatusCode::OK, body)) => {
                    if self.told(job, body["status"].as_str()) {
                        return;
                    }
                }
                Ok((status, body)) => self.journal.refused(format!("GET job: {status} {}", body["code"])),
                Err(problem) => self.journal.refused(format!("GET job: {problem}")),
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// Remembers a job's status if that is its last one.
    fn told(&self, job: Uuid, status: Option<&str>) -> bool {
        match status {
            None | Some("queued" | "running") => false,
            Some(end) => {
                self.journal.note().ends.push((job, end.to_owned()));
                true
            }
        }
    }
}

async fn reply(request: reqwest::RequestBuilder) -> Result<(StatusCode, Value), &'static str> {
    let response = request.timeout(REPLY).send().await.map_err(|problem| described(&problem))?;
    let status = response.status();
    // What is not JSON is none of the replies that count.
    Ok((status, response.json().await.unwrap_or_default()))
}

/// Why there was no reply.
pub(crate) fn described(problem: &reqwest::Error) -> &'static str {
    match problem {
        problem if problem.is_connect() => "nobody is there",
        problem if problem.is_timeout() => "no reply in time",
        _ => "the connection was lost",
    }
}
