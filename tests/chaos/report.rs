//! The figures of a run: lines for people and JSON for programs.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum as _;
use serde_json::{Value, json};
use sqlx::types::Uuid;

use super::evidence::Evidence;
use super::plan::{Fault, Step};

/// How many of the jobs that something is wrong with are shown, for each figure.
const SHOWN: usize = 3;

/// What a run has shown.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    figures: Vec<Figure>,
    notes: Vec<String>,
    /// How often each kind of fault happened.
    faults: serde_json::Map<String, Value>,
    dossiers: Vec<Value>,
}

/// One line.
pub(crate) struct Figure {
    name: &'static str,
    shown: String,
    value: Value,
    wrong: Vec<(Uuid, String)>,
}

impl Figure {
    /// A time and the limit that it should keep.
    pub(crate) fn time(name: &'static str, time: Option<Duration>, limit: &str, wrong: Vec<(Uuid, String)>) -> Self {
        let value = time.map(|time| (time.as_secs_f64() * 10.0).round() / 10.0);
        let shown = value.map_or_else(|| "none".into(), |value| format!("{value:.1} s ({limit})"));
        Self { name, shown, value: json!(value), wrong }
    }
}

impl Report {
    /// A number of things, however many.
    pub(crate) fn count(&mut self, name: &'static str, count: usize) {
        self.figure(Figure { name, shown: count.to_string(), value: json!(count), wrong: Vec::new() });
    }

    /// A number of things that must be 0.
    pub(crate) fn none(&mut self, name: &'static str, wrong: Vec<(Uuid, String)>) {
        self.figure(Figure { name, shown: format!("{} (must be 0)", wrong.len()), value: json!(wrong.len()), wrong });
    }

    pub(crate) fn figure(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    /// Something to know.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Says how often each fault was there, and which could not be.
    pub(crate) fn note_faults(&mut self, plan: &[Step], kinds: &[Fault], why_not_full: Option<&str>) {
        for kind in kinds {
            let count = plan.iter().filter(|step| step.fault == *kind).count();
            let name = kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            match count {
                0 => self.note(format!("{name} DID NOT HAPPEN: there was no time for it")),
                count => self.note(format!("{name} happened {count} times")),
            }
            self.faults.insert(name, json!(count));
        }
        if let Some(why) = why_not_full {
            self.note(format!("THE DISK WAS NOT FILLED: {why}"));
        }
    }

    /// Adds all that is known of some of the jobs that something is wrong with.
    pub(crate) fn add_dossiers(&mut self, evidence: &Evidence) {
        for figure in &self.figures {
            for (job, what) in figure.wrong.iter().take(SHOWN) {
                let known = evidence.dossier(*job);
                self.dossiers.push(json!({ "figure": figure.name, "wrong": what, "known": known }));
            }
        }
    }

    /// Whether all is as it must be.
    pub(crate) fn is_good(&self) -> bool {
        self.figures.iter().all(|figure| figure.wrong.is_empty())
    }

    pub(crate) fn json(&self) -> String {
        let figures: serde_json::Map<_, _> =
            self.figures.iter().map(|figure| (figure.name.to_owned(), figure.value.clone())).collect();
        let Self { seed, seconds, notes, faults, dossiers, .. } = self;
        let good = self.is_good();
        let report = json!({
            "seed": seed, "seconds": seconds, "good": good, "figures": figures, "faults": faults,
            "notes": notes, "wrong": dossiers,
        });
        format!("{report:#}\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "  {note}")?;
        }
        writeln!(f)?;
        for Figure { name, shown, .. } in &self.figures {
            writeln!(f, "{name}: {shown}")?;
        }
        for dossier in &self.dossiers {
            writeln!(f, "\n{dossier:#}")?;
        }
        for figure in self.figures.iter().filter(|figure| !figure.wrong.is_empty()) {
            let (count, seed) = (figure.wrong.len(), self.seed);
            writeln!(f, "\nBROKEN: {} of {count} jobs; --seed {seed} repeats the faults", figure.name)?;
        }
        Ok(())
    }
}
