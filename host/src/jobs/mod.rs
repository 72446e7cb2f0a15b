//! Turns rows into runs.
//!
//! Knows the data services and plugins, and nothing of HTTP. `action` makes jobs of requests; `worker` claims jobs,
//! runs them and records how they ended.

mod action;
mod worker;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::datasvc::DataSvc;
use crate::plugin::Plugins;

pub use self::worker::Worker;

/// The job engine, as the doors see it. Cheap to clone.
#[derive(Clone)]
pub struct Jobs {
    svc: DataSvc,
    plugins: Plugins,
    /// Told when there is a new job, so that a worker of this server looks at once.
    wake: Arc<Notify>,
}

impl Jobs {
    /// Over these data services and plugins.
    pub fn new(svc: DataSvc, plugins: Plugins) -> Self {
        Self { svc, plugins, wake: Arc::new(Notify::new()) }
    }
}
