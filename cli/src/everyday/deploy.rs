//! `elita deploy`: shows the plan, asks, deploys and follows.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::complete;
use crate::duration::{duration, shown};
use crate::everyday::run::follow_started;
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::Patience;
use crate::http::Request;
use crate::output::{Cell, Table};
use crate::session::{Session, segment, text};

/// How many names of a batch are shown.
const NAMED: usize = 8;

/// Deploy a build to servers
///
/// Shows what would be done and asks; then exactly that is done, or nothing. With --env it goes to all groups that have
/// servers there, or to those that are named, in batches; with --on and --gitdeploy to these servers, at once.
#[derive(Args, Debug)]
#[command(
    override_usage = "elita deploy [OPTIONS] [APP] BUILD (--env ENV… [--group GROUP…] | --on SERVER… --gitdeploy NAME…)",
    after_help = "Examples:
  elita deploy shop 1.42 --env staging --group web
  elita deploy shop 1.42 --env production --divisor 4 --pause 30s --yes
  elita deploy shop 1.42 --on web1 --gitdeploy site --plan"
)]
pub(crate) struct Deploy {
    /// The application, unless the context has one; and the build
    #[arg(required = true, value_name = "[APP] BUILD", num_args = 1..=2)]
    words: Vec<String>,
    /// To the servers of this environment
    #[arg(long = "env", value_name = "ENVIRONMENT", conflicts_with_all = ["servers", "gitdeploys"],
          add = clap_complete::ArgValueCompleter::new(complete::environments))]
    environments: Vec<String>,
    /// To this group; to all, unless one is named
    #[arg(long = "group", value_name = "GROUP", requires = "environments")]
    groups: Vec<String>,
    /// To this server
    #[arg(long = "on", value_name = "SERVER", requires = "gitdeploys")]
    servers: Vec<String>,
    /// This gitdeploy
    #[arg(long = "gitdeploy", value_name = "NAME", requires = "servers")]
    gitdeploys: Vec<String>,
    /// In how many runs the servers of a rolling group are split, at most
    #[arg(long, value_name = "N", requires = "environments")]
    divisor: Option<u32>,
    /// How long to wait between two batches, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "environments")]
    pause: Option<Duration>,
    /// How long to wait after a batch that another stage comes after
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "environments")]
    ordered_pause: Option<Duration>,
    /// How many servers may fail before it stops
    #[arg(long, value_name = "N")]
    max_failures: Option<u32>,
    /// Leave out servers that do not answer
    #[arg(long)]
    skip_unreachable: bool,
    /// Only show the plan
    #[arg(long)]
    plan: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Print the deployment's id, and do not follow it
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    patience: Patience,
}

impl Deploy {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let (app, build) = session.app_and_name(&self.words, "build")?;
        if self.environments.is_empty() && self.servers.is_empty() {
            return Err(Failure::usage("where to? Name environments, or servers and gitdeploys")
                .hint(format!("elita deploy {app} {build} --env ENVIRONMENT")));
        }
        let path = format!("/app/{}/deployments", segment(&app));
        let asked = self.asked(session, &app, build).await?;
        let how = How { only_plan: self.plan, yes: self.yes, detach: self.detach, patience: &self.patience };
        plan_and_start(session, &app, &path, asked, &how).await
    }

    async fn asked(&self, session: &Session, app: &str, build: &str) -> Result<Map<String, Value>> {
        let mut asked = Map::new();
        asked.insert("build_name".into(), json!(build));
        if self.servers.is_empty() {
            let groups = match self.groups.is_empty() {
                true => groups(session, app).await?,
                false => self.groups.clone(),
            };
            asked.insert("environments".into(), json!(self.environments));
            asked.insert("groups".into(), json!(groups));
        } else {
            asked.insert("servers".into(), json!(self.servers));
            asked.insert("gitdeploys".into(), json!(self.gitdeploys));
        }
        let seconds = |time: &Option<Duration>| time.as_ref().map(Duration::as_secs);
        for (name, number) in [
            ("rolling_divisor", self.divisor.map(u64::from)),
            ("rolling_pause", seconds(&self.pause)),
            ("ordered_pause", seconds(&self.ordered_pause)),
            ("max_failures", self.max_failures.map(u64::from)),
        ] {
            if let Some(number) = number {
                asked.insert(name.into(), json!(number));
            }
        }
        if self.skip_unreachable {
            asked.insert("skip_unreachable".into(), json!(true));
        }
        Ok(asked)
    }
}

/// The names of all groups of an application.
async fn groups(session: &Session, app: &str) -> Result<Vec<String>> {
    let found = session.client.list(&format!("/app/{}/groups", segment(app)), &[], None).await?;
    let names: Vec<_> = found.items.iter().map(|group| text(group, "name").to_owned()).collect();
    if names.is_empty() {
        let hint = format!("elita group create {app} NAME --gitdeploys GITDEPLOY");
        return Err(Failure::new(Code::Refused, format!("{app} has no group")).hint(hint));
    }
    Ok(names)
}

/// How a plan becomes a deployment.
pub(crate) struct How<'a> {
    pub(crate) only_plan: bool,
    pub(crate) yes: bool,
    pub(crate) detach: bool,
    pub(crate) patience: &'a Patience,
}

/// Shows the plan, asks, has exactly that done, and follows it.
pub(crate) async fn plan_and_start(
    session: &Session,
    app: &str,
    path: &str,
    mut asked: Map<String, Value>,
    how: &How<'_>,
) -> Result<Code> {
    let output = &session.output;
    asked.insert("dry_run".into(), json!(true));
    let plan = session.client.send(Request::post(path.to_owned()).json(&Value::Object(asked.clone()))).await?.json()?;
    if how.only_plan && output.json {
        output.document(&plan);
        return Ok(Code::Done);
    }
    if !output.json {
        show_plan(session, &plan, &asked);
    }
    if how.only_plan {
        return Ok(Code::Done);
    }
    if !how.yes {
        output.confirm("deploy?")?;
    }
    asked.remove("dry_run");
    asked.insert("plan".into(), plan["hash"].clone());
    let request = Request::post(path.to_owned()).json(&Value::Object(asked)).keyed(None);
    let job = session.client.send(request).await?.json()?;
    let code = follow_started(session, &job, app, how.detach, how.patience).await?;
    if !how.detach && !output.json {
        summary(session, app, text(&job, "job_id"), code).await?;
    }
    Ok(code)
}

fn names(names: &Value) -> String {
    let all: Vec<_> = names.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let told = all[..all.len().min(NAMED)].join(" ");
    match all.len().saturating_sub(NAMED) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

fn show_plan(session: &Session, plan: &Value, asked: &Map<String, Value>) {
    let output = &session.output;
    let batches = plan["batches"].as_array().cloned().unwrap_or_default();
    let distinct = |member: &str| {
        let all = batches.iter().flat_map(|batch| batch[member].as_array().cloned().unwrap_or_default());
        let names: std::collections::BTreeSet<_> = all.map(|name| name.to_string()).collect();
        names.len()
    };
    let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let batch = if batches.len() == 1 { "1 batch".to_owned() } else { format!("{} batches", batches.len()) };
    output.note(format!(
        "plan: {} to {}, {batch}, {}",
        text(plan, "build_name"),
        counted(distinct("servers"), "server"),
        counted(distinct("gitdeploys"), "gitdeploy")
    ));
    let mut table = Table::without_titles();
    for (number, batch) in batches.iter().enumerate() {
        let pause = match batch["ordered_gitdeploy"] == true {
            true => asked.get("ordered_pause"),
            false => asked.get("rolling_pause"),
        };
        let pause = pause.and_then(Value::as_u64).filter(|pause| *pause > 0 && number + 1 < batches.len());
        let wait = pause.map(|pause| format!("then wait {}", shown(Duration::from_secs(pause)))).unwrap_or_default();
        let (servers, gitdeploys) = (names(&batch["servers"]), names(&batch["gitdeploys"]));
        table.row([(number + 1).to_string(), servers, gitdeploys, wait].map(Cell::text).into());
    }
    output.note(table.render(output).trim_end());
    for before in now(plan) {
        output.note(format!("  {before}"));
    }
    for warning in plan["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        output.warn(warning);
    }
    let left_out: Vec<_> = plan["left_out"].as_array().into_iter().flatten().collect();
    if !left_out.is_empty() {
        let servers: Vec<_> = left_out.iter().map(|target| text(target, "server")).collect();
        output.warn(format!(
            "these servers stay as they are, and will differ from the repository: {}",
            servers.join(" ")
        ));
    }
}

/// What is there now, by gitdeploy.
fn now(plan: &Value) -> Vec<String> {
    let mut counts = std::collections::BTreeMap::<(String, String), usize>::new();
    for before in plan["before"].as_array().into_iter().flatten() {
        let build = before["deployed"].as_str().unwrap_or("no build").to_owned();
        *counts.entry((text(before, "gitdeploy").to_owned(), build)).or_default() += 1;
    }
    let told = counts.into_iter().map(|((gitdeploy, build), count)| {
        format!("now {gitdeploy} is at {build} on {count} server{}", if count == 1 { "" } else { "s" })
    });
    told.collect()
}

/// What it came to, and what can be done next.
async fn summary(session: &Session, app: &str, id: &str, code: Code) -> Result<()> {
    let output = &session.output;
    let deployment = session.client.get(format!("/app/{}/deployments/{id}", segment(app))).await?;
    let counts = &deployment["summary"];
    let count = |state: &str| counts[state].as_u64().unwrap_or_default();
    let all = ["pending", "running", "succeeded", "failed", "skipped"].map(count).iter().sum::<u64>();
    let (build, done) = (text(&deployment, "build_name"), count("succeeded"));
    let rest: Vec<_> = ["failed", "skipped", "pending"]
        .into_iter()
        .filter(|state| count(state) > 0)
        .map(|state| format!("{} {}", count(state), if state == "pending" { "untouched" } else { state }))
        .collect();
    let rest = if rest.is_empty() { String::new() } else { format!(", {}", rest.join(", ")) };
    output.note(format!("  {done} of {all} have {build}{rest}"));
    if code != Code::Done {
        output.note(format!("  resume: elita deployment resume {app} {id}"));
        output.note(format!("  roll back: elita deployment rollback {app} {id}"));
    }
    Ok(())
}
