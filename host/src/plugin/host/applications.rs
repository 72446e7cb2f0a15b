//! The imported interface `applications`.

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{AppName, Error, Expected};
use crate::plugin::bindings::elita::plugin::applications;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::instance::GuestState;

impl applications::Host for GuestState {
    async fn get(&mut self, application: String) -> Result<applications::Application, HostError> {
        let run = self.run("applications.get")?;
        let application = AppName::parse(application)?;
        let found = run.timed("applications.get", run.svc.application(&run.caller, &application)).await?;
        Ok(found.try_into()?)
    }

    async fn list(&mut self, part: Page) -> Result<Names, HostError> {
        let run = self.run("applications.list")?;
        let part = page(part)?;
        let listed = run.timed("applications.list", run.svc.applications(&run.caller, &part)).await?;
        Ok(names(listed, |application| application.app_name.to_string()))
    }

    async fn create(&mut self, application: String, kept: String) -> Result<applications::Application, HostError> {
        let run = self.run("applications.create")?;
        let (application, kept) = (AppName::parse(application)?, attributes(kept)?);
        let created = run.svc.create_application(&run.caller, &application, &kept);
        Ok(run.timed("applications.create", created).await?.try_into()?)
    }

    async fn update(&mut self, application: String, patch: String) -> Result<applications::Application, HostError> {
        let run = self.run("applications.update")?;
        let (application, patch) = (AppName::parse(application)?, change(patch)?);
        let updated = run.svc.update_application(&run.caller, &application, &patch, &Expected::Any);
        Ok(run.timed("applications.update", updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String) -> Result<(), HostError> {
        let run = self.run("applications.delete")?;
        let application = AppName::parse(application)?;
        let deleted = run.svc.delete_application(&run.caller, &application, &Expected::Any);
        run.timed("applications.delete", deleted).await
    }

    async fn census(&mut self, application: String) -> Result<String, HostError> {
        let run = self.run("applications.census")?;
        let application = AppName::parse(application)?;
        let census = run.timed("applications.census", run.svc.census(&run.caller, &application)).await?;
        Ok(serde_json::to_string(&census).map_err(|error| Error::Internal(error.into()))?)
    }
}
