//! The imported interface `gitdeploys`.

use super::{HostError, attributes, change, names, page};
use crate::datasvc::{
    AppName, Error, Expected, Favor, GitRepoName, Gitdeploy, GitdeployActions, GitdeployLocation, GitdeployName,
    GitdeployOptions, InitializedServer, NewGitdeploy, PackageName, PullCommand, ServerName,
};
use crate::plugin::bindings::elita::plugin::gitdeploys;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::sandbox::instance::GuestState;

impl gitdeploys::Host for GuestState {
    async fn get(&mut self, application: String, gitdeploy: String) -> Result<gitdeploys::Gitdeploy, HostError> {
        let call = self.call("gitdeploys.get", &[&application, &gitdeploy])?;
        let (application, gitdeploy) = (AppName::parse(application)?, GitdeployName::parse(gitdeploy)?);
        let found = call.timed(call.svc.gitdeploy(&call.caller, &application, &gitdeploy)).await?;
        Ok(found.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("gitdeploys.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call.timed(call.svc.gitdeploys(&call.caller, &application, &part)).await?;
        Ok(names(listed, |gitdeploy| gitdeploy.name.to_string()))
    }

    async fn create(
        &mut self,
        application: String,
        gitdeploy: String,
        new: gitdeploys::NewGitdeploy,
        kept: String,
    ) -> Result<gitdeploys::Gitdeploy, HostError> {
        let call = self.call("gitdeploys.create", &[&application, &gitdeploy])?;
        let application = AppName::parse(application)?;
        let gitdeploys::NewGitdeploy { package, location, options, actions } = new;
        let new = NewGitdeploy {
            name: GitdeployName::parse(gitdeploy)?,
            package: PackageName::parse(package)?,
            location: location.try_into()?,
            options: options.into(),
            actions: actions.into(),
            attributes: attributes(kept)?,
        };
        let created = call.svc.create_gitdeploy(&call.caller, &application, &new);
        Ok(call.timed(created).await?.try_into()?)
    }

    async fn update(
        &mut self,
        application: String,
        gitdeploy: String,
        patch: String,
    ) -> Result<gitdeploys::Gitdeploy, HostError> {
        let call = self.call("gitdeploys.update", &[&application, &gitdeploy])?;
        let (application, gitdeploy) = (AppName::parse(application)?, GitdeployName::parse(gitdeploy)?);
        let patch = change(patch)?;
        let updated = call.svc.update_gitdeploy(&call.caller, &application, &gitdeploy, &patch, &Expected::Any);
        Ok(call.timed(updated).await?.try_into()?)
    }

    async fn initialize(
        &mut self,
        application: String,
        gitdeploy: String,
        servers: Vec<String>,
    ) -> Result<String, HostError> {
        let call = self.call("gitdeploys.initialize", &[&application, &gitdeploy])?;
        let gitdeploy = (AppName::parse(application)?, GitdeployName::parse(gitdeploy)?);
        let servers = servers.into_iter().map(ServerName::parse).collect::<Result<_, _>>()?;
        let job = call.timed(call.effects.initialize(&call.caller, gitdeploy, servers, false, call.parent()));
        Ok(job.await?.to_string())
    }

    async fn deinitialize(
        &mut self,
        application: String,
        gitdeploy: String,
        servers: Vec<String>,
    ) -> Result<String, HostError> {
        let call = self.call("gitdeploys.deinitialize", &[&application, &gitdeploy])?;
        let gitdeploy = (AppName::parse(application)?, GitdeployName::parse(gitdeploy)?);
        let servers = servers.into_iter().map(ServerName::parse).collect::<Result<_, _>>()?;
        let job = call.timed(call.effects.initialize(&call.caller, gitdeploy, servers, true, call.parent()));
        Ok(job.await?.to_string())
    }

    async fn delete(&mut self, application: String, gitdeploy: String) -> Result<(), HostError> {
        let call = self.call("gitdeploys.delete", &[&application, &gitdeploy])?;
        let (application, gitdeploy) = (AppName::parse(application)?, GitdeployName::parse(gitdeploy)?);
        let deleted = call.svc.delete_gitdeploy(&call.caller, &application, &gitdeploy, &Expected::Any);
        call.timed(deleted).await
    }
}

impl TryFrom<gitdeploys::Location> for GitdeployLocation {
    type Error = Error;

    fn try_from(location: gitdeploys::Location) -> Result<Self, Error> {
        let gitdeploys::Location { path, gitrepo, default_branch } = location;
        Ok(Self { path, gitrepo: GitRepoName::parse(gitrepo)?, default_branch })
    }
}

impl From<gitdeploys::Options> for GitdeployOptions {
    fn from(options: gitdeploys::Options) -> Self {
        let gitdeploys::Options { favor, ignore_whitespace, gitignore } = options;
        let favor = match favor {
            gitdeploys::Favor::Ours => Favor::Ours,
            gitdeploys::Favor::Theirs => Favor::Theirs,
        };
        // What the record does not have is set by `update`.
        Self { favor, ignore_whitespace, gitignore, autocrlf: false }
    }
}

impl From<GitdeployOptions> for gitdeploys::Options {
    fn from(options: GitdeployOptions) -> Self {
        let GitdeployOptions { favor, ignore_whitespace, gitignore, autocrlf: _ } = options;
        let favor = match favor {
            Favor::Ours => gitdeploys::Favor::Ours,
            Favor::Theirs => gitdeploys::Favor::Theirs,
        };
        Self { favor, ignore_whitespace, gitignore }
    }
}

impl From<gitdeploys::Actions> for GitdeployActions {
    fn from(actions: gitdeploys::Actions) -> Self {
        let gitdeploys::Actions { prepull, postpull } = actions;
        let commands = |lists: Vec<Vec<String>>| lists.into_iter().map(PullCommand::Arguments).collect();
        Self { prepull: commands(prepull), postpull: commands(postpull) }
    }
}

impl TryFrom<InitializedServer> for gitdeploys::InitializedServer {
    type Error = Error;

    fn try_from(server: InitializedServer) -> Result<Self, Error> {
        let InitializedServer { server, deployed_build, initialized_at } = server;
        Ok(Self {
            server: server.to_string(),
            deployed_build: deployed_build.map(|build| build.to_string()),
            initialized_at: timestamp(initialized_at)?,
        })
    }
}

impl TryFrom<Gitdeploy> for gitdeploys::Gitdeploy {
    type Error = Error;

    fn try_from(gitdeploy: Gitdeploy) -> Result<Self, Error> {
        let Gitdeploy {
            name,
            application,
            app_name: _,
            package,
            location: GitdeployLocation { path, gitrepo, default_branch },
            options,
            actions: GitdeployActions { prepull, postpull },
            attributes,
            servers,
            created_at,
            updated_at,
            revision: _,
        } = gitdeploy;
        Ok(Self {
            application: application.to_string(),
            name: name.to_string(),
            package: package.to_string(),
            location: gitdeploys::Location { path, gitrepo: gitrepo.to_string(), default_branch },
            options: options.into(),
            actions: gitdeploys::Actions {
                prepull: prepull.into_iter().map(PullCommand::words).collect(),
                postpull: postpull.into_iter().map(PullCommand::words).collect(),
            },
            attributes: json(&attributes)?,
            servers: servers.0.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            created_at: timestamp(created_at)?,
            updated_at: timestamp(updated_at)?,
        })
    }
}
