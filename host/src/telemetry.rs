//! The server's log: to stderr, as JSON lines, or for people with `--dev`.
//!
//! Field names we use: `job.id`, `plugin.name`, `plugin.digest`, `op`, `request.id`; units are in the names (`_ms`).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Starts logging. `filter` is in the syntax of tracing's `EnvFilter`, such as `info,elita::engine=debug`.
///
/// # Errors
/// If the filter cannot be read.
pub fn start(filter: &str, for_people: bool) -> Result<(), ParseError> {
    let log = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(filter)?).with_writer(std::io::stderr);
    if for_people {
        log.with_ansi(std::io::stderr().is_terminal()).init();
    } else {
        log.json().flatten_event(true).init();
    }
    Ok(())
}
