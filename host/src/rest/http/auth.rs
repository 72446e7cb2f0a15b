//! From a token to the [`Caller`] it stands for, with a short memory so that a busy client does not cost a query
//! for each request.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::Notify;

use super::client::ClientAddress;
use super::problem::{Problem, ProblemCode};
use crate::datasvc::{Caller, DataSvc, Digest};
use crate::rest::Rest;

/// The reference's header, beside `Authorization`.
pub(in crate::rest) const AUTH_TOKEN: &str = "Auth-Token";

/// How long a token is taken for valid after it was looked up: so long may one work that another server revoked.
const TIME_TO_LIVE: Duration = Duration::from_secs(1);
/// How many tokens are remembered.
const MAX_REMEMBERED: usize = 1024;

impl FromRequestParts<Rest> for Caller {
    // A `Caller` is public and a `Problem` is not.
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, rest: &Rest) -> Result<Self, Response> {
        rest.asking(parts).await.map_err(Problem::into_response)
    }
}

impl Rest {
    /// Who asks, by now.
    ///
    /// # Errors
    /// 401 without a token that is valid.
    pub(in crate::rest) async fn asking(&self, parts: &Parts) -> Result<Caller, Problem> {
        let caller = self.tokens.caller_of(&self.svc, token(&parts.headers)?).await?;
        Ok(caller.at(ClientAddress::of_request(parts)?.ip()))
    }

    /// Who asks with this token, which stands elsewhere than usual.
    ///
    /// # Errors
    /// 401 if it is not valid.
    pub(in crate::rest) async fn caller_with(&self, parts: &Parts, token: &str) -> Result<Caller, Problem> {
        let caller = self.tokens.caller_of(&self.svc, token).await?;
        Ok(caller.at(ClientAddress::of_request(parts)?.ip()))
    }
}

/// Who holds the token in these headers.
pub(in crate::rest) async fn caller(rest: &Rest, headers: &HeaderMap) -> Result<Caller, Problem> {
    rest.tokens.caller_of(&rest.svc, token(headers)?).await
}

/// Whether there is anything in these headers that is meant as a token.
pub(in crate::rest) fn has_token(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION) || headers.contains_key(AUTH_TOKEN)
}

/// The one token in these headers.
fn token(headers: &HeaderMap) -> Result<&str, Problem> {
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(bearer);
    let plain = headers.get_all(AUTH_TOKEN).iter().map(text);
    let mut tokens = bearers.chain(plain).collect::<Result<Vec<_>, Problem>>()?;
    tokens.dedup();
    match tokens[..] {
        [token] => Ok(token),
        [] => {
            let detail = "this needs a token, as `Authorization: Bearer <token>`; log in with POST /global/tokens";
            Err(Problem::new(ProblemCode::NoToken, detail))
        }
        _ => Err(Problem::malformed("the request has several tokens; send one")),
    }
}

/// The token of an `Authorization` header.
fn bearer(value: &HeaderValue) -> Result<&str, Problem> {
    match text(value)?.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim()),
        _ => Err(Problem::new(ProblemCode::NoToken, "`Authorization` has to be `Bearer <token>`")),
    }
}

fn text(value: &HeaderValue) -> Result<&str, Problem> {
    value.to_str().map_err(|_| Problem::new(ProblemCode::InvalidToken, "a token must be ASCII"))
}

/// The callers of the tokens seen last, by the token's SHA-256.
#[derive(Default)]
pub(in crate::rest) struct TokenCache {
    remembered: Mutex<Remembered>,
    revoked: Notify,
}

#[derive(Default)]
struct Remembered {
    callers: HashMap<Digest, (Instant, Caller)>,
    /// Counts the revocations, so that an answer from before one is not remembered after it.
    revocations: u64,
}

impl TokenCache {
    /// Who holds this token.
    async fn caller_of(&self, svc: &DataSvc, token: &str) -> Result<Caller, Problem> {
        let digest = Digest::of(token.as_bytes());
        let revocations = {
            let remembered = self.lock();
            match remembered.callers.get(&digest) {
                Some((since, caller)) if since.elapsed() < TIME_TO_LIVE => return Ok(caller.clone()),
                _ => remembered.revocations,
            }
        };
        let asked = Instant::now();
        let caller = svc.caller_of(token).await?;
        let mut remembered = self.lock();
        if remembered.revocations == revocations {
            if remembered.callers.len() >= MAX_REMEMBERED {
                remembered.callers.clear();
            }
            remembered.callers.insert(digest, (asked, caller.clone()));
        }
        Ok(caller)
    }

    /// Forgets all, because a token was revoked.
    pub(in crate::rest) fn clear(&self) {
        let mut remembered = self.lock();
        remembered.revocations += 1;
        remembered.callers.clear();
        self.revoked.notify_one();
    }

    /// Waits until a token was revoked here. One waits at a time.
    pub(in crate::rest) async fn revoked(&self) {
        self.revoked.notified().await;
    }

    /// Nothing that holds the lock can leave a half-made change behind: a panic elsewhere does not matter.
    fn lock(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
