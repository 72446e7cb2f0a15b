//! `/server`: what is deployed to.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::api::True;
use super::api::put::Put;
use super::http::args::{Args, Keyed, NoQuery, Query};
use super::http::document::{Document, IfMatch, PatchBody};
use super::http::idempotency::{Idempotency, IdempotencyKey};
use super::http::page::{DocumentsQuery, ListReply};
use super::http::path::Path;
use super::http::problem::Problem;
use super::http::reply::{Accepted, Created, Json, SubmittedJob};
use crate::datasvc::{
    self, Attributes, CHECK, Caller, Driver, EnvironmentName, Environments, JobId, Listed, Seconds, Server,
    ServerChange, ServerName,
};
use crate::work::{CommandRequest, Program, Shell};

/// What a new server needs.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewServer {
    /// Its name, unique in this installation; it may be a host name. `command` and `environments` are
    /// reserved.
    name: ServerName,
    /// The environment that it belongs to, such as `production`.
    environment: EnvironmentName,
    /// What it is reached by.
    driver: Driver,
    /// How the driver reaches it, an object: for `ssh` `host` (the server's name, unless it is given), `port` (22),
    /// `user` (root), `host_key` (the one that it shows first), `keypair`, `jump` and `sudo` (none); for `salt`
    /// `minion` (the server's name). `local` has no members.
    #[serde(default)]
    #[param(value_type = Object, required = false)]
    #[schema(value_type = Object, required = false)]
    connection: Map<String, Value>,
    /// What to keep with it.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    attributes: Attributes,
}

/// A server that was created or changed.
#[derive(Serialize, ToSchema)]
struct ServerAndCheck {
    #[serde(flatten)]
    server: Server,
    /// The job that checks whether it can be reached. It is not there where nothing has changed about that.
    #[serde(skip_serializing_if = "Option::is_none")]
    check_job: Option<JobId>,
}

impl ServerAndCheck {
    fn document(self) -> Document<Self> {
        Document::new(self.server.revision, self)
    }
}

/// Lists the servers that you may read, by name
#[utoipa::path(get, path = "/server", operation_id = "servers.list", tag = "servers",
    params(DocumentsQuery), responses((status = 200, body = Listed<Server>)))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Query(query): Query<DocumentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Server>>, Problem> {
    let listed = rest.svc.servers(&caller, &query.page()?).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Creates a server
#[utoipa::path(post, path = "/server", operation_id = "servers.create", tag = "servers",
    request_body = NewServer,
    responses(
        (status = 201, body = ServerAndCheck, headers(("Location" = String, description = "Where it is"))),
        (status = 409, description = "The name is taken"),
        (status = 422, description = "The name is not valid, or the connection does not fit the driver"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Args(new): Args<NewServer>,
) -> Result<Created<Document<ServerAndCheck>>, Problem> {
    let NewServer { name, environment, driver, connection, attributes } = new;
    let new = datasvc::NewServer { name, environment, driver, connection, attributes };
    let (server, check) = rest.svc.create_server(&caller, &new).await?;
    rest.engine.tell_queued();
    let location = format!("/server/{}", new.name);
    Ok(Created::at(location, ServerAndCheck { server, check_job: Some(check) }.document()))
}

/// Shows which servers are in which environment, of those that you may read
#[utoipa::path(get, path = "/server/environments", operation_id = "servers.environments", tag = "servers",
    responses(
        (status = 200, body = BTreeMap<String, Vec<ServerName>>),
        (status = 422, description = "There are more than 20,000 servers: list them page by page"),
    ))]
async fn environments(
    State(rest): State<Rest>,
    caller: Caller,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<Environments>, Problem> {
    Ok(Json(rest.svc.environments(&caller).await?))
}

/// Shows a server
#[utoipa::path(get, path = "/server/{server}", operation_id = "servers.get", tag = "servers",
    params(("server" = ServerName, Path, description = "The server")),
    responses((status = 200, body = Server), (status = 404, description = "No such server")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Document<Server>, Problem> {
    let server = rest.svc.server(&caller, &server).await?;
    Ok(Document::new(server.revision, server))
}

/// Changes the environment, the driver with its connection and the attributes of a server
#[utoipa::path(patch, path = "/server/{server}", operation_id = "servers.update", tag = "servers",
    params(("server" = ServerName, Path, description = "The server"), IfMatch),
    request_body(content = ServerChange, content_type = "application/merge-patch+json"),
    responses(
        (status = 200, body = ServerAndCheck),
        (status = 404, description = "No such server"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
        (status = 422, description = "The patch changes a read-only member, or its result is not valid"),
    ))]
async fn update(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    IfMatch(expected): IfMatch,
    PatchBody(patch): PatchBody,
) -> Result<Document<ServerAndCheck>, Problem> {
    let (server, check_job) = rest.svc.update_server(&caller, &server, &patch, &expected).await?;
    if check_job.is_some() {
        rest.engine.tell_queued();
    }
    Ok(ServerAndCheck { server, check_job }.document())
}

/// Removes a server on which no gitdeploy is initialized
#[utoipa::path(delete, path = "/server/{server}", operation_id = "servers.delete", tag = "servers",
    params(("server" = ServerName, Path, description = "The server"), IfMatch),
    responses(
        (status = 204, description = "It is removed"),
        (status = 404, description = "No such server"),
        (status = 409, description = "Gitdeploys are initialized on it"),
        (status = 412, description = "It has changed since the version that `If-Match` names"),
    ))]
async fn delete(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    Query(NoQuery {}): Query<NoQuery>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    rest.svc.delete_server(&caller, &server, &expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What to do with a server.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ServerTask {
    /// `true` checks whether it can be reached.
    #[param(value_type = True)]
    check: bool,
}

/// Checks whether a server can be reached, and what there is on it, as a job
///
/// The job's result is `{server: health}`, and the server shows it as `health`. It needs the server among your `servers`.
#[utoipa::path(post, path = "/server/{server}", operation_id = "servers.check", tag = "servers",
    params(("server" = ServerName, Path, description = "The server"), ServerTask),
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such server"),
    ))]
async fn check(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    Query(ServerTask { check }): Query<ServerTask>,
) -> Result<Accepted, Problem> {
    if !check {
        return Err(Problem::malformed("a server can be checked, with `?check=true`, and nothing else"));
    }
    let enqueued = rest.work.submit_check(&caller, &server).await?;
    Ok(Accepted::job(enqueued, CHECK.into()))
}

/// Makes the body of a request for a command: what is said first, and then what all have.
macro_rules! command_body {
    ($(#[$about:meta])* $name:ident { $($first:tt)* }) => {
        $(#[$about])*
        #[derive(Deserialize, IntoParams, ToSchema)]
        #[into_params(parameter_in = Query)]
        #[serde(deny_unknown_fields)]
        struct $name {
            $($first)*
            /// A program with its arguments, as they are: no shell is involved. It, or `script` with `shell`.
            #[param(value_type = Option<Vec<String>>, required = false)]
            #[schema(required = false, min_items = 1)]
            command: Option<Vec<String>>,
            /// The text of a script.
            script: Option<String>,
            /// What reads the script: `sh`, unless it is given, or `powershell`.
            #[schema(value_type = Option<ShellName>)]
            #[param(value_type = Option<ShellName>)]
            shell: Option<Shell>,
            /// Where it runs: an absolute path, or one that begins with `~/`. The home of who runs it, unless it is given.
            #[schema(max_length = 4096)]
            cwd: Option<String>,
            /// How many seconds it may take on a server, 1 to 86,400; 300, unless it is given. After that it is ended with
            /// all that it has started.
            #[schema(value_type = Option<u32>, minimum = 1, maximum = 86400)]
            #[param(value_type = Option<u32>, minimum = 1, maximum = 86400)]
            timeout: Option<Seconds>,
        }
    };
}

command_body! {
    /// What is to run on a server.
    NewCommand {}
}

command_body! {
    /// What is to run on several servers.
    NewCommands {
        /// The servers, 1 to 5,000.
        #[schema(min_items = 1, max_items = 5000)]
        servers: Vec<ServerName>,
    }
}

/// What reads a script.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(dead_code, reason = "it describes the word; what is read is the work's own")]
enum ShellName {
    Sh,
    Powershell,
}

impl NewCommands {
    fn request(self) -> Result<CommandRequest, Problem> {
        let Self { servers, command, script, shell, cwd, timeout } = self;
        let program = match (command, script, shell) {
            (Some(command), None, None) => Program::Arguments { command },
            (None, Some(script), shell) => Program::Script { script, shell: shell.unwrap_or(Shell::Sh) },
            (Some(_), Some(_), _) | (Some(_), None, Some(_)) => {
                return Err(Problem::invalid(
                    "`command` is a program with its arguments, and goes without `script` and `shell`",
                ));
            }
            (None, None, _) => return Err(Problem::malformed("`command` or `script` is missing")),
        };
        // What is too long is refused with the rule.
        let timeout = timeout.map(|Seconds(seconds)| u32::try_from(seconds).unwrap_or(u32::MAX));
        Ok(CommandRequest { servers, program, cwd, timeout })
    }
}

/// Runs a command on a server, as a job
///
/// The job's result is `{server: {outcome, exit_code, stdout, stderr, …}}`, with the outcome `ok`, `failed`,
/// `no-response` or `unknown`; the job succeeds whatever the outcome. It needs the server among your `servers` and
/// `execute` on `command` of `_global`.
#[utoipa::path(post, path = "/server/{server}/command", operation_id = "servers.command", tag = "servers",
    params(("server" = ServerName, Path, description = "The server"),
        IdempotencyKey),
    request_body = NewCommand,
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such server"),
        (status = 422, description = "The command is not valid, or this installation has no settings for the driver of the server"),
    ))]
async fn command(
    State(rest): State<Rest>,
    caller: Caller,
    Path(server): Path<ServerName>,
    Keyed { asked: Args(new), idempotency }: Keyed<Args<NewCommand>>,
) -> Result<Accepted, Problem> {
    let NewCommand { command, script, shell, cwd, timeout } = new;
    let new = NewCommands { servers: vec![server], command, script, shell, cwd, timeout };
    submit(&rest, &caller, "servers.command", new, idempotency).await
}

/// Runs a command on several servers, as one job
///
/// As on one server: the result has a report for each.
#[utoipa::path(post, path = "/server/command", operation_id = "servers.command-several", tag = "servers",
    params(IdempotencyKey),
    request_body = NewCommands,
    responses(
        (status = 202, body = SubmittedJob, headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such server"),
        (status = 422, description = "The command is not valid, or this installation has no settings for the driver of a server"),
    ))]
async fn command_several(
    State(rest): State<Rest>,
    caller: Caller,
    Keyed { asked: Args(new), idempotency }: Keyed<Args<NewCommands>>,
) -> Result<Accepted, Problem> {
    submit(&rest, &caller, "servers.command-several", new, idempotency).await
}

async fn submit(
    rest: &Rest,
    caller: &Caller,
    operation: &'static str,
    new: NewCommands,
    idempotency: Idempotency,
) -> Result<Accepted, Problem> {
    let enqueued = rest.work.submit_command(caller, operation, new.request()?, idempotency).await?;
    Ok(Accepted::job(enqueued, "command".into()))
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    let put = Put::of::<NewServer>();
    OpenApiRouter::default()
        .routes(put.beside(create, routes!(list, create)))
        .routes(routes!(environments))
        .routes(routes!(command_several))
        .routes(routes!(get, update, delete, check))
        .routes(routes!(command))
}
