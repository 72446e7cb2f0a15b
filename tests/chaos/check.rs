//! Compares what clients were promised and shown with what there is.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use sqlx::types::Uuid;
use time::OffsetDateTime;

use super::evidence::{Entry, Evidence, Job, Mark};
use super::journal::{Acknowledgement, Action, Blow, Notes, Stream};
use super::report::{Figure, Report};

/// The longest that a takeover may take while nothing else goes wrong.
const TAKEOVER: Duration = Duration::from_secs(15);
/// How long after Postgres is back the first job should be taken.
const FIRST: Duration = Duration::from_secs(5);
/// By how much the clocks of what is compared may differ: it is one machine.
const TICK: Duration = Duration::from_millis(50);

/// What is wrong with a job.
type Wrong = (Uuid, String);

/// Checks everything. `settled` says how long it took until no job was unfinished.
pub(crate) fn all(notes: &Notes, evidence: &Evidence, settled: Option<Duration>) -> Report {
    let mut report = Report::default();
    let promised: HashMap<Uuid, &Acknowledgement> =
        notes.acknowledged.iter().map(|promised| (promised.job, promised)).collect();
    let known = |job: &Uuid| evidence.jobs.get(job);
    let acknowledged: Vec<(&Acknowledgement, Option<&Job>)> =
        promised.values().map(|promised| (*promised, known(&promised.job))).collect();

    report.count("acknowledged", promised.len());
    report.count("run", promised.keys().filter(|job| !begun(evidence, **job).is_empty()).count());
    report.none("run twice", promised.values().flat_map(|promised| run_twice(promised, evidence)).collect());
    let lost = acknowledged.iter().filter_map(|(promised, job)| lost_without_report(promised, *job));
    report.none("lost without report", lost.chain(keys_with_two_jobs(notes, evidence)).collect());
    let lost = acknowledged.iter().filter(|(_, job)| job.is_some_and(|job| job.row.status == "lost"));
    report.count("reported lost", lost.count());
    // Of all jobs, also of those whose acknowledgement was lost.
    report.none(
        "log gaps",
        evidence.jobs.iter().flat_map(|(id, job)| log_gaps(*id, job, promised.get(id).copied())).collect(),
    );
    let stale = evidence.jobs.iter().flat_map(|(id, job)| stale_writes(*id, job));
    report.none("stale writes accepted", stale.chain(changed_ends(notes, evidence)).collect());
    takeovers(notes, evidence, &mut report);
    report.none("stream gaps", notes.streams.iter().flat_map(|stream| stream_gaps(stream, evidence)).collect());
    first_after_returns(notes, &mut report);

    match settled {
        Some(time) => {
            report.note(format!("all jobs had ended {:.1} s after everything was well again", time.as_secs_f64()))
        }
        None => report.note("some jobs never ended".into()),
    }
    let late = evidence.jobs.iter().map(|(id, job)| effects_after_takeover(job, evidence.marks_of(*id))).sum::<usize>();
    report
        .note(format!("{late} steps were done by runs whose job had been taken over (no entry of them was accepted)"));
    report.note(format!("{} streams were followed", notes.streams.len()));
    let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
    for job in evidence.jobs.values() {
        *ends.entry(&job.row.status).or_default() += 1;
    }
    report.note(format!("{} jobs are in the database: {ends:?}", evidence.jobs.len()));
    for (why, count) in &notes.refusals {
        report.note(format!("{count} times {why}"));
    }
    report.add_dossiers(evidence);
    report
}

/// The attempts of a job in which a guest has begun.
fn begun(evidence: &Evidence, job: Uuid) -> BTreeSet<i64> {
    let entries = evidence.jobs.get(&job).map_or(&[][..], |job| &job.entries);
    let recorded = entries.iter().filter_map(|entry| Some(entry.of_plugin()?.0));
    evidence.marks_of(job).iter().map(|mark| mark.attempt).chain(recorded).collect()
}

/// An action that is not idempotent runs once at most, and no attempt is made twice.
fn run_twice(promised: &Acknowledgement, evidence: &Evidence) -> Option<Wrong> {
    let attempts = begun(evidence, promised.job);
    if promised.action == Action::Once && attempts.len() > 1 {
        return Some((promised.job, format!("it is not idempotent, and guests have begun the attempts {attempts:?}")));
    }
    let begins = |attempt: i64| {
        let marks = evidence.marks_of(promised.job).iter();
        marks.filter(move |mark| mark.step == 0 && mark.attempt == attempt).count()
    };
    let twice = attempts.into_iter().find(|attempt| begins(*attempt) > 1)?;
    Some((promised.job, format!("{} guests have begun attempt {twice}", begins(twice))))
}

fn lost_without_report(promised: &Acknowledgement, job: Option<&Job>) -> Option<Wrong> {
    let Some(Job { row, entries }) = job else {
        let Acknowledgement { door, at, .. } = promised;
        return Some((promised.job, format!("there is no such job, which {door} acknowledged at {at}")));
    };
    let says_why = || row.error.is_some() && entries.last().is_some_and(Entry::is_end);
    let problem = match row.status.as_str() {
        "succeeded" if row.result.is_some() => return None,
        "failed" | "cancelled" | "lost" if says_why() => return None,
        "succeeded" => "it has succeeded without a result".to_owned(),
        status @ ("failed" | "cancelled" | "lost") => format!("it is {status}, and does not say why"),
        status => format!("it is {status} in the end"),
    };
    Some((promised.job, problem))
}

/// Each key stands for one job, and for the one that was acknowledged.
fn keys_with_two_jobs(notes: &Notes, evidence: &Evidence) -> Vec<Wrong> {
    let mut by_key: HashMap<&str, BTreeSet<Uuid>> = HashMap::new();
    for promised in &notes.acknowledged {
        by_key.entry(&promised.key).or_default().insert(promised.job);
    }
    for (id, job) in &evidence.jobs {
        if let Some(jobs) = job.row.idempotency_key.as_deref().and_then(|key| by_key.get_mut(key)) {
            jobs.insert(*id);
        }
    }
    let several = by_key.into_iter().filter(|(_, jobs)| jobs.len() > 1);
    several
        .flat_map(|(key, jobs)| jobs.into_iter().map(move |job| (job, format!("the key {key} has other jobs, too"))))
        .collect()
}

/// Entries are numbered without gaps, each attempt's steps are all there up to its last one, and the end is the end.
fn log_gaps(id: Uuid, job: &Job, promised: Option<&Acknowledgement>) -> Option<Wrong> {
    let mut steps: HashMap<i64, u64> = HashMap::new();
    for (entry, expected) in job.entries.iter().zip(1..) {
        if entry.seq != expected {
            return Some((id, format!("entry {} comes where {expected} should", entry.seq)));
        }
        if let Some((attempt, step)) = entry.of_plugin() {
            let before = steps.insert(attempt, step).unwrap_or(0);
            if step != before + 1 {
                return Some((
                    id,
                    format!("in attempt {attempt} step {step} follows step {before}, in entry {}", entry.seq),
                ));
            }
        }
        if entry.is_end() && expected != i64::try_from(job.entries.len()).unwrap_or(0) {
            return Some((id, format!("entry {expected} is its end, and more follow")));
        }
    }
    let done = steps.get(&i64::from(job.row.attempt)).copied().unwrap_or(0);
    let promised = promised.filter(|promised| job.row.status == "succeeded" && promised.steps != done)?;
    Some((id, format!("it has succeeded, and {done} of {} steps are in its log", promised.steps)))
}

/// Nothing of an attempt is written once it has been taken over, or once a later one has begun.
fn stale_writes(id: Uuid, job: &Job) -> Option<Wrong> {
    let (mut newest, mut over) = (0, 0);
    for entry in &job.entries {
        if let Some((attempt, _)) = entry.of_plugin() {
            if attempt <= over {
                return Some((id, format!("entry {} is of attempt {attempt}, which was over", entry.seq)));
            }
            if attempt < newest {
                return Some((id, format!("entry {} is of attempt {attempt}, after one of {newest}", entry.seq)));
            }
            newest = attempt;
        }
        if let Some((attempt, _)) = entry.handed_on() {
            over = over.max(attempt);
        }
    }
    let attempt = i64::from(job.row.attempt);
    if newest > attempt {
        return Some((id, format!("it has entries of attempt {newest}, and had {attempt} attempts")));
    }
    let of_result = job.row.result.as_ref()?.0["run"].as_i64();
    (of_result != Some(attempt))
        .then(|| (id, format!("its result is of attempt {of_result:?}, its last one was {attempt}")))
}

/// A job that has ended stays as it is.
fn changed_ends(notes: &Notes, evidence: &Evidence) -> Vec<Wrong> {
    let changed = notes.ends.iter().filter_map(|(id, told)| {
        let now = &evidence.jobs.get(id)?.row.status;
        (now != told).then(|| (*id, format!("a client was told that it was {told}, and it is {now}")))
    });
    changed.collect()
}

/// How long it took until what a struck server held was queued again, or lost.
fn takeovers(notes: &Notes, evidence: &Evidence, report: &mut Report) {
    let (mut slowest, mut wrong, mut taken, mut disturbed) = (Duration::ZERO, Vec::new(), 0, 0);
    for (number, blow) in notes.blows.iter().enumerate() {
        let next = notes.blows.get(number + 1).map_or(Duration::MAX, |next| since(blow.at, next.at));
        for (job, attempt) in &blow.held {
            let Some(took) = taken_over_after(blow, *job, *attempt, evidence) else { continue };
            taken += 1;
            // What else goes wrong meanwhile may hold it up.
            if took > TAKEOVER && next < TAKEOVER {
                disturbed += 1;
                continue;
            }
            slowest = slowest.max(took);
            if took > TAKEOVER {
                let what = blow.fault.map_or_else(String::new, |fault| format!("{fault:?} of {}", blow.host));
                wrong
                    .push((*job, format!("it was taken over {:.1} s after {what} at {}", took.as_secs_f64(), blow.at)));
            }
        }
    }
    let limit = format!("at most {} s", TAKEOVER.as_secs());
    report.figure(Figure::time("slowest takeover", (taken > 0).then_some(slowest), &limit, wrong));
    report.note(format!("{taken} jobs were taken over, {disturbed} of them late, because something else went wrong"));
}

fn taken_over_after(blow: &Blow, job: Uuid, attempt: i64, evidence: &Evidence) -> Option<Duration> {
    let mut entries = evidence.jobs.get(&job)?.entries.iter();
    let taken = entries.find(|entry| {
        entry.at >= blow.at - TICK && entry.handed_on().is_some_and(|(handed_on, _)| handed_on >= attempt)
    });
    Some(since(blow.at, taken?.at))
}

/// A client that follows a job sees all of its log once, in order, as it stays; and its end.
fn stream_gaps(stream: &Stream, evidence: &Evidence) -> Option<Wrong> {
    let wrong = |what: String| Some((stream.job, format!("a client that followed it: {what}")));
    if let Some(fault) = stream.faults.first() {
        return wrong(fault.clone());
    }
    let job = evidence.jobs.get(&stream.job)?;
    for (seq, data) in &stream.entries {
        match job.entries.iter().find(|entry| entry.seq == *seq) {
            None => return wrong(format!("saw entry {seq}, which is not there")),
            Some(entry) if entry.data.0 != *data => return wrong(format!("saw another entry {seq}: {data}")),
            Some(_) => {}
        }
    }
    match &stream.end {
        None => wrong("never saw its end".into()),
        Some(_) if stream.entries.len() == job.entries.len() => None,
        Some(_) => wrong(format!("saw {} of {} entries before its end", stream.entries.len(), job.entries.len())),
    }
}

fn first_after_returns(notes: &Notes, report: &mut Report) {
    let first_after = |back: OffsetDateTime| {
        notes.acknowledged.iter().filter(|promised| promised.at >= back).map(|promised| since(back, promised.at)).min()
    };
    let slowest = notes.returns.iter().filter_map(|back| first_after(*back)).max();
    let figure = Figure::time("first 202 after Postgres' return", slowest, "at most 5 s", Vec::new());
    report.figure(figure);
    if slowest.is_some_and(|slowest| slowest > FIRST) {
        report.note("the first 202 after Postgres' return came late".into());
    }
}

/// Marks of an attempt after the entry that says that it is over: what a guest did that nobody relied on any more.
fn effects_after_takeover(job: &Job, marks: &[Mark]) -> usize {
    let over = |mark: &Mark| {
        let of_attempt = |entry: &&Entry| entry.handed_on().is_some_and(|(attempt, _)| attempt == mark.attempt);
        job.entries.iter().find(of_attempt).is_some_and(|entry| mark.at > entry.at + TICK)
    };
    marks.iter().filter(|mark| over(mark)).count()
}

fn since(from: OffsetDateTime, to: OffsetDateTime) -> Duration {
    (to - from).try_into().unwrap_or(Duration::ZERO)
}
