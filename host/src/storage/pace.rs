//! How slowly a file may come in.

use std::time::Duration;

/// What has to come in a second, on average, in bytes.
const SLOWEST: f64 = 8.0 * 1024.0;

/// The time that a file may still take. What comes buys time, which is spent while it is waited for: a sender that sends
/// nothing has `patience`, and so has, from when it became too slow, one that sends less than 8 KiB a second.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    patience: Duration,
    left: Duration,
}

impl Pace {
    /// At the beginning.
    pub fn new(patience: Duration) -> Self {
        Self { patience, left: patience }
    }

    /// How long to wait for what comes next.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// So long was waited.
    pub fn waited(&mut self, time: Duration) {
        self.left = self.left.saturating_sub(time);
    }

    /// So much has come.
    pub fn came(&mut self, bytes: usize) {
        let bought = Duration::from_secs_f64(bytes as f64 / SLOWEST);
        self.left = self.patience.min(self.left + bought);
    }

    /// What to say when no time is left.
    pub fn too_slow(&self) -> String {
        let patience = self.patience.as_secs();
        format!("came too slowly: nothing for {patience} seconds, or less than {SLOWEST} bytes a second for longer")
    }
}
