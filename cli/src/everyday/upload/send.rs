//! Sending a file, with a bar that shows how far it is.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::Method;
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName};
use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use uuid::Uuid;

use super::file_path;
use super::source::Source;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::http::{Body, Pauses, Reply};
use crate::output::Output;
use crate::session::Session;

/// What is read of a file at a time.
const PIECE: usize = 64 * 1024;
/// How often a file is sent from its beginning, at most.
const TRIES: u32 = 3;
/// How often the progress is told where there is no terminal.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How long the server may take to answer once it has everything.
const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// What came of sending.
pub(super) enum Sent {
    /// The job that takes the file in.
    Accepted(Value),
    /// The build had a file already.
    Stored,
}

/// Sends a file until the server has it: with one key, so that it is taken in once, and with its digest, so that what is
/// stored is what was read.
pub(super) async fn send(
    session: &Session,
    build: &str,
    source: &Source,
    map: Option<&str>,
    create: bool,
) -> Result<Sent> {
    let key = Uuid::new_v4().to_string();
    let path = file_path(build, source.file_type(), map, create);
    let mut pauses = Pauses::new(session.retry_following);
    let mut tries = 0;
    loop {
        tries += 1;
        let failure = match once(session, &path, source, &key).await? {
            Ok(reply) if reply.status.is_success() => return Ok(Sent::Accepted(reply.json()?)),
            Ok(reply) => {
                let failure = session.client.refusal(&reply);
                match reply.status.as_u16() {
                    409 => return conflict(session, build, failure).await,
                    503 | 429 => failure,
                    _ => return Err(failure),
                }
            }
            Err(failure) => failure,
        };
        let may_repeat = matches!(source, Source::File { .. }) && tries < TRIES;
        match pauses.next(None).filter(|_| may_repeat) {
            Some(pause) => {
                session.output.note(format!("{}; sending it again from the beginning", failure.what));
                tokio::time::sleep(pause).await;
            }
            None => return Err(failure),
        }
    }
}

/// A 409: the build is stored, or an upload of it goes on.
async fn conflict(session: &Session, build: &str, failure: Failure) -> Result<Sent> {
    let build = match session.client.get(build).await {
        // Who may only upload does not see it.
        Err(hidden) if hidden.status() == Some(403) => return Err(failure),
        build => build?,
    };
    if build["stored"] == true {
        Ok(Sent::Stored)
    } else {
        Err(failure.hint("wait for the upload that goes on: elita job list --active"))
    }
}

/// Sends it once. The inner failure is one of the connection, after which it may be sent again.
async fn once(
    session: &Session,
    path: &str,
    source: &Source,
    key: &str,
) -> Result<std::result::Result<Reply, Failure>> {
    let (reader, length, name): (Box<dyn AsyncRead + Send + Unpin>, _, _) = match source {
        Source::File { path, length, .. } => {
            let file = tokio::fs::File::open(path).await.map_err(|error| Failure::file("read", path, &error))?;
            let now = file.metadata().await.map_err(|error| Failure::file("read", path, &error))?.len();
            if now != *length {
                return Err(
                    Failure::usage(format!("{} has changed while it was read", path.display())).hint("the same again")
                );
            }
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            (Box::new(file), Some(*length), name)
        }
        Source::Input { .. } => (Box::new(tokio::io::stdin()), None, "standard input".into()),
    };
    let bar = Transfer::new(&session.output, &name, length);
    let body = body(reader, length, bar.clone());
    let mut headers = vec![
        (CONTENT_TYPE, "application/octet-stream".to_owned()),
        (HeaderName::from_static("idempotency-key"), key.to_owned()),
    ];
    headers.extend(length.map(|length| (CONTENT_LENGTH, length.to_string())));
    headers.extend(source.content_digest().map(|digest| (HeaderName::from_static("content-digest"), digest)));
    let answer = async {
        let response = session.client.open(&Method::PUT, path, &headers, body).await?;
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .map_err(|error| Failure::new(Code::Unreachable, format!("the reply broke off: {error}")))?;
        Ok(Reply { status: parts.status, headers: parts.headers, body: body.to_bytes(), path: path.to_owned() })
    };
    let answered = tokio::select! {
        answered = answer => answered,
        () = bar.silent_for(ANSWER_WITHIN) => Err(Failure::new(Code::Unreachable, "the server does not answer any more")),
    };
    bar.done(answered.is_ok());
    Ok(answered)
}

/// The file piece by piece, and never more of it than was hashed.
fn body(reader: Box<dyn AsyncRead + Send + Unpin>, length: Option<u64>, bar: Transfer) -> Body {
    let reader = reader.take(length.unwrap_or(u64::MAX));
    let pieces = stream::try_unfold(reader, |mut reader| async move {
        let mut piece = vec![0; PIECE];
        let read = reader.read(&mut piece).await?;
        piece.truncate(read);
        Ok::<_, std::io::Error>((read > 0).then(|| (Bytes::from(piece), reader)))
    });
    let counted = pieces.inspect_ok(move |piece| bar.add(piece.len() as u64));
    StreamBody::new(counted.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// How far a file is: a bar on a terminal, and elsewhere a line now and then.
#[derive(Clone)]
struct Transfer {
    bar: ProgressBar,
    told: std::sync::Arc<std::sync::Mutex<Told>>,
    name: String,
    output: Output,
}

struct Told {
    began: Instant,
    last: Instant,
    moved: Instant,
}

impl Transfer {
    fn new(output: &Output, name: &str, length: Option<u64>) -> Self {
        let is_shown = output.is_terminal_err && !output.json && !output.quiet;
        let target = if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(length, target);
        let template = match length {
            Some(_) => "{prefix}  {bar:20}  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left",
            None => "{prefix}  {spinner}  {bytes}  {bytes_per_sec}",
        };
        bar.set_style(
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("██░"),
        );
        bar.set_prefix(name.to_owned());
        let now = Instant::now();
        let told = std::sync::Arc::new(std::sync::Mutex::new(Told { began: now, last: now, moved: now }));
        Self { bar, told, name: name.to_owned(), output: output.clone() }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        let mut told = self.told();
        told.moved = Instant::now();
        if !self.output.is_terminal_err && !self.output.json && told.last.elapsed() > TELL_EVERY {
            told.last = Instant::now();
            let of = self.bar.length().map(|length| format!(" of {}", HumanBytes(length))).unwrap_or_default();
            self.output.note(format!("{}  {}{of}", self.name, HumanBytes(self.bar.position())));
        }
    }

    /// Returns when nothing has moved for so long.
    async fn silent_for(&self, patience: Duration) {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if self.told().moved.elapsed() > patience {
                return;
            }
        }
    }

    /// Sending has ended; a line says what it was.
    fn done(&self, was_answered: bool) {
        self.bar.finish_and_clear();
        if was_answered && !self.output.json {
            let seconds = self.told().began.elapsed().as_secs_f64().max(0.001);
            let bytes = self.bar.position();
            let rate = HumanBytes((bytes as f64 / seconds) as u64);
            let rate = if seconds >= 1.0 { format!("  {rate}/s") } else { String::new() };
            self.output.note(format!("{}  {}{rate}", self.name, HumanBytes(bytes)));
        }
    }
}
