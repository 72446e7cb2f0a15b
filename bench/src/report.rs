//! The figures of a run: a table for people and JSON for programs.

use std::fmt;

use serde_json::json;

/// One comparison: in each round, what Elita took and what its peer took.
struct Comparison {
    what: String,
    beside: String,
    unit: &'static str,
    rounds: Vec<(f64, f64)>,
}

/// All comparisons of a run.
#[derive(Default)]
pub(crate) struct Report {
    comparisons: Vec<Comparison>,
}

impl Report {
    /// `rounds` are pairs of (Elita, peer).
    pub(crate) fn add(&mut self, what: &str, beside: &str, unit: &'static str, rounds: Vec<(f64, f64)>) {
        self.comparisons.push(Comparison { what: what.into(), beside: beside.into(), unit, rounds });
    }

    pub(crate) fn json(&self) -> String {
        let comparisons: Vec<_> = self
            .comparisons
            .iter()
            .map(|comparison| {
                let Comparison { what, beside, unit, rounds } = comparison;
                json!({ "measured": what, "beside": beside, "unit": unit, "ratio": comparison.ratio(), "rounds": rounds })
            })
            .collect();
        format!("{:#}\n", json!(comparisons))
    }
}

impl Comparison {
    fn ratio(&self) -> f64 {
        median(self.rounds.iter().map(|(elita, peer)| elita / peer).collect())
    }
}

/// The middle value. There must be one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34} {:<40} {:>7} {:>12} {:>12}", "measured", "beside", "ratio", "elita", "peer")?;
        for comparison in &self.comparisons {
            let Comparison { what, beside, unit, rounds } = comparison;
            let (elita, peer) = rounds.iter().copied().unzip();
            let (elita, peer) = (median(elita), median(peer));
            writeln!(f, "{what:<34} {beside:<40} {:>7.2} {elita:>8.1} {unit} {peer:>8.1} {unit}", comparison.ratio())?;
        }
        Ok(())
    }
}
