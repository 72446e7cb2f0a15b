//! Which faults there are, and when they come.

use std::ops::Range;
use std::time::Duration;

use clap::ValueEnum;

use super::fleet::ROLES;
use super::random::Random;

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Fault {
    /// A server is told to stop, and started again.
    Stop,
    /// A server is killed, and started again at once.
    Kill,
    /// A server is killed, and stays away until others have taken over.
    KillForLong,
    /// A server is killed, and another one with a data directory of its own comes in its place.
    Replace,
    /// A server stands still for longer than its claims last.
    Freeze,
    /// A server loses its way to Postgres, and works on.
    CutOff,
    /// What a server and Postgres say to each other comes late.
    Stall,
    /// Postgres is killed with all its processes, and started again.
    KillPostgres,
    /// Postgres ends the servers' sessions, again and again.
    Sever,
    /// What Postgres has done is not answered, because the connections break: again and again.
    LoseAnswers,
    /// Some of what servers and Postgres say to each other comes late.
    Slow,
    /// The disk of Postgres is full.
    FillDisk,
    /// Everything is killed, and started again.
    PowerCut,
    /// No server wakes another one, and one is killed.
    NoNotify,
}

/// A fault of a plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// How long all is well before it.
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    /// The server that it hits, if it hits one.
    pub(crate) host: usize,
    pub(crate) lasts: Duration,
}

impl Fault {
    /// How long it lasts, in milliseconds, and how long it takes to start again what has to be started.
    fn takes(self) -> (Range<u64>, u64) {
        match self {
            Self::Stop => (0..1, 4_000),
            Self::Kill => (100..1_500, 1_500),
            Self::KillForLong => (15_200..15_900, 1_500),
            Self::Replace => (500..2_000, 1_500),
            Self::Freeze | Self::CutOff => (9_500..11_000, 0),
            Self::Stall => (2_000..9_000, 0),
            Self::KillPostgres => (300..4_000, 1_000),
            Self::Sever | Self::LoseAnswers => (1_000..2_000, 0),
            Self::Slow => (6_000..9_000, 0),
            Self::FillDisk => (4_000..7_000, 1_000),
            Self::PowerCut => (500..2_000, 2_500),
            Self::NoNotify => (2_000..4_000, 8_000),
        }
    }
}

/// Draws faults for about this long: each kind once, as far as there is time for it, and then again.
pub(crate) fn draw(random: &mut Random, kinds: &[Fault], hosts: usize, time: Duration) -> Vec<Step> {
    let mut plan = Vec::new();
    let mut left = time;
    loop {
        let before = plan.len();
        for fault in random.shuffled(kinds) {
            let (lasts, recovery) = fault.takes();
            let pause = random.millis(300..1_200);
            // A server that runs no jobs shows less: so it is hit less often.
            let picks = [random.below(hosts), random.below(hosts)];
            let host = picks.into_iter().find(|host| ROLES[host % ROLES.len()] != "api").unwrap_or(picks[0]);
            let step = Step { pause, fault, host, lasts: random.millis(lasts) };
            if let Some(rest) = left.checked_sub(pause + step.lasts + Duration::from_millis(recovery)) {
                left = rest;
                plan.push(step);
            }
        }
        if plan.len() == before {
            return plan;
        }
    }
}
