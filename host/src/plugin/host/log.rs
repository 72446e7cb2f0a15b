//! The imported interface `log`.

use crate::plugin::bindings::elita::plugin::log;
use crate::plugin::sandbox::instance::GuestState;
use crate::plugin::sandbox::output::Level;

impl log::Host for GuestState {
    async fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.run("log.write")?;
        let level = match level {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        Ok(self.output.log(level, &message)?)
    }
}
