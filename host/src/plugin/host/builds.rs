//! The imported interface `builds`.

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{AppName, BuildName, Expected};
use crate::plugin::bindings::elita::plugin::builds;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::instance::GuestState;

impl builds::Host for GuestState {
    async fn get(&mut self, application: String, build: String) -> Result<builds::Build, HostError> {
        let run = self.run("builds.get")?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let build = run.timed("builds.get", run.svc.build(&run.caller, &application, &build)).await?;
        Ok(build.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let run = self.run("builds.list")?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = run.timed("builds.list", run.svc.builds(&run.caller, &application, &part)).await?;
        Ok(names(listed, |build| build.build_name.to_string()))
    }

    async fn create(&mut self, application: String, build: String, kept: String) -> Result<builds::Build, HostError> {
        let run = self.run("builds.create")?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let kept = attributes(kept)?;
        let created = run.svc.create_build(&run.caller, &application, &build, &kept);
        Ok(run.timed("builds.create", created).await?.try_into()?)
    }

    async fn update(&mut self, application: String, build: String, patch: String) -> Result<builds::Build, HostError> {
        let run = self.run("builds.update")?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let patch = change(patch)?;
        let updated = run.svc.update_build(&run.caller, &application, &build, &patch, &Expected::Any);
        Ok(run.timed("builds.update", updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String, build: String) -> Result<(), HostError> {
        let run = self.run("builds.delete")?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let deleted = run.svc.delete_build(&run.caller, &application, &build, &Expected::Any);
        run.timed("builds.delete", deleted).await
    }
}
