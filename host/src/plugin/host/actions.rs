//! The imported interface `actions`.

use super::{HostError, names, page};
use crate::datasvc::{ActionName, AppName, PluginAction, RegisteredParameter};
use crate::plugin::bindings::elita::plugin::actions;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::sandbox::instance::GuestState;

impl actions::Host for GuestState {
    async fn get(&mut self, application: String, action: String) -> Result<actions::Action, HostError> {
        let call = self.call("actions.get", &[&application, &action])?;
        let (application, action) = (AppName::parse(application)?, ActionName::parse(action)?);
        let found = call.timed(call.registered.action(&call.caller, &application, &action)).await?;
        Ok(found.document().into())
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("actions.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call.timed(call.registered.actions(&call.caller, &application, &part)).await?;
        Ok(names(listed, |action| action.name.to_string()))
    }

    async fn run(
        &mut self,
        application: String,
        action: String,
        parameters: Vec<(String, String)>,
    ) -> Result<String, HostError> {
        let call = self.call("actions.run", &[&application, &action])?;
        let (application, action) = (AppName::parse(application)?, ActionName::parse(action)?);
        call.starts_a_job()?;
        let started = call.effects.run_action(&call.caller, application, action, parameters, call.parent());
        Ok(call.timed(started).await?.to_string())
    }
}

impl From<PluginAction> for actions::Action {
    fn from(action: PluginAction) -> Self {
        let PluginAction { name, description, plugin, parameters, idempotent, timeout_seconds, schema: _ } = action;
        let parameter = |parameter| {
            let RegisteredParameter { name, r#type: type_, description, optional: _ } = parameter;
            actions::Parameter { name, type_, description }
        };
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
