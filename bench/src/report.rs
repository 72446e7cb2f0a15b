//! The figures of a run: a table for people and JSON for programs.

use std::fmt;

use serde_json::json;

/// What a ratio, Elita by its peer, should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    /// More is better, and this is enough.
    AtLeast(f64),
    /// Less is better, and this is little enough.
    AtMost(f64),
    /// More is better; there is no goal.
    More,
}

/// One comparison: in each round, what Elita took and what its peer took.
pub(crate) struct Comparison {
    number: &'static str,
    what: String,
    beside: String,
    unit: &'static str,
    goal: Goal,
    rounds: Vec<(f64, f64)>,
}

/// All that a run has found.
#[derive(Default)]
pub(crate) struct Report {
    comparisons: Vec<Comparison>,
    remarks: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, comparison: Comparison) {
        // Shown at once, because the whole run takes long.
        eprintln!("{comparison}");
        self.comparisons.push(comparison);
    }

    /// Something to be said below the table.
    pub(crate) fn remark(&mut self, remark: &str) {
        eprintln!("{remark}");
        self.remarks.push(remark.to_owned());
    }

    pub(crate) fn json(&self) -> String {
        let comparisons: Vec<_> = self.comparisons.iter().map(Comparison::json).collect();
        format!("{:#}\n", json!({ "comparisons": comparisons, "remarks": self.remarks }))
    }
}

impl Comparison {
    /// `rounds` are pairs of (Elita, peer).
    pub(crate) fn new(
        number: &'static str,
        what: &str,
        beside: &str,
        unit: &'static str,
        rounds: Vec<(f64, f64)>,
    ) -> Self {
        Self { number, what: what.into(), beside: beside.into(), unit, goal: Goal::More, rounds }
    }

    pub(crate) fn goal(self, goal: Goal) -> Self {
        Self { goal, ..self }
    }

    /// The lowest ratio of a round, the median and the highest.
    fn ratios(&self) -> (f64, f64, f64) {
        let ratios: Vec<_> = self.rounds.iter().map(|(elita, peer)| elita / peer).collect();
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(0.0, f64::max);
        (lowest, median(ratios), highest)
    }

    fn is_reached(&self) -> Option<bool> {
        let (_, ratio, _) = self.ratios();
        match self.goal {
            Goal::AtLeast(goal) => Some(ratio >= goal),
            Goal::AtMost(goal) => Some(ratio <= goal),
            Goal::More => None,
        }
    }

    fn json(&self) -> serde_json::Value {
        let Self { number, what, beside, unit, goal: _, rounds } = self;
        let (lowest, ratio, highest) = self.ratios();
        json!({
            "number": number, "measured": what, "beside": beside, "unit": unit, "goal": self.goal.to_string(),
            "reached": self.is_reached(), "ratio": ratio, "lowest": lowest, "highest": highest, "rounds": rounds,
        })
    }
}

/// The middle value, or that above the middle. There must be one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(goal) => f.pad(&format!("≥ {goal}")),
            Self::AtMost(goal) => f.pad(&format!("≤ {goal}")),
            Self::More => f.pad("more"),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, what, beside, unit, goal, rounds } = self;
        let (elita, peer) = rounds.iter().copied().unzip();
        let (elita, peer, (lowest, ratio, highest)) = (median(elita), median(peer), self.ratios());
        let reached = self.is_reached().map_or("", |reached| if reached { "yes" } else { "NO" });
        let digits = if elita < 100.0 { 2 } else { 0 };
        write!(
            f,
            "{number:>2} {what:<40} {beside:<40} {ratio:>6.2} {goal:<7} {reached:<4} {lowest:>6.2}–{highest:<6.2} \
             {elita:>9.digits$} {peer:>9.digits$} {unit}"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.comparisons.is_empty() {
            writeln!(
                f,
                "{:>2} {:<40} {:<40} {:>6} {:<12} {:<13} {:>9} {:>9}",
                "", "measured", "divided by", "ratio", "goal", "rounds'", "elita", "peer"
            )?;
        }
        for comparison in &self.comparisons {
            writeln!(f, "{comparison}")?;
        }
        for remark in &self.remarks {
            writeln!(f, "{remark}")?;
        }
        Ok(())
    }
}
