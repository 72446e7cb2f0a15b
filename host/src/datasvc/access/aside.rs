//! Work whose length depends on the client, such as comparing patterns. It runs on other threads than those that answer
//! requests, a little of it at a time, and never for long.

use std::sync::{Arc, LazyLock};

use tokio::sync::{Semaphore, oneshot};

use super::caller::Caller;
use crate::datasvc::ground::aside::{Aside, aside_at_once};
use crate::datasvc::ground::error::{Error, Result};
use crate::shares::Shares;

/// How much is done at a time, so that a core is left for everybody else.
const AT_A_TIME: usize = 1;
/// How many may wait for their turn.
const MAX_WAITING: usize = 64;

static TURNS: Semaphore = Semaphore::const_new(AT_A_TIME);
/// By user: if too many wait, the user who has the most of them loses some.
static WAITING: LazyLock<Arc<Shares<String>>> = LazyLock::new(|| Shares::new(MAX_WAITING));

/// Does this work for a caller, when its turn has come. No lock and no connection is to be held meanwhile.
///
/// # Errors
/// [`Error::Throttled`] if too many wait already.
pub(in crate::datasvc) async fn aside<T: Send + 'static>(
    caller: &Caller,
    work: impl FnOnce(&Aside) -> T + Send + 'static,
) -> Result<T> {
    let who = caller.username().map(ToString::to_string).unwrap_or_default();
    let (ousted, told) = oneshot::channel();
    let place = WAITING.take(who, 1, move || ousted.send(()).unwrap_or_default()).ok_or_else(Error::too_busy)?;
    let turn = tokio::select! {
        turn = TURNS.acquire() => turn.map_err(Error::internal)?,
        Ok(()) = told => return Err(Error::too_busy()),
    };
    drop(place);
    aside_at_once(move |aside| {
        let _turn = turn;
        work(aside)
    })
    .await
}
