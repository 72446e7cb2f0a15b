//! The server's log.

use super::{ask, tell};
use crate::bindings::elita::plugin::log as wit;

pub(crate) use wit::Level;

pub(crate) fn write(level: Level, message: &str) {
    ask("log::write", |host| host.log.push((from_wit(level), message.into())));
}

/// What a macro wrote: it may be anybody's, and does no harm without a host.
pub(crate) fn record(level: Level, message: &str) {
    tell(|host| host.log.push((from_wit(level), message.into())));
}

fn from_wit(level: Level) -> crate::log::Level {
    match level {
        Level::Trace => crate::log::Level::Trace,
        Level::Debug => crate::log::Level::Debug,
        Level::Info => crate::log::Level::Info,
        Level::Warn => crate::log::Level::Warn,
        Level::Error => crate::log::Level::Error,
    }
}
