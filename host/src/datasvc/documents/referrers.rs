//! What refers to a thing and so keeps it from being removed or changed, as an error names it.

use std::pin::pin;

use futures_util::{Stream, TryStreamExt as _};

use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::Result;
use crate::datasvc::ground::ids::AppName;

/// How many of them are named.
pub(super) const NAMED: i64 = 5;

/// One of those that refer to it.
pub(super) struct Referrer {
    /// Its name.
    pub(super) name: String,
    /// How many there are of its kind.
    pub(super) count: i64,
}

/// One of those that refer to it, of any application.
pub(super) struct AppReferrer {
    /// Its application.
    pub(super) application: AppName,
    /// Its name.
    pub(super) name: String,
    /// How many there are of its kind.
    pub(super) count: i64,
}

/// Says which there are, such as "the groups `a`, `b` and 3 more". `None`: nothing was found.
pub(super) fn named(kind: &str, found: &[Referrer]) -> Option<String> {
    let names: Vec<_> = found.iter().map(|referrer| referrer.name.as_str()).collect();
    said(kind, &names, found.first()?.count)
}

/// The same for what may be of applications that the caller may not read, which is counted and not named.
pub(super) async fn named_to(
    caller: &Caller,
    kind: &str,
    found: impl Stream<Item = sqlx::Result<AppReferrer>>,
) -> Result<Option<String>> {
    let (mut found, mut names, mut count) = (pin!(found), Vec::new(), 0);
    while (names.len() as i64) < NAMED
        && let Some(referrer) = found.try_next().await?
    {
        count = referrer.count;
        if caller.may(Permission::Read, &referrer.application) {
            names.push(format!("{}/{}", referrer.application, referrer.name));
        }
    }
    Ok(said(kind, &names, count))
}

fn said(kind: &str, names: &[impl AsRef<str>], count: i64) -> Option<String> {
    let plural = if count == 1 { "" } else { "s" };
    let more = count - names.len() as i64;
    match names {
        [] if count == 0 => None,
        [] => Some(format!("{count} {kind}{plural} that you may not see")),
        names => {
            let names: Vec<_> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            Some(format!("the {kind}{plural} {}{more}", names.join(", ")))
        }
    }
}
