//! The imported interface `deployments`.

use super::{Call, HostError, names, page};
use crate::datasvc::{
    AppName, BuildName, Deployment, DeploymentAsked, DeploymentFilter, DeploymentPlan, DeploymentScope,
    DeploymentStatus, EnvironmentName, Error, GitdeployName, GivenOptions, GroupName, JobId, ServerName,
};
use crate::plugin::bindings::elita::plugin::deployments;
use crate::plugin::bindings::elita::plugin::types::{Names, Page};
use crate::plugin::convert::{json, timestamp};
use crate::plugin::effects::DeploymentIntention;
use crate::plugin::sandbox::instance::GuestState;

impl deployments::Host for GuestState {
    async fn get(&mut self, application: String, id: String) -> Result<deployments::Deployment, HostError> {
        let call = self.call("deployments.get", &[&application, &id])?;
        let (application, id) = (AppName::parse(application)?, JobId::parse(&id)?);
        let found = call.timed(call.svc.deployment(&call.caller, &application, id)).await?;
        Ok(found.try_into()?)
    }

    async fn list(&mut self, application: String, part: Page) -> Result<Names, HostError> {
        let call = self.call("deployments.list", &[&application])?;
        let (application, part) = (AppName::parse(application)?, page(part)?);
        let listed = call
            .timed(call.svc.deployments(&call.caller, &application, &DeploymentFilter::default(), false, &part))
            .await?;
        Ok(names(listed, |deployment| deployment.id.to_string()))
    }

    async fn plan(
        &mut self,
        application: String,
        intention: deployments::Intention,
    ) -> Result<deployments::DeploymentPlan, HostError> {
        let call = self.call("deployments.plan", &[&application])?;
        let (application, intention) = (AppName::parse(application)?, DeploymentIntention::try_from(intention)?);
        let plan = call.timed(call.effects.plan_deployment(&call.caller, application, intention)).await?;
        Ok(plan.try_into()?)
    }

    async fn start(
        &mut self,
        application: String,
        new: deployments::NewDeployment,
        plan: Option<String>,
    ) -> Result<String, HostError> {
        let call = self.call("deployments.start", &[&application, &new.build_name])?;
        let asked = DeploymentAsked::try_from(new)?;
        call.deploys(application, DeploymentIntention::Start(asked), plan).await
    }

    async fn cancel(&mut self, application: String, id: String) -> Result<(), HostError> {
        let call = self.call("deployments.cancel", &[&application, &id])?;
        let (application, id) = (AppName::parse(application)?, JobId::parse(&id)?);
        call.timed(call.effects.cancel_deployment(&call.caller, application, id)).await
    }

    async fn resume(&mut self, application: String, id: String, plan: Option<String>) -> Result<String, HostError> {
        let call = self.call("deployments.resume", &[&application, &id])?;
        let intention = DeploymentIntention::Resume(JobId::parse(&id)?);
        call.deploys(application, intention, plan).await
    }

    async fn rollback(&mut self, application: String, id: String, plan: Option<String>) -> Result<String, HostError> {
        let call = self.call("deployments.rollback", &[&application, &id])?;
        let intention = DeploymentIntention::RollBack(JobId::parse(&id)?);
        call.deploys(application, intention, plan).await
    }
}

impl Call<'_> {
    async fn deploys(
        &self,
        application: String,
        intention: DeploymentIntention,
        plan: Option<String>,
    ) -> Result<String, HostError> {
        let application = AppName::parse(application)?;
        self.starts_a_job()?;
        let deploying = self.effects.deploy(&self.caller, application, intention, plan, self.parent());
        Ok(self.timed(deploying).await?.to_string())
    }
}

impl TryFrom<deployments::Intention> for DeploymentIntention {
    type Error = Error;

    fn try_from(intention: deployments::Intention) -> Result<Self, Error> {
        Ok(match intention {
            deployments::Intention::Start(new) => Self::Start(new.try_into()?),
            deployments::Intention::Resume(id) => Self::Resume(JobId::parse(&id)?),
            deployments::Intention::Rollback(id) => Self::RollBack(JobId::parse(&id)?),
        })
    }
}

impl TryFrom<deployments::NewDeployment> for DeploymentAsked {
    type Error = Error;

    fn try_from(new: deployments::NewDeployment) -> Result<Self, Error> {
        let deployments::NewDeployment { build_name, scope, options } = new;
        let scope = DeploymentScope::try_from(scope)?;
        let options = GivenOptions::from(options).of(&scope)?;
        Ok(Self { build_name: BuildName::parse(build_name)?, scope, options, plan: None })
    }
}

impl TryFrom<deployments::Scope> for DeploymentScope {
    type Error = Error;

    fn try_from(scope: deployments::Scope) -> Result<Self, Error> {
        Ok(match scope {
            deployments::Scope::Groups(deployments::GroupScope { environments, groups }) => Self::Groups {
                environments: environments.into_iter().map(EnvironmentName::parse).collect::<Result<_, _>>()?,
                groups: groups.into_iter().map(GroupName::parse).collect::<Result<_, _>>()?,
            },
            deployments::Scope::Manual(deployments::ManualScope { servers, gitdeploys }) => Self::Manual {
                servers: servers.into_iter().map(ServerName::parse).collect::<Result<_, _>>()?,
                gitdeploys: gitdeploys.into_iter().map(GitdeployName::parse).collect::<Result<_, _>>()?,
            },
        })
    }
}

impl From<deployments::Options> for GivenOptions {
    fn from(options: deployments::Options) -> Self {
        let deployments::Options { rolling_divisor, rolling_pause, ordered_pause, max_failures, skip_unreachable } =
            options;
        Self { rolling_divisor, rolling_pause, ordered_pause, max_failures, skip_unreachable }
    }
}

impl From<DeploymentStatus> for deployments::Status {
    fn from(status: DeploymentStatus) -> Self {
        match status {
            DeploymentStatus::Created => Self::Created,
            DeploymentStatus::Running => Self::Running,
            DeploymentStatus::Complete => Self::Complete,
            DeploymentStatus::Error => Self::Error,
            DeploymentStatus::Cancelled => Self::Cancelled,
        }
    }
}

impl TryFrom<Deployment> for deployments::Deployment {
    type Error = Error;

    fn try_from(deployment: Deployment) -> Result<Self, Error> {
        Ok(Self {
            id: deployment.id.to_string(),
            application: deployment.application.to_string(),
            build_name: deployment.build_name.to_string(),
            status: deployment.status.into(),
            document: json(&deployment)?,
            created_at: timestamp(deployment.created_at)?,
            completed_at: deployment.completed_at.map(timestamp).transpose()?,
        })
    }
}

impl TryFrom<DeploymentPlan> for deployments::DeploymentPlan {
    type Error = Error;

    fn try_from(plan: DeploymentPlan) -> Result<Self, Error> {
        Ok(Self { document: json(&plan)?, hash: plan.hash })
    }
}
