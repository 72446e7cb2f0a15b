//! Deployments: builds that go to servers.

use clap::{Arg, ArgAction, ArgMatches, Args as _, Command, FromArgMatches as _};
use serde_json::{Map, Value, json};

use super::verbs::{by_time, limit, wanted, wanted_times};
use super::{Collection, Column, Noun};
use crate::everyday::deploy::{How, plan_and_start};
use crate::exit::Code;
use crate::failure::{Failure, Result};
use crate::follow::Patience;
use crate::http::Request;
use crate::output::{Cell, Table};
use crate::session::{Session, segment, short, text};

pub(crate) const NOUN: Noun = Noun {
    name: "deployment",
    about: "Deployments: builds that go to servers, in batches",
    collection: Collection::Application("deployments"),
    key: "id",
    columns: &[
        Column::new("ID", "/id"),
        Column::new("BUILD", "/build_name"),
        Column::state("STATUS", "/status"),
        Column::new("USER", "/username"),
        Column::new("DONE", "/summary/succeeded"),
        Column::new("FAILED", "/summary/failed"),
        Column::time("CREATED", "/created_at"),
    ],
    members: &[],
    verbs: &[],
    example: "",
};

pub(crate) fn command() -> Command {
    let app = || Arg::new("app").value_name("APP").help("The application, unless the context has one");
    let words = || {
        let words = Arg::new("words").required(true).value_name("[APP] ID").num_args(1..=2);
        words.help(
            "The application, unless the context has one; and the deployment's id, or the last 8 characters of it",
        )
    };
    let flag = |name: &'static str, short: Option<char>, help: &'static str| {
        let flag = Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
        if let Some(short) = short { flag.short(short) } else { flag }
    };
    let filter = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let status = "In this state: created, running, complete, error or cancelled; may be repeated";
    let status = filter("status", "STATUS", status);
    let again = |name: &'static str, about: &'static str| {
        let command = Command::new(name)
            .about(about)
            .arg(words())
            .arg(flag("plan", None, "Only show the plan"))
            .arg(flag("yes", Some('y'), "Do not ask"))
            .arg(flag("detach", Some('d'), "Print the new deployment's id, and do not follow it"));
        Patience::augment_args(command)
    };
    Command::new(NOUN.name)
        .about(NOUN.about)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("List deployments, newest first")
                .arg(app())
                .arg(status.action(ArgAction::Append))
                .args(by_time())
                .arg(limit()),
        )
        .subcommand(Command::new("show").about("Show what a deployment does, and how far it is").arg(words()))
        .subcommand(
            Command::new("cancel").about("Stop a deployment after its running batch, in a pause at once").arg(words()),
        )
        .subcommand(
            Command::new("receipts")
                .about("List the signed records of what servers have got, newest first")
                .arg(app())
                .arg(filter("on", "SERVER", "Of this server only"))
                .arg(filter("build", "BUILD", "Of this build only"))
                .arg(filter("gitdeploy", "GITDEPLOY", "Of this gitdeploy only"))
                .args(by_time())
                .arg(limit()),
        )
        .subcommand(again("resume", "Do what a deployment has not done, as a new one"))
        .subcommand(again("rollback", "Put back what was there before, on the servers that a deployment has touched"))
}

pub(crate) async fn run(session: &Session, matches: &ArgMatches) -> Result<Code> {
    match matches.subcommand() {
        Some(("list", matches)) => {
            let app = session.app(matches.get_one::<String>("app").map(String::as_str))?;
            let path = format!("/app/{}/deployments", segment(&app));
            let mut query = wanted_times(matches)?;
            let statuses: Vec<_> = matches.get_many::<String>("status").into_iter().flatten().cloned().collect();
            if !statuses.is_empty() {
                query.push(("status", statuses.join(",")));
            }
            let found = session.client.list(&path, &query, wanted(session, matches)).await?;
            NOUN.print(session, &found.items, found.has_more);
            Ok(Code::Done)
        }
        Some(("receipts", matches)) => receipts(session, matches).await,
        Some(("show", matches)) => {
            let (_, path) = place(session, matches).await?;
            show(session, &session.client.get(path).await?);
            Ok(Code::Done)
        }
        Some(("cancel", matches)) => {
            let (_, path) = place(session, matches).await?;
            let request = Request::post(path).json(&json!({ "cancel": true })).repeatable();
            let job = session.client.send(request).await?.json()?;
            match session.output.json {
                true => session.output.document(&job),
                false => session.output.note("it stops after the batch that runs, or at once if none does"),
            }
            Ok(Code::Done)
        }
        Some((task @ ("resume" | "rollback"), matches)) => {
            let (app, path) = place(session, matches).await?;
            let asked = Map::from_iter([(task.to_owned(), json!(true))]);
            let patience = Patience::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))?;
            let how = How {
                only_plan: matches.get_flag("plan"),
                yes: matches.get_flag("yes"),
                detach: matches.get_flag("detach"),
                patience: &patience,
            };
            plan_and_start(session, &app, &path, asked, &how).await
        }
        _ => Err(Failure::usage("there is no such command")),
    }
}

const RECEIPTS: Noun = Noun {
    name: "receipt",
    about: "Receipts: signed records of what servers have got",
    collection: Collection::Application("receipts"),
    key: "id",
    columns: &[
        Column::time("AT", "/receipt/at"),
        Column::new("SERVER", "/receipt/server"),
        Column::new("GITDEPLOY", "/receipt/gitdeploy"),
        Column::new("BUILD", "/receipt/build"),
        Column::new("UPLOADED BY", "/receipt/upload/username"),
        Column::new("DEPLOYED BY", "/receipt/deployed/username"),
        Column::new("COMMIT", "/receipt/commit/reported_by_server"),
    ],
    members: &[],
    verbs: &[],
    example: "",
};

async fn receipts(session: &Session, matches: &ArgMatches) -> Result<Code> {
    let app = session.app(matches.get_one::<String>("app").map(String::as_str))?;
    // `--server` is that of Elita.
    let filters = [("on", "server"), ("build", "build"), ("gitdeploy", "gitdeploy")].into_iter();
    let filters = filters.filter_map(|(option, name)| Some((name, matches.get_one::<String>(option)?.clone())));
    let query: Vec<_> = filters.chain(wanted_times(matches)?).collect();
    let path = format!("/app/{}/receipts", segment(&app));
    let found = session.client.list(&path, &query, wanted(session, matches)).await?;
    RECEIPTS.print(session, &found.items, found.has_more);
    Ok(Code::Done)
}

/// The application and the path of the deployment that is meant.
async fn place(session: &Session, matches: &ArgMatches) -> Result<(String, String)> {
    let words: Vec<String> = matches.get_many("words").into_iter().flatten().cloned().collect();
    let (app, id) = session.app_and_name(&words, "deployment")?;
    let id = session.deployment_id(id).await?;
    let path = format!("/app/{}/deployments/{id}", segment(&app));
    Ok((app, path))
}

fn show(session: &Session, deployment: &Value) {
    let output = &session.output;
    if output.json {
        return output.document(deployment);
    }
    let id = text(deployment, "id");
    output.line(format!("{}  {}  {}", id, text(deployment, "build_name"), text(deployment, "status")));
    if let Some(on) = deployment["progress"]["currently_on"].as_str() {
        output.line(format!("now: {on}"));
    }
    let waits = &deployment["waits_for"];
    if !waits.is_null() {
        let (job, repo) = (short(text(waits, "job_id")), text(waits, "gitrepo"));
        output.line(format!("waits for job {job} ({}), which has git repository {repo}", text(waits, "name")));
    }
    if let Some(error) = deployment["error"]["message"].as_str() {
        output.line(format!("error: {error}"));
    }
    let mut table = Table::new(&["BATCH", "SERVER", "GITDEPLOY", "STATE", "BEFORE", "MESSAGE"]);
    let batches = deployment["progress"]["phase2"]["batches"].as_array().cloned().unwrap_or_default();
    for (number, batch) in batches.iter().enumerate() {
        for (server, gitdeploys) in batch.as_object().into_iter().flatten() {
            for (gitdeploy, on) in gitdeploys.as_object().into_iter().flatten() {
                table.row(vec![
                    Cell::text((number + 1).to_string()),
                    Cell::text(server),
                    Cell::text(gitdeploy),
                    Cell::state(&on["state"]),
                    Cell::of(&on["before"]),
                    Cell::text(text(on, "message")),
                ]);
            }
        }
    }
    output.table(&table);
}
