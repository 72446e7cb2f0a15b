//! One connection: its requests are answered, and it is closed when it is idle.
//!
//! A connection may stay open while the server works for it, for as long as that takes. Without a request, or with a
//! reply that the client does not read, it is closed after a while, whatever else the client sends.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::http::{HeaderValue, header};
use axum::response::Response as Reply;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;
use tracing::debug;

use super::client::{ClientAddress, TrustedProxies};
use super::delivery::{Delivery, LARGE_BYTES, Read};
use super::front;
use super::guide;
use super::problem::Problem;
use super::refusal::Explained;
use super::server::{ServerSettings, stopped};
use crate::shares::{Place, Shares};

/// How many header fields HTTP/1 reads before it gives up with a bare 431. It has room for more than `front` takes,
/// whose 431 says what is wrong.
const MAX_HEADERS: usize = 200;
/// How much of a head is read before it is refused with 431. It has room for the longest URI that can be told apart
/// from long header fields, and so be refused with 414.
const MAX_HEAD_BYTES: usize = 256 * 1024;
/// How many header bytes HTTP/2 takes. Frames that go on with a head are bounded with it.
const MAX_HEADER_LIST_BYTES: u32 = 64 * 1024;
/// How many requests run at a time on one HTTP/2 connection.
const MAX_STREAMS: u32 = 100;
/// How many requests a client may have taken back before they were looked at.
const MAX_UNSEEN_RESETS: usize = 20;
/// How many requests of a connection may break HTTP/2's rules.
const MAX_BROKEN_STREAMS: usize = 100;
/// How often a silent HTTP/2 client is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(20);

/// What all connections share.
pub(in crate::rest) struct Connections {
    router: Router,
    http: Builder<TokioExecutor>,
    proxies: TrustedProxies,
    requests: Arc<Shares<IpAddr>>,
    /// Its units are bytes of replies that have not been taken.
    replies: Arc<Shares<IpAddr>>,
    head_within: Duration,
    idle_within: Duration,
}

impl Connections {
    pub(in crate::rest) fn new(router: Router, settings: &ServerSettings) -> Self {
        Self {
            router,
            http: http(settings.head_within),
            proxies: settings.trusted_proxies.clone(),
            requests: Shares::new(settings.requests),
            replies: Shares::new(settings.reply_bytes),
            head_within: settings.head_within,
            idle_within: settings.idle_within,
        }
    }

    /// Serves a connection until it ends, or until it is idle once the server stops. It is `condemned` where a reply
    /// that has begun has to go.
    pub(in crate::rest) async fn serve<S>(
        self: Arc<Self>,
        stream: S,
        peer: ClientAddress,
        condemned: Arc<Notify>,
        mut stop: watch::Receiver<bool>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let activity = Arc::new(Activity::new(condemned));
        let service = service_fn(|request: Request<Incoming>| {
            let (connections, in_flight) = (Arc::clone(&self), InFlight::begin(&activity));
            async move { Ok::<_, Infallible>(connections.answer(request, peer, in_flight).await) }
        });
        let stream = TokioIo::new(Explained::new(stream, Arc::clone(&activity)));
        let mut serving = pin!(self.http.serve_connection(stream, service));
        // hyper's timeout begins once it knows the version, and HTTP/2 has no timeout: this covers the first request.
        let mut look = pin!(sleep(self.head_within));
        let (mut closing, mut stopping) = (false, false);
        loop {
            tokio::select! {
                ended = serving.as_mut() => {
                    if let Err(error) = ended {
                        debug!(error, "a connection ended early");
                    }
                    return;
                }
                () = look.as_mut() => match activity.verdict(self.idle_within) {
                    Verdict::LookAgain(at) => look.as_mut().reset(at),
                    Verdict::Idle if !closing => {
                        // What was replied may still be on its way.
                        serving.as_mut().graceful_shutdown();
                        closing = true;
                        look.as_mut().reset(Instant::now() + self.idle_within);
                    }
                    Verdict::Idle | Verdict::Useless => return,
                },
                () = stopped(&mut stop), if !stopping => {
                    serving.as_mut().graceful_shutdown();
                    stopping = true;
                }
            }
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: ClientAddress,
        mut in_flight: InFlight,
    ) -> Response<Delivery> {
        let client = self.proxies.client(peer, request.headers());
        let closes = request.version() < Version::HTTP_2;
        let (body, read) = Read::of(request.body());
        let is_coming = closes && !request.headers().contains_key(header::EXPECT);
        let request = request.map(|incoming| body.watch(incoming, is_coming));
        let mut reply = self.replied(request, client, &mut in_flight).await;
        // The rest of the body is where the next request would begin, so there can be no next request.
        if closes && !read.to_its_end() {
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply.map(|body| Delivery::new(body, in_flight))
    }

    /// The reply to a request that has got a place among all requests, and a place for its reply.
    async fn replied(&self, mut request: Request<Body>, client: ClientAddress, in_flight: &mut InFlight) -> Reply {
        let id = front::id_of(request.headers());
        let busy = || front::refuse(&id, Problem::busy("too many requests are answered at this moment"));
        let (ousted, mut told) = oneshot::channel();
        let condemned = Arc::clone(&in_flight.activity.condemned);
        // Once a reply has begun, it can only be broken off.
        let oust = move || {
            if ousted.send(()).is_err() {
                condemned.notify_one();
            }
        };
        let Some(place) = self.requests.take(client.network(), 1, oust) else { return busy().await };
        in_flight.places.push(place);
        guide::without_trailing_slash(&mut request);
        request.extensions_mut().insert(client);
        request.extensions_mut().insert(id.clone());
        let reply = tokio::select! {
            biased;
            Ok(()) = &mut told => return busy().await,
            reply = self.router.clone().oneshot(request) => reply.unwrap_or_else(|never| match never {}),
        };
        told.close();
        match (told.try_recv(), self.room_for(&reply, client, in_flight)) {
            (Err(_), true) => reply,
            _ => busy().await,
        }
    }

    /// Whether there is room to keep a reply until it is taken.
    fn room_for(&self, reply: &Reply, client: ClientAddress, in_flight: &mut InFlight) -> bool {
        let bytes = usize::try_from(reply.body().size_hint().lower()).unwrap_or(usize::MAX);
        if bytes <= LARGE_BYTES {
            return true;
        }
        let condemned = Arc::clone(&in_flight.activity.condemned);
        let place = self.replies.take(client.network(), bytes, move || condemned.notify_one());
        let has_room = place.is_some();
        in_flight.places.extend(place);
        has_room
    }
}

fn http(head_within: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_within)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(MAX_HEADER_LIST_BYTES)
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(MAX_BROKEN_STREAMS)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(head_within);
    builder
}

/// What goes on on a connection.
pub(in crate::rest) struct Activity {
    /// The connection is to be closed at once.
    condemned: Arc<Notify>,
    began: Instant,
    /// When a request last came or was done with, in milliseconds from the beginning; 0: never.
    last_ms: AtomicU64,
    /// Requests whose replies have not been handed over to their ends.
    requests: AtomicUsize,
    /// Since when a part of a reply waits for its client to take it. The keys count up, so the oldest comes first.
    offers: Mutex<BTreeMap<u64, Instant>>,
}

/// What is to become of a connection.
enum Verdict {
    /// It may stay until then.
    LookAgain(Instant),
    /// It has no request.
    Idle,
    /// It has never had one, or its client does not take a reply.
    Useless,
}

impl Activity {
    fn new(condemned: Arc<Notify>) -> Self {
        Self {
            condemned,
            began: Instant::now(),
            last_ms: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            offers: Mutex::default(),
        }
    }

    /// Whether nothing is being answered.
    pub(in crate::rest) fn has_no_request(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    fn note(&self) {
        let elapsed_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_ms.store(elapsed_ms.max(1), Ordering::Relaxed);
    }

    /// Judges by the part that has waited longest, so that replies that are taken do not keep those that are not.
    fn verdict(&self, idle_within: Duration) -> Verdict {
        let last = match self.last_ms.load(Ordering::Relaxed) {
            0 => return Verdict::Useless,
            last_ms => self.began + Duration::from_millis(last_ms),
        };
        let now = Instant::now();
        let oldest_offer = self.offers().first_key_value().map(|(_, since)| *since);
        match (oldest_offer, self.requests.load(Ordering::Relaxed)) {
            (Some(since), _) if since + idle_within <= now => Verdict::Useless,
            (Some(since), _) => Verdict::LookAgain(since + idle_within),
            (None, 0) if last + idle_within <= now => Verdict::Idle,
            (None, 0) => Verdict::LookAgain(last + idle_within),
            (None, _) => Verdict::LookAgain(now + idle_within),
        }
    }

    /// Notes that a part of a reply waits to be taken, under the key that is returned.
    pub(in crate::rest) fn offer(&self) -> u64 {
        let mut offers = self.offers();
        let key = offers.last_key_value().map_or(0, |(last, _)| last + 1);
        offers.insert(key, Instant::now());
        key
    }

    /// Notes that it was taken.
    pub(in crate::rest) fn taken(&self, offer: u64) {
        self.offers().remove(&offer);
    }

    fn offers(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request, until its reply was handed over or is given up.
pub(in crate::rest) struct InFlight {
    pub(in crate::rest) activity: Arc<Activity>,
    /// Its part of all requests at a time, and of what is kept of their replies.
    places: Vec<Place<IpAddr>>,
}

impl InFlight {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.requests.fetch_add(1, Ordering::Relaxed);
        activity.note();
        Self { activity: Arc::clone(activity), places: Vec::new() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
        self.activity.note();
    }
}
