//! `elita follow`: follows jobs to their end.

use clap::Args;
use futures_util::future::join_all;

use crate::complete;
use crate::exit::Code;
use crate::failure::Result;
use crate::follow::{Following, Lines, Patience, describe};
use crate::session::{Session, short, text};

/// Follow jobs to their end
///
/// Entries are printed once each, in order, also through restarts of the server. The exit code is the job's outcome, and
/// of several jobs the worst. Ctrl-C stops following, not the job.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  elita follow d5146e54
  elita follow -            the newest of your jobs
  elita follow - --tail 20 --timeout 10m")]
pub(crate) struct Follow {
    /// The job's id, the last 8 characters of it, or - for the newest of yours
    #[arg(required = true, value_name = "JOB",
          add = clap_complete::ArgValueCompleter::new(complete::jobs))]
    jobs: Vec<String>,
    /// Begin with this entry
    #[arg(long, value_name = "SEQ", conflicts_with = "tail")]
    from: Option<i64>,
    /// Begin with the last so many entries
    #[arg(long, value_name = "COUNT")]
    tail: Option<u32>,
    #[command(flatten)]
    patience: Patience,
}

impl Follow {
    pub(crate) async fn run(self, session: &Session) -> Result<Code> {
        let are_several = self.jobs.len() > 1;
        let followed = self.jobs.iter().map(|job| self.follow(session, job, are_several));
        let mut worst = Code::Done;
        for code in join_all(followed).await {
            worst = worst.worse(code?);
        }
        Ok(worst)
    }

    async fn follow(&self, session: &Session, job: &str, are_several: bool) -> Result<Code> {
        let id = session.job_id(job).await?;
        let after = match self.tail {
            Some(count) => before_last(session, &id, count).await?,
            None => self.from.map_or(0, |from| (from - 1).max(0)),
        };
        let prefix = match are_several {
            true => Some(format!("{} {}", text(&session.client.get(format!("/job/{id}")).await?, "name"), short(&id))),
            false => None,
        };
        let output = &session.output;
        let lines = Lines { are_answer: true, are_silent: output.quiet, prefix: prefix.clone(), ..Lines::default() };
        let (job, code) = Following { session, id, after, lines }.until_the_end(&self.patience).await?;
        describe(output, &job, prefix.as_deref());
        Ok(code)
    }
}

/// The number of the entry before the last `count` ones.
pub(crate) async fn before_last(session: &Session, id: &str, count: u32) -> Result<i64> {
    let job = session.client.get(format!("/job/{id}")).await?;
    Ok((job["last_seq"].as_i64().unwrap_or_default() - i64::from(count)).max(0))
}
