//! The imported interface `actions`.

use std::sync::atomic::Ordering;

use super::{HostError, names, page};
use crate::datasvc::{ActionName, AppName, Error, PluginAction, RegisteredParameter};
use crate::plugin::bindings::elita::plugin::actions;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::instance::GuestState;

/// How many jobs a run may start.
const MAX_STARTED: u32 = 100;

impl actions::Host for GuestState {
    async fn get(&mut self, application: String, action: String) -> Result<actions::Action, HostError> {
        let run = GuestState::run(self, "actions.get")?;
        let (application, action) = (AppName::parse(application)?, ActionName::parse(action)?);
        let found = run.timed("actions.get", run.plugins.action(&run.caller, &application, &action)).await?;
        Ok(found.document().into())
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let run = GuestState::run(self, "actions.list")?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = run.timed("actions.list", run.plugins.actions(&run.caller, &application, &part)).await?;
        Ok(names(listed, |action| action.name.to_string()))
    }

    async fn run(
        &mut self,
        application: String,
        action: String,
        parameters: Vec<(String, String)>,
    ) -> Result<String, HostError> {
        let run = GuestState::run(self, "actions.run")?;
        let (application, action) = (AppName::parse(application)?, ActionName::parse(action)?);
        if run.started.fetch_add(1, Ordering::Relaxed) >= MAX_STARTED {
            return Err(Error::TooMany { what: "jobs started by one run", limit: MAX_STARTED }.into());
        }
        let starting = async {
            run.caller.require_execute(&application, &action)?;
            let found = run.plugins.action(&run.caller, &application, &action).await?;
            let job = run.plugins.new_job(&found, parameters, Some(run.parent()))?;
            run.svc.enqueue_action(&run.caller, job).await
        };
        let enqueued = run.timed("actions.run", starting).await?;
        (run.tell_queued)();
        Ok(enqueued.job_id.to_string())
    }
}

impl From<PluginAction> for actions::Action {
    fn from(action: PluginAction) -> Self {
        let PluginAction { name, description, plugin, parameters, idempotent, timeout_seconds } = action;
        let parameter =
            |RegisteredParameter { name, r#type: type_, description }| actions::Parameter { name, type_, description };
        Self {
            name: name.to_string(),
            plugin: plugin.to_string(),
            description,
            parameters: parameters.into_iter().map(parameter).collect(),
            idempotent,
            timeout_seconds,
        }
    }
}
