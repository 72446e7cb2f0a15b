//! The imported interface `builds`.

use wasmtime::component::Resource;

use super::packages::Package;
use super::{HostError, attributes, change, names, page};
use crate::datasvc::{AppName, BuildFilter, BuildName, Expected};
use crate::plugin::bindings::elita::plugin::builds;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::sandbox::instance::GuestState;

impl builds::Host for GuestState {
    async fn get(&mut self, application: String, build: String) -> Result<builds::Build, HostError> {
        let call = self.call("builds.get", &[&application, &build])?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let build = call.timed(call.svc.build(&call.caller, &application, &build)).await?;
        Ok(build.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("builds.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call.timed(call.svc.builds(&call.caller, &application, BuildFilter::default(), &part)).await?;
        Ok(names(listed, |build| build.build_name.to_string()))
    }

    async fn files(
        &mut self,
        application: String,
        build: String,
        glob: Option<String>,
        part: Page,
    ) -> Result<Names, HostError> {
        let call = self.call("builds.files", &[&application, &build])?;
        let (application, build, part) = (AppName::parse(application)?, BuildName::parse(build)?, page(part)?);
        let files = call.svc.build_files(&call.caller, &application, &build, glob.as_deref(), &part);
        Ok(names(call.timed(files).await?, String::clone))
    }

    async fn create(&mut self, application: String, build: String, kept: String) -> Result<builds::Build, HostError> {
        let call = self.call("builds.create", &[&application, &build])?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let kept = attributes(kept)?;
        let created = call.svc.create_build(&call.caller, &application, &build, &kept);
        Ok(call.timed(created).await?.try_into()?)
    }

    async fn update(&mut self, application: String, build: String, patch: String) -> Result<builds::Build, HostError> {
        let call = self.call("builds.update", &[&application, &build])?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        let patch = change(patch)?;
        let updated = call.svc.update_build(&call.caller, &application, &build, &patch, &Expected::Any);
        Ok(call.timed(updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String, build: String) -> Result<(), HostError> {
        let call = self.call("builds.delete", &[&application, &build])?;
        let (application, build) = (AppName::parse(application)?, BuildName::parse(build)?);
        call.timed(call.effects.delete_build(&call.caller, application, build)).await
    }

    async fn add_package(
        &mut self,
        application: String,
        build: String,
        name: String,
        file_type: String,
    ) -> Result<Resource<Package>, HostError> {
        self.begin_package([application, build, name], &file_type).await
    }

    async fn read_package(
        &mut self,
        application: String,
        build: String,
        name: String,
        offset: u64,
        length: u32,
    ) -> Result<Vec<u8>, HostError> {
        self.read_piece([application, build, name], offset, length).await
    }
}
