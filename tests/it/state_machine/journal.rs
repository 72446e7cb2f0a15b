//! What was asked and answered, and whether the database agrees with it in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use elita::datasvc::{Claim, Digest, Enqueued, Error, JobId, JobStatus, SOURCE_HOST};
use sqlx::postgres::PgConnection;

use super::rows::{Row, Rows};

/// How often a job may be started.
const MAX_ATTEMPTS: i32 = 5;

/// What a promise was that did not hold.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) job: Option<JobId>,
    pub(super) what: String,
}

impl Broken {
    pub(super) fn of(job: JobId, what: impl Into<String>) -> Self {
        Self { job: Some(job), what: what.into() }
    }

    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { job: None, what: what.into() }
    }
}

/// A mark that only one entry or outcome has.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(super) struct Token(pub(super) usize);

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}#", self.0)
    }
}

impl Token {
    /// The one in this text.
    fn of(text: &str) -> Option<Self> {
        text.split('#').nth(1)?.parse().map(Self).ok()
    }
}

/// A job that was asked for.
pub(super) struct Request {
    pub(super) key: Option<(String, Digest)>,
    pub(super) idempotent: bool,
    /// The jobs it was told of; none: that its key was used otherwise.
    pub(super) answers: Vec<Option<JobId>>,
}

/// What was done under a claim.
pub(super) struct Course {
    pub(super) claim: Claim,
    /// The attempt that the guest was told when it was started.
    pub(super) started: Option<i32>,
    written: Vec<Written>,
    /// An entry was dropped, and the end says so.
    dropped: bool,
    end: Option<End>,
    /// The step in which its holder learned that it was over.
    refused: Option<usize>,
}

struct Written {
    token: Token,
    step: usize,
    /// It belongs to the end, which may not have come so far.
    of_end: bool,
}

struct End {
    token: Token,
    status: JobStatus,
    /// Whether it was recorded, if an answer says so.
    recorded: Option<bool>,
}

#[derive(Default)]
pub(super) struct Journal {
    pub(super) requests: Vec<Request>,
    pub(super) courses: BTreeMap<(JobId, i64), Course>,
    /// The jobs that someone may have asked to stop.
    pub(super) cancels: BTreeSet<JobId>,
    pub(super) steps: Vec<String>,
    pub(super) counts: BTreeMap<&'static str, usize>,
}

/// An entry of a log, as it is stored.
#[derive(sqlx::FromRow)]
pub(super) struct Entry {
    pub(super) job_id: JobId,
    pub(super) seq: i64,
    pub(super) source: String,
    pub(super) data: String,
}

pub(super) async fn entries(database: &mut PgConnection) -> Vec<Entry> {
    let entries = sqlx::query_as("select job_id, seq, source, data::text from job_entries order by job_id, seq");
    entries.fetch_all(database).await.unwrap()
}

impl Course {
    fn new(claim: Claim) -> Self {
        let started = claim.started.then_some(claim.attempt);
        Self { claim, started, written: Vec::new(), dropped: false, end: None, refused: None }
    }

    /// How many entries the log has after what was written.
    fn last(&self) -> i64 {
        self.claim.entries + i64::try_from(self.written.len()).unwrap() + i64::from(self.dropped && self.end.is_some())
    }
}

impl Journal {
    pub(super) fn say(&mut self, line: String) {
        self.steps.push(line);
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Someone was told of a job, or that the key was used otherwise.
    pub(super) fn enqueued(&mut self, request: usize, answer: Option<&Enqueued>) {
        self.requests[request].answers.push(answer.map(|enqueued| enqueued.job_id));
    }

    /// A worker has learned that it holds a job.
    pub(super) fn claimed(&mut self, claim: &Claim, asked: usize, rows: &Rows) -> Result<(), Broken> {
        let (job, fence) = (claim.job_id, claim.fence);
        if rows.over(job, fence).is_some_and(|step| step < asked) {
            return Err(Broken::of(job, format!("claim {fence} was given when it was over already")));
        }
        match self.courses.insert((job, fence), Course::new(claim.clone())) {
            Some(_) => Err(Broken::of(job, format!("claim {fence} was given twice"))),
            None => self.check_starts(job),
        }
    }

    /// A worker has learned that it may start the guest.
    pub(super) fn started(&mut self, claim: &Claim, asked: usize, rows: &Rows) -> Result<(), Broken> {
        let (job, fence) = (claim.job_id, claim.fence);
        if rows.over(job, fence).is_some_and(|step| step < asked) {
            return Err(Broken::of(job, format!("claim {fence} was over, and its guest was allowed to start")));
        }
        self.course(job, fence).started = Some(claim.attempt);
        self.check_starts(job)
    }

    fn check_starts(&self, job: JobId) -> Result<(), Broken> {
        let starts: Vec<i32> = self.of(job).filter_map(|course| course.started).collect();
        let idempotent = self.idempotent(job);
        if starts.len() > 1 && idempotent == Some(false) {
            return Err(Broken::of(job, "the job is not idempotent, and its guest was started twice"));
        }
        if !starts.is_sorted_by(|earlier, later| earlier < later) {
            return Err(Broken::of(job, format!("its attempts are {starts:?}")));
        }
        if starts.last().is_some_and(|attempt| *attempt > MAX_ATTEMPTS) {
            return Err(Broken::of(job, format!("its guest was started in attempt {starts:?}")));
        }
        Ok(())
    }

    /// Whether a job may run again, as far as an answer says so.
    fn idempotent(&self, job: JobId) -> Option<bool> {
        let made_by = self.requests.iter().find(|request| request.answers.contains(&Some(job)))?;
        // With a key, another request of the same may have made it.
        match &made_by.key {
            None => Some(made_by.idempotent),
            Some(_) => None,
        }
    }

    pub(super) fn wrote(
        &mut self,
        (job, fence): (JobId, i64),
        answers: impl IntoIterator<Item = (Token, Result<i64, Error>)>,
        step: usize,
        now: usize,
    ) -> Result<(), Broken> {
        let course = self.course(job, fence);
        for (token, answer) in answers {
            match answer {
                Ok(seq) => {
                    course.written.push(Written { token, step, of_end: false });
                    if seq != course.last() {
                        return Err(Broken::of(
                            job,
                            format!("{token} got the place {seq} instead of {}", course.last()),
                        ));
                    }
                }
                Err(Error::LogFull { .. }) => course.dropped = true,
                Err(Error::Conflict { .. }) => course.refused = course.refused.or(Some(now)),
                Err(problem) => return Err(Broken::of(job, format!("{token} was not written: {problem:?}"))),
            }
        }
        Ok(())
    }

    /// A worker has handed over an end, and may have learned whether it was recorded.
    pub(super) fn finished(
        &mut self,
        (job, fence): (JobId, i64),
        (token, status): (Token, JobStatus),
        recorded: Option<bool>,
        step: usize,
    ) {
        let course = self.course(job, fence);
        if status != JobStatus::Succeeded {
            course.written.push(Written { token, step, of_end: true });
        }
        course.end = Some(End { token, status, recorded });
    }

    /// A worker has learned that it does not hold a job any more.
    pub(super) fn refused(&mut self, (job, fence): (JobId, i64), now: usize) {
        self.course(job, fence).refused.get_or_insert(now);
    }

    fn course(&mut self, job: JobId, fence: i64) -> &mut Course {
        self.courses.get_mut(&(job, fence)).expect("what is held was claimed")
    }

    fn of(&self, job: JobId) -> impl Iterator<Item = &Course> {
        self.courses.range((job, 0)..=(job, i64::MAX)).map(|(_, course)| course)
    }

    /// Whether all that was answered is what the database has in the end.
    pub(super) fn check(&self, rows: &Rows, entries: &[Entry]) -> Result<(), Broken> {
        self.check_requests(rows)?;
        for row in rows.seen() {
            let log: Vec<&Entry> = entries.iter().filter(|entry| entry.job_id == row.id).collect();
            self.check_row(row, &log)?;
            self.check_log(row.id, &log)?;
            for course in self.of(row.id) {
                check_course(course, row, &log, rows)?;
            }
        }
        match self.courses.keys().find(|(job, _)| rows.of(*job).is_none()) {
            Some((job, _)) => Err(Broken::of(*job, "the job was claimed, and does not exist")),
            None => Ok(()),
        }
    }

    fn check_requests(&self, rows: &Rows) -> Result<(), Broken> {
        let mut made = BTreeSet::new();
        for row in rows.seen() {
            if !made.insert(row.request) || usize::try_from(row.request).unwrap() >= self.requests.len() {
                return Err(Broken::of(
                    row.id,
                    "nobody asked for this job, or another one was made of the same request",
                ));
            }
        }
        for (number, request) in self.requests.iter().enumerate() {
            let of_key = request
                .key
                .as_ref()
                .map(|(key, print)| (rows.seen().find(|row| row.key.as_ref() == Some(key)), print.as_bytes().to_vec()));
            for answer in &request.answers {
                let holds = match (answer, &of_key) {
                    (Some(job), None) => rows.of(*job).is_some_and(|row| usize::try_from(row.request) == Ok(number)),
                    (Some(job), Some((row, print))) => {
                        row.is_some_and(|row| row.id == *job && row.fingerprint.as_ref() == Some(print))
                    }
                    (None, Some((row, print))) => row.is_some_and(|row| row.fingerprint.as_ref() != Some(print)),
                    (None, None) => false,
                };
                if !holds {
                    return Err(Broken::new(format!("request {number} was answered with {answer:?}, which is not so")));
                }
            }
        }
        Ok(())
    }

    fn check_row(&self, row: &Row, log: &[&Entry]) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken::of(row.id, what));
        let number = usize::try_from(row.request).unwrap();
        if self.requests[number].idempotent != row.idempotent {
            return broken("the job is not what was asked for".into());
        }
        let starts = self.of(row.id).filter(|course| course.started.is_some()).count();
        if starts > 1 && !row.idempotent {
            return broken(format!("the job is not idempotent, and its guest was started {starts} times"));
        }
        if row.attempt > MAX_ATTEMPTS || usize::try_from(row.attempt).unwrap() < starts {
            return broken(format!("its guest was started {starts} times, and it has {} attempts", row.attempt));
        }
        let by_end = Token::of(&row.outcome).map(|token| {
            let course = self.courses.get(&(row.id, row.fence))?;
            course.end.as_ref().filter(|end| (end.token, end.status) == (token, row.status))
        });
        match (row.status, by_end) {
            (JobStatus::Queued | JobStatus::Running, _) => broken("the job has not ended".into()),
            (JobStatus::Unknown, _) => broken("the job is in a state that the test does not know".into()),
            (_, Some(None)) => broken("nobody who held the job ended it so".into()),
            (JobStatus::Succeeded | JobStatus::Failed, None) => broken("it says nothing of how the job ended".into()),
            (JobStatus::Cancelled, None) if !self.cancels.contains(&row.id) || !row.cancel_requested => {
                broken("nobody asked for the job to stop".into())
            }
            (JobStatus::Lost, None) if row.attempt == 0 => broken("the job was lost before it began".into()),
            (JobStatus::Lost, None) if row.idempotent && row.attempt < MAX_ATTEMPTS => {
                broken("the job was lost, and could have been started again".into())
            }
            (JobStatus::Lost | JobStatus::Cancelled, None)
                if log.last().is_none_or(|last| last.source != SOURCE_HOST) =>
            {
                broken("the log does not say how the job ended".into())
            }
            (JobStatus::Succeeded | JobStatus::Failed | JobStatus::Cancelled | JobStatus::Lost, _) => Ok(()),
        }
    }

    /// Numbered without gaps, each entry in the place that its writer was told, each claim's after those of the claim
    /// before, with the host's word in between.
    fn check_log(&self, job: JobId, log: &[&Entry]) -> Result<(), Broken> {
        let places: BTreeMap<Token, (i64, i64)> = self
            .of(job)
            .flat_map(|course| {
                let noted = i64::from(course.dropped);
                (course.claim.entries + 1..).zip(&course.written).map(move |(seq, written)| {
                    (written.token, (course.claim.fence, seq + if written.of_end { noted } else { 0 }))
                })
            })
            .collect();
        let (mut holder, mut handed_on) = (0, true);
        for (entry, seq) in log.iter().zip(1..) {
            let broken = |what: &str| Err(Broken::of(job, format!("entry {}: {what}", entry.seq)));
            if entry.seq != seq {
                return broken("the one before it is missing");
            }
            let Some(token) = Token::of(&entry.data) else {
                handed_on |= entry.data.contains("queued");
                continue;
            };
            match places.get(&token) {
                None => return broken("nobody who held the job has written it"),
                Some((_, place)) if *place != seq => return broken(&format!("its place is {place}")),
                Some((fence, _)) if *fence < holder => return broken("its writer did not hold the job any more"),
                Some((fence, _)) if *fence > holder && !handed_on => return broken("the job was not handed on before"),
                Some((fence, _)) => (holder, handed_on) = (*fence, false),
            }
        }
        Ok(())
    }
}

/// What was written under a claim is there as far as it was in time, and all of it if its end is.
fn check_course(course: &Course, row: &Row, log: &[&Entry], rows: &Rows) -> Result<(), Broken> {
    let Course { claim, written, end, .. } = course;
    let broken = |what: String| Err(Broken::of(row.id, format!("claim {}: {what}", claim.fence)));
    let is_there = |token: Token| log.iter().any(|entry| Token::of(&entry.data) == Some(token));
    let count = written.iter().filter(|written| is_there(written.token)).count();
    if let Some(gap) = written[..count].iter().find(|written| !is_there(written.token)) {
        return broken(format!("{} is missing, and later entries are there", gap.token));
    }
    if let Some(over) = rows.over(row.id, claim.fence)
        && let Some(late) = written[..count].iter().find(|written| written.step > over)
    {
        return broken(format!("it was over after step {over}, and {} was recorded in step {}", late.token, late.step));
    }
    if let Some(step) = course.refused
        && rows.over(row.id, claim.fence).is_none_or(|over| over > step)
    {
        return broken(format!("in step {step} its holder was told that it was over, and it was not"));
    }
    let is_end = end.as_ref().is_some_and(|end| Token::of(&row.outcome) == Some(end.token));
    match end {
        Some(End { recorded: Some(true), token, .. }) if !is_end => {
            broken(format!("its end {token} was recorded, and is not there"))?
        }
        Some(End { recorded: Some(false), token, .. }) if is_end => {
            broken(format!("its end {token} was refused, and is there"))?
        }
        _ => {}
    }
    if is_end && (count < written.len() || course.last() != i64::try_from(log.len()).unwrap()) {
        return broken(format!("{count} of its {} entries are there, and {} in all", written.len(), log.len()));
    }
    let before = log.iter().filter(|entry| entry.seq <= claim.entries);
    let (entries, bytes) = before
        .filter(|entry| entry.source != SOURCE_HOST)
        .fold((0, 0), |(entries, bytes), entry| (entries + 1, bytes + i64::try_from(entry.data.len()).unwrap()));
    if (entries, bytes) != (claim.plugin_entries, claim.plugin_bytes) {
        return broken(format!(
            "it was told of {} entries of the plugin with {} bytes, and there were {entries} with {bytes}",
            claim.plugin_entries, claim.plugin_bytes
        ));
    }
    Ok(())
}
