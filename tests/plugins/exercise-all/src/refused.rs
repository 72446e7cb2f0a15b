//! Calls that are refused, because of what the others have made.

use elita_plugin::deployments::NewDeployment;
use elita_plugin::git_repos::NewGitRepo;
use elita_plugin::gitdeploys::NewGitdeploy;
use elita_plugin::groups::NewGroup;
use elita_plugin::package_maps::PackageRule;
use elita_plugin::prelude::*;
use elita_plugin::servers::{Driver, NewServer};
use elita_plugin::{
    applications, builds, deployments, git_providers, git_repos, gitdeploys, groups, package_maps, servers,
};

use crate::{APPLICATION, Answers, answer};

/// The id of none.
const NO_DEPLOYMENT: &str = "0197c9a0-7b1e-7c3d-8a54-3f2f1f0e9d8c";

/// What each answered, in the order of the calls.
pub(crate) fn all() -> Answers {
    let nothing = json!({});
    let rules = [PackageRule::new("web", ["web/**"])];
    let repo = NewGitRepo::existing("https://git.example.com/exercise/site.git");
    let gitdeploy = NewGitdeploy::new("web", "/srv/exercise", "exercised");
    let group = NewGroup::unordered(["exercised"]);
    let server = NewServer::new("testing", Driver::Ssh);
    let deployment = NewDeployment::to_servers("gone", ["exercise-here"], ["gone"]);
    let fixed = json!({ "created_at": "2026-11-25T00:00:00Z" });
    vec![
        ("applications.create", answer(applications::create("exercise-made", &nothing))),
        ("applications.update", answer(applications::update("exercise-made", &fixed))),
        ("builds.create", answer(builds::create(APPLICATION, "exercised", &nothing))),
        ("builds.update", answer(builds::update(APPLICATION, "exercised", &fixed))),
        ("builds.get", answer(builds::get(APPLICATION, "gone"))),
        ("package-maps.create", answer(package_maps::create(APPLICATION, "exercised", &rules, &nothing))),
        ("package-maps.update", answer(package_maps::update(APPLICATION, "exercised", &fixed))),
        ("package-maps.get", answer(package_maps::get(APPLICATION, "gone"))),
        ("git-providers.get", answer(git_providers::get("gone"))),
        ("git-repos.create", answer(git_repos::create(APPLICATION, "exercised", &repo, &nothing))),
        ("git-repos.update", answer(git_repos::update(APPLICATION, "exercised", &json!({ "uri": "ext::sh" })))),
        ("git-repos.delete", answer(git_repos::delete(APPLICATION, "exercised"))),
        ("gitdeploys.create", answer(gitdeploys::create(APPLICATION, "exercised", &gitdeploy, &nothing))),
        ("gitdeploys.update", answer(gitdeploys::update(APPLICATION, "exercised", &json!({ "location": null })))),
        ("gitdeploys.delete", answer(gitdeploys::delete(APPLICATION, "exercised"))),
        ("groups.create", answer(groups::create(APPLICATION, "exercised", &group, &nothing))),
        ("groups.update", answer(groups::update(APPLICATION, "exercised", &json!({ "gitdeploys": ["gone"] })))),
        ("groups.delete", answer(groups::delete(APPLICATION, "gone"))),
        ("deployments.get", answer(deployments::get(APPLICATION, NO_DEPLOYMENT))),
        ("deployments.start", answer(deployments::start(APPLICATION, &deployment, None))),
        ("servers.create", answer(servers::create("exercise-exercised", &server, &nothing))),
        ("servers.update", answer(servers::update("exercise-exercised", &json!({ "connection": { "port": 0 } })))),
        ("servers.delete", answer(servers::delete("exercise-gone"))),
    ]
}

/// What each answered that only people may do.
pub(crate) fn for_people() -> Answers {
    let (nothing, of) = (json!({}), |driver| NewServer::new("testing", driver));
    let elsewhere = of(Driver::Ssh).connection(json!({ "host": "10.0.0.9" }));
    let another_minion = of(Driver::Salt).connection(json!({ "minion": "db1" }));
    vec![
        ("another host", answer(servers::create("exercise-elsewhere", &elsewhere, &nothing))),
        ("another minion", answer(servers::create("exercise-elsewhere", &another_minion, &nothing))),
        ("this machine", answer(servers::create("exercise-elsewhere", &of(Driver::Local), &nothing))),
        ("a change", answer(servers::update("exercise-exercised", &json!({ "connection": { "host": "10.0.0.9" } })))),
    ]
}
