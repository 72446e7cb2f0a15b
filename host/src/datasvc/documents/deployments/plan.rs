//! What a deployment would do: made when it is asked for, and again when its job starts.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;

use super::asked::{Again, DeploymentAsked, DeploymentScope, distinct};
use super::batches::{Batch, Member, Target, batches};
use crate::datasvc::DataSvc;
use crate::datasvc::access::caller::{Caller, Permission};
use crate::datasvc::documents::builds::KeptPackages;
use crate::datasvc::documents::commands::CommandTarget;
use crate::datasvc::documents::gitdeploys::{Gitdeploy, GitdeployActions, GitdeployLocation, GitdeployOptions};
use crate::datasvc::documents::servers::Driver;
use crate::datasvc::ground::error::{Error, Faults, Noun, Result};
use crate::datasvc::ground::ids::{
    AppName, BuildName, Digest, EnvironmentName, GitRepoName, GitdeployName, GroupName, HostId, JobId, PackageName,
    ServerName,
};
use crate::datasvc::ground::sql::json_column;

/// How many targets a deployment may have.
const MAX_TARGETS: usize = 10_000;
/// How many servers without a gitdeploy are named.
const MAX_NAMED: usize = 20;

/// What a deployment does.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentPlan {
    /// A hash of all that the plan depends on. It changes when any of these change.
    #[schema(example = "sha256:4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865")]
    pub hash: String,
    /// The build that is deployed.
    pub build_name: BuildName,
    /// What is committed, before any server is touched.
    pub commits: Vec<PlannedCommit>,
    /// Where each gitdeploy goes, and what runs there around a pull.
    pub gitdeploys: Vec<PlannedGitdeploy>,
    /// What is deployed at the same time, one batch after the other.
    pub batches: Vec<Batch>,
    /// What the servers have now.
    pub before: Vec<DeployedBefore>,
    /// Servers that will have a different build than the branch.
    #[serde(default)]
    pub left_out: Vec<Target>,
    /// What somebody should know before it begins.
    pub warnings: Vec<String>,
}

/// A package that becomes the content of a branch.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlannedCommit {
    /// The git repository.
    pub gitrepo: GitRepoName,
    /// Its branch.
    pub branch: String,
    /// The package.
    pub package: PackageName,
    /// Lines that are added to its `.gitignore`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub gitignore: Vec<String>,
    /// For which gitdeploys.
    pub gitdeploys: Vec<GitdeployName>,
    /// The build that the branch has now.
    pub committed: Option<BuildName>,
    /// The commit that it is at, if it was made by Elita.
    pub tip: Option<String>,
}

/// A gitdeploy of a plan.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PlannedGitdeploy {
    /// Its name.
    pub name: GitdeployName,
    /// The directory on each server.
    pub path: String,
    /// How it is pulled.
    pub options: GitdeployOptions,
    /// What runs on each server around its pull.
    pub actions: GitdeployActions,
}

/// What a server has before a deployment.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeployedBefore {
    /// The server.
    pub server: ServerName,
    /// The gitdeploy.
    pub gitdeploy: GitdeployName,
    /// The build that it has; null: none yet.
    pub deployed: Option<BuildName>,
}

json_column!(DeploymentPlan);

impl DeploymentPlan {
    /// The repositories that it touches.
    pub fn repos(&self) -> Vec<GitRepoName> {
        let repos: BTreeSet<_> = self.commits.iter().map(|commit| commit.gitrepo.clone()).collect();
        repos.into_iter().collect()
    }

    /// The servers that it touches.
    pub fn servers(&self) -> Vec<ServerName> {
        let servers: BTreeSet<_> = self.batches.iter().flat_map(|batch| &batch.servers).cloned().collect();
        servers.into_iter().collect()
    }
}

/// A plan, and where it can be done.
#[derive(Clone, Debug)]
pub struct PlannedDeployment {
    /// What is done.
    pub plan: DeploymentPlan,
    /// The servers, and how they are reached.
    pub servers: Vec<CommandTarget>,
    /// The only host that can do it. `None`: any can.
    pub host: Option<HostId>,
}

impl DataSvc {
    /// What a deployment would do, if the caller may have it done.
    ///
    /// # Errors
    /// [`Error::Faults`] with all that is missing or does not fit; [`Error::NotFound`] without the application;
    /// [`Error::Denied`] without write permission on the application or without the permission for a server.
    pub async fn plan_deployment(
        &self,
        caller: &Caller,
        application: &AppName,
        asked: &DeploymentAsked,
    ) -> Result<PlannedDeployment> {
        caller.require(Permission::Write, application)?;
        if let DeploymentScope::Manual { servers, .. } = &asked.scope {
            servers.iter().try_for_each(|server| caller.require_use(server))?;
        }
        let planned = self.plan_for_work(application, asked).await?;
        planned.plan.servers().iter().try_for_each(|server| caller.require_use(server))?;
        Ok(planned)
    }

    /// The same for its job, whoever asked for that.
    ///
    /// # Errors
    /// [`Error::Faults`]; [`Error::NotFound`].
    pub async fn plan_for_work(&self, application: &AppName, asked: &DeploymentAsked) -> Result<PlannedDeployment> {
        let mut connection = self.pool.acquire().await?;
        let mut faults = Faults::default();
        asked.options.check(&mut faults);
        let exists = sqlx::query!("select from applications where name = $1", application.as_str());
        if exists.fetch_optional(&mut *connection).await?.is_none() {
            return Err(Error::not_found(Noun::Application, application));
        }
        let mut draft = match &asked.scope {
            DeploymentScope::Manual { servers, gitdeploys } => Draft::manual(servers, gitdeploys, &mut faults),
            DeploymentScope::Groups { environments, groups } => {
                let asked_for = (&environments[..], &groups[..]);
                let divisor = asked.options.rolling_divisor;
                Draft::of_groups(&mut connection, application, asked_for, divisor, &mut faults).await?
            }
            DeploymentScope::Again(Again { batches, left_out, .. }) => {
                Draft { batches: batches.clone(), left_out: left_out.clone(), ..Draft::default() }
            }
        };
        let targets = draft.batches.iter().map(|batch| batch.targets.len()).sum::<usize>();
        if targets > MAX_TARGETS {
            let reason =
                format!("{targets} gitdeploys on servers are too many for one deployment; at most {MAX_TARGETS}");
            faults.add("groups", reason);
            draft.batches.clear();
        }
        drop(connection);
        self.complete_plan(application, asked, draft, faults).await
    }

    /// From the batches to the plan.
    async fn complete_plan(
        &self,
        application: &AppName,
        asked: &DeploymentAsked,
        draft: Draft,
        mut faults: Faults,
    ) -> Result<PlannedDeployment> {
        let names: BTreeSet<_> = draft.batches.iter().flat_map(|batch| batch.gitdeploys.clone()).collect();
        let gitdeploys = self.gitdeploys_named(application, &names).await?;
        for name in names.iter().filter(|name| !gitdeploys.iter().any(|found| found.name == **name)) {
            faults.add("gitdeploys", format!("gitdeploy `{name}` does not exist"));
        }
        let servers: BTreeSet<_> = draft.batches.iter().flat_map(|batch| batch.servers.clone()).collect();
        let located = self.locate(&servers.iter().cloned().collect::<Vec<_>>()).await?;
        for server in servers.iter().filter(|server| !located.iter().any(|(found, _)| found.name == **server)) {
            faults.add("servers", format!("server `{server}` does not exist"));
        }
        let before = self.before(application, &draft.batches, &gitdeploys, &mut faults).await?;
        let digests = self.packages_to_deploy(application, &asked.build_name, &gitdeploys, &mut faults).await?;
        let commits = self.commits_to_make(application, &gitdeploys, &mut faults).await?;
        let host = self.host_for_deployment(application, &commits, &located, &mut faults).await?;
        faults.check()?;
        let servers: Vec<_> = located.into_iter().map(|(target, _)| target).collect();
        let hashed = Hashed {
            asked: (&asked.build_name, &asked.options),
            digests,
            commits: &commits,
            gitdeploys: gitdeploys.iter().map(HashedGitdeploy::of).collect(),
            batches: &draft.batches,
            servers: &servers,
        };
        let hashed = serde_json::to_vec(&hashed).map_err(Error::internal)?;
        let plan = DeploymentPlan {
            hash: format!("sha256:{}", Digest::of(&hashed).hex()),
            build_name: asked.build_name.clone(),
            commits,
            gitdeploys: gitdeploys
                .into_iter()
                .map(|found| PlannedGitdeploy {
                    name: found.name,
                    path: found.location.path,
                    options: found.options,
                    actions: found.actions,
                })
                .collect(),
            batches: draft.batches,
            before,
            left_out: draft.left_out,
            warnings: draft.warnings,
        };
        Ok(PlannedDeployment { plan, servers, host })
    }

    /// What the targets have now. A gitdeploy that is not initialized on a server is a fault.
    async fn before(
        &self,
        application: &AppName,
        batches: &[Batch],
        gitdeploys: &[Gitdeploy],
        faults: &mut Faults,
    ) -> Result<Vec<DeployedBefore>> {
        let rows = sqlx::query!(
            r#"select gitdeploy as "gitdeploy: GitdeployName", server as "server: ServerName",
                   deployed_build as "deployed: BuildName"
               from gitdeploy_servers where application = $1 and gitdeploy = any($2)"#,
            application.as_str(),
            &gitdeploys.iter().map(|gitdeploy| gitdeploy.name.to_string()).collect::<Vec<_>>()
        );
        let rows = rows.fetch_all(&self.pool).await?.into_iter();
        let deployed: BTreeMap<_, _> =
            rows.map(|row| (Target { server: row.server, gitdeploy: row.gitdeploy }, row.deployed)).collect();
        let mut before = Vec::new();
        let mut missing = 0;
        for Target { server, gitdeploy } in batches.iter().flat_map(|batch| &batch.targets) {
            let target = Target { server: server.clone(), gitdeploy: gitdeploy.clone() };
            match deployed.get(&target) {
                Some(build) => before.push(DeployedBefore {
                    server: server.clone(),
                    gitdeploy: gitdeploy.clone(),
                    deployed: build.clone(),
                }),
                None if missing < MAX_NAMED && gitdeploys.iter().any(|found| found.name == *gitdeploy) => {
                    missing += 1;
                    let reason = format!("gitdeploy `{gitdeploy}` is not initialized on server `{server}`");
                    faults.add("gitdeploys", reason);
                }
                None => {}
            }
        }
        Ok(before)
    }

    /// The digests of the packages that are deployed.
    async fn packages_to_deploy(
        &self,
        application: &AppName,
        build: &BuildName,
        gitdeploys: &[Gitdeploy],
        faults: &mut Faults,
    ) -> Result<BTreeMap<PackageName, String>> {
        let found = sqlx::query!(
            r#"select packages as "packages: KeptPackages", stored from builds where application = $1 and name = $2"#,
            application.as_str(),
            build.as_str()
        );
        let mut digests = BTreeMap::new();
        let Some(found) = found.fetch_optional(&self.pool).await? else {
            faults.add("build_name", format!("build `{build}` does not exist"));
            return Ok(digests);
        };
        if !found.stored {
            faults.add("build_name", format!("build `{build}` has no file yet; upload it first"));
            return Ok(digests);
        }
        for Gitdeploy { name, package, .. } in gitdeploys {
            match found.packages.0.get(package) {
                Some(kept) => drop(digests.insert(package.clone(), kept.file.sha256.to_string())),
                None => {
                    let reason =
                        format!("build `{build}` has no package `{package}`, which gitdeploy `{name}` deploys");
                    faults.add("build_name", reason);
                }
            }
        }
        Ok(digests)
    }

    /// What is committed where. Gitdeploys that do not agree about it are a fault.
    async fn commits_to_make(
        &self,
        application: &AppName,
        gitdeploys: &[Gitdeploy],
        faults: &mut Faults,
    ) -> Result<Vec<PlannedCommit>> {
        let rows = sqlx::query!(
            r#"select git_repo as "git_repo: GitRepoName", branch, build as "build: BuildName", commit
               from git_branches where application = $1"#,
            application.as_str()
        );
        let rows = rows.fetch_all(&self.pool).await?;
        let mut commits: Vec<PlannedCommit> = Vec::new();
        for Gitdeploy { name, package, location, options, .. } in gitdeploys {
            let (repo, branch) = (&location.gitrepo, &location.default_branch);
            let Some(same) = commits.iter_mut().find(|one| one.gitrepo == *repo && one.branch == *branch) else {
                let now = rows.iter().find(|row| row.git_repo == *repo && row.branch == *branch);
                commits.push(PlannedCommit {
                    gitrepo: repo.clone(),
                    branch: branch.clone(),
                    package: package.clone(),
                    gitignore: options.gitignore.clone(),
                    gitdeploys: vec![name.clone()],
                    committed: now.map(|now| now.build.clone()),
                    tip: now.map(|now| now.commit.clone()),
                });
                continue;
            };
            let first = &same.gitdeploys[0];
            let place = format!("branch `{branch}` of git repository `{repo}`");
            if same.package != *package {
                let reason = format!(
                    "gitdeploys `{first}` and `{name}` put the packages `{}` and `{package}` on the same {place}; deploy \
                     them one after the other, or give one of them another branch",
                    same.package
                );
                faults.add("gitdeploys", reason);
            } else if same.gitignore != options.gitignore {
                let reason = format!("gitdeploys `{first}` and `{name}` add different `gitignore` lines on {place}");
                faults.add("gitdeploys", reason);
            }
            same.gitdeploys.push(name.clone());
        }
        Ok(commits)
    }

    /// The host that has the repositories and the servers of the driver `local`.
    async fn host_for_deployment(
        &self,
        application: &AppName,
        commits: &[PlannedCommit],
        located: &[(CommandTarget, Option<HostId>)],
        faults: &mut Faults,
    ) -> Result<Option<HostId>> {
        let repos: BTreeSet<_> = commits.iter().map(|commit| &commit.gitrepo).collect();
        let mut hosts = BTreeSet::new();
        for repo in repos {
            let place = self.git_repo_for_work(application, repo).await?;
            if let Err(problem) = place.must_be_ready(repo) {
                faults.add("gitdeploys", problem.to_string());
            }
            hosts.extend(place.host);
        }
        hosts.extend(located.iter().filter(|(target, _)| target.driver == Driver::Local).filter_map(|(_, host)| *host));
        if hosts.len() > 1 {
            let reason = "the git repositories and the servers of the driver `local` are on several hosts; deploy to \
                          those of each host by themselves";
            faults.add("servers", reason);
        }
        Ok(hosts.pop_first())
    }
}

/// What goes where, before it is known whether it can.
#[derive(Default)]
struct Draft {
    batches: Vec<Batch>,
    left_out: Vec<Target>,
    warnings: Vec<String>,
}

impl Draft {
    fn manual(servers: &[ServerName], gitdeploys: &[GitdeployName], faults: &mut Faults) -> Self {
        let (servers, gitdeploys) = (distinct("servers", servers, faults), distinct("gitdeploys", gitdeploys, faults));
        let all = servers.into_iter().flat_map(|server| {
            gitdeploys.iter().map(move |gitdeploy| Target { server: server.clone(), gitdeploy: (*gitdeploy).clone() })
        });
        Self { batches: Batch::of(all.collect(), false).into_iter().collect(), ..Self::default() }
    }

    async fn of_groups(
        connection: &mut PgConnection,
        application: &AppName,
        (environments, groups): (&[EnvironmentName], &[GroupName]),
        divisor: u32,
        faults: &mut Faults,
    ) -> Result<Self> {
        let environments: Vec<_> = distinct("environments", environments, faults)
            .into_iter()
            .map(|environment| environment.as_str().to_owned())
            .collect();
        let known = sqlx::query_scalar!(
            r#"select distinct environment from servers where environment = any($1)"#,
            &environments
        );
        let known = known.fetch_all(&mut *connection).await?;
        for unknown in environments.iter().filter(|environment| !known.contains(environment)) {
            faults.add("environments", format!("no server is in an environment `{unknown}`"));
        }
        let names = distinct("groups", groups, faults);
        let (mut members, mut warnings) = (Vec::new(), Vec::new());
        for name in &names {
            let found = match super::super::groups::read(connection, application, name, Some(&environments)).await {
                Ok(found) => found,
                Err(problem @ Error::NotFound { .. }) => {
                    faults.add("groups", problem.to_string());
                    continue;
                }
                Err(problem) => return Err(problem),
            };
            if found.servers.is_empty() {
                warnings.push(format!("group `{name}` has no server in these environments"));
                continue;
            }
            members.push(Member {
                name: found.name,
                is_rolling: found.rolling_deploy,
                is_ordered: found.gitdeploys.is_ordered(),
                stages: found.gitdeploys.stages().to_vec(),
                servers: found.servers,
            });
        }
        if members.is_empty() && faults.is_empty() {
            let reason = "none of these groups has a server in these environments; a group's servers are those on which \
                          all of its gitdeploys are initialized";
            faults.add("groups", reason);
        }
        let (batches, out_of_order) = batches(&members, divisor);
        warnings.extend(out_of_order);
        Ok(Self { batches, left_out: Vec::new(), warnings })
    }
}

/// What a plan's hash is of.
#[derive(Serialize)]
struct Hashed<'a> {
    asked: (&'a BuildName, &'a super::asked::DeploymentOptions),
    digests: BTreeMap<PackageName, String>,
    commits: &'a [PlannedCommit],
    gitdeploys: Vec<HashedGitdeploy<'a>>,
    batches: &'a [Batch],
    servers: &'a [CommandTarget],
}

#[derive(Serialize)]
struct HashedGitdeploy<'a> {
    name: &'a GitdeployName,
    made: i64,
    package: &'a PackageName,
    location: &'a GitdeployLocation,
    options: &'a GitdeployOptions,
    actions: &'a GitdeployActions,
}

impl<'a> HashedGitdeploy<'a> {
    fn of(gitdeploy: &'a Gitdeploy) -> Self {
        let Gitdeploy { name, package, location, options, actions, created_at, .. } = gitdeploy;
        Self { name, made: created_at.unix_timestamp(), package, location, options, actions }
    }
}

/// What a deployment is waiting for.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DeploymentWait {
    /// Why it waits: `gitrepo`, another job works on a git repository.
    #[schema(example = "gitrepo")]
    pub reason: String,
    /// The git repository.
    pub gitrepo: GitRepoName,
    /// The job that has it. Of a deployment it is its id.
    pub job_id: JobId,
    /// What that job is called.
    pub name: String,
}

json_column!(DeploymentWait);
