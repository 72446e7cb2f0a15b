//! `elita status`: what needs attention.

use clap::Args;
use serde_json::{Value, json};

use super::census::{Row, rows};
use crate::complete;
use crate::exit::Code;
use crate::failure::Result;
use crate::nouns::job;
use crate::output::{Cell, Output, Table};
use crate::session::{Session, text};

/// How many jobs of each kind are shown.
const SHOWN: usize = 10;

/// Show what needs attention
///
/// Jobs that run or wait, jobs that failed or were lost within a day, plugins that were refused, and servers whose build
/// is not the one that is committed, or that have changes of their own.
#[derive(Args, Debug)]
pub(crate) struct Status {
    /// Of this application only
    #[arg(value_name = "APP", add = clap_complete::ArgValueCompleter::new(complete::apps))]
    app: Option<String>,
    /// Exit with 1 if there are failures, refused plugins or drift
    #[arg(long)]
    exit_code: bool,
}

impl Status {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let app = self.app.as_deref().or(session.default_app());
        let active = self.jobs(session, app, &[("active", "true".into())]).await?;
        let day = crate::duration::moment("1d").map_err(crate::failure::Failure::usage)?;
        let failed = self.jobs(session, app, &[("status", "failed,lost".into()), ("since", day)]).await?;
        let refused = refused_plugins(session).await?;
        let drift = drift(session, app).await?;
        let is_bad = !failed.is_empty() || !refused.is_empty() || !drift.is_empty();
        let output = &session.output;
        if output.json {
            let drift: Vec<_> = drift.iter().map(Row::document).collect();
            output.document(&json!({ "active": active, "failed": failed, "refused": refused, "drift": drift }));
        } else {
            print(output, &active, &failed, &refused, &drift);
        }
        Ok(if is_bad && self.exit_code { Code::Failed } else { Code::Done })
    }

    async fn jobs(&self, session: &Session, app: Option<&str>, filter: &[(&str, String)]) -> Result<Vec<Value>> {
        let mut query = filter.to_vec();
        query.extend(app.map(|app| ("app", app.to_owned())));
        Ok(session.client.list("/job", &query, Some(SHOWN)).await?.items)
    }
}

fn print(output: &Output, active: &[Value], failed: &[Value], refused: &[Value], drift: &[Row]) {
    if active.is_empty() && failed.is_empty() && refused.is_empty() && drift.is_empty() {
        return output.note("nothing runs, and nothing needs attention");
    }
    section(output, "Running and waiting", &job::table(active));
    section(output, "Failed within a day", &job::table(failed));
    let mut table = Table::new(&["PLUGIN", "WHY"]);
    for plugin in refused {
        table.row(vec![Cell::text(text(plugin, "name")), Cell::text(text(plugin, "last_error"))]);
    }
    section(output, "Refused plugins", &table);
    section(output, "Drift", &super::census::table(drift));
}

/// A title is for people: a pipe gets the rows.
fn section(output: &Output, title: &str, table: &Table) {
    if table.is_empty() {
        return;
    }
    if output.is_terminal {
        output.line(console::style(title).bold().to_string());
    }
    output.table(table);
    if output.is_terminal {
        output.line("");
    }
}

async fn refused_plugins(session: &Session) -> Result<Vec<Value>> {
    match session.client.list("/global/plugins", &[], None).await {
        Ok(found) => Ok(found.items.into_iter().filter(|plugin| !plugin["last_error"].is_null()).collect()),
        // They are for others.
        Err(failure) if failure.status() == Some(403) => Ok(Vec::new()),
        Err(failure) => Err(failure),
    }
}

async fn drift(session: &Session, app: Option<&str>) -> Result<Vec<Row>> {
    let apps = match app {
        Some(app) => vec![app.to_owned()],
        None => {
            let found = session.client.list("/app", &[], None).await?.items;
            found.iter().map(|app| text(app, "app_name").to_owned()).collect()
        }
    };
    let mut all = Vec::new();
    for app in apps {
        all.extend(rows(session, &app).await?.into_iter().filter(Row::differs));
    }
    Ok(all)
}
