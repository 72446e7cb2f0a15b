//! Files in a bucket of S3, or of a store that speaks the same protocol. Where it is and who we are is said by the
//! variables that other programs use, too (`AWS_…`).

use std::collections::HashMap;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3CopyIfNotExists};
use object_store::client::{ClientOptions, HttpError};
use object_store::path::Path as Key;
use object_store::prefix::PrefixStore;
use object_store::signer::{Method, Signer as _};
use object_store::{BackoffConfig, GetOptions, GetResult, ObjectStore, RetryConfig};
use tracing::info;
use uuid::Uuid;

use super::StorageError;
use super::builds::BUILDS;
use crate::errors::{causes, chain};

/// What is sent at a time. The least that S3 takes is 5 MiB.
pub(super) const PART_BYTES: usize = 8 * 1024 * 1024;
/// The longest file, in bytes: S3 takes 10,000 parts.
pub const MAX_FILE_BYTES: u64 = 10_000 * PART_BYTES as u64;
/// Until a connection is there.
const CONNECT: Duration = Duration::from_secs(5);
/// Until a reply begins, which is after all that a request sends, and while nothing more of it comes in.
const SILENCE: Duration = Duration::from_secs(20);
/// How often a request is sent again, and for how long.
const RETRIES: (usize, Duration) = (6, Duration::from_secs(60));
/// How long to wait before that, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(10));
/// How long a URL for a client can be used.
const LENT_FOR: Duration = Duration::from_secs(300);

/// A bucket, or what is below a prefix in it.
pub(super) type Bucket = PrefixStore<AmazonS3>;

/// The bucket at `s3://bucket/prefix`.
///
/// # Errors
/// [`StorageError::Url`]; [`StorageError::Store`] if a variable cannot be used.
pub(super) fn at(url: &str) -> Result<Arc<Bucket>, StorageError> {
    let refused = || StorageError::Url(url.to_owned());
    let path = url.strip_prefix("s3://").ok_or_else(refused)?;
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
        return Err(refused());
    }
    let prefix = Key::parse(prefix.trim_matches('/')).map_err(|_| refused())?;
    let client = ClientOptions::new()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(SILENCE)
        // What is read may be long, and a client that it is for may be slow.
        .with_timeout_disabled()
        .with_allow_http(std::env::var("AWS_ALLOW_HTTP").is_ok_and(|allow| allow.eq_ignore_ascii_case("true")));
    let backoff = BackoffConfig { init_backoff: BACKOFF.0, max_backoff: BACKOFF.1, base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: RETRIES.0, retry_timeout: RETRIES.1 };
    let mut builder = AmazonS3Builder::from_env();
    if std::env::var_os("AWS_COPY_IF_NOT_EXISTS").is_none() {
        builder = builder.with_copy_if_not_exists(S3CopyIfNotExists::Multipart);
    }
    let store = builder.with_client_options(client).with_retry(retry).with_bucket_name(bucket).build()?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

/// Where a client gets a file itself, for some minutes.
pub(super) async fn lent_url(bucket: &Bucket, key: &Key) -> Result<String, StorageError> {
    Ok(bucket.signed_url(Method::GET, key, LENT_FOR).await?.to_string())
}

/// What was found of an object, as it is read. Where the store breaks off, it is asked for the rest, and again each time
/// that it has brought something.
pub(super) fn resumed(
    store: Arc<dyn ObjectStore>,
    key: Key,
    found: GetResult,
) -> BoxStream<'static, Result<Bytes, StorageError>> {
    let (left, asked) = (found.range.clone(), found.range.start);
    let reading = Reading { pieces: found.into_stream(), left, asked };
    stream::try_unfold((store, key, reading), |(store, key, mut reading)| async move {
        loop {
            match reading.pieces.try_next().await {
                Ok(None) => return Ok(None),
                Ok(Some(piece)) => {
                    reading.left.start += piece.len() as u64;
                    return Ok(Some((piece, (store, key, reading))));
                }
                Err(error) if reading.left.start == reading.asked || reading.left.is_empty() => {
                    return Err(error.into());
                }
                Err(error) => {
                    info!("the object store broke off and is asked for the rest: {}", chain(&error));
                    let found = store.get_opts(&key, part(reading.left.clone())).await?;
                    reading.pieces = found.into_stream();
                    reading.asked = reading.left.start;
                }
            }
        }
    })
    .boxed()
}

/// An object that is being read.
struct Reading {
    pieces: BoxStream<'static, object_store::Result<Bytes>>,
    /// What has not come yet.
    left: Range<u64>,
    /// From where on the store was last asked for it.
    asked: u64,
}

/// Asks for a part of an object.
pub(super) fn part(bytes: Range<u64>) -> GetOptions {
    GetOptions { range: Some(bytes.into()), ..GetOptions::default() }
}

/// A file of this machine with what an object holds, at its beginning. It has no name.
pub(super) async fn fetched(
    mut pieces: BoxStream<'static, Result<Bytes, StorageError>>,
    mut file: File,
) -> Result<File, StorageError> {
    while let Some(piece) = pieces.try_next().await? {
        file = written(file, piece).await?;
    }
    Ok(tokio::task::spawn_blocking(move || file.rewind().map(|()| file)).await??)
}

/// Off the threads that answer requests.
async fn written(mut file: File, piece: Bytes) -> Result<File, StorageError> {
    Ok(tokio::task::spawn_blocking(move || file.write_all(&piece).map(|()| file)).await??)
}

/// Removes the objects below a folder that are to go; says how many there were.
pub(super) async fn remove(
    store: &dyn ObjectStore,
    folder: &Key,
    goes: impl Fn(&Stored) -> bool,
) -> Result<usize, StorageError> {
    let objects: Vec<_> = store.list(Some(folder)).try_collect().await?;
    let going = objects.into_iter().map(|object| object.location);
    let going: Vec<_> = going.filter(|key| Stored::of(key).is_some_and(|stored| goes(&stored))).collect();
    let count = going.len();
    let removed = store.delete_stream(stream::iter(going).map(Ok).boxed());
    removed
        .try_for_each(|_| async { Ok(()) })
        .await
        .or_else(|error| if matches!(error, object_store::Error::NotFound { .. }) { Ok(()) } else { Err(error) })?;
    Ok(count)
}

/// The uploads none of whose objects is as young as that.
pub(super) async fn old_folders(store: &dyn ObjectStore, before: SystemTime) -> Result<Vec<Uuid>, StorageError> {
    let mut ages: HashMap<Uuid, bool> = HashMap::new();
    let mut objects = store.list(Some(&Key::from(BUILDS)));
    while let Some(object) = objects.try_next().await? {
        let Some(stored) = Stored::of(&object.location) else { continue };
        let is_old = SystemTime::from(object.last_modified) < before;
        *ages.entry(stored.folder).or_insert(true) &= is_old;
    }
    Ok(ages.into_iter().filter_map(|(folder, is_old)| is_old.then_some(folder)).collect())
}

/// A file of an upload, as its key says it.
pub(super) struct Stored {
    folder: Uuid,
    /// The run that has stored it; none: a client sent it.
    pub(super) run: Option<i64>,
    pub(super) filename: String,
}

impl Stored {
    fn of(key: &Key) -> Option<Self> {
        let parts: Vec<_> = key.parts().map(|part| part.as_ref().to_owned()).collect();
        match &parts[..] {
            [builds, folder, filename] if builds == BUILDS => {
                Some(Self { folder: Uuid::try_parse(folder).ok()?, run: None, filename: filename.clone() })
            }
            [builds, folder, run, filename] if builds == BUILDS => Some(Self {
                folder: Uuid::try_parse(folder).ok()?,
                run: Some(run.parse().ok()?),
                filename: filename.clone(),
            }),
            _ => None,
        }
    }
}

/// What an error of the store means. `None`: nothing that is known.
pub(super) fn meaning(error: &object_store::Error) -> Option<Meaning> {
    let of_reply = causes(error).find_map(|cause| match cause.downcast_ref::<HttpError>() {
        Some(_) => Some(Meaning::Away),
        None => meaning_of_reply(&cause.to_string()),
    });
    match error {
        _ if of_reply.is_some() => of_reply,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            Some(Meaning::Refused)
        }
        _ => None,
    }
}

/// What the store has answered means, by the text of the library's error, whose type is not public. Only the error of the
/// reply itself begins like that; others have URLs and times in them.
fn meaning_of_reply(text: &str) -> Option<Meaning> {
    if text.starts_with(FAILED_THOUGH_200) {
        return Some(Meaning::Away);
    }
    let reply = text.strip_prefix(FAILED)?;
    let status = reply.get(..3)?.parse::<u16>().ok()?;
    if status == 507 || has_code(reply, &FULL) {
        return Some(Meaning::Full);
    }
    if has_code(reply, &["NoSuchBucket"]) {
        return Some(Meaning::NoBucket);
    }
    (matches!(status, 408 | 429 | 500..=599) || has_code(reply, &AWAY)).then_some(Meaning::Away)
}

/// Whether a reply has one of these codes in the body that S3 describes.
fn has_code(reply: &str, codes: &[&str]) -> bool {
    codes.iter().any(|code| reply.contains(&format!("<Code>{code}</Code>")))
}

/// How the library's errors of replies begin, the second one of those that failed after their head was sent.
const FAILED: &str = "Server returned non-2xx status code: ";
const FAILED_THOUGH_200: &str = "Server returned error response: ";
/// What stores say that take no more.
const FULL: [&str; 4] = ["InsufficientStorage", "StorageFull", "QuotaExceeded", "XMinioStorageFull"];
/// What they say that are busy.
const AWAY: [&str; 3] = ["SlowDown", "RequestTimeout", "TooManyRequests"];

/// What an error of the store means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Meaning {
    /// It takes no more.
    Full,
    /// It cannot be reached, or does not do its work at this moment.
    Away,
    /// It does not let us in.
    Refused,
    /// The bucket has gone.
    NoBucket,
}

#[cfg(test)]
mod tests;
