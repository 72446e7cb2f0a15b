//! A job of Salt, from the request to what becomes of it on each minion.
//!
//! What minions return comes by the stream of events. Those that are silent are asked whether the job runs there, and what
//! the stream may have missed is looked up in the master's job cache.

use std::collections::{HashMap, HashSet};
use std::future::{Future, pending};
use std::pin::Pin;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::time::sleep_until;

use super::Inner;
use super::api::ApiError;
use super::events::Return;
use super::jid::new_jid;

/// When minions are asked for the first time that have returned nothing, and how long until they are asked again: longer
/// and longer.
const ASK_AFTER: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(30));
/// How long minions may take to say whether they run a job, the first time and the others.
const SAY_WITHIN: [Duration; 3] = [Duration::from_secs(5), Duration::from_secs(5), Duration::from_secs(10)];
/// How long the stream of events may take to be open before a job is sent: without it, what returns is looked up.
const OPEN_WITHIN: Duration = Duration::from_secs(5);
/// How long to wait before a job is sent again that the master has not got.
const RETRIES: [Duration; 3] = [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];

/// What minions are asked to do.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) jid: String,
    pub(super) function: String,
    pub(super) arguments: Vec<Value>,
    pub(super) keyword_arguments: Map<String, Value>,
    /// How long to wait for it.
    pub(super) within: Duration,
}

/// What becomes of a job on a minion.
#[derive(Clone, Debug)]
pub(super) enum End {
    /// It returned.
    Returned(Return),
    /// The master has not got the job.
    NotSent(String),
    /// The master knows of no job with this jid.
    Unheard,
    /// The minion does not run it, and nothing was returned: it is over, or never began.
    NotRunning,
    /// The minion says nothing. Whether it has said before that the job runs.
    Silent { ran: bool },
    /// Its time is over, and it runs.
    Late,
    /// Nobody can say, for this reason.
    Unclear(String),
}

/// What the master's job cache has of a job.
pub(super) enum Found {
    /// What minions have returned so far.
    Job(HashMap<String, Return>),
    /// It knows of no such job.
    Nothing,
}

/// What is known of a minion that has not returned.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// It has said that the job runs.
    ran: bool,
    /// How often in a row it did not answer.
    silent: usize,
    /// How often in a row it said that the job does not run.
    idle: usize,
}

enum Says {
    Runs,
    Idle,
    Nothing,
}

type Asking<'a> = Pin<Box<dyn Future<Output = Option<HashMap<String, Says>>> + Send + 'a>>;

impl Inner {
    /// Has minions do something, or, where it `is_sent` already, follows it. Each of them is told once.
    pub(super) async fn call(
        &self,
        call: &Call,
        minions: Vec<String>,
        is_sent: bool,
        mut tell: impl FnMut(String, End) + Send,
    ) {
        let deadline = Instant::now() + call.within;
        let mut missing: HashMap<String, Standing> =
            minions.iter().map(|minion| (minion.clone(), Standing::default())).collect();
        let mut returns = self.waiting.wait_for(&call.jid, minions.iter().cloned().collect());
        let mut opened = self.waiting.opened();
        let _ = tokio::time::timeout(OPEN_WITHIN, opened.wait_for(|times| !times.is_multiple_of(2))).await;
        // While this number stays the same and is odd, the stream has everything.
        let mut complete_since = *opened.borrow_and_update();
        if is_sent {
            match self.found(&call.jid).await {
                Ok(Found::Job(returned)) => settle(&mut missing, returned, &mut tell),
                Ok(Found::Nothing) => {
                    for minion in minions {
                        tell(minion, End::Unheard);
                    }
                    return;
                }
                Err(_) => complete_since = 0,
            }
        } else {
            match self.send(call, &minions).await {
                Ok(known) => {
                    let known: HashSet<String> = known.into_iter().collect();
                    missing.retain(|minion, _| {
                        let is_known = known.contains(minion);
                        if !is_known {
                            tell(minion.clone(), End::NotSent(unknown_minion(minion)));
                        }
                        is_known
                    });
                }
                Err(end) => {
                    for minion in minions {
                        tell(minion, end.clone());
                    }
                    return;
                }
            }
        }

        let (mut asking, mut pause): (Option<Asking<'_>>, _) = (None, ASK_AFTER.0);
        let mut ask_at = Instant::now() + if is_sent { Duration::ZERO } else { pause };
        let mut last = None;
        while !missing.is_empty() && Instant::now() < deadline {
            let next = deadline.min(if asking.is_some() { deadline } else { ask_at });
            let answered = tokio::select! {
                (minion, returned) = returns.next() => {
                    if missing.remove(&minion).is_some() {
                        tell(minion, End::Returned(returned));
                    }
                    continue;
                }
                answered = async { match &mut asking { Some(asking) => asking.await, None => pending().await } } => answered,
                () = sleep_until(next.into()) => {
                    if Instant::now() < deadline {
                        let silent = missing.values().map(|standing| standing.silent).max().unwrap_or_default();
                        let within = SAY_WITHIN[silent.min(SAY_WITHIN.len() - 1)];
                        let minions = missing.keys().cloned().collect();
                        asking = Some(Box::pin(self.running(call.jid.clone(), minions, within)));
                    }
                    continue;
                }
            };
            asking = None;
            let settled = match &answered {
                Some(says) => note(&mut missing, says),
                None => Vec::new(),
            };
            // What was missed, and what is to be certain before a minion is given up.
            let now = *opened.borrow_and_update();
            if !settled.is_empty() || now != complete_since || now.is_multiple_of(2) {
                match self.found(&call.jid).await {
                    Ok(Found::Job(returned)) => {
                        settle(&mut missing, returned, &mut tell);
                        complete_since = now;
                        last = None;
                        for minion in settled {
                            if let Some(standing) = missing.remove(&minion) {
                                let end = match standing.idle {
                                    0 => End::Silent { ran: standing.ran },
                                    _ => End::NotRunning,
                                };
                                tell(minion, end);
                            }
                        }
                    }
                    Ok(Found::Nothing) => last = Some("the Salt master does not know of its job any more".to_owned()),
                    Err(error) => last = Some(error.why().to_owned()),
                }
            } else {
                last = None;
            }
            pause = ASK_AFTER.1.min(pause * 2);
            ask_at = Instant::now()
                + if missing.values().any(|standing| standing.silent + standing.idle > 0) {
                    ASK_AFTER.0
                } else {
                    pause
                };
        }
        if !missing.is_empty()
            && let Ok(Found::Job(returned)) = self.found(&call.jid).await
        {
            settle(&mut missing, returned, &mut tell);
        }
        for minion in missing.into_keys() {
            tell(minion, last.clone().map_or(End::Late, End::Unclear));
        }
    }

    /// Sends a job, once: which of the minions it went to. Where nobody knows whether the master has got it, the master is
    /// asked before it is sent again.
    async fn send(&self, call: &Call, minions: &[String]) -> Result<Vec<String>, End> {
        let mut may_be_there = false;
        let mut why = String::new();
        for pause in std::iter::once(Duration::ZERO).chain(RETRIES) {
            tokio::time::sleep(pause).await;
            if may_be_there {
                match self.found(&call.jid).await {
                    Ok(Found::Job(_)) => return Ok(minions.to_vec()),
                    Ok(Found::Nothing) => {}
                    Err(error) => {
                        why = error.why().to_owned();
                        continue;
                    }
                }
            }
            match self.publish(call, minions).await {
                Ok(known) => return Ok(known),
                Err(ApiError::Refused(why)) if !may_be_there => return Err(End::NotSent(why)),
                Err(error) => {
                    may_be_there |= matches!(error, ApiError::Unclear(_));
                    why = error.why().to_owned();
                }
            }
        }
        Err(if may_be_there { End::Unclear(why) } else { End::NotSent(why) })
    }

    /// Has the master publish a job: the minions that it has keys of.
    pub(super) async fn publish(&self, call: &Call, minions: &[String]) -> Result<Vec<String>, ApiError> {
        let Call { jid, function, arguments, keyword_arguments, within: _ } = call;
        let low = json!({
            "client": "local_async",
            "tgt": minions,
            "tgt_type": "list",
            "fun": function,
            "jid": jid,
            "arg": arguments,
            "kwarg": keyword_arguments,
        });
        let answer = self.api.ask(&low).await?;
        let Some(answer) = answer.as_object() else {
            return Err(ApiError::Refused(format!("the Salt master does not take the job: {}", shown(&answer))));
        };
        if answer.is_empty() {
            // It has a key of none of them.
            return Ok(Vec::new());
        }
        if answer.get("jid").and_then(Value::as_str) != Some(jid) {
            return Err(ApiError::Unclear("salt-api answers of another job than it was asked for".into()));
        }
        let names = answer.get("minions").and_then(Value::as_array).into_iter().flatten();
        Ok(names.filter_map(Value::as_str).map(str::to_owned).collect())
    }

    /// What the master's job cache has of a job.
    pub(super) async fn found(&self, jid: &str) -> Result<Found, ApiError> {
        // One at a time: each is a process of the master, and may be large.
        let _place = self.lookups.acquire().await;
        let low = json!({ "client": "runner", "fun": "jobs.list_job", "kwarg": { "jid": jid } });
        let mut answer = self.api.ask(&low).await?;
        if answer.get("Error").is_some() {
            return Ok(Found::Nothing);
        }
        match answer.get_mut("Result").map(Value::take) {
            Some(Value::Object(results)) => {
                let returned = results.into_iter().filter_map(|(minion, returned)| {
                    serde_json::from_value(returned).ok().map(|returned| (minion, returned))
                });
                Ok(Found::Job(returned.collect()))
            }
            _ => Err(ApiError::Unclear(format!("the Salt master's job cache cannot be read: {}", shown(&answer)))),
        }
    }

    /// Whether a job runs on these minions. `None`: they could not be asked.
    async fn running(&self, jid: String, minions: Vec<String>, within: Duration) -> Option<HashMap<String, Says>> {
        let asked = Call {
            jid: new_jid(),
            function: "saltutil.find_job".into(),
            arguments: vec![json!(jid)],
            keyword_arguments: Map::new(),
            within,
        };
        let mut missing: HashSet<String> = minions.iter().cloned().collect();
        let mut returns = self.waiting.wait_for(&asked.jid, missing.clone());
        let known = self.publish(&asked, &minions).await.ok()?;
        missing.retain(|minion| known.contains(minion));
        let mut says = HashMap::new();
        let mut note = |minion: String, returned: &Return| {
            let runs = returned.r#return.as_object().is_some_and(|job| !job.is_empty());
            says.insert(minion, if runs { Says::Runs } else { Says::Idle });
        };
        let deadline = tokio::time::Instant::now() + within;
        while !missing.is_empty() {
            let Ok((minion, returned)) = tokio::time::timeout_at(deadline, returns.next()).await else { break };
            missing.remove(&minion);
            note(minion, &returned);
        }
        if !missing.is_empty() {
            // The stream may have missed it.
            let Ok(Found::Job(found)) = self.found(&asked.jid).await else { return None };
            for (minion, returned) in found {
                if missing.remove(&minion) {
                    note(minion, &returned);
                }
            }
        }
        says.extend(
            minions
                .into_iter()
                .filter(|minion| known.contains(minion))
                .filter(|minion| missing.contains(minion))
                .map(|minion| (minion, Says::Nothing)),
        );
        Some(says)
    }
}

/// Takes in what minions say: those of which it is clear now that nothing will come.
fn note(missing: &mut HashMap<String, Standing>, says: &HashMap<String, Says>) -> Vec<String> {
    for (minion, standing) in missing.iter_mut() {
        *standing = match says.get(minion) {
            Some(Says::Runs) => Standing { ran: true, silent: 0, idle: 0 },
            Some(Says::Idle) => Standing { silent: 0, idle: standing.idle + 1, ..*standing },
            // Its key may be gone.
            Some(Says::Nothing) | None => Standing { silent: standing.silent + 1, idle: 0, ..*standing },
        };
    }
    let is_clear = |standing: &Standing| standing.idle >= 2 || standing.silent >= SAY_WITHIN.len();
    missing.iter().filter(|(_, standing)| is_clear(standing)).map(|(minion, _)| minion.clone()).collect()
}

fn settle(
    missing: &mut HashMap<String, Standing>,
    returned: HashMap<String, Return>,
    tell: &mut (impl FnMut(String, End) + Send),
) {
    for (minion, returned) in returned {
        if missing.remove(&minion).is_some() {
            tell(minion, End::Returned(returned));
        }
    }
}

fn unknown_minion(minion: &str) -> String {
    format!("the Salt master has accepted no key of a minion `{minion}`")
}

/// What Salt answered, for people.
fn shown(answer: &Value) -> String {
    let text = match answer {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    text.chars().take(300).collect()
}
