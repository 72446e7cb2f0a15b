//! `/global/gitproviders`: where git repositories are.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, NoQuery, Query, refuse_in_url};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Created;
use crate::datasvc::{
    self, Attributes, BaseUrl, Caller, GitProvider, GitProviderAuth, GitProviderChange, GitProviderName,
    GitProviderType, Listed,
};

/// What a new git provider needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewGitProvider {
    /// Its name, unique in this installation.
    name: GitProviderName,
    /// What kind of service it is. It cannot be changed.
    r#type: GitProviderType,
    /// Where the service is, an `http` or `https` URL. `gitea` and `other` need it, `local` must not have it. For the
    /// others it is needed only if the instance is not the public one.
    base_url: Option<BaseUrl>,
    /// The credentials that Elita uses there. They are stored encrypted, never shown, and accepted in a body only.
    #[param(ignore)]
    #[schema(value_type = Option<GitProviderAuth>)]
    auth: Option<Value>,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// What is accepted in the body only, when the other arguments are in the query string.
#[expect(dead_code, reason = "it describes the body; the handler reads a `NewGitProvider`")]
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGitProviderCredentials)]
struct Credentials {
    /// The credentials that Elita uses there.
    auth: Option<GitProviderAuth>,
}

/// Lists the git providers, by name
#[utoipa::path(get, path = "/global/gitproviders", operation_id = "git-providers.list", tag = "git-providers",
    params(DocumentsQuery), responses((status = 200, body = Listed<GitProvider>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<GitProvider>>, Problem> {
    let listed = rest.svc.git_providers(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a git provider
#[utoipa::path(post, path = "/global/gitproviders", operation_id = "git-providers.create", tag = "git-providers",
    request_body = NewGitProvider,
    responses(
        (status = 201, body = GitProvider, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is not valid, or the URL does not fit the type"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    uri: Uri,
    Args(new): Args<NewGitProvider>,
) -> Result<Created<Document<GitProvider>>, Problem> {
    let NewGitProvider { name, r#type, base_url, auth, attributes } = new;
    refuse_in_url(&uri, "auth")?;
    let new = datasvc::NewGitProvider { name, r#type, base_url, auth, attributes };
    let provider = rest.svc.create_git_provider(&caller, &new).await?;
    Ok(Created::at(format!("/global/gitproviders/{}", new.name), Document::new(provider.revision, provider)))
}

/// Shows a git provider
#[utoipa::path(get, path = "/global/gitproviders/{provider}", operation_id = "git-providers.get",
    tag = "git-providers",
    params(("provider" = GitProviderName, Path, description = "The git provider")),
    responses((status = 200, body = GitProvider), (status = 404, description = "No such git provider")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(provider): Path<GitProviderName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<GitProvider>, Problem> {
    let provider = rest.svc.git_provider(&caller, &provider).await?;
    Ok(Document::new(provider.revision, provider))
}

/// Changes the base URL, the credentials and the attributes of a git provider
///
/// If the base URL changes, the credentials have to be sent again, so that they do not reach another server by mistake.
#[utoipa::path(patch, path = "/global/gitproviders/{provider}", operation_id = "git-providers.update",
    tag = "git-providers",
    params(("provider" = GitProviderName, Path, description = "The git provider"), IfMatch),
    request_body(content = GitProviderChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = GitProvider),
        (status = 404, description = "No such git provider"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path(provider): Path<GitProviderName>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<GitProvider>, Problem> {
    let provider = rest.svc.update_git_provider(&caller, &provider, &patch, &expected).await?;
    Ok(Document::new(provider.revision, provider))
}

/// Removes a git provider that no git repository uses
#[utoipa::path(delete, path = "/global/gitproviders/{provider}", operation_id = "git-providers.delete",
    tag = "git-providers",
    params(("provider" = GitProviderName, Path, description = "The git provider"), IfMatch),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such git provider"),
        (status = 409, description = "Git repositories use it"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(provider): Path<GitProviderName>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_git_provider(&caller, &provider, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewGitProvider>().with_body::<Credentials>();
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
