//! Phase 1: the packages are committed, before any server is touched.

use std::collections::BTreeMap;

use super::Deploying;
use crate::datasvc::{DeployedCommit, DeploymentPlan, Gitdeploy, GitdeployName, PlannedCommit, patiently};
use crate::engine::StepResult;
use crate::work::git::commits::{Commits, PackageCommit};
use crate::work::gitdeploys::servers::not_recorded;
use crate::work::gitdeploys::tell_commit;
use crate::work::hooks::Fired;

/// Commits all packages. `fired` gets what the hooks came to, which stops nothing.
pub(super) async fn commit_all(
    deploying: &Deploying<'_>,
    plan: &DeploymentPlan,
    known: &BTreeMap<GitdeployName, Gitdeploy>,
    fired: &mut Vec<Fired>,
) -> StepResult<Vec<DeployedCommit>> {
    let (kind, run, journal) = (deploying.kind, deploying.run, deploying.journal);
    let work = &kind.work.0;
    let commits = Commits { work, run, journal };
    let mut made = Vec::new();
    for PlannedCommit { gitrepo, branch, package, gitignore, gitdeploys, .. } in &plan.commits {
        deploying.is_on(&format!("phase 1: commit to {gitrepo} {branch}")).await?;
        let asked = PackageCommit {
            repo: gitrepo.clone(),
            branch: branch.clone(),
            build: plan.build_name.clone(),
            package: package.clone(),
            gitignore: gitignore.clone(),
            gitdeploys: gitdeploys.clone(),
        };
        let committed = commits.commit(&asked).await?;
        let concerned: Vec<_> = gitdeploys.iter().filter_map(|name| known.get(name)).cloned().collect();
        let (told, hook) = ((&asked, &concerned[..]), &deploying.commit_hook);
        fired.extend(tell_commit(&kind.hooks, (run, journal), &commits, told, hook, &committed).await?);
        commits.publish(&asked, &committed).await?;
        made.push(DeployedCommit {
            gitrepo: gitrepo.clone(),
            branch: branch.clone(),
            changed_files: u64::try_from(committed.changed).unwrap_or(u64::MAX),
            commit: committed.commit,
            is_new: committed.is_new,
        });
        let recorded = patiently(|| work.svc.record_deployed_commits(&run.claim, &made)).await;
        recorded.map_err(|error| not_recorded(&error))?;
    }
    Ok(made)
}
