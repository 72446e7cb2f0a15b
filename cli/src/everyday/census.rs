//! `elita census`: what is deployed where.

use clap::Args;
use serde_json::{Value, json};

use crate::complete;
use crate::exit::Code;
use crate::failure::Result;
use crate::output::{Cell, Table};
use crate::session::{Session, segment};

/// Show what is deployed where
///
/// `1.41 → 1.42` means that 1.41 is on the server, and 1.42 in the repository.
#[derive(Args, Debug)]
pub(crate) struct Census {
    /// The application, unless the context has one
    #[arg(value_name = "APP", add = clap_complete::ArgValueCompleter::new(complete::apps))]
    app: Option<String>,
    /// Of this environment only
    #[arg(long = "env", value_name = "ENVIRONMENT", add = clap_complete::ArgValueCompleter::new(complete::environments))]
    environment: Option<String>,
    /// Of this group only
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// Only servers that have another build than their repository, or changes of their own
    #[arg(long)]
    drift: bool,
    /// Exit with 1 if a server has another build than its repository, or changes of its own
    #[arg(long)]
    exit_code: bool,
}

impl Census {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let app = session.app(self.app.as_deref())?;
        if session.output.json {
            let census = session.client.get(format!("/app/{}/census", segment(&app))).await?;
            session.output.document(&census);
        }
        let rows = rows(session, &app).await?;
        let is_wanted = |row: &Row| {
            self.environment.as_ref().is_none_or(|wanted| row.environment == *wanted)
                && self.group.as_ref().is_none_or(|wanted| row.group == *wanted)
                && (!self.drift || row.differs())
        };
        let rows: Vec<_> = rows.into_iter().filter(is_wanted).collect();
        if !session.output.json {
            if rows.is_empty() {
                session.output.note("nothing is deployed there");
            }
            session.output.table(&table(&rows));
        }
        let differs = rows.iter().any(Row::differs);
        Ok(if differs && self.exit_code { Code::Failed } else { Code::Done })
    }
}

/// A gitdeploy on a server.
pub(super) struct Row {
    app: String,
    environment: String,
    group: String,
    server: String,
    gitdeploy: String,
    deployed: Option<String>,
    committed: Option<String>,
    /// What the last check found in the working copy.
    drift: Value,
}

impl Row {
    /// Whether the server has another build than the repository, or changes of its own.
    pub(super) fn differs(&self) -> bool {
        self.has_another_build() || self.drift["drifted"] == true
    }

    fn has_another_build(&self) -> bool {
        self.deployed != self.committed
    }

    /// What is on the server that did not come from here.
    fn own(&self) -> String {
        if self.drift["drifted"] != true {
            return String::new();
        }
        let mut told = Vec::new();
        for (member, one, several) in
            [("local_commits", "local commit", "local commits"), ("uncommitted", "changed file", "changed files")]
        {
            let named = self.drift[member].as_array().map_or(&[][..], Vec::as_slice);
            let first = named.first().and_then(Value::as_str).unwrap_or_default();
            match named.len() {
                0 => {}
                1 => told.push(format!("1 {one}: {first}")),
                count => told.push(format!("{count} {several}: {first}, …")),
            }
        }
        told.extend(self.drift["message"].as_str().map(str::to_owned));
        told.join("; ")
    }

    pub(super) fn document(&self) -> Value {
        json!({
            "application": self.app, "environment": self.environment, "group": self.group, "server": self.server,
            "gitdeploy": self.gitdeploy, "deployed": self.deployed, "committed": self.committed, "drift": self.drift,
        })
    }

    fn builds(&self) -> String {
        let shown = |build: &Option<String>| build.clone().unwrap_or_else(|| "–".into());
        match self.has_another_build() {
            true => format!("{} → {}", shown(&self.deployed), shown(&self.committed)),
            false => shown(&self.deployed),
        }
    }
}

pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["ENVIRONMENT", "GROUP", "SERVER", "GITDEPLOY", "BUILD", "DRIFT"]);
    for row in rows {
        let cells = [&row.environment, &row.group, &row.server, &row.gitdeploy, &row.builds(), &row.own()];
        table.row(cells.into_iter().map(Cell::text).collect());
    }
    table
}

/// All of an application, in the order of the census.
pub(super) async fn rows(session: &Session, app: &str) -> Result<Vec<Row>> {
    let census = session.client.get(format!("/app/{}/census", segment(app))).await?;
    let mut rows = Vec::new();
    for (environment, groups) in members(&census) {
        for (group, servers) in members(groups) {
            for (server, gitdeploys) in members(servers) {
                for (gitdeploy, entry) in members(gitdeploys) {
                    let (deployed, committed) = (build(&entry["deployed"]), build(&entry["committed"]));
                    let [environment, group, server, gitdeploy] =
                        [environment, group, server, gitdeploy].map(String::from);
                    let (app, drift) = (app.into(), entry["drift"].clone());
                    rows.push(Row { app, environment, group, server, gitdeploy, deployed, committed, drift });
                }
            }
        }
    }
    Ok(rows)
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A build's name, alone or with more about it.
fn build(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["build"].as_str()).map(str::to_owned)
}
