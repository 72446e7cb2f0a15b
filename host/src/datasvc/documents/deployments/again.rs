//! Deployments that go on with an earlier one, or take it back.

use std::collections::{BTreeMap, BTreeSet};

use super::asked::{Again, DeploymentAsked, DeploymentScope};
use super::{Batch, Deployment, DeploymentStatus, Target, TargetProgress, TargetState};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::ground::error::{Error, Result};
use crate::datasvc::ground::ids::{AppName, BuildName, GitdeployName, JobId, ServerName};

/// How many targets a message names.
const MAX_NAMED: usize = 20;

impl DataSvc {
    /// What is to be asked for so that a deployment is gone on with: what it has not done.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it has not ended, if nothing is left, if its build is gone, or if
    /// something else was committed meanwhile; [`Error::Denied`] without write permission on the application.
    pub async fn deployment_to_resume(
        &self,
        caller: &Caller,
        application: &AppName,
        id: JobId,
    ) -> Result<DeploymentAsked> {
        caller.require(Permission::Write, application)?;
        let earlier = self.ended_deployment(application, id).await?;
        let batches = earlier.batches_of(|_, progress| progress.state != TargetState::Succeeded);
        if batches.is_empty() {
            return Err(Error::conflict(format!("deployment `{id}` has done all that it was to do")));
        }
        self.must_be_stored(application, &earlier.build_name).await?;
        self.must_be_where_it_was(application, &earlier).await?;
        Ok(earlier.again(earlier.build_name.clone(), false, batches, Vec::new()))
    }

    /// What is to be asked for so that the servers that a deployment has touched get what they had before.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if it has not ended or has touched nothing, if the servers had different
    /// builds or some had none, or if that build is gone; [`Error::Denied`] without write permission on the application.
    pub async fn deployment_to_roll_back(
        &self,
        caller: &Caller,
        application: &AppName,
        id: JobId,
    ) -> Result<DeploymentAsked> {
        caller.require(Permission::Write, application)?;
        let earlier = self.ended_deployment(application, id).await?;
        let batches = earlier.batches_of(|_, progress| progress.is_touched());
        if batches.is_empty() {
            return Err(Error::conflict(format!(
                "deployment `{id}` has touched no server, so there is nothing to roll back"
            )));
        }
        let mut before: BTreeMap<Option<BuildName>, Vec<String>> = BTreeMap::new();
        for (server, gitdeploy, progress) in earlier.targets().filter(|(_, _, progress)| progress.is_touched()) {
            before.entry(progress.before.clone()).or_default().push(format!("`{gitdeploy}` on `{server}`"));
        }
        if let Some(none) = before.get(&None) {
            let named = named(none);
            return Err(Error::conflict(format!("cannot roll back: {named} had no earlier build")));
        }
        if before.len() > 1 {
            let told = before.iter().map(|(build, targets)| {
                format!("{} had build `{}`", named(targets), build.as_ref().map_or("", BuildName::as_str))
            });
            let told: Vec<_> = told.collect();
            return Err(Error::conflict(format!(
                "the servers had different builds before, so that one deployment cannot put them back: {}. Deploy to \
                 each of them what it had",
                told.join("; ")
            )));
        }
        let Some((Some(build), _)) = before.pop_first() else {
            return Err(Error::conflict("nothing was there before"));
        };
        self.must_be_stored(application, &build).await?;
        let left_out = self.left_out(application, &batches, &build).await?;
        Ok(earlier.again(build, true, batches, left_out))
    }

    async fn ended_deployment(&self, application: &AppName, id: JobId) -> Result<Deployment> {
        let earlier = self.deployment_for_work(application, id).await?;
        if matches!(earlier.status, DeploymentStatus::Created | DeploymentStatus::Running) {
            let reason = format!("deployment `{id}` has not ended; wait for it, or cancel it first");
            return Err(Error::conflict(reason));
        }
        Ok(earlier)
    }

    async fn must_be_stored(&self, application: &AppName, build: &BuildName) -> Result<()> {
        let stored = sqlx::query_scalar!(
            "select stored from builds where application = $1 and name = $2",
            application.as_str(),
            build.as_str()
        );
        if stored.fetch_optional(&self.pool).await? == Some(true) {
            return Ok(());
        }
        Err(Error::conflict(format!("build `{build}` is gone, so that it cannot be deployed again")))
    }

    /// Makes sure that nothing else was committed since.
    async fn must_be_where_it_was(&self, application: &AppName, earlier: &Deployment) -> Result<()> {
        let Some(plan) = &earlier.plan else { return Ok(()) };
        let rows = sqlx::query!(
            "select git_repo, branch, commit, build from git_branches where application = $1",
            application.as_str()
        );
        let rows = rows.fetch_all(&self.pool).await?;
        for planned in &plan.commits {
            let (repo, branch) = (&planned.gitrepo, &planned.branch);
            let now = rows.iter().find(|row| row.git_repo == repo.as_str() && row.branch == *branch);
            let made = earlier.commits.get(&super::key(plan, repo, branch));
            let expected = made.or(planned.tip.as_ref());
            if now.map(|now| &now.commit) != expected {
                let build = now.map_or_else(String::new, |now| format!(" of build `{}`", now.build));
                return Err(Error::conflict(format!(
                    "another commit{build} was made in branch `{branch}` of git repository `{repo}` since; start a new \
                     deployment instead"
                )));
            }
        }
        Ok(())
    }

    /// The other servers of these gitdeploys, which keep another build than the branch has then.
    async fn left_out(&self, application: &AppName, batches: &[Batch], build: &BuildName) -> Result<Vec<Target>> {
        let touched: BTreeSet<_> = batches.iter().flat_map(|batch| &batch.targets).collect();
        let gitdeploys: BTreeSet<_> = touched.iter().map(|target| target.gitdeploy.as_str().to_owned()).collect();
        let rows = sqlx::query!(
            r#"select s.server as "server: ServerName", s.gitdeploy as "gitdeploy: GitdeployName"
               from gitdeploy_servers s join gitdeploys g on g.application = s.application and g.name = s.gitdeploy
               where s.application = $1 and s.deployed_build is distinct from $3 and exists (
                   select from gitdeploys t where t.application = $1 and t.name = any($2)
                       and t.git_repo = g.git_repo and t.default_branch = g.default_branch)
               order by s.server, s.gitdeploy"#,
            application.as_str(),
            &gitdeploys.into_iter().collect::<Vec<_>>(),
            build.as_str()
        );
        let rows = rows.fetch_all(&self.pool).await?.into_iter();
        let targets = rows.map(|row| Target { server: row.server, gitdeploy: row.gitdeploy });
        Ok(targets.filter(|target| !touched.contains(target)).collect())
    }
}

impl TargetProgress {
    /// Whether something was done there.
    fn is_touched(&self) -> bool {
        match self.state {
            TargetState::Running | TargetState::Succeeded | TargetState::Failed => true,
            TargetState::Pending | TargetState::Skipped => false,
        }
    }
}

impl Deployment {
    fn targets(&self) -> impl Iterator<Item = (&ServerName, &GitdeployName, &TargetProgress)> {
        let batches = self.progress.iter().flat_map(|progress| &progress.phase2.batches);
        batches.flatten().flat_map(|(server, on)| on.iter().map(move |(name, progress)| (server, name, progress)))
    }

    /// The batches with those of their targets that are wanted.
    fn batches_of(&self, wanted: impl Fn(&Target, &TargetProgress) -> bool) -> Vec<Batch> {
        let progress: BTreeMap<_, _> =
            self.targets().map(|(server, gitdeploy, progress)| ((server, gitdeploy), progress)).collect();
        let is_wanted = |target: &&Target| {
            let found = progress.get(&(&target.server, &target.gitdeploy));
            found.is_some_and(|progress| wanted(target, progress))
        };
        let batches = self.plan.iter().flat_map(|plan| &plan.batches).filter_map(|batch| {
            Batch::of(batch.targets.iter().filter(is_wanted).cloned().collect(), batch.ordered_gitdeploy)
        });
        batches.collect()
    }

    fn again(
        &self,
        build_name: BuildName,
        is_rollback: bool,
        batches: Vec<Batch>,
        left_out: Vec<Target>,
    ) -> DeploymentAsked {
        let (environments, groups) = (self.environments.clone(), self.groups.clone());
        let again = Again { of: self.id, is_rollback, batches, left_out, environments, groups };
        let scope = DeploymentScope::Again(again);
        DeploymentAsked { build_name, scope, options: self.options.clone(), plan: None }
    }
}

fn named(targets: &[String]) -> String {
    let told = targets[..targets.len().min(MAX_NAMED)].join(", ");
    match targets.len().saturating_sub(MAX_NAMED) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}
