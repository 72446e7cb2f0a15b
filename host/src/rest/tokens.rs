//! `/global/tokens`: logging in and out.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::True;
use super::http::args::{BodyArgs, NoQuery, Query};
use super::http::auth;
use super::http::client::ClientAddress;
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::{Fault, Problem};
use super::http::reply::{Created, Json};
use crate::datasvc::{Caller, Error, Listed, NewToken, Permissions, Seconds, TimeOrder, Token, TokenId, TokenTerms};

/// Stands for the token in use.
const CURRENT: &str = "current";

/// Who logs in; with a token in a header, what the new token is to be like.
#[derive(Deserialize, ToSchema)]
struct LogIn {
    /// The user's name. It is left out to make a token with the one in use.
    username: Option<String>,
    /// The user's password. It is left out with the name.
    #[schema(format = Password)]
    password: Option<String>,
    /// What to call the token.
    #[schema(min_length = 1, max_length = 128, example = "ci")]
    name: Option<String>,
    /// How long the token lasts, in seconds or as `12h` or `90d`; 30 days unless it is given, at most 366 days.
    expires_in: Option<Seconds>,
    /// What the token may do at most. It grants nothing that the user may not.
    scope: Option<Permissions>,
}

/// How to rotate a token.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RotateQuery {
    /// `true`: put another one in its place.
    #[param(value_type = True)]
    rotate: bool,
    /// How long the new one lasts, in seconds or as `90d`; as long as the one before, unless it is given.
    #[param(value_type = Option<u64>)]
    expires_in: Option<Seconds>,
    /// How long the one before is still valid for, in seconds or as `1h`; 10 minutes unless it is given, at most 7 days.
    #[param(value_type = Option<u32>, maximum = 604800)]
    overlap: Option<Seconds>,
}

/// Logs in: makes a token
///
/// The token is in this reply only. With a token in a header, and without name and password, it makes one that may do
/// no more than that one, lasts no longer, and ends with it.
#[utoipa::path(post, path = "/global/tokens", operation_id = "tokens.create", tag = "tokens",
    security((), ("bearer" = []), ("auth_token" = [])),
    request_body = LogIn,
    responses(
        (status = 201, body = NewToken, headers(("Location" = String, description = "The token, without its secret"))),
        (status = 401, description = "The username or the password is wrong, or the token in use is not valid"),
        (status = 403, description = "The scope is wider than that of the token in use"),
        (status = 429, description = "Too many logins at once, or too many that failed",
            headers(("Retry-After" = u64, description = "How long to wait, in seconds"))),
    ))]
async fn create(
    State(rest): State<Rest>,
    client: ClientAddress,
    headers: HeaderMap,
    BodyArgs(LogIn { username, password, name, expires_in, scope }): BodyArgs<LogIn>,
) -> Result<([(HeaderName, &'static str); 1], Created<Json<NewToken>>), Problem> {
    let terms = TokenTerms {
        expires_in: expires_in.map(Duration::from),
        scope: scope.as_ref(),
        name: name.as_deref(),
        client: headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()),
    };
    let token = match (username, password) {
        (Some(username), Some(password)) => rest.svc.log_in(client.ip(), &username, password, terms).await?,
        (None, None) if auth::has_token(&headers) => {
            let caller = auth::caller(&rest, &headers).await?.at(client.ip());
            rest.svc.narrow_token(&caller, terms).await?
        }
        (username, password) => {
            let given = [("username", username.is_some()), ("password", password.is_some())];
            let missing: Vec<_> = given.into_iter().filter(|(_, given)| !given).map(|(name, _)| name).collect();
            let detail = format!("`{}` is missing, and so is a token in a header", missing.join("`, `"));
            return Err(Problem::malformed(detail).with(missing.iter().map(|name| Fault::in_body(name, "is missing"))));
        }
    };
    let created = Created::at(format!("/global/tokens/{}", token.stored.token_id), Json(token));
    Ok(([(header::CACHE_CONTROL, "no-store")], created))
}

/// Puts a new token in the place of the one in use
///
/// It has the same name and the same scope, and is in this reply only. The one before is valid for a while, so that
/// nothing that has it fails and a reply that was lost can be asked for again. Tokens that were made with the one before
/// end with the new one.
#[utoipa::path(post, path = "/global/tokens/{id}", operation_id = "tokens.rotate", tag = "tokens",
    params(("id" = String, Path, description = "The token in use: its id, or `current`"), RotateQuery),
    responses(
        (status = 201, body = NewToken, headers(("Location" = String, description = "The token, without its secret"))),
        (status = 403, description = "It is not the token in use"),
        (status = 404, description = "No such token"),
        (status = 422, description = "A time is too long"),
    ))]
async fn rotate(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<String>,
    Query(RotateQuery { rotate, expires_in, overlap }): Query<RotateQuery>,
    headers: HeaderMap,
) -> Result<([(HeaderName, &'static str); 1], Created<Json<NewToken>>), Problem> {
    if !rotate {
        return Err(Problem::malformed("a token can be rotated, with `?rotate=true`, and nothing else"));
    }
    let id = token_id(&caller, &id)?;
    if !matches!(&caller, Caller::User { token, .. } if *token == id) {
        rest.svc.token(&caller, id).await?;
        let reason = "only the token in use can be rotated: send the one that is to be replaced".into();
        return Err(Error::Denied { reason }.into());
    }
    let client = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let (expires_in, overlap) = (expires_in.map(Duration::from), overlap.map(Duration::from));
    let token = rest.svc.rotate_token(&caller, expires_in, overlap, client).await?;
    rest.tokens.clear();
    let created = Created::at(format!("/global/tokens/{}", token.stored.token_id), Json(token));
    Ok(([(header::CACHE_CONTROL, "no-store")], created))
}

/// Which tokens to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TokensQuery {
    /// Those with a name that matches: `*` is any run of characters, `?` is one.
    #[param(max_length = 128, example = "ci-*")]
    name: Option<String>,
    /// In which order: the oldest first (`created`), or the newest (`-created`).
    #[serde(default = "oldest_first")]
    #[param(inline, required = false)]
    order: TimeOrder,
    /// The cursor that the page before gave as `next`.
    #[param(format = Uuid)]
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

fn oldest_first() -> TimeOrder {
    TimeOrder::Oldest
}

/// Lists your tokens, or with read permission on `_global` everybody's
#[utoipa::path(get, path = "/global/tokens", operation_id = "tokens.list", tag = "tokens",
    params(TokensQuery), responses((status = 200, body = Listed<Token>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(TokensQuery { name, order, after, limit }): Query<TokensQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Token>>, Problem> {
    let page = PageQuery::new(after, limit).named(name).page()?;
    let listed = rest.svc.tokens(&caller, order, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Shows a token, without its secret
#[utoipa::path(get, path = "/global/tokens/{id}", operation_id = "tokens.get", tag = "tokens",
    params(("id" = String, Path, description = "The token's id, or `current` for the token in use")),
    responses((status = 200, body = Token), (status = 404, description = "No such token")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<Token>, Problem> {
    let id = token_id(&caller, &id)?;
    let token = rest.svc.token(&caller, id).await?;
    Ok(Json(token))
}

/// Revokes a token: with `current`, logs out
#[utoipa::path(delete, path = "/global/tokens/{id}", operation_id = "tokens.delete", tag = "tokens",
    params(("id" = String, Path, description = "The token's id, or `current` for the token in use")),
    responses((status = 204, description = "It is revoked"), (status = 404, description = "No such token")))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(id): Path<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<StatusCode, Problem> {
    let id = token_id(&caller, &id)?;
    rest.svc.delete_token(&caller, id).await?;
    rest.tokens.clear();
    Ok(StatusCode::NO_CONTENT)
}

/// The token that the path names.
fn token_id(caller: &Caller, id: &str) -> Result<TokenId, Problem> {
    match caller {
        Caller::User { token, .. } if id == CURRENT => Ok(*token),
        Caller::User { .. } | Caller::Plugin { .. } => {
            TokenId::parse(id).map_err(|_| Problem::not_found(format!("token `{id}` does not exist")))
        }
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(get, rotate, delete))
}
