//! The imported interface `applications`.

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{AppName, Error, Expected};
use crate::plugin::bindings::elita::plugin::applications;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::sandbox::instance::GuestState;

impl applications::Host for GuestState {
    async fn get(&mut self, application: String) -> Result<applications::Application, HostError> {
        let call = self.call("applications.get", &[&application])?;
        let application = AppName::parse(application)?;
        let found = call.timed(call.svc.application(&call.caller, &application)).await?;
        Ok(found.try_into()?)
    }

    async fn list(&mut self, part: Page) -> Result<Names, HostError> {
        let call = self.call("applications.list", &[])?;
        let part = page(part)?;
        let listed = call.timed(call.svc.applications(&call.caller, &part)).await?;
        Ok(names(listed, |found| found.application.to_string()))
    }

    async fn create(&mut self, application: String, kept: String) -> Result<applications::Application, HostError> {
        let call = self.call("applications.create", &[&application])?;
        let (application, kept) = (AppName::parse(application)?, attributes(kept)?);
        let created = call.svc.create_application(&call.caller, &application, &kept, None);
        Ok(call.timed(created).await?.try_into()?)
    }

    async fn update(&mut self, application: String, patch: String) -> Result<applications::Application, HostError> {
        let call = self.call("applications.update", &[&application])?;
        let (application, patch) = (AppName::parse(application)?, change(patch)?);
        let updated = call.svc.update_application(&call.caller, &application, &patch, &Expected::Any);
        Ok(call.timed(updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String) -> Result<(), HostError> {
        let call = self.call("applications.delete", &[&application])?;
        let application = AppName::parse(application)?;
        let deleted = call.svc.delete_application(&call.caller, &application, &Expected::Any);
        call.timed(deleted).await
    }

    async fn census(&mut self, application: String) -> Result<String, HostError> {
        let call = self.call("applications.census", &[&application])?;
        let application = AppName::parse(application)?;
        let census = call.timed(call.svc.census(&call.caller, &application, &[])).await?;
        Ok(serde_json::to_string(&census).map_err(|error| Error::Internal(error.into()))?)
    }
}
