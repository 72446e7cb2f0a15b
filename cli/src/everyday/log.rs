//! `elita log`: prints the log of a job.

use clap::Args;
use serde_json::Value;

use super::follow::before_last;
use crate::complete;
use crate::exit::Code;
use crate::failure::Result;
use crate::follow::{Following, Lines, Patience};
use crate::http::with_query;
use crate::output::{Output, visible};
use crate::session::{Session, text};

/// Print the log of a job
///
/// The exit code says whether it could be read, not how the job went.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  elita log d5146e54 --tail 50
  elita log - -f --grep error")]
pub(crate) struct Log {
    /// The job's id, the last 8 characters of it, or - for the newest of yours
    #[arg(value_name = "JOB", add = clap_complete::ArgValueCompleter::new(complete::jobs))]
    job: String,
    /// Go on until the job ends
    #[arg(short, long)]
    follow: bool,
    /// The last so many entries only
    #[arg(long, value_name = "COUNT", conflicts_with = "from")]
    tail: Option<u32>,
    /// Begin with this entry
    #[arg(long, value_name = "SEQ")]
    from: Option<i64>,
    /// End with this entry
    #[arg(long, value_name = "SEQ", conflicts_with = "follow")]
    to: Option<i64>,
    /// Only entries with this text
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Only entries of this source: a plugin, or `host`
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// With date and time instead of the time of day
    #[arg(short, long)]
    timestamps: bool,
    /// What the plugin asked of the host and wrote for operators; needs write permission
    #[arg(long, conflicts_with_all = ["follow", "tail", "from", "to", "raw"])]
    trace: bool,
    /// Each entry as JSON
    #[arg(long)]
    raw: bool,
}

impl Log {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let id = session.job_id(&self.job).await?;
        if self.trace {
            return trace(session, &id).await;
        }
        let after = match self.tail {
            Some(count) => before_last(session, &id, count).await?,
            None => self.from.map_or(0, |from| (from - 1).max(0)),
        };
        let lines = Lines {
            are_answer: true,
            raw: self.raw,
            timestamps: self.timestamps,
            grep: self.grep,
            source: self.source,
            ..Lines::default()
        };
        match self.follow {
            true => Following { session, id, after, lines }.until_the_end(&Patience::default()).await.map(drop)?,
            false => print(session, &id, after, self.to, &lines).await?,
        }
        Ok(Code::Done)
    }
}

/// Prints what there is.
async fn print(session: &Session, id: &str, mut after: i64, to: Option<i64>, lines: &Lines) -> Result<()> {
    loop {
        let query = [("after", after.to_string()), ("limit", "1000".to_owned())];
        let page = session.client.get(with_query(&format!("/job/{id}/data"), &query)).await?;
        for entry in page["items"].as_array().into_iter().flatten() {
            if to.is_some_and(|to| entry["seq"].as_i64() > Some(to)) {
                return Ok(());
            }
            lines.print(&session.output, entry);
        }
        match page["next"].as_i64() {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
}

async fn trace(session: &Session, id: &str) -> Result<Code> {
    let job = session.client.get(format!("/job/{id}?trace=true")).await?;
    if session.output.json {
        session.output.document(&job);
        return Ok(Code::Done);
    }
    let lines = job["trace"].as_array().map(Vec::as_slice).unwrap_or_default();
    for line in lines {
        session.output.line(traced(&session.output, line));
    }
    if lines.is_empty() {
        session.output.note("the trace is empty: it is there once the job has ended");
    }
    Ok(Code::Done)
}

/// A line of a trace: a call, or a line of output.
fn traced(output: &Output, line: &Value) -> String {
    let at = output.clock(text(line, "at"));
    let rest = if line["call"].is_string() {
        let took = line["duration_ms"].as_f64().unwrap_or_default();
        format!("{}  {}  {}  {took:.1} ms", text(line, "call"), text(line, "target"), text(line, "outcome"))
    } else {
        format!("{}  {}  {}", text(line, "stream"), text(line, "level"), text(line, "text"))
    };
    format!("{at}  {}", visible(&rest))
}
