//! The server's log, for operators. End users see what [`jobs::append`](crate::jobs::append) adds.
//!
//! One macro for each level, with the arguments of [`format!`]; the job and the plugin are added as fields.
//!
//! ```no_run
//! use elita_plugin::prelude::*;
//!
//! let (deleted, count) = (3, 10);
//! log::info!("deleted {deleted} of {count} widgets");
//! log::warn!("the widget press answers slowly");
//! ```
//!
//! A run may write 256 KiB in 10,000 lines to the log, stdout and stderr together, unless the server is set
//! otherwise. More ends it.

use crate::host::log as wit;

pub use crate::bindings::elita::plugin::log::Level;

/// Writes one line. The macros of this module read better.
///
/// ```no_run
/// use elita_plugin::log::{self, Level};
/// log::write(Level::Info, "the widget press is warm");
/// ```
pub fn write(level: Level, message: &str) {
    wit::write(level, message);
}

#[doc(inline)]
pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};

/// Logs what only the plugin's author wants to know, step by step.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Trace, &::std::format!($($arguments)+)) };
}

/// Logs what helps to find a fault.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($arguments)+)) };
}

/// Logs what an operator may want to read.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($arguments)+)) };
}

/// Logs what is odd, though the plugin can go on.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($arguments)+)) };
}

/// Logs what someone should look at.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($arguments:tt)+) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($arguments)+)) };
}
