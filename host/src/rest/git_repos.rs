//! `/app/{app}/gitrepos`: git repositories.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::api::{False, True};
use super::http::args::{Args, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::Created;
use crate::datasvc::{
    self, AppName, Attributes, Caller, GitProviderName, GitRepo, GitRepoChange, GitRepoName, GitUri, KeypairName,
    Listed,
};

/// What a new git repository needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewGitRepo {
    /// Its name, unique within the application.
    name: GitRepoName,
    /// The git provider that it is at.
    gitprovider: Option<GitProviderName>,
    /// The keypair that it is reached with. To name one takes read permission on `_global`.
    keypair: Option<KeypairName>,
    /// Whether it exists already. It has to be true: a repository cannot be created at a provider yet.
    #[serde(default)]
    #[param(value_type = True)]
    #[schema(value_type = True)]
    existing: bool,
    /// Where git clones it from: an `https`, `http`, `ssh`, `git` or `file` URL, `user@host:path`, or an absolute
    /// path; without a password. A repository that exists needs it.
    #[param(value_type = GitUri)]
    #[schema(value_type = GitUri)]
    uri: Option<GitUri>,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// How a git repository is to be removed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Removal {
    /// Whether it is to be removed at its provider, too, which cannot be done yet.
    #[serde(default)]
    #[param(value_type = Option<False>)]
    delete: bool,
}

/// Lists the git repositories of an application, by name
#[utoipa::path(get, path = "/app/{app}/gitrepos", operation_id = "git-repos.list", tag = "git-repos",
    params(("app" = AppName, Path, description = "The application"), PageQuery),
    responses((status = 200, body = Listed<GitRepo>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<PageQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<GitRepo>>, Problem> {
    let listed = rest.svc.git_repos(&caller, &app, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Registers a git repository that exists already
#[utoipa::path(post, path = "/app/{app}/gitrepos", operation_id = "git-repos.create", tag = "git-repos",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewGitRepo,
    responses(
        (status = 201, body = GitRepo, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422,
            description = "The repository, its git provider or its keypair does not exist, or it has no valid URI"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewGitRepo>,
) -> Result<Created<Document<GitRepo>>, Problem> {
    let NewGitRepo { name, gitprovider, keypair, existing, uri, attributes } = new;
    let new = datasvc::NewGitRepo { name, gitprovider, keypair, existing, uri, attributes };
    let repo = rest.svc.create_git_repo(&caller, &app, &new).await?;
    Ok(Created::at(format!("/app/{app}/gitrepos/{}", repo.name), Document::new(repo.revision, repo)))
}

/// Shows a git repository
#[utoipa::path(get, path = "/app/{app}/gitrepos/{repo}", operation_id = "git-repos.get", tag = "git-repos",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("repo" = GitRepoName, Path, description = "The git repository"),
    ),
    responses((status = 200, body = GitRepo), (status = 404, description = "No such git repository")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, repo)): Path<(AppName, GitRepoName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<GitRepo>, Problem> {
    let repo = rest.svc.git_repo(&caller, &app, &repo).await?;
    Ok(Document::new(repo.revision, repo))
}

/// Changes the URI, the git provider and the attributes of a git repository
#[utoipa::path(patch, path = "/app/{app}/gitrepos/{repo}", operation_id = "git-repos.update", tag = "git-repos",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("repo" = GitRepoName, Path, description = "The git repository"),
        IfMatch,
    ),
    request_body(content = GitRepoChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = GitRepo),
        (status = 404, description = "No such git repository"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, repo)): Path<(AppName, GitRepoName)>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<GitRepo>, Problem> {
    let repo = rest.svc.update_git_repo(&caller, &app, &repo, &patch, &expected).await?;
    Ok(Document::new(repo.revision, repo))
}

/// Removes a git repository, but not at its provider
#[utoipa::path(delete, path = "/app/{app}/gitrepos/{repo}", operation_id = "git-repos.delete", tag = "git-repos",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("repo" = GitRepoName, Path, description = "The git repository"),
        Removal,
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such git repository"),
        (status = 409, description = "Gitdeploys use it, which the detail names"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "It cannot be removed at its provider yet"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, repo)): Path<(AppName, GitRepoName)>,
    Query(Removal { delete: at_provider }): Query<Removal>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_git_repo(&caller, &app, &repo, at_provider, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewGitRepo>()
        .summary("Registers a git repository that exists already, with the arguments in the query string");
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete))
}
