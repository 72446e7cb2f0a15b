//! Which of many things a caller may see. How long it takes to compare names with patterns depends on the patterns, and
//! so on the caller.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt as _};
use serde::Serialize;

use super::aside::aside;
use super::caller::Caller;
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::page::{Listed, MAX_BYTES, Page, Start};

/// What is compared on the threads that answer requests: a few milliseconds at worst.
const QUICK: usize = 32_768;
/// How many things are looked at in one turn, where it takes longer.
pub(super) const IN_ONE_TURN: usize = 100;
/// How many rows the second statement of a list reads, and each one after that.
const MORE_ROWS: i64 = 500;

/// Some rows of a list, and what each adds to the length of the list.
pub(in crate::datasvc) struct Part<T> {
    rows: Vec<(T, usize)>,
    /// Whether rows may follow.
    has_more: bool,
}

impl<T: Serialize> Part<T> {
    /// What a statement sends that was asked for so many rows; less, if there is much in them.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub(in crate::datasvc) async fn of(rows: impl Stream<Item = sqlx::Result<T>>, limit: i64) -> Result<Self> {
        let mut stream = pin!(rows);
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while let Some(row) = stream.try_next().await? {
            let length = serde_json::to_vec(&row).map_err(Error::internal)?.len();
            bytes += length;
            rows.push((row, length));
            if bytes > MAX_BYTES {
                return Ok(Self { rows, has_more: true });
            }
        }
        let has_more = rows.len() as i64 >= limit;
        Ok(Self { rows, has_more })
    }
}

/// A page of a list of which the caller may see some rows only. The first statement asks for as many as the page has,
/// and others for more, until it is full.
pub(in crate::datasvc) struct VisiblePage<'p, T> {
    caller: &'p Caller,
    page: &'p Page,
    /// What is to be read next.
    from: Page,
    limit: i64,
    items: Vec<T>,
    bytes: usize,
}

impl<'p, T: Send + 'static> VisiblePage<'p, T> {
    pub(in crate::datasvc) fn of(caller: &'p Caller, page: &'p Page) -> Self {
        Self { caller, page, from: page.clone(), limit: page.fetch(), items: Vec::new(), bytes: 0 }
    }

    /// Where the next statement begins.
    ///
    /// # Errors
    /// Those of [`Page::start`].
    pub(in crate::datasvc) fn start(&self) -> Result<Start> {
        self.from.start()
    }

    /// How many rows the next statement asks for.
    pub(in crate::datasvc) fn limit(&self) -> i64 {
        self.limit
    }

    /// Takes in what a statement has sent, and returns the page when it is complete.
    ///
    /// # Errors
    /// [`Error::Throttled`] if too many compare patterns already.
    pub(in crate::datasvc) async fn take(
        &mut self,
        part: Part<T>,
        may: fn(&Caller, &T) -> bool,
        cursor: impl Fn(&T) -> String,
    ) -> Result<Option<Listed<T>>> {
        let Part { rows, has_more } = part;
        if let Some((last, _)) = rows.last() {
            self.from = self.page.clone().continued(cursor(last));
        }
        for (item, length) in visible(self.caller, rows, move |caller, (row, _)| may(caller, row)).await? {
            self.bytes += length;
            if self.items.len() == self.page.limit() || (self.bytes > MAX_BYTES && !self.items.is_empty()) {
                let next = self.items.last().map(cursor);
                return Ok(Some(Listed { items: std::mem::take(&mut self.items), next }));
            }
            self.items.push(item);
        }
        self.limit = MORE_ROWS;
        Ok((!has_more).then(|| Listed { items: std::mem::take(&mut self.items), next: None }))
    }
}

/// Those of these things that the caller may see. No connection is to be held meanwhile.
///
/// # Errors
/// [`Error::Throttled`] if too many compare patterns already.
pub(in crate::datasvc) async fn visible<T: Send + 'static>(
    caller: &Caller,
    things: Vec<T>,
    may: impl Fn(&Caller, &T) -> bool + Clone + Send + 'static,
) -> Result<Vec<T>> {
    if caller.pattern_work().saturating_mul(things.len()) <= QUICK {
        return Ok(things.into_iter().filter(|thing| may(caller, thing)).collect());
    }
    let (mut visible, mut things) = (Vec::new(), things.into_iter());
    loop {
        let some: Vec<T> = things.by_ref().take(IN_ONE_TURN).collect();
        if some.is_empty() {
            return Ok(visible);
        }
        let (asking, may) = (caller.clone(), may.clone());
        let look = move |_: &_| some.into_iter().filter(|thing| may(&asking, thing)).collect::<Vec<_>>();
        visible.extend(aside(caller, look).await?);
    }
}

#[cfg(test)]
mod tests;
