//! How long a request may wait for what it asks for: `wait=30` in the query string, or `Prefer: wait=30` (RFC 7240).

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::form;
use super::problem::Problem;
use crate::datasvc::{Error, Seconds};

/// The longest that a request may wait, in seconds.
pub(in crate::rest) const MAX_WAIT_SECONDS: u64 = 60;

const PREFER: &str = "Prefer";
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What the client prefers, in seconds. What cannot be read is not a preference, and more than the longest is the longest.
pub(in crate::rest) struct Preferred(Option<u64>);

impl<S: Sync> FromRequestParts<S> for Preferred {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Ok(Self::of(&parts.headers))
    }
}

impl Preferred {
    fn of(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(PREFER).iter().filter_map(|line| line.to_str().ok());
        let wait = lines.flat_map(|line| line.split(',')).find_map(|preference| {
            let (name, value) = preference.split(';').next()?.split_once('=')?;
            let wait = name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"').parse().ok());
            wait.flatten()
        });
        Self(wait.map(|wait: u64| wait.min(MAX_WAIT_SECONDS)))
    }

    /// How long to wait, where the query string may say it, too, and goes first.
    ///
    /// # Errors
    /// 422 if it says more than the longest.
    pub(in crate::rest) fn unless(&self, asked: Option<Seconds>) -> Result<Duration, Problem> {
        let seconds = match asked {
            Some(Seconds(asked)) if asked > MAX_WAIT_SECONDS => {
                return Err(Error::invalid("wait", format!("at most {MAX_WAIT_SECONDS} seconds are waited")).into());
            }
            Some(Seconds(asked)) => asked,
            None => self.0.unwrap_or(0),
        };
        Ok(Duration::from_secs(seconds))
    }

    /// Says in the reply that the preference was followed.
    pub(in crate::rest) fn applied(&self, asked: Option<Seconds>) -> Option<[(HeaderName, HeaderValue); 1]> {
        let wait = self.0.filter(|_| asked.is_none())?;
        Some([(PREFERENCE_APPLIED, HeaderValue::try_from(format!("wait={wait}")).ok()?)])
    }
}

/// How long a request for something that can be waited for may wait at most.
pub(in crate::rest) fn at_most(uri: &Uri, headers: &HeaderMap) -> Duration {
    let pairs = form::pairs(uri.query().unwrap_or_default()).unwrap_or_default();
    let asks = pairs.iter().any(|(name, _)| name == "wait") || Preferred::of(headers).0.is_some();
    Duration::from_secs(if asks { MAX_WAIT_SECONDS } else { 0 })
}
