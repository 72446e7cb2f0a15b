//! `/app/{app}/gitrepos`: git repositories.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::page::{DocumentsQuery, ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::{Accepted, Created, SubmittedJob};
use crate::datasvc::{
    self, AppName, Attributes, Caller, Commit, FileChange, GitProviderName, GitRepo, GitRepoChange, GitRepoName,
    GitUri, KeypairName, Listed,
};
use crate::work::{CommitsAsked, Compared};

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
    /// The only key that the SSH host of the URI may show, as `ssh-keyscan` prints it behind the host's name. Without
    /// it, the one that is shown at the first contact is kept; those of GitHub, GitLab and Bitbucket are known.
    #[param(format = "ssh-public-key")]
    #[schema(format = "ssh-public-key")]
    host_key: Option<String>,
    /// Whether it exists already. Otherwise a job makes it at its git provider: the reply's `state` is `creating`, and
    /// `job_id` says which job that is.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    existing: bool,
    /// Where git clones it from: an `https`, `http`, `ssh`, `git` or `file` URL, `user@host:path`, or an absolute
    /// path; without a password. A repository that exists needs it, and one that is made at a git provider, where it
    /// says the owner and the name. One that is made on the disk of this server has its place chosen.
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
    /// Whether it is to be removed with what is in it, too, by a job. Only for repositories that Elita has made.
    #[serde(default)]
    #[param(required = false)]
    delete: bool,
}

/// Lists the git repositories of an application, by name
#[utoipa::path(get, path = "/app/{app}/gitrepos", operation_id = "git-repos.list", tag = "git-repos",
    params(("app" = AppName, Path, description = "The application"), DocumentsQuery),
    responses((status = 200, body = Listed<GitRepo>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<GitRepo>>, Problem> {
    let listed = rest.svc.git_repos(&caller, &app, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Registers a git repository: one that exists already, or one that a job makes
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
    let NewGitRepo { name, gitprovider, keypair, host_key, existing, uri, attributes } = new;
    let new = datasvc::NewGitRepo { name, gitprovider, keypair, host_key, existing, uri, attributes };
    let repo = rest.work.create_git_repo(&caller, &app, &new).await?;
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

/// Removes a git repository; with `delete` also its content, by a job
#[utoipa::path(delete, path = "/app/{app}/gitrepos/{repo}", operation_id = "git-repos.delete", tag = "git-repos",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("repo" = GitRepoName, Path, description = "The git repository"),
        Removal,
        IfMatch,
    ),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job that removes it"))),
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such git repository"),
        (status = 409, description = "Gitdeploys use it, which the detail names, or a job works on it"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "Elita did not create it, so its content cannot be removed"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, repo)): Path<(AppName, GitRepoName)>,
    Query(Removal { delete: at_provider }): Query<Removal>,
    IfMatch(expected): IfMatch,
) -> Result<Response, Problem> {
    let removing = rest.work.delete_git_repo(&caller, &app, &repo, at_provider, &expected).await?;
    Ok(match removing {
        Some(enqueued) => Accepted::job(enqueued, repo.to_string()).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// Which commits to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LogQuery {
    /// The branch, or the commit to begin with. Without it the list begins with the commit of the last build.
    #[param(max_length = 250)]
    branch: Option<String>,
    /// The cursor that the page before gave as `next`: the id of a commit.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the commits of a git repository, newest first
///
/// Where a commit comes after several others, the list goes on with the first of them.
#[utoipa::path(get, path = "/app/{app}/gitrepos/{repo}/log", operation_id = "git-repos.log", tag = "git-repos",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("repo" = GitRepoName, Path, description = "The git repository"),
        LogQuery,
    ),
    responses(
        (status = 200, body = Listed<Commit>),
        (status = 404, description = "No such git repository"),
        (status = 409, description = "It is not ready, or not on the disk of this server"),
        (status = 422, description = "It has no such branch or commit"),
    ))]
async fn log(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, repo)): Path<(AppName, GitRepoName)>,
    Query(LogQuery { branch, limit, after }): Query<LogQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Commit>>, Problem> {
    let page = PageQuery::new(after, limit).page()?;
    let listed = rest.work.commits(&caller, &app, &repo, CommitsAsked { branch }, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Which commits to compare.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DiffQuery {
    /// The older one: a branch or a commit. Without it, the one that the newer comes after.
    #[param(max_length = 250)]
    from: Option<String>,
    /// The newer one. Without it, the commit of the last build.
    #[param(max_length = 250)]
    to: Option<String>,
    /// The cursor that the page before gave as `next`: a path.
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// Lists the files that differ between two commits, by path
#[utoipa::path(get, path = "/app/{app}/gitrepos/{repo}/diff", operation_id = "git-repos.diff", tag = "git-repos",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("repo" = GitRepoName, Path, description = "The git repository"),
        DiffQuery,
    ),
    responses(
        (status = 200, body = Listed<FileChange>),
        (status = 404, description = "No such git repository"),
        (status = 409, description = "It is not ready, or not on the disk of this server"),
        (status = 422, description = "It has no such branch or commit"),
    ))]
async fn diff(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, repo)): Path<(AppName, GitRepoName)>,
    Query(DiffQuery { from, to, limit, after }): Query<DiffQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<FileChange>>, Problem> {
    let page = PageQuery::new(after, limit).page()?;
    let listed = rest.work.changed_files(&caller, &app, &repo, Compared { from, to }, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewGitRepo>().summary("Registers a git repository, with the arguments in the query string");
    OpenApiRouter::default()
        .routes(put.beside(create, routes!(list, create)))
        .routes(routes!(get, update, delete))
        .routes(routes!(log))
        .routes(routes!(diff))
}
