//! Following a job: one loop for `run`, `upload`, `follow` and `log -f`.
//!
//! Entries are numbered without gaps, and each request asks for what comes after the last one that was printed. So
//! nothing is repeated and nothing is left out, whatever happens to the connection or the server in between. The
//! outcome is read from the job's final document, never inferred from the log having ended.

mod bar;
mod entry;
mod outcome;
mod servers;

use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::bar::Bar;
pub(crate) use self::entry::Lines;
pub(crate) use self::outcome::{describe, outcome_line};
pub(crate) use self::servers::ServerOutput;
use crate::duration::duration;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::{Client, Pauses, Request, with_query};
use crate::session::{Session, short};

/// How long the server is asked to wait for the next entry.
const WAIT: u64 = 30;
/// How much longer the reply may take than that.
const BEYOND_WAIT: Duration = Duration::from_secs(15);
/// Entries of a page.
const PAGE: usize = 1000;
/// After a page that is not full: a flood is read in pages and not in single entries.
const BETWEEN_PAGES: Duration = Duration::from_millis(50);
/// When to say that the connection was lost.
const SAY_AFTER: Duration = Duration::from_secs(10);

/// When to stop following, and what becomes of the job then.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Patience {
    /// Follow no longer than this; the job goes on
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
    /// Stop the job when --timeout has passed
    #[arg(long, requires = "timeout")]
    pub(crate) cancel_on_timeout: bool,
    /// Stop the job on Ctrl-C; a second Ctrl-C leaves at once
    #[arg(long)]
    pub(crate) cancel_on_interrupt: bool,
}

/// What to follow, and how to show it.
pub(crate) struct Following<'a> {
    pub(crate) session: &'a Session,
    pub(crate) id: String,
    /// The last entry that is known.
    pub(crate) after: i64,
    pub(crate) lines: Lines,
}

impl Following<'_> {
    /// Follows the job to its end, and returns its final document with what that means.
    ///
    /// # Errors
    /// If it cannot be followed, not if the job ends badly.
    pub(crate) async fn until_the_end(self, patience: &Patience) -> Result<(Value, Code)> {
        let (session, id) = (self.session, self.id.clone());
        let mut interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Failure::usage(format!("Ctrl-C cannot be listened for: {error}")))?;
        let deadline = patience.timeout.map(|timeout| tokio::time::Instant::now() + timeout);
        let (mut is_late, mut is_interrupted) = (false, false);
        let following = self.follow();
        tokio::pin!(following);
        loop {
            tokio::select! {
                job = &mut following => {
                    let job = job?;
                    let code = if is_late { Code::TimedOut } else { Code::of_status(job["status"].as_str().unwrap_or_default()) };
                    return Ok((job, code));
                }
                () = passed(deadline), if !is_late => {
                    if !patience.cancel_on_timeout {
                        return Err(left(Code::TimedOut, "--timeout has passed", &id));
                    }
                    is_late = true;
                    session.output.note("--timeout has passed: the job is asked to stop");
                    cancel(&session.client, &id).await?;
                }
                () = pressed(&mut interrupts) => {
                    if !patience.cancel_on_interrupt || is_interrupted {
                        return Err(left(Code::Interrupted, "no longer followed", &id));
                    }
                    is_interrupted = true;
                    session.output.note("the job is asked to stop; Ctrl-C again leaves at once");
                    cancel(&session.client, &id).await?;
                }
            }
        }
    }

    async fn follow(mut self) -> Result<Value> {
        let mut bar = Bar::new(&self.session.output, &self.lines);
        let mut connection = Connection { wait: WAIT, longest: WAIT };
        loop {
            let page = connection.next_page(&self, &bar).await?;
            let entries = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            for entry in entries {
                // Whatever a server sends twice is printed once.
                let Some(seq) = entry["seq"].as_i64().filter(|seq| *seq > self.after) else { continue };
                bar.print(|| self.lines.print(&self.session.output, entry));
                bar.note(entry);
                self.after = seq;
            }
            bar.status(page["status"].as_str().unwrap_or_default());
            if page["next"].is_null() && is_final(page["status"].as_str().unwrap_or_default()) {
                break;
            }
            if page["next"].is_null() && !entries.is_empty() {
                tokio::time::sleep(BETWEEN_PAGES).await;
            }
        }
        bar.clear();
        connection.outcome(&self).await
    }
}

/// How long the server may be asked to wait: less, where a proxy cuts connections that are idle.
struct Connection {
    wait: u64,
    longest: u64,
}

impl Connection {
    async fn next_page(&mut self, following: &Following<'_>, bar: &Bar) -> Result<Value> {
        let mut gap = Gap::new(following.session, bar);
        loop {
            let query =
                [("after", following.after.to_string()), ("wait", self.wait.to_string()), ("limit", PAGE.to_string())];
            let path = with_query(&format!("/job/{}/data", following.id), &query);
            let within = Duration::from_secs(self.wait) + BEYOND_WAIT;
            let asked = Instant::now();
            match ask(&following.session.client, Request::get(path).within(within)).await? {
                Some(page) => {
                    gap.is_over();
                    self.wait = self.longest;
                    return Ok(page);
                }
                None => {
                    if asked.elapsed() > Duration::from_secs(1) {
                        self.longest = (self.longest / 2).max(2);
                    }
                    // Not to wait shows soonest whether the server is there again.
                    self.wait = 0;
                    gap.pause(&following.id).await?;
                }
            }
        }
    }

    /// The final document.
    async fn outcome(&self, following: &Following<'_>) -> Result<Value> {
        let bar = Bar::none();
        let mut gap = Gap::new(following.session, &bar);
        loop {
            let path = format!("/job/{}", following.id);
            match ask(&following.session.client, Request::get(path)).await? {
                Some(job) => {
                    gap.is_over();
                    return Ok(job);
                }
                None => gap.pause(&following.id).await?,
            }
        }
    }
}

/// Asks once. None: there was no answer, or none that says anything of the job, and it is worth asking again.
async fn ask(client: &Client, request: Request) -> Result<Option<Value>> {
    match client.exchange(&request).await {
        Ok(reply) if reply.status.is_success() => reply.json().map(Some),
        Ok(reply) => match reply.status.as_u16() {
            408 | 429 | 500.. => Ok(None),
            404 => Err(Failure {
                what: "the job was removed, or you may no longer read it".into(),
                ..client.refusal(&reply)
            }),
            _ => Err(client.refusal(&reply)),
        },
        Err(broken) if broken.may_pass => Ok(None),
        Err(broken) => Err(broken.into()),
    }
}

/// A time without the server.
struct Gap<'a> {
    session: &'a Session,
    bar: &'a Bar,
    pauses: Pauses,
    began: Option<Instant>,
    is_told: bool,
}

impl<'a> Gap<'a> {
    fn new(session: &'a Session, bar: &'a Bar) -> Self {
        Self { session, bar, pauses: Pauses::new(session.retry_following), began: None, is_told: false }
    }

    /// Waits before the next try.
    async fn pause(&mut self, id: &str) -> Result<()> {
        let began = *self.began.get_or_insert_with(|| {
            self.pauses = Pauses::new(self.session.retry_following);
            Instant::now()
        });
        if began.elapsed() > SAY_AFTER && !self.is_told {
            self.is_told = true;
            self.bar.print(|| self.session.output.note("the connection was lost; trying again. The job goes on."));
        }
        match self.pauses.next(None) {
            Some(pause) => tokio::time::sleep(pause).await,
            None => {
                let patience = crate::duration::shown(self.session.retry_following);
                let what = format!("gave up after {patience} without the server. The job goes on");
                return Err(Failure::new(Code::Unreachable, what).hint(format!("elita follow {}", short(id))));
            }
        }
        Ok(())
    }

    fn is_over(&mut self) {
        if self.is_told {
            self.bar.print(|| self.session.output.note("connected again"));
        }
        self.began = None;
    }
}

/// Asks a job to stop. False: it has ended already, which is fine.
pub(crate) async fn cancel(client: &Client, id: &str) -> Result<bool> {
    match client.send(Request::post(format!("/job/{id}?cancel=true")).repeatable()).await {
        Err(failure) if failure.status() == Some(409) => Ok(false),
        asked => asked.map(|_| true),
    }
}

/// Whether a job in this state has ended.
pub(crate) fn is_final(status: &str) -> bool {
    matches!(status, "succeeded" | "failed" | "cancelled" | "lost")
}

/// The job goes on without us.
fn left(code: Code, why: &str, id: &str) -> Failure {
    let id = short(id);
    Failure::new(code, format!("{why}. The job goes on")).hint(format!("elita follow {id}, or elita job cancel {id}"))
}

async fn passed(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn pressed(interrupts: &mut Signal) {
    if interrupts.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}
