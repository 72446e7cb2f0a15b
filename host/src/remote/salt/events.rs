//! One stream of events follows all jobs: what minions return is handed to whoever waits for it.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};
use tracing::warn;

use super::api::Api;
use crate::errors::Outage;

/// The longest event that is read, in bytes; the output of a command is shorter, whatever is in it.
const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;
/// The longest tag of one, in bytes.
const MAX_TAG_BYTES: usize = 1024;
/// How long the stream stays open while nobody waits for anything.
const IDLE: Duration = Duration::from_secs(60);
/// How long to wait before it is opened again, at first and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What a minion returned.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Return {
    #[serde(default)]
    pub(super) r#return: Value,
    #[serde(default)]
    pub(super) retcode: Option<i64>,
    #[serde(default)]
    pub(super) success: Option<bool>,
}

/// Whoever waits, by jid.
#[derive(Default)]
pub(super) struct Waiting {
    jobs: Mutex<HashMap<String, Waiter>>,
    /// Somebody waits who did not before.
    more: Notify,
    /// Counts how often the stream was opened; odd while it is open.
    opened: watch::Sender<u64>,
}

struct Waiter {
    minions: HashSet<String>,
    tell: UnboundedSender<(String, Return)>,
}

/// Waits for what minions return of a job. Each is told once.
pub(super) struct Returns {
    waiting: Arc<Waiting>,
    jid: String,
    told: UnboundedReceiver<(String, Return)>,
}

impl Waiting {
    /// Waits for what these minions return of a job.
    pub(super) fn wait_for(self: &Arc<Self>, jid: &str, minions: HashSet<String>) -> Returns {
        let (tell, told) = unbounded_channel();
        self.lock().insert(jid.to_owned(), Waiter { minions, tell });
        self.more.notify_one();
        Returns { waiting: self.clone(), jid: jid.to_owned(), told }
    }

    /// How often the stream was opened and closed: while this number stays the same and is odd, nothing is missed.
    pub(super) fn opened(&self) -> watch::Receiver<u64> {
        self.opened.subscribe()
    }

    fn is_awaited(&self, jid: &str, minion: &str) -> bool {
        self.lock().get(jid).is_some_and(|waiter| waiter.minions.contains(minion))
    }

    /// Only the first return of a minion counts.
    fn tell(&self, jid: &str, minion: &str, returned: Return) {
        let mut jobs = self.lock();
        let Some(waiter) = jobs.get_mut(jid) else { return };
        if waiter.minions.remove(minion) {
            let _ = waiter.tell.send((minion.to_owned(), returned));
        }
    }

    fn is_idle(&self) -> bool {
        self.lock().is_empty()
    }

    /// Nothing that holds the lock can leave a half-made change behind.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiter>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Returns {
    /// The next one. Never ends by itself.
    pub(super) async fn next(&mut self) -> (String, Return) {
        match self.told.recv().await {
            Some(returned) => returned,
            // All minions have returned, and nobody is left to wait for.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Returns {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.jid);
    }
}

/// Keeps the stream open while somebody waits, until nobody can any more.
pub(super) async fn follow(api: Arc<Api>, waiting: std::sync::Weak<Waiting>) {
    let mut pause = PAUSES.0;
    let mut outage = Outage::default();
    loop {
        let Some(kept) = waiting.upgrade() else { return };
        if kept.is_idle() {
            // Now and then, in case that nobody is left.
            let _ = tokio::time::timeout(IDLE, kept.more.notified()).await;
            continue;
        }
        drop(kept);
        let why = match api.events().await {
            Ok(stream) => {
                let Some(kept) = waiting.upgrade() else { return };
                outage.is_over("the events of the Salt master are followed again");
                let why = read(stream, &kept).await;
                let was_open = !kept.opened.borrow().is_multiple_of(2);
                if was_open {
                    kept.opened.send_modify(|times| *times += 1);
                    pause = PAUSES.0;
                    tokio::time::sleep(pause).await;
                    continue;
                }
                why
            }
            Err(error) => error.why().to_owned(),
        };
        let what = "the events of the Salt master cannot be followed, and returns are looked up instead";
        outage.goes_on(what, &*Box::<dyn Error>::from(why));
        tokio::time::sleep(pause).await;
        pause = PAUSES.1.min(pause * 2);
    }
}

/// Reads a stream to its end, and hands on what comes. It counts as open once its first piece has come: by then the
/// master is listened to.
async fn read(mut stream: reqwest::Response, waiting: &Waiting) -> String {
    let mut reader = Reader::default();
    loop {
        let piece = tokio::select! {
            piece = Api::piece(&mut stream) => piece,
            () = idle(waiting) => return "nobody waits for them".into(),
        };
        match piece {
            Ok(Some(piece)) => {
                waiting.opened.send_if_modified(|times| {
                    let was_closed = times.is_multiple_of(2);
                    *times += u64::from(was_closed);
                    was_closed
                });
                reader.take(&piece, waiting);
            }
            Ok(None) => return "the stream ended".into(),
            Err(error) => return error.why().to_owned(),
        }
    }
}

/// Ends when nobody has waited for a while.
async fn idle(waiting: &Waiting) {
    loop {
        tokio::time::sleep(IDLE).await;
        if waiting.is_idle() {
            return;
        }
    }
}

/// Makes events of the pieces of a stream. Of those that nobody waits for nothing is kept.
#[derive(Default)]
struct Reader {
    line: Vec<u8>,
    /// The line is not kept: it is too long, or of no use.
    is_skipped: bool,
    /// What the event's tag says: whose return of which job it is. `None`: it has no tag so far.
    tag: Option<Option<(String, String)>>,
}

#[derive(Deserialize)]
struct Event {
    tag: String,
    data: Value,
}

impl Reader {
    fn take(&mut self, mut piece: &[u8], waiting: &Waiting) {
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.keep(&piece[..end]);
            self.end_line(waiting);
            piece = &piece[end + 1..];
        }
        self.keep(piece);
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.is_skipped {
            return;
        }
        let is_data = self.line.iter().chain(bytes).take(5).eq(b"data:");
        let most = match (is_data, &self.tag) {
            // An event whose tag says that nobody waits for it.
            (true, Some(None)) => 0,
            (true, _) => MAX_EVENT_BYTES,
            (false, _) => MAX_TAG_BYTES,
        };
        if self.line.len() + bytes.len() > most.max(5) {
            self.is_skipped = true;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, waiting: &Waiting) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_skipped) {
            return;
        }
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            self.tag = None;
        } else if let Some(tag) = line.strip_prefix(b"tag:") {
            let tag = String::from_utf8_lossy(tag);
            self.tag = Some(of_return(tag.trim()).filter(|(jid, minion)| waiting.is_awaited(jid, minion)));
        } else if let Some(data) = line.strip_prefix(b"data:") {
            if self.tag == Some(None) {
                return;
            }
            let Ok(Event { tag, data }) = serde_json::from_slice(data) else { return };
            let Some((jid, minion)) = of_return(&tag).filter(|(jid, minion)| waiting.is_awaited(jid, minion)) else {
                return;
            };
            // A minion can say what it likes in the data, but the master makes the tag of who it is.
            let is_of = |name: &str, value: &str| data.get(name).is_none_or(|said| said == value);
            if !is_of("jid", &jid) || !is_of("id", &minion) {
                warn!("an event of the Salt master says it is of job {jid} and minion `{minion}`, and is not");
                return;
            }
            if let Ok(returned) = serde_json::from_value(data) {
                waiting.tell(&jid, &minion, returned);
            }
        }
    }
}

/// The job and the minion of the tag of a return: `salt/job/<jid>/ret/<minion>`.
fn of_return(tag: &str) -> Option<(String, String)> {
    let (jid, minion) = tag.strip_prefix("salt/job/")?.split_once("/ret/")?;
    Some((jid.to_owned(), minion.to_owned()))
}

#[cfg(test)]
mod tests;
