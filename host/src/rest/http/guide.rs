//! Help for who asks at a path that nothing is at, or by a method that is not there.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{MatchedPath, Request as Asked};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};

use super::problem::{Problem, ProblemCode};
use crate::rest::api::Api;

/// The longest path that is compared with those that there are, in segments and in bytes.
const MAX_SEGMENTS: usize = 12;
const MAX_BYTES: usize = 512;
/// How much a segment that is spelled otherwise counts at least.
const ANOTHER_SPELLING: usize = 1;

/// What other servers call it.
const ELSEWHERE: [(&[&str], &str); 5] = [
    (&["login", "auth", "session", "sessions"], "/global/tokens"),
    (&["version", "info"], "/about"),
    (&["health", "healthz", "status", "ready", "readyz"], "/health/ready"),
    (&["livez", "live", "ping"], "/health/live"),
    (&["docs", "swagger", "swagger.json", "openapi", "openapi.yaml", "api-docs"], "/openapi.json"),
];
/// Words for one thing.
const SYNONYMS: [(&str, &[&str]); 6] = [
    ("app", &["application"]),
    ("gitrepos", &["repo", "repository", "repositorie"]),
    ("gitproviders", &["provider"]),
    ("keypairs", &["key", "sshkey"]),
    ("data", &["log", "entrie", "event"]),
    ("packages", &["download"]),
];

/// Takes the slashes off the end of a path: what is meant is what is there without them. Not where something is removed:
/// a client makes `/app/shop/` of `/app/shop/builds/..`, and a script of a variable that is empty.
pub(in crate::rest) fn without_trailing_slash<B>(request: &mut Request<B>) {
    let path = request.uri().path().trim_end_matches('/');
    if path.is_empty() || path.len() == request.uri().path().len() || request.method() == Method::DELETE {
        return;
    }
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = target.parse().ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// The reply to a path that no route has.
pub(in crate::rest) async fn nothing_there(uri: Uri, Extension(api): Extension<Arc<Api>>) -> Problem {
    let path = uri.path();
    let detail = format!("there is nothing at `{path}`");
    Problem::not_found(detail).advising(&match meant(&api, path) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`/` shows what there is, and `/openapi.json` all of it".into(),
    })
}

/// The reply to a method that a route does not have, or to the question which it has.
pub(in crate::rest) async fn not_allowed(Extension(api): Extension<Arc<Api>>, request: Asked) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let methods = methods(&api, route);
    let allow = HeaderValue::try_from(methods.join(", ")).map(|methods| [(header::ALLOW, methods)]).ok();
    if request.method() == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, allow, ()).into_response();
    }
    let methods = methods.join(", ");
    let detail = format!("`{}` takes {methods}, and not {}", request.uri().path(), request.method());
    let problem = Problem::new(ProblemCode::MethodNotAllowed, detail);
    (allow, problem).into_response()
}

/// The methods of a route.
fn methods<'a>(api: &'a Api, route: &str) -> Vec<&'a str> {
    let known: Vec<_> = api.methods(route).map(Method::as_str).collect();
    let head = known.contains(&"GET").then_some("HEAD");
    known.into_iter().chain(head).chain(["OPTIONS"]).collect()
}

/// The path that was probably meant: the one that is spelled most like it, or where it begins.
fn meant(api: &Api, path: &str) -> Option<String> {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if path.len() > MAX_BYTES || segments.len() > MAX_SEGMENTS {
        return None;
    }
    let inner = segments.iter().position(|segment| !is_prefix(segment)).unwrap_or(segments.len());
    let segments = &segments[inner..];
    if let [word] = segments
        && let Some((_, path)) = ELSEWHERE.iter().find(|(words, _)| words.contains(&word.to_lowercase().as_str()))
    {
        return Some((*path).to_owned());
    }
    let below_global: Vec<_> = std::iter::once("global").chain(segments.iter().copied()).collect();
    (1..=segments.len()).rev().find_map(|length| {
        let asked = [&segments[..length], &below_global[..=length]];
        let near = asked.into_iter().flat_map(|asked| api.routes().filter_map(move |route| near(route, asked)));
        near.min().map(|(_, path)| path)
    })
}

/// What other servers put in front.
fn is_prefix(segment: &str) -> bool {
    let is_version = segment.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    is_version || ["api", "rest", "elita"].contains(&segment)
}

/// How far a path is from a route that is spelled like it, and the path as the route spells it.
fn near(route: &str, asked: &[&str]) -> Option<(usize, String)> {
    let parts: Vec<_> = route.split('/').skip(1).collect();
    if parts.len() != asked.len() {
        return None;
    }
    let (mut distance, mut path) = (0, String::new());
    for (part, asked) in parts.iter().zip(asked) {
        let is_open = part.starts_with('{');
        // A name is likelier what it is than what anything could be called.
        distance += if is_open { ANOTHER_SPELLING } else { spelled_otherwise(part, asked)? };
        path.push('/');
        path.push_str(if is_open { asked } else { part });
    }
    Some((distance, path))
}

/// How differently two words are spelled. `None`: they are different words.
fn spelled_otherwise(word: &str, asked: &str) -> Option<usize> {
    if word == asked {
        return Some(0);
    }
    let (known, asked) = (plain(word), plain(asked));
    let synonyms = SYNONYMS.iter().find(|(known, _)| *known == word).map_or(&[][..], |(_, synonyms)| *synonyms);
    if known == asked || synonyms.contains(&&*asked) {
        return Some(ANOTHER_SPELLING);
    }
    let distance = strsim::damerau_levenshtein(&known, &asked);
    (distance <= known.len() / 3).then_some(ANOTHER_SPELLING + distance)
}

/// A word in the singular, in lower case and without what stands between its parts.
fn plain(word: &str) -> String {
    let word: String = word.chars().filter(|c| c.is_ascii_alphanumeric()).collect::<String>().to_lowercase();
    word.strip_suffix('s').map_or(word.clone(), str::to_owned)
}
