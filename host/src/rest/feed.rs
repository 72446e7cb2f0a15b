//! `/events`: what happens to jobs, documents and plugins, as server-sent events or as what a request waited for. One
//! task per server reads what has happened, for all of them together and only while there are any; each leaves out what
//! its caller may not see.

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::{self, Arc};
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, State};
use axum::http::Uri;
use axum::http::request::Parts;
use axum::response::sse::{self, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, StreamExt as _};
use serde::{Deserialize, Serialize};
use serde_json::value::to_raw_value;
use time::OffsetDateTime;
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::{sleep, timeout};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::events::{BUFFERING, KEEP_ALIVE, RECONNECT, accepts_events};
use super::http::args::Query;
use super::http::page::ListReply;
use super::http::problem::Problem;
use super::http::session::Session;
use super::http::several::Several;
use super::http::wait::Preferred;
use crate::datasvc::{AppName, Caller, DataSvc, Error, Event, EventKey, Events, Json, Result, Seconds, visible_events};

/// How often it is looked for what has happened, if nobody says that something has; and how often at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(250);
/// How long it is known what was told: longer than it may be read again.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// How many times of looking a slow client may be behind before it has to begin anew.
const MAX_BEHIND: usize = 64;
/// How long it is read on when nobody follows any more: whoever asks again and again is told everything once.
const LINGER: Duration = Duration::from_secs(90);
/// How many events, and how many times of looking, are remembered for those who come back.
const MAX_REMEMBERED: usize = 5_000;
/// How far back a client may continue.
const CONTINUES_FOR: time::Duration = time::Duration::hours(1);

/// What has happened since the last time of looking.
#[derive(Clone)]
struct News {
    events: Arc<Vec<Event>>,
    until: OffsetDateTime,
    /// Whether there was more, which is not told.
    is_cut: bool,
}

/// Reads what happens, for all who follow it.
pub(super) struct Feed {
    svc: DataSvc,
    looking: Mutex<Option<Arc<Looking>>>,
}

/// The task that reads, while anyone follows and for a while after that.
struct Looking {
    news: broadcast::Sender<News>,
    history: sync::Mutex<History>,
}

/// What was told lately.
struct History {
    /// Since when.
    from: OffsetDateTime,
    /// Up to when.
    until: OffsetDateTime,
    /// Without those in which nothing happened.
    news: VecDeque<News>,
    /// Whether nobody reads any more.
    has_ended: bool,
}

/// Who follows from now on.
struct Subscribed {
    news: broadcast::Receiver<News>,
    /// Up to when all had been told.
    until: OffsetDateTime,
    missed: Missed,
}

/// What has happened since a client's cursor.
enum Missed {
    /// This, if anything.
    Told(Vec<News>),
    /// It was told too long ago, or by another server.
    Unknown,
}

impl Feed {
    pub(super) fn new(svc: DataSvc) -> Arc<Self> {
        Arc::new(Self { svc, looking: Mutex::default() })
    }

    /// All that happens from now on, and what has happened since `last`.
    async fn subscribe(&self, last: Option<OffsetDateTime>) -> Result<Subscribed> {
        let mut looking = self.looking.lock().await;
        if let Some(subscribed) = looking.as_ref().and_then(|looking| looking.subscribe(last)) {
            return Ok(subscribed);
        }
        // What is still to be seen of what came before is known from here on.
        let Events { items, until, .. } = self.svc.events(None, &HashSet::new()).await?;
        let until = until.unwrap_or_else(OffsetDateTime::now_utc);
        let history = History { from: until, until, news: VecDeque::new(), has_ended: false };
        let begun = Arc::new(Looking { news: broadcast::channel(MAX_BEHIND).0, history: sync::Mutex::new(history) });
        let subscribed = begun.subscribe(last).ok_or_else(|| Error::internal("what happens is not read"))?;
        let known = items.into_iter().map(|(key, _)| (key, Instant::now())).collect();
        tokio::spawn(keep_looking(self.svc.clone(), Arc::clone(&begun), known));
        *looking = Some(begun);
        Ok(subscribed)
    }
}

impl Looking {
    /// `None`: nobody reads any more.
    fn subscribe(&self, last: Option<OffsetDateTime>) -> Option<Subscribed> {
        let history = self.history();
        let missed = match last {
            Some(last) if last < history.from => Missed::Unknown,
            last => {
                let is_new = |news: &&News| last.is_some_and(|last| news.until > last);
                Missed::Told(history.news.iter().filter(is_new).cloned().collect())
            }
        };
        let subscribed = Subscribed { news: self.news.subscribe(), until: history.until, missed };
        (!history.has_ended).then_some(subscribed)
    }

    /// Tells it those who follow now, and keeps it for those who come back.
    fn tell(&self, told: News) {
        let mut history = self.history();
        history.until = told.until;
        if told.is_cut || !told.events.is_empty() {
            history.news.push_back(told.clone());
        }
        while history.news.iter().map(|news| news.events.len()).sum::<usize>() > MAX_REMEMBERED
            || history.news.len() > MAX_REMEMBERED
        {
            let Some(forgotten) = history.news.pop_front() else { break };
            history.from = forgotten.until;
        }
        // Nobody may be following.
        let _ = self.news.send(told);
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn history(&self) -> sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(sync::PoisonError::into_inner)
    }
}

/// Reads what has happened and tells it, until nobody has followed for a while.
async fn keep_looking(svc: DataSvc, looking: Arc<Looking>, mut known: HashMap<EventKey, Instant>) {
    let (mut changes, mut followed_at) = (svc.changes(), Instant::now());
    loop {
        // Of other servers' jobs nobody says anything here.
        let _ = timeout(LOOK_EVERY, changes.recv()).await;
        sleep(LOOK_AT_MOST_EVERY).await;
        changes = changes.resubscribe();
        if looking.news.receiver_count() > 0 {
            followed_at = Instant::now();
        }
        let since = {
            let mut history = looking.history();
            history.has_ended = followed_at.elapsed() > LINGER && looking.news.receiver_count() == 0;
            if history.has_ended {
                return;
            }
            history.until
        };
        known.retain(|_, since| since.elapsed() < KNOWN_FOR);
        let told: HashSet<EventKey> = known.keys().cloned().collect();
        // While the database is away nothing is told. What happens meanwhile is read then.
        let Ok(Events { items, until: Some(until), is_cut }) = svc.events(Some(since), &told).await else { continue };
        let (keys, events): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        known.extend(keys.into_iter().map(|key| (key, Instant::now())));
        looking.tell(News { events: Arc::new(events), until, is_cut });
    }
}

/// What has happened.
#[derive(Serialize, ToSchema)]
struct EventsDocument {
    /// In their order.
    items: Vec<Told>,
    /// The cursor of what happens from now on, for `after`.
    next: String,
}

/// Something that has happened.
#[derive(Serialize, ToSchema)]
struct Told {
    /// What it is about; or `reset`: something may have been left out, so read anew what you show.
    event: EventName,
    /// The job as in lists; of a document `operation`, `application`, `name` and `at`; of a plugin `name`, `state`,
    /// `version` and `at`. For `reset` it is empty.
    #[schema(value_type = Object)]
    data: Json,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum EventName {
    Job,
    Document,
    Plugin,
    Reset,
}

/// Of which events to tell.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct EventsQuery {
    /// Those of one of these applications, with commas between them.
    #[serde(default, alias = "app", alias = "app_name")]
    #[param(value_type = Option<String>, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,99}(,[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,9}$",
        example = "my_application")]
    application: Several<AppName>,
    /// The cursor that the reply before gave as `next`; without it only what happens from now on is told. A stream
    /// continues by `Last-Event-ID` instead.
    #[param(pattern = "^[0-9]{1,17}$")]
    after: Option<String>,
    /// How long to wait for something to happen, in seconds (up to 60) or as `30s` or `1m`; `Prefer: wait=30` does the
    /// same.
    #[param(value_type = Option<u32>, maximum = 60)]
    wait: Option<Seconds>,
}

/// In which form the client wants what happens.
enum Wants {
    Document,
    /// A stream, which continues after the last event that it has seen.
    Stream(Option<OffsetDateTime>),
}

impl<S: Sync> FromRequestParts<S> for Wants {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> std::result::Result<Self, Problem> {
        match parts.headers.get("Last-Event-ID").map(|id| id.to_str().ok().and_then(moment_of)) {
            Some(None) => Err(Problem::malformed("`Last-Event-ID` is the id of an event, a number")),
            last if accepts_events(&parts.headers) => Ok(Self::Stream(last.flatten())),
            _ => Ok(Self::Document),
        }
    }
}

fn moment_of(id: &str) -> Option<OffsetDateTime> {
    let micros: i64 = id.parse().ok()?;
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok()
}

fn id_of(until: OffsetDateTime) -> String {
    (until.unix_timestamp_nanos() / 1000).to_string()
}

/// Follows what happens to all that you may read
///
/// `job`: a job is new, or in another state, or was asked to stop; with the job as in lists. `document`: a document was
/// created, changed or removed; with `operation`, `application`, `name` and `at`. `plugin`: with `name`, `state`,
/// `version` and `at`. `reset`: something may have been left out, so read anew what you show.
///
/// With `Accept: text/event-stream` they come as server-sent events, and `Last-Event-ID` continues. Otherwise the answer
/// has what happened after `after`, or comes when something happens and no later than after `wait`. Both continue up to
/// an hour later. An event may come twice, and between two of them a job may have been in another state.
#[utoipa::path(get, path = "/events", operation_id = "events.follow", tag = "events",
    params(
        EventsQuery,
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]{1,17}$",
            description = "The id of the last event that came, for event streams"),
        ("Prefer" = Option<String>, Header, description = "`wait=30`: the same as the parameter `wait`"),
    ),
    responses((status = 200, content((EventsDocument = "application/json"), (String = "text/event-stream")))))]
async fn follow(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<EventsQuery>,
    wants: Wants,
    preferred: Preferred,
    uri: Uri,
) -> std::result::Result<Response, Problem> {
    let EventsQuery { application: Several(applications), after, wait } = query;
    let no_cursor = || Error::invalid("after", "this is not a cursor; take the `next` of a reply");
    let after = after.map(|after| moment_of(&after).ok_or_else(no_cursor)).transpose()?;
    let within = preferred.unless(wait)?;
    let stop = rest.engine.stopping();
    let last = match wants {
        Wants::Document => after,
        Wants::Stream(last) => last.or(after),
    };
    let Subscribed { news, until, missed } = rest.feed.subscribe(last).await?;
    let session = rest.sessions.begin(caller);
    let (untaken, unsent) = (VecDeque::new(), VecDeque::new());
    let mut told = Following { session, news, stop, applications, untaken, unsent, until };
    if let Some(last) = last {
        told.continue_after(&rest.svc, last, missed).await?;
    }
    if let Wants::Document = wants {
        // Who asks for the first time gets a cursor.
        if last.is_some() || within > Duration::ZERO {
            let _ = timeout(within, told.some()).await;
        }
        told.session.caller()?;
        let next = id_of(told.until);
        let document = EventsDocument { items: told.unsent.into(), next: next.clone() };
        return Ok((preferred.applied(wait), ListReply::new(&uri, document, Some(&next))).into_response());
    }
    let first = sse::Event::default().retry(RECONNECT).id(id_of(last.unwrap_or(until)));
    let events = stream::unfold(told, async |mut told| Some((Ok::<_, Infallible>(told.next().await?), told)));
    let events = Sse::new(stream::iter([Ok(first)]).chain(events));
    Ok(([(BUFFERING, "no")], events).into_response())
}

/// What happens, for one client.
struct Following {
    session: Session,
    news: broadcast::Receiver<News>,
    stop: watch::Receiver<bool>,
    applications: Vec<AppName>,
    /// What has come, and was not looked at yet.
    untaken: VecDeque<News>,
    unsent: VecDeque<Told>,
    /// Up to when all has been told, or is in `unsent`.
    until: OffsetDateTime,
}

impl Following {
    /// What has happened while the client was away.
    async fn continue_after(&mut self, svc: &DataSvc, last: OffsetDateTime, missed: Missed) -> Result<()> {
        let caller = self.session.caller()?;
        if last < self.until - CONTINUES_FOR || last > self.until + CONTINUES_FOR {
            self.untaken.push_back(News { events: Arc::default(), until: self.until, is_cut: true });
            self.take(&caller).await;
            return Ok(());
        }
        match missed {
            Missed::Told(all) => self.untaken.extend(all),
            Missed::Unknown => {
                let Events { items, until, is_cut } = svc.events(Some(last), &HashSet::new()).await?;
                let events = Arc::new(items.into_iter().map(|(_, event)| event).collect());
                self.untaken.push_back(News { events, until: until.unwrap_or(self.until), is_cut });
            }
        }
        self.take(&caller).await;
        Ok(())
    }

    /// The next event. `None`: when the server stops, or when the token is no longer valid.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            let caller = self.session.caller().ok()?;
            if *self.stop.borrow() {
                return None;
            }
            if let Some(told) = self.unsent.pop_front() {
                let event = sse::Event::default().event(told.event.as_str()).data(told.data.get());
                // Who breaks off before the last one begins again before all of them.
                return Some(if self.unsent.is_empty() { event.id(id_of(self.until)) } else { event });
            }
            // Tells proxies that the stream is alive, and clients from where on to continue; for them it is no event.
            match timeout(KEEP_ALIVE, self.wait(&caller)).await {
                Ok(goes_on) => goes_on?,
                Err(_) => return Some(sse::Event::default().id(id_of(self.until))),
            }
        }
    }

    /// Waits until there is something to tell, the server stops or the token is no longer valid.
    async fn some(&mut self) {
        while self.unsent.is_empty() && !*self.stop.borrow() {
            let Ok(caller) = self.session.caller() else { return };
            if self.wait(&caller).await.is_none() {
                return;
            }
        }
    }

    /// Waits for the next news, or until something else may have changed. `None`: there are no more.
    async fn wait(&mut self, caller: &Caller) -> Option<()> {
        if !self.untaken.is_empty() {
            self.take(caller).await;
            return Some(());
        }
        tokio::select! {
            news = self.news.recv() => match news {
                Ok(news) => self.untaken.push_back(news),
                Err(broadcast::error::RecvError::Lagged(_)) => self.unsent.push_back(reset()?),
                Err(broadcast::error::RecvError::Closed) => return None,
            },
            () = self.session.changed() => {}
            _ = self.stop.changed() => {}
        }
        self.take(caller).await;
        Some(())
    }

    /// Looks at what has come. If this is given up while it waits, the rest is looked at the next time.
    async fn take(&mut self, caller: &Caller) {
        while let Some(news) = self.untaken.front().cloned() {
            let visible = visible_events(caller, &news.events).await;
            self.untaken.pop_front();
            self.until = self.until.max(news.until);
            if news.is_cut || visible.is_err() {
                self.unsent.extend(reset());
            }
            let is_wanted =
                |event: &&Event| self.applications.is_empty() || self.applications.iter().any(|name| event.is_of(name));
            let wanted = visible.unwrap_or_default().into_iter().filter(is_wanted);
            self.unsent.extend(wanted.filter_map(Told::of));
        }
    }
}

impl Told {
    fn of(event: &Event) -> Option<Self> {
        let (event, data) = match event {
            Event::Job(job) => (EventName::Job, to_raw_value(job)),
            Event::Document(document) => (EventName::Document, to_raw_value(document)),
            Event::Plugin(plugin) => (EventName::Plugin, to_raw_value(plugin)),
        };
        Some(Self { event, data: data.ok()? })
    }
}

impl EventName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Job => "job",
            Self::Document => "document",
            Self::Plugin => "plugin",
            Self::Reset => "reset",
        }
    }
}

fn reset() -> Option<Told> {
    Some(Told { event: EventName::Reset, data: to_raw_value(&serde_json::Map::new()).ok()? })
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(follow))
}
