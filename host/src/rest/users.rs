//! `/global/users`: who may log in, and what they may do.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, NoQuery, Query, refuse_in_url};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::{Created, Json};
use crate::datasvc::{Attributes, Caller, EffectivePermissions, Listed, Permissions, User, UserChange, UserName};

/// What a new user needs.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// The name to log in with, unique in this installation.
    username: UserName,
    /// 8 to 1024 characters. It is accepted in the body only.
    #[schema(format = Password, min_length = 8, max_length = 1024)]
    password: String,
    /// What the user may do; nothing unless it is given.
    #[serde(default)]
    #[schema(required = false)]
    permissions: Permissions,
    /// What to keep with the user.
    #[serde(default)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Lists the users, by name
#[utoipa::path(get, path = "/global/users", operation_id = "users.list", tag = "users",
    params(DocumentsQuery), responses((status = 200, body = Listed<User>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<User>>, Problem> {
    let listed = rest.svc.users(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a user
#[utoipa::path(post, path = "/global/users", operation_id = "users.create", tag = "users",
    request_body = NewUser,
    responses(
        (status = 201, body = User, headers(("Location" = String, description = "Where it is"))),
        (status = 403, description = "You may not manage users, or grant permissions that you do not have"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name, the password or the permissions are not valid"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    uri: Uri,
    Args(new): Args<NewUser>,
) -> Result<Created<Document<User>>, Problem> {
    let NewUser { username, password, permissions, attributes } = new;
    refuse_in_url(&uri, "password")?;
    let user = rest.svc.create_user(&caller, &username, password, &permissions, &attributes).await?;
    Ok(Created::at(format!("/global/users/{username}"), Document::new(user.revision, user)))
}

/// Shows a user
#[utoipa::path(get, path = "/global/users/{user}", operation_id = "users.get", tag = "users",
    params(("user" = UserName, Path, description = "The user, or `current` for whoever asks")),
    responses((status = 200, body = User), (status = 404, description = "No such user")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(user): Path<UserName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<User>, Problem> {
    let user = rest.svc.user(&caller, &meant(&caller, user)).await?;
    Ok(Document::new(user.revision, user))
}

/// Changes a user
///
/// The member `password` sets a new one, which ends all of the user's tokens but the one in use. Without write
/// permission on `_global` you change your own password and attributes.
#[utoipa::path(patch, path = "/global/users/{user}", operation_id = "users.update", tag = "users",
    params(("user" = UserName, Path, description = "The user, or `current` for whoever asks"), IfMatch),
    request_body(content = UserChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = User),
        (status = 404, description = "No such user"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path(user): Path<UserName>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<User>, Problem> {
    let user = rest.svc.update_user(&caller, &meant(&caller, user), &patch, &expected).await?;
    // What the user's tokens stand for has changed, or they are gone.
    rest.tokens.clear();
    Ok(Document::new(user.revision, user))
}

/// Removes a user, with all of the user's tokens
#[utoipa::path(delete, path = "/global/users/{user}", operation_id = "users.delete", tag = "users",
    params(("user" = UserName, Path, description = "The user, or `current` for whoever asks"), IfMatch),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such user"),
        (status = 409, description = "No other user may manage users"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(user): Path<UserName>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_user(&caller, &meant(&caller, user), &expected).await?;
    rest.tokens.clear();
    Ok(StatusCode::NO_CONTENT)
}

/// Shows what a user may do with everything that exists now
///
/// For each application, action and server: the result of all patterns in the user's permissions. For `current` it is
/// what the token in use may do, so its scope counts, too.
#[utoipa::path(get, path = "/global/users/{user}/permissions", operation_id = "users.permissions", tag = "users",
    params(("user" = UserName, Path, description = "The user, or `current` for whoever asks")),
    responses((status = 200, body = EffectivePermissions), (status = 404, description = "No such user")))]
async fn permissions(
    State(rest): State<Rest>,
    caller: Caller,
    Path(user): Path<UserName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<EffectivePermissions>, Problem> {
    let permissions = match user.as_str() {
        UserName::CURRENT => rest.svc.own_permissions(&caller).await?,
        _ => rest.svc.user_permissions(&caller, &user).await?,
    };
    Ok(Json(permissions))
}

/// The user that the path names.
fn meant(caller: &Caller, named: UserName) -> UserName {
    match caller.username() {
        Some(own) if named.as_str() == UserName::CURRENT => own.clone(),
        _ => named,
    }
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::like_post()
        .summary("Creates a user, with arguments in the query string, too; the password is accepted in the body only");
    OpenApiRouter::default()
        .routes(put.beside(create, routes!(list, create)))
        .routes(routes!(get, update, delete))
        .routes(routes!(permissions))
}
