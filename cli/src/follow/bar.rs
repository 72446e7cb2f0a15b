//! The last line on a terminal: how far the job is. It is shown on terminals only.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::entry::{Lines, said};
use crate::output::{Output, visible};

/// A line that is wiped before another one is printed.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new(output: &Output, lines: &Lines) -> Self {
        let is_wanted = output.is_terminal_err && !output.json && !output.quiet && !lines.are_silent;
        if !is_wanted {
            return Self::none();
        }
        let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
        bar.set_style(style("{spinner} {elapsed}  {msg}"));
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    pub(super) fn none() -> Self {
        Self(None)
    }

    /// Prints lines above it.
    pub(super) fn print(&self, print: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Shows how far an entry says that the job is.
    pub(super) fn note(&mut self, entry: &Value) {
        let Some(bar) = &self.0 else { return };
        if let Some(percent) = entry["data"]["progress"].as_f64() {
            bar.set_style(style("{spinner} {elapsed}  {bar:20} {pos} %  {msg}"));
            bar.set_position(percent.clamp(0.0, 100.0) as u64);
        }
        // How far it is stands before it.
        let said = entry["data"]["status"].as_str().map_or_else(|| said(&entry["data"]), visible);
        bar.set_message(said.lines().next().unwrap_or_default().to_owned());
    }

    /// Shows where the job stands, as long as it says nothing itself.
    pub(super) fn status(&mut self, status: &str) {
        if let Some(bar) = self.0.as_ref().filter(|_| status == "queued") {
            bar.set_message("queued");
        }
    }

    pub(super) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("██░")
}
