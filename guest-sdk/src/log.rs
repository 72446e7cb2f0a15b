//! The server's log, for operators. End users see what [`jobs::append`](crate::jobs::append) adds.
//!
//! The macros are those of the crate [`log`](https://docs.rs/log), one for each level, with the arguments of
//! [`format!`]; the job and the plugin are added as fields. The prelude's `log` is that crate. So what other crates write
//! by `log` or by `tracing` arrives at the same place: in the server's log, and in the job's trace. What is not of the
//! plugin's own crate begins with where it is from, such as `rustls::client: …`.
//!
//! ```
//! use elita_plugin::prelude::*;
//!
//! let (deleted, count) = (3, 10);
//! log::info!("deleted {deleted} of {count} widgets");
//! log::warn!("the widget press answers slowly");
//! ```
//!
//! A run may write 256 KiB in 10,000 lines to the log, stdout and stderr together, unless the server is set
//! otherwise. More ends it.

use std::fmt::{self, Write as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing_core::field::{Field, Visit};
use tracing_core::{Dispatch, Event, Metadata, Subscriber, dispatcher, span};

use crate::host::log as wit;

#[doc(no_inline)]
pub use log::{Level, debug, error, info, trace, warn};

/// Writes one line, of any length; the macros of this module read better.
///
/// ```no_run
/// use elita_plugin::log::{self, Level};
/// log::write(Level::Info, "the widget press is warm");
/// ```
pub fn write(level: Level, message: &str) {
    wit::write(level_to_wit(level), message);
}

fn level_to_wit(level: Level) -> wit::Level {
    match level {
        Level::Error => wit::Level::Error,
        Level::Warn => wit::Level::Warn,
        Level::Info => wit::Level::Info,
        Level::Debug => wit::Level::Debug,
        Level::Trace => wit::Level::Trace,
    }
}

/// The crate of the plugin, whose lines need no mention of where they are from.
static OWN_CRATE: OnceLock<&'static str> = OnceLock::new();

/// Takes what the crates `log` and `tracing` record from here on. A plugin that has set a logger or a subscriber of its
/// own keeps it.
pub(crate) fn install(own_crate: Option<&'static str>) {
    if let Some(own) = own_crate {
        // Set once, to the only crate of the component that has a `plugin!`.
        let _ = OWN_CRATE.set(own);
    }
    if log::set_logger(&Records).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
    if !dispatcher::has_been_set() {
        let _ = dispatcher::set_global_default(Dispatch::new(Events::default()));
    }
}

/// Writes a line that a macro made, with where it is from.
fn record(level: Level, target: &str, message: &str) {
    let crate_of = |path: &'_ str| path.split("::").next().unwrap_or_default().to_owned();
    let own = OWN_CRATE.get().is_none_or(|own| crate_of(own) == crate_of(target));
    if own {
        wit::record(level_to_wit(level), message)
    } else {
        wit::record(level_to_wit(level), &format!("{target}: {message}"))
    }
}

/// What the crate `log` hands its records to.
struct Records;

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, line: &log::Record<'_>) {
        record(line.level(), line.target(), &line.args().to_string());
    }

    fn flush(&self) {}
}

/// What the crate `tracing` hands its events to. Spans are counted, and leave nothing in the log.
#[derive(Default)]
struct Events {
    spans: AtomicU64,
}

impl Subscriber for Events {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What `log` records is taken as it is, and not once more if it is given to `tracing`.
        metadata.target() != "log"
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let level = match *event.metadata().level() {
            tracing_core::Level::ERROR => Level::Error,
            tracing_core::Level::WARN => Level::Warn,
            tracing_core::Level::INFO => Level::Info,
            tracing_core::Level::DEBUG => Level::Debug,
            _ => Level::Trace,
        };
        let mut line = Line::default();
        event.record(&mut line);
        record(level, event.metadata().target(), line.text());
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// An event as a line: its message, then its fields.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn text(&mut self) -> &str {
        self.message += &self.fields;
        self.message.trim_start()
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message += value,
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests;
