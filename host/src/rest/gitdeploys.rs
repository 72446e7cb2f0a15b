//! `/app/{app}/gitdeploys`: gitdeploys as records.

use std::fmt;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use utoipa::openapi::schema::AnyOf;
use utoipa::openapi::{Array, Object, RefOr, Schema, Type};
use utoipa::{IntoParams, PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::put::Put;
use super::http::args::{Args, Keyed, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::idempotency::IdempotencyKey;
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::{Fault, Problem};
use super::http::reply::{Accepted, Created, SubmittedJob};
use crate::datasvc::{
    self, AppName, Attributes, BuildName, Caller, Gitdeploy, GitdeployActions, GitdeployChange, GitdeployLocation,
    GitdeployName, GitdeployOptions, Listed, PackageName, ServerName, ServersAsked,
};
use crate::work::ServersTask;

/// What a new gitdeploy needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewGitdeploy {
    /// Its name, unique within the application.
    name: GitdeployName,
    /// The package of a build that is deployed.
    package: PackageName,
    /// Where it goes.
    location: GitdeployLocation,
    /// How it is committed and pulled.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    options: GitdeployOptions,
    /// What runs on each server around a pull.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    actions: GitdeployActions,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// Lists the gitdeploys of an application, by name
#[utoipa::path(get, path = "/app/{app}/gitdeploys", operation_id = "gitdeploys.list", tag = "gitdeploys",
    params(("app" = AppName, Path, description = "The application"), DocumentsQuery),
    responses((status = 200, body = Listed<Gitdeploy>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Gitdeploy>>, Problem> {
    let listed = rest.svc.gitdeploys(&caller, &app, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a gitdeploy, to be initialized on servers
#[utoipa::path(post, path = "/app/{app}/gitdeploys", operation_id = "gitdeploys.create", tag = "gitdeploys",
    params(("app" = AppName, Path, description = "The application")),
    request_body = NewGitdeploy,
    responses(
        (status = 201, body = Gitdeploy, headers(("Location" = String, description = "Where it is"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "A value is not valid, such as a git repository that does not exist"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Args(new): Args<NewGitdeploy>,
) -> Result<Created<Document<Gitdeploy>>, Problem> {
    let NewGitdeploy { name, package, location, options, actions, attributes } = new;
    let new = datasvc::NewGitdeploy { name, package, location, options, actions, attributes };
    let gitdeploy = rest.svc.create_gitdeploy(&caller, &app, &new).await?;
    Ok(Created::at(format!("/app/{app}/gitdeploys/{}", gitdeploy.name), Document::new(gitdeploy.revision, gitdeploy)))
}

/// Shows a gitdeploy, with the servers on which it is initialized
#[utoipa::path(get, path = "/app/{app}/gitdeploys/{gitdeploy}", operation_id = "gitdeploys.get", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
    ),
    responses((status = 200, body = Gitdeploy), (status = 404, description = "No such gitdeploy")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Gitdeploy>, Problem> {
    let gitdeploy = rest.svc.gitdeploy(&caller, &app, &gitdeploy).await?;
    Ok(Document::new(gitdeploy.revision, gitdeploy))
}

/// Changes what a gitdeploy deploys, where and how, and its attributes
#[utoipa::path(patch, path = "/app/{app}/gitdeploys/{gitdeploy}",
    operation_id = "gitdeploys.update", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
        IfMatch,
    ),
    request_body(content = GitdeployChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = Gitdeploy),
        (status = 404, description = "No such gitdeploy"),
        (status = 403, description = "You may not use all servers on which the changed commands would run"),
        (status = 409, description = "It is initialized on servers, so its location and `autocrlf` cannot change"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<Gitdeploy>, Problem> {
    let gitdeploy = rest.svc.update_gitdeploy(&caller, &app, &gitdeploy, &patch, &expected).await?;
    Ok(Document::new(gitdeploy.revision, gitdeploy))
}

/// Removes a gitdeploy
#[utoipa::path(delete, path = "/app/{app}/gitdeploys/{gitdeploy}",
    operation_id = "gitdeploys.delete", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
        IfMatch,
    ),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such gitdeploy"),
        (status = 409, description = "Groups use it, or it is initialized on servers, which the detail names"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_gitdeploy(&caller, &app, &gitdeploy, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is to be done with a gitdeploy: one of the first four.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct GitdeployTask {
    /// Make a working copy of its git repository on servers.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    initialize: bool,
    /// Remove its working copies from servers.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    deinitialize: bool,
    /// Pull what was committed last on servers.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    pull: bool,
    /// Commit the package of a build to its git repository, without pulling it on any server.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    commit: bool,
    /// The build that is to be committed.
    build_name: Option<BuildName>,
    /// The servers that it is to be done on: a list of names, or a text, which means the same as `glob`.
    servers: Option<NamesOrGlob>,
    /// The servers that it is to be done on: those of yours whose names match, where `*` is any run of characters.
    #[param(max_length = 512)]
    #[schema(max_length = 512)]
    glob: Option<String>,
}

/// Servers by their names, or by a glob: a list, or a text. In a query string a list is JSON.
enum NamesOrGlob {
    Names(Vec<ServerName>),
    Glob(String),
}

impl<'de> Deserialize<'de> for NamesOrGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NamesOrGlobVisitor)
    }
}

struct NamesOrGlobVisitor;

impl<'de> Visitor<'de> for NamesOrGlobVisitor {
    type Value = NamesOrGlob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names of servers, or a glob")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<NamesOrGlob, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(names)).map(NamesOrGlob::Names)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<NamesOrGlob, E> {
        Ok(match serde_json::from_str(text) {
            Ok(names) => NamesOrGlob::Names(names),
            Err(_) => NamesOrGlob::Glob(text.to_owned()),
        })
    }
}

impl PartialSchema for NamesOrGlob {
    fn schema() -> RefOr<Schema> {
        let names = Array::builder().items(ServerName::schema()).min_items(Some(1)).max_items(Some(1000));
        let glob = Object::builder().schema_type(Type::String).max_length(Some(512));
        AnyOf::builder().item(names).item(glob).into()
    }
}

impl ToSchema for NamesOrGlob {}

/// What was asked, once it is known to be one thing.
enum Task {
    Commit(BuildName),
    OnServers(ServersTask, ServersAsked),
}

impl GitdeployTask {
    fn read(self) -> Result<Task, Problem> {
        let Self { initialize, deinitialize, pull, commit, build_name, servers, glob } = self;
        let wrong = |field: &str, rule: &str| Problem::invalid(rule).with([Fault::at(field, rule)]);
        let task = match (initialize, deinitialize, pull, commit) {
            (true, false, false, false) => ServersTask::Initialize,
            (false, true, false, false) => ServersTask::Deinitialize,
            (false, false, true, false) => ServersTask::Pull,
            (false, false, false, true) => {
                if servers.is_some() || glob.is_some() {
                    return Err(wrong("servers", "a commit takes no `servers` and no `glob`"));
                }
                let build =
                    build_name.ok_or_else(|| wrong("build_name", "a commit needs the build that is committed"))?;
                return Ok(Task::Commit(build));
            }
            _ => {
                return Err(wrong(
                    "commit",
                    "one of `initialize`, `deinitialize`, `pull` and `commit` has to be `true`",
                ));
            }
        };
        if build_name.is_some() {
            return Err(wrong("build_name", "only `commit` takes a build; servers get what was committed last"));
        }
        match (servers, glob) {
            (Some(NamesOrGlob::Names(servers)), None) => Ok(Task::OnServers(task, ServersAsked::Named(servers))),
            (Some(NamesOrGlob::Glob(glob)), None) => Ok(Task::OnServers(task, ServersAsked::Matching(glob))),
            (None, Some(glob)) => Ok(Task::OnServers(task, ServersAsked::Matching(glob))),
            (None, None) => Err(wrong("servers", "it needs `servers`, a list of names, or a `glob` of them")),
            (Some(_), Some(_)) => Err(wrong("glob", "either `servers` or `glob` says which servers, not both")),
        }
    }
}

/// Works on a gitdeploy, by a job
///
/// `commit=true` commits the package of a build to its git repository. If the branch has that content already, nothing
/// is committed. The others work on servers: `initialize=true` makes a working copy on each, `pull=true` brings it to
/// what was committed last, `deinitialize=true` removes it.
#[utoipa::path(post, path = "/app/{app}/gitdeploys/{gitdeploy}", operation_id = "gitdeploys.run", tag = "gitdeploys",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("gitdeploy" = GitdeployName, Path, description = "The gitdeploy"),
        IdempotencyKey,
    ),
    request_body = GitdeployTask,
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such gitdeploy, server, build or package of it"),
        (status = 409, description = "The git repository is not ready, or another gitdeploy is at that place on a server"),
        (status = 422, description = "A value is not valid, or the idempotency key was used for another request"),
    ))]
async fn run(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, gitdeploy)): Path<(AppName, GitdeployName)>,
    Keyed { asked: Args(asked), idempotency }: Keyed<Args<GitdeployTask>>,
) -> Result<Accepted, Problem> {
    let enqueued = match asked.read()? {
        Task::Commit(build) => rest.work.commit_gitdeploy(&caller, &app, &gitdeploy, &build, idempotency).await?,
        Task::OnServers(task, servers) => {
            let origin = (idempotency, None);
            rest.work.gitdeploy_on_servers(&caller, &app, &gitdeploy, task, &servers, origin).await?
        }
    };
    Ok(Accepted::job(enqueued, gitdeploy.to_string()))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewGitdeploy>();
    OpenApiRouter::default().routes(put.beside(create, routes!(list, create))).routes(routes!(get, update, delete, run))
}
