//! `/app/{app}/deployments`: builds that go to servers, in batches.

use axum::extract::State;
use axum::http::{Method, Uri};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Rest;
use super::http::args::{Args, NoQuery, Query};
use super::http::idempotency::{IdempotencyKey, fingerprint};
use super::http::moment::Moment;
use super::http::page::{ListReply, PageQuery};
use super::http::path::Path;
use super::http::problem::{Fault, Problem};
use super::http::reply::{Accepted, Json, SubmittedJob};
use super::http::several::Several;
use crate::datasvc::{
    AppName, BuildName, Caller, Deployment, DeploymentAsked, DeploymentFilter, DeploymentPlan, DeploymentScope,
    DeploymentStatus, EnvironmentName, GitdeployName, GivenOptions, GroupName, JobId, Listed, ServerName, TimeOrder,
};
use crate::work::DeploymentTask;

/// A deployment to groups has `environments` and `groups`, a manual one `servers` and `gitdeploys`.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct NewDeployment {
    /// The build that is deployed.
    build_name: BuildName,
    /// The environments whose servers it goes to.
    #[schema(min_items = 1, max_items = 1000)]
    environments: Option<Vec<EnvironmentName>>,
    /// The groups that it goes to.
    #[schema(min_items = 1, max_items = 1000)]
    groups: Option<Vec<GroupName>>,
    /// The servers that it goes to, all at once.
    #[schema(min_items = 1, max_items = 1000)]
    servers: Option<Vec<ServerName>>,
    /// The gitdeploys that go to these servers.
    #[schema(min_items = 1, max_items = 1000)]
    gitdeploys: Option<Vec<GitdeployName>>,
    /// In how many runs the servers of a rolling group are split, at most; 2 unless it is given. Not for a manual one.
    #[param(minimum = 1)]
    #[schema(minimum = 1)]
    rolling_divisor: Option<u32>,
    /// Seconds between two batches; none unless it is given. Not for a manual one.
    #[param(maximum = 86400)]
    #[schema(maximum = 86400)]
    rolling_pause: Option<u32>,
    /// Seconds after a batch that another stage of an ordered group comes after. Not for a manual one.
    #[param(maximum = 86400)]
    #[schema(maximum = 86400)]
    ordered_pause: Option<u32>,
    /// How many servers may fail, over the whole deployment, before it stops; none unless it is given.
    max_failures: Option<u32>,
    /// Whether servers that do not answer are left out, and are not failures.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    skip_unreachable: bool,
    /// Only show what would be done.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    dry_run: bool,
    /// The hash of the plan that was agreed to. If the plan is another one by now, nothing is deployed.
    #[param(max_length = 71)]
    #[schema(max_length = 71)]
    plan: Option<String>,
}

impl NewDeployment {
    /// What is asked, and whether it is only to be planned.
    fn read(self) -> Result<(DeploymentAsked, bool), Problem> {
        let Self { build_name, environments, groups, servers, gitdeploys, .. } = self;
        let wrong = |field: &str, rule: &str| Err(Problem::invalid(rule).with([Fault::at(field, rule)]));
        let scope = match (environments, groups, servers, gitdeploys) {
            (Some(environments), Some(groups), None, None) => DeploymentScope::Groups { environments, groups },
            (None, None, Some(servers), Some(gitdeploys)) => DeploymentScope::Manual { servers, gitdeploys },
            (Some(_), None, None, None) => return wrong("groups", "a deployment to `environments` needs `groups`"),
            (None, Some(_), None, None) => {
                return wrong("environments", "a deployment to `groups` needs `environments`");
            }
            (None, None, Some(_), None) => return wrong("gitdeploys", "a deployment to `servers` needs `gitdeploys`"),
            (None, None, None, Some(_)) => return wrong("servers", "a deployment of `gitdeploys` needs `servers`"),
            _ => {
                let rule = "a deployment is either to `environments` and `groups`, or to `servers` with `gitdeploys`";
                return wrong("groups", rule);
            }
        };
        let given = GivenOptions {
            rolling_divisor: self.rolling_divisor,
            rolling_pause: self.rolling_pause,
            ordered_pause: self.ordered_pause,
            max_failures: self.max_failures,
            skip_unreachable: self.skip_unreachable,
        };
        let options = given.of(&scope)?;
        Ok((DeploymentAsked { build_name, scope, options, plan: self.plan }, self.dry_run))
    }
}

/// Which deployments to list.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeploymentsQuery {
    /// Those in one of these states, with commas between them.
    #[serde(default)]
    #[param(value_type = Option<String>, pattern = "^(created|running|complete|error|cancelled)(,(created|running|complete|error|cancelled)){0,9}$",
        example = "error,cancelled")]
    status: Several<DeploymentStatus>,
    /// Those created at this time or later: RFC 3339, such as `2026-11-22T12:00:00Z`, or a date.
    #[param(value_type = Option<OffsetDateTime>)]
    since: Option<Moment>,
    /// Those created before this time.
    #[param(value_type = Option<OffsetDateTime>)]
    until: Option<Moment>,
    /// In which order: the newest first (`-created`), or the oldest (`created`).
    #[serde(default)]
    #[param(inline, required = false)]
    order: TimeOrder,
    /// With what each does and how far it is.
    #[serde(default)]
    #[param(required = false)]
    details: bool,
    /// The cursor that the page before gave as `next`.
    #[param(format = Uuid)]
    after: Option<String>,
    /// How many items a page has, 1 to 1000; 100 unless it is given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// A plan, or the job that does it.
enum Asked {
    Plan(Box<DeploymentPlan>),
    Job(Accepted),
}

impl IntoResponse for Asked {
    fn into_response(self) -> Response {
        match self {
            Self::Plan(plan) => Json(plan).into_response(),
            Self::Job(accepted) => accepted.into_response(),
        }
    }
}

/// Lists the deployments of an application, newest first unless `order=created` is given
///
/// With `status` a page may be short, and even empty, while `next` says that there is more: no request looks at more
/// than 2,000 deployments.
#[utoipa::path(get, path = "/app/{app}/deployments", operation_id = "deployments.list", tag = "deployments",
    params(("app" = AppName, Path, description = "The application"), DeploymentsQuery),
    responses((status = 200, body = Listed<Deployment>), (status = 404, description = "No such application")))]
async fn list(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    Query(query): Query<DeploymentsQuery>,
    uri: Uri,
) -> Result<ListReply<Listed<Deployment>>, Problem> {
    let DeploymentsQuery { status, since, until, order, details, after, limit } = query;
    let page = PageQuery::new(after, limit).page()?;
    let filter =
        DeploymentFilter { statuses: status.0, since: since.map(Into::into), until: until.map(Into::into), order };
    let listed = rest.svc.deployments(&caller, &app, &filter, details, &page).await?;
    Ok(ListReply::of(&uri, listed))
}

/// Deploys a build, by a job, or shows what would be done
///
/// The package of each gitdeploy is committed; then its servers pull it, batch by batch. With `dry_run=true` nothing is
/// done, and the answer is the plan with its hash. With `plan`, the hash of a plan, another plan is not done.
#[utoipa::path(post, path = "/app/{app}/deployments", operation_id = "deployments.create", tag = "deployments",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Visible ASCII; the same request with the same key answers with the same job"),
    ),
    request_body = NewDeployment,
    responses(
        (status = 200, body = DeploymentPlan, description = "With `dry_run=true`: what would be done"),
        (status = 202, body = SubmittedJob, description = "The job's id is that of the deployment, too",
            headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such application"),
        (status = 409, description = "What the agreed plan depends on has changed"),
        (status = 422, description = "A value is not valid, or something is missing: `errors` names all of it"),
    ))]
async fn create(
    State(rest): State<Rest>,
    caller: Caller,
    Path(app): Path<AppName>,
    IdempotencyKey(key): IdempotencyKey,
    uri: Uri,
    Args(new): Args<NewDeployment>,
) -> Result<Asked, Problem> {
    let (asked, dry_run) = new.read()?;
    submit(&rest, &caller, &app, asked, dry_run, (key, uri.path())).await
}

async fn submit(
    rest: &Rest,
    caller: &Caller,
    app: &AppName,
    asked: DeploymentAsked,
    dry_run: bool,
    (key, path): (Option<String>, &str),
) -> Result<Asked, Problem> {
    if dry_run {
        let planned = rest.work.plan_deployment(caller, app, &asked).await?;
        return Ok(Asked::Plan(Box::new(planned.plan)));
    }
    let parts = format!("{asked:?}").into_bytes();
    let idempotency = key.map(|key| (key, fingerprint(&Method::POST, path, "", [&*parts])));
    let name = asked.build_name.to_string();
    let enqueued = rest.work.deploy(caller, app, asked, (idempotency, None)).await?;
    Ok(Asked::Job(Accepted::job(enqueued, name)))
}

/// Shows a deployment, with what it does and how far it is
#[utoipa::path(get, path = "/app/{app}/deployments/{id}", operation_id = "deployments.get", tag = "deployments",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("id" = JobId, Path, description = "The deployment"),
    ),
    responses((status = 200, body = Deployment), (status = 404, description = "No such deployment")))]
async fn get(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, id)): Path<(AppName, JobId)>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Result<Json<Deployment>, Problem> {
    Ok(Json(rest.svc.deployment(&caller, &app, id).await?))
}

/// What is to be done with a deployment: one of the first three.
#[derive(Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct DeploymentTaskArgs {
    /// Stop it: after the running batch, and at once in a pause.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    cancel: bool,
    /// Do what it has not done, as a new deployment.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    resume: bool,
    /// Put back what was there before, on the servers that it has touched, as a new deployment.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    rollback: bool,
    /// Only show what would be done; not for `cancel`.
    #[serde(default)]
    #[param(required = false)]
    #[schema(required = false)]
    dry_run: bool,
    /// The hash of the plan that was agreed to. If the plan is another one by now, nothing is deployed.
    #[param(max_length = 71)]
    #[schema(max_length = 71)]
    plan: Option<String>,
}

/// Stops a deployment, goes on with it or takes it back
///
/// `cancel=true` ends it once the running batch has ended, or at once in a pause. `resume=true` and `rollback=true` make a
/// new deployment of one that has ended.
#[utoipa::path(post, path = "/app/{app}/deployments/{id}", operation_id = "deployments.run", tag = "deployments",
    params(
        ("app" = AppName, Path, description = "The application"),
        ("id" = JobId, Path, description = "The deployment"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255,
            description = "Visible ASCII; the same request with the same key answers with the same job"),
    ),
    request_body = DeploymentTaskArgs,
    responses(
        (status = 200, body = DeploymentPlan, description = "With `dry_run=true`: what would be done"),
        (status = 202, body = SubmittedJob, description = "The job of the new deployment; for `cancel`, that of this one",
            headers(("Location" = String, description = "The job"))),
        (status = 404, description = "No such deployment"),
        (status = 409, description = "Its state does not allow this, or it cannot be resumed or rolled back; `detail` says why"),
        (status = 422, description = "A value is not valid, or something is missing: `errors` names all of it"),
    ))]
async fn run(
    State(rest): State<Rest>,
    caller: Caller,
    Path((app, id)): Path<(AppName, JobId)>,
    IdempotencyKey(key): IdempotencyKey,
    uri: Uri,
    Args(task): Args<DeploymentTaskArgs>,
) -> Result<Asked, Problem> {
    let DeploymentTaskArgs { cancel, resume, rollback, dry_run, plan } = task;
    let wrong = |field: &str, rule: &str| Err(Problem::invalid(rule).with([Fault::at(field, rule)]));
    let task = match (cancel, resume, rollback) {
        (true, false, false) if dry_run => return wrong("dry_run", "a cancel has no plan"),
        (true, false, false) if plan.is_some() => return wrong("plan", "a cancel has no plan"),
        (true, false, false) => {
            let deployment = rest.work.cancel_deployment(&caller, &app, id).await?;
            let job = rest.svc.job(&caller, deployment.job_id).await?;
            return Ok(Asked::Job(job.into()));
        }
        (false, true, false) => DeploymentTask::Resume,
        (false, false, true) => DeploymentTask::RollBack,
        _ => return wrong("cancel", "one of `cancel`, `resume` and `rollback` has to be `true`"),
    };
    let asked = rest.work.deployment_again(&caller, &app, id, task).await?;
    submit(&rest, &caller, &app, DeploymentAsked { plan, ..asked }, dry_run, (key, uri.path())).await
}

pub(super) fn router() -> OpenApiRouter<Rest> {
    OpenApiRouter::default().routes(routes!(list, create)).routes(routes!(get, run))
}
