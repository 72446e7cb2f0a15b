//! The imported interface `groups`.

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{
    AppName, EnvironmentName, Error, Expected, GitdeployName, Group, GroupGitdeploys, GroupName, NewGroup, ServerName,
};
use crate::plugin::bindings::elita::plugin::groups;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::sandbox::instance::GuestState;

impl groups::Host for GuestState {
    async fn get(
        &mut self,
        application: String,
        group: String,
        environments: Vec<String>,
    ) -> Result<groups::Group, HostError> {
        let call = self.call("groups.get", &[&application, &group])?;
        let (application, group) = (AppName::parse(application)?, GroupName::parse(group)?);
        let environments: Result<Vec<_>, _> = environments.into_iter().map(EnvironmentName::parse).collect();
        let environments = environments?;
        let found = call.svc.group(&call.caller, &application, &group, &environments);
        Ok(call.timed(found).await?.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("groups.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call.timed(call.svc.groups(&call.caller, &application, &[], &part)).await?;
        Ok(names(listed, |group| group.name.to_string()))
    }

    async fn create(
        &mut self,
        application: String,
        group: String,
        new: groups::NewGroup,
        kept: String,
    ) -> Result<groups::Group, HostError> {
        let call = self.call("groups.create", &[&application, &group])?;
        let application = AppName::parse(application)?;
        let groups::NewGroup { gitdeploys, rolling_deploy, description } = new;
        let new = NewGroup {
            name: GroupName::parse(group)?,
            gitdeploys: gitdeploys.try_into()?,
            rolling_deploy,
            description,
            attributes: attributes(kept)?,
        };
        Ok(call.timed(call.svc.create_group(&call.caller, &application, &new)).await?.try_into()?)
    }

    async fn update(&mut self, application: String, group: String, patch: String) -> Result<groups::Group, HostError> {
        let call = self.call("groups.update", &[&application, &group])?;
        let (application, group) = (AppName::parse(application)?, GroupName::parse(group)?);
        let patch = change(patch)?;
        let updated = call.svc.update_group(&call.caller, &application, &group, &patch, &Expected::Any);
        Ok(call.timed(updated).await?.try_into()?)
    }

    async fn delete(&mut self, application: String, group: String) -> Result<(), HostError> {
        let call = self.call("groups.delete", &[&application, &group])?;
        let (application, group) = (AppName::parse(application)?, GroupName::parse(group)?);
        let deleted = call.svc.delete_group(&call.caller, &application, &group, &Expected::Any);
        call.timed(deleted).await
    }
}

impl TryFrom<groups::Gitdeploys> for GroupGitdeploys {
    type Error = Error;

    fn try_from(gitdeploys: groups::Gitdeploys) -> Result<Self, Error> {
        let parsed = |names: Vec<String>| names.into_iter().map(GitdeployName::parse).collect::<Result<Vec<_>, _>>();
        Ok(match gitdeploys {
            groups::Gitdeploys::Unordered(names) => Self::Unordered(parsed(names)?),
            groups::Gitdeploys::Ordered(stages) => {
                Self::Ordered(stages.into_iter().map(parsed).collect::<Result<_, _>>()?)
            }
        })
    }
}

impl From<GroupGitdeploys> for groups::Gitdeploys {
    fn from(gitdeploys: GroupGitdeploys) -> Self {
        let texts = |names: Vec<GitdeployName>| names.iter().map(GitdeployName::to_string).collect();
        match gitdeploys {
            GroupGitdeploys::Unordered(names) => Self::Unordered(texts(names)),
            GroupGitdeploys::Ordered(stages) => Self::Ordered(stages.into_iter().map(texts).collect()),
        }
    }
}

impl TryFrom<Group> for groups::Group {
    type Error = Error;

    fn try_from(group: Group) -> Result<Self, Error> {
        let Group {
            name,
            application,
            app_name: _,
            gitdeploys,
            rolling_deploy,
            description,
            attributes,
            servers,
            created_at,
            updated_at,
            revision: _,
        } = group;
        Ok(Self {
            application: application.to_string(),
            name: name.to_string(),
            gitdeploys: gitdeploys.into(),
            rolling_deploy,
            description,
            attributes: json(&attributes)?,
            servers: servers.iter().map(ServerName::to_string).collect(),
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}
