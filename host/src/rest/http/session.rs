//! Long requests and the token that they began with. If the token is revoked or expires, or its user is removed or gets
//! other permissions, they learn of it within a second, on whichever server it happened.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::auth::TokenCache;
use crate::datasvc::{Caller, DataSvc, Error, Result, TokenId};

/// How often the tokens of all sessions are looked up, together.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// All that go on. Cheap to clone.
#[derive(Clone)]
pub(in crate::rest) struct Sessions {
    svc: DataSvc,
    tokens: Arc<TokenCache>,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    /// By their token, for which one look-up is enough.
    callers: HashMap<TokenId, watch::Sender<Option<Caller>>>,
    /// Whether somebody looks.
    looking: bool,
}

/// A request that goes on.
#[derive(Clone)]
pub(in crate::rest) struct Session {
    caller: watch::Receiver<Option<Caller>>,
}

impl Session {
    /// One whose caller stays who it is.
    pub(in crate::rest) fn lasting(caller: Caller) -> Self {
        Self { caller: watch::channel(Some(caller)).1 }
    }

    /// Who asks, and what they may do by now.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] from when the token is no longer valid.
    pub(in crate::rest) fn caller(&self) -> Result<Caller> {
        self.caller.borrow().clone().ok_or(Error::InvalidToken)
    }

    /// Waits until [`Session::caller`] says something new.
    pub(in crate::rest) async fn changed(&mut self) {
        if self.caller.changed().await.is_err() {
            pending().await
        }
    }
}

impl Sessions {
    pub(in crate::rest) fn new(svc: DataSvc, tokens: Arc<TokenCache>) -> Self {
        Self { svc, tokens, open: Arc::default() }
    }

    /// A request of this caller, from now on.
    pub(in crate::rest) fn begin(&self, caller: Caller) -> Session {
        let Caller::User { token, .. } = &caller else {
            return Session::lasting(caller);
        };
        let mut open = self.lock();
        let known = open.callers.entry(*token).or_insert_with(|| watch::channel(Some(caller)).0);
        let session = Session { caller: known.subscribe() };
        if !open.looking {
            open.looking = true;
            tokio::spawn(self.clone().keep_looking());
        }
        session
    }

    /// Looks the tokens up again and again, while there are sessions.
    async fn keep_looking(self) {
        loop {
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                () = self.tokens.revoked() => {}
            }
            let tokens: Vec<TokenId> = {
                let mut open = self.lock();
                open.callers.retain(|_, caller| caller.receiver_count() > 0);
                open.looking = !open.callers.is_empty();
                open.callers.keys().copied().collect()
            };
            if tokens.is_empty() {
                return;
            }
            // While the database is away a session can read nothing either.
            if let Ok(callers) = self.svc.callers_of(&tokens).await {
                self.tell(&tokens, callers);
            }
        }
    }

    fn tell(&self, tokens: &[TokenId], callers: Vec<Caller>) {
        let mut now: HashMap<_, _> = callers.into_iter().filter_map(|caller| Some((token(&caller)?, caller))).collect();
        let mut open = self.lock();
        for id in tokens {
            match now.remove(id) {
                Some(now) => {
                    if let Some(caller) = open.callers.get(id) {
                        caller.send_if_modified(|caller| replace(caller, now));
                    }
                }
                None => {
                    if let Some(caller) = open.callers.remove(id) {
                        caller.send_replace(None);
                    }
                }
            }
        }
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn token(caller: &Caller) -> Option<TokenId> {
    match caller {
        Caller::User { token, .. } => Some(*token),
        Caller::Plugin { .. } => None,
    }
}

/// Puts in who it is now; true if that makes a difference.
fn replace(caller: &mut Option<Caller>, now: Caller) -> bool {
    let same = match (&*caller, &now) {
        (Some(Caller::User { permissions: before, .. }), Caller::User { permissions, .. }) => before == permissions,
        _ => false,
    };
    *caller = Some(now);
    !same
}
