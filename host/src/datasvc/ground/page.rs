//! Keyset paging, shared by all lists.

use std::fmt;
use std::pin::pin;

use futures_util::{Stream, TryStreamExt as _};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::error::{Error, Result};
use super::glob::matches;
use super::ids::JobId;

/// The longest page, as JSON in bytes.
pub(in crate::datasvc) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// By how much the time in an id and the time that is shown of what has it differ at most.
const BETWEEN_ID_AND_TIME: time::Duration = time::Duration::hours(1);

/// How many characters a pattern of names has.
const MAX_PATTERN_LENGTH: usize = 128;

/// Which part of a list: what comes after the cursor, at most so many, of those with names that match.
#[derive(Clone, Debug)]
pub struct Page {
    after: Option<String>,
    limit: u16,
    names: Option<NamePattern>,
    order: Order,
}

/// Where a page of documents begins.
#[derive(Debug)]
pub(in crate::datasvc) struct Start {
    /// Whether the newest come first.
    pub(in crate::datasvc) is_newest_first: bool,
    /// Whether the oldest do. If neither do, they come by name.
    pub(in crate::datasvc) is_oldest_first: bool,
    /// The name that it comes after.
    pub(in crate::datasvc) name: Option<String>,
    /// When what has that name was created, if they do not come by name.
    pub(in crate::datasvc) created_at: Option<OffsetDateTime>,
}

/// A pattern of names, in which `*` is any run of characters and `?` is one.
#[derive(Clone, Debug)]
pub struct NamePattern {
    glob: String,
    like: String,
}

impl NamePattern {
    /// # Errors
    /// [`Error::Invalid`] if it is longer than 128 characters.
    pub fn new(glob: impl Into<String>) -> Result<Self> {
        let glob = glob.into();
        if glob.chars().count() > MAX_PATTERN_LENGTH || glob.contains('\0') {
            return Err(Error::invalid("name", format!("a pattern has at most {MAX_PATTERN_LENGTH} characters")));
        }
        let mut like = String::with_capacity(glob.len());
        for c in glob.chars() {
            match c {
                // One after the other means no more, and takes longer.
                '*' if like.ends_with('%') && !like.ends_with("\\%") => {}
                '*' => like.push('%'),
                '?' => like.push('_'),
                '%' | '_' | '\\' => like.extend(['\\', c]),
                _ => like.push(c),
            }
        }
        Ok(Self { glob, like })
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.glob
    }

    /// The same for SQL's `like`.
    pub(in crate::datasvc) fn like(&self) -> &str {
        &self.like
    }

    /// The one name that matches, if it stands for one.
    pub(in crate::datasvc) fn exact(&self) -> Option<&str> {
        (!self.glob.contains(['*', '?'])).then_some(&*self.glob)
    }

    fn matches(&self, name: &str) -> bool {
        matches(self.glob.as_bytes(), name.as_bytes())
    }
}

/// In which order a list is read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, utoipa::ToSchema)]
pub enum Order {
    /// By name.
    #[default]
    #[serde(rename = "name")]
    Name,
    /// The newest first.
    #[serde(rename = "-created")]
    Newest,
    /// The oldest first.
    #[serde(rename = "created")]
    Oldest,
}

/// In which order a list is read that has no names to go by.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Deserialize, utoipa::ToSchema)]
pub enum TimeOrder {
    /// The newest first.
    #[default]
    #[serde(rename = "-created")]
    Newest,
    /// The oldest first.
    #[serde(rename = "created")]
    Oldest,
}

impl TimeOrder {
    /// Whether the newest come first.
    pub(in crate::datasvc) fn is_newest_first(self) -> bool {
        self == Self::Newest
    }

    /// Which ids a list goes through that has only what was created since one time and until another one: those after the
    /// first of these, up to the second one. There are others among them, made a little before or after these times.
    pub(in crate::datasvc) fn ids(
        self,
        after: Option<JobId>,
        since: Option<OffsetDateTime>,
        until: Option<OffsetDateTime>,
    ) -> (JobId, JobId) {
        let since = since.map(|since| JobId::from_time(since.saturating_sub(BETWEEN_ID_AND_TIME)));
        let until = until.map(|until| JobId::from_time(until.saturating_add(BETWEEN_ID_AND_TIME)));
        let (since, until) = (since.unwrap_or(JobId::FIRST), until.unwrap_or(JobId::LAST));
        match self {
            Self::Newest => (after.map_or(until, |after| after.min(until)), since),
            Self::Oldest => (after.map_or(since, |after| after.max(since)), until),
        }
    }
}

/// Where a page of a list begins that is in the order of time: behind the one with this time and this name.
#[derive(Debug)]
pub(in crate::datasvc) struct AgeCursor {
    at: OffsetDateTime,
    name: String,
}

impl AgeCursor {
    pub(in crate::datasvc) fn of(at: OffsetDateTime, name: &str) -> Self {
        Self { at, name: name.to_owned() }
    }

    /// # Errors
    /// [`Error::Invalid`] if no list has given it.
    pub(in crate::datasvc) fn parse(cursor: &str) -> Result<Self> {
        let none = || Error::invalid("after", "this is not a cursor");
        let (micros, name) = cursor.split_once('.').ok_or_else(none)?;
        let micros: i64 = micros.parse().map_err(|_| none())?;
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).map_err(|_| none())?;
        Ok(Self::of(at, name))
    }

    pub(in crate::datasvc) fn into_parts(self) -> (OffsetDateTime, String) {
        (self.at, self.name)
    }
}

impl fmt::Display for AgeCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As exact as the database's times are.
        write!(f, "{}.{}", self.at.unix_timestamp_nanos() / 1000, self.name)
    }
}

impl Page {
    /// How many items a page has unless the caller says otherwise.
    pub const DEFAULT_LIMIT: u32 = 100;
    /// How many items a page has at most.
    pub const MAX_LIMIT: u32 = 1000;

    /// # Errors
    /// [`Error::Invalid`] if `limit` is not 1 to 1000.
    pub fn new(after: Option<String>, limit: Option<u32>) -> Result<Self> {
        if after.as_ref().is_some_and(|after| after.contains('\0')) {
            return Err(Error::invalid("after", "a cursor has no NUL in it"));
        }
        let limit = limit.unwrap_or(Self::DEFAULT_LIMIT);
        match u16::try_from(limit) {
            Ok(within) if (1..=Self::MAX_LIMIT).contains(&limit) => {
                Ok(Self { after, limit: within, names: None, order: Order::Name })
            }
            _ => Err(Error::invalid("limit", format!("a page has 1 to {} items, not {limit}", Self::MAX_LIMIT))),
        }
    }

    /// The same of a list of those whose names match.
    ///
    /// # Errors
    /// Those of [`NamePattern::new`].
    pub fn named(self, glob: Option<String>) -> Result<Self> {
        Ok(Self { names: glob.map(NamePattern::new).transpose()?, ..self })
    }

    /// The same of a list in this order.
    #[must_use]
    pub fn ordered(self, order: Order) -> Self {
        Self { order, ..self }
    }

    /// The same of what comes after this cursor.
    #[must_use]
    pub(in crate::datasvc) fn continued(self, after: String) -> Self {
        Self { after: Some(after), ..self }
    }

    /// Where it begins.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the list has given no such cursor in this order.
    pub(in crate::datasvc) fn start(&self) -> Result<Start> {
        let (created_at, name) = match self.order {
            Order::Name => (None, self.after.clone()),
            Order::Newest | Order::Oldest => self.after_as(AgeCursor::parse)?.map(AgeCursor::into_parts).unzip(),
        };
        let (is_newest_first, is_oldest_first) = (self.order == Order::Newest, self.order == Order::Oldest);
        Ok(Start { is_newest_first, is_oldest_first, name, created_at })
    }

    /// The cursor after what has this name and was created then.
    pub(in crate::datasvc) fn cursor(&self, created_at: OffsetDateTime, name: &str) -> String {
        match self.order {
            Order::Name => name.to_owned(),
            Order::Newest | Order::Oldest => AgeCursor::of(created_at, name).to_string(),
        }
    }

    /// The names to list, for SQL's `like`.
    pub(in crate::datasvc) fn like(&self) -> Option<&str> {
        self.names.as_ref().map(NamePattern::like)
    }

    /// The cursor: the last item's key on the page before.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// How many items the page has at most.
    pub fn limit(&self) -> usize {
        self.limit.into()
    }

    /// The cursor as what the list is ordered by.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the list has given no such cursor.
    pub(in crate::datasvc) fn after_as<T>(&self, parse: impl FnOnce(&str) -> Result<T>) -> Result<Option<T>> {
        let cursor = self.after().map(parse).transpose();
        cursor.map_err(|_| Error::invalid("after", "this list gives no such cursor; take the `next` of a page"))
    }

    /// The part of a list that is at hand as a whole, in the order of `key`.
    pub fn of<T>(&self, mut items: Vec<T>, key: impl Fn(&T) -> &str) -> Listed<T> {
        items.retain(|item| self.after().is_none_or(|after| key(item) > after));
        items.retain(|item| self.names.as_ref().is_none_or(|names| names.matches(key(item))));
        self.cut(items, |item| key(item).to_owned())
    }

    /// One more than the page holds, which shows whether another one follows.
    pub(in crate::datasvc) fn fetch(&self) -> i64 {
        i64::from(self.limit) + 1
    }

    /// Gathers the page from what the database sends, and reads no further than it is long: items with much in them make
    /// it shorter than was asked for.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::datasvc) async fn gather<T: Serialize>(
        &self,
        rows: impl Stream<Item = sqlx::Result<T>>,
        key: impl Fn(&T) -> String,
    ) -> Result<Listed<T>> {
        let mut rows = pin!(rows);
        let (mut items, mut bytes) = (Vec::new(), 0);
        while let Some(item) = rows.try_next().await? {
            bytes += serde_json::to_vec(&item).map_err(Error::internal)?.len();
            if items.len() == usize::from(self.limit) || (bytes > MAX_BYTES && !items.is_empty()) {
                return Ok(Listed { next: items.last().map(key), items });
            }
            items.push(item);
        }
        Ok(Listed { items, next: None })
    }

    /// Cuts what [`Page::fetch`] brought to the page, and says where the next one begins.
    pub(in crate::datasvc) fn cut<T>(&self, items: Vec<T>, key: impl Fn(&T) -> String) -> Listed<T> {
        self.cut_from(items.len() as i64, items, key)
    }

    /// The same where some of the `found` ones at the end were left out, because the others are long enough.
    pub(in crate::datasvc) fn cut_from<T>(
        &self,
        found: i64,
        mut items: Vec<T>,
        key: impl Fn(&T) -> String,
    ) -> Listed<T> {
        items.truncate(usize::from(self.limit));
        let next = items.last().filter(|_| (items.len() as i64) < found).map(key);
        Listed { items, next }
    }
}

/// A part of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Listed<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// The cursor of the next page, for `?after=`; null on the last one.
    pub next: Option<String>,
}
