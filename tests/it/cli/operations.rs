//! Everything that the API does has a command, or a reason why not.

use std::collections::BTreeSet;

use crate::harness::{Api, TestHost};

/// The commands by operation. Those of a noun are there by its name.
const COMMANDS: &[(&str, &str)] = &[
    ("about.get", "doctor"),
    ("actions.get", "action show"),
    ("actions.list", "action list"),
    ("actions.run", "run"),
    ("applications.census", "census"),
    ("applications.create", "app create"),
    ("applications.delete", "app delete"),
    ("applications.get", "app show"),
    ("applications.list", "app list"),
    ("applications.update", "app update"),
    ("audit.list", "audit list"),
    ("builds.create", "build create"),
    ("builds.delete", "build delete"),
    ("builds.files", "build files"),
    ("builds.get", "build show"),
    ("builds.list", "build list"),
    ("builds.package", "build download"),
    ("builds.prune", "build prune"),
    ("builds.update", "build update"),
    ("builds.upload", "upload"),
    ("builds.upload-file", "upload"),
    ("git-providers.create", "gitprovider create"),
    ("git-providers.delete", "gitprovider delete"),
    ("git-providers.get", "gitprovider show"),
    ("git-providers.list", "gitprovider list"),
    ("git-providers.update", "gitprovider update"),
    ("git-repos.create", "gitrepo create"),
    ("git-repos.delete", "gitrepo delete"),
    ("git-repos.diff", "gitrepo diff"),
    ("git-repos.get", "gitrepo show"),
    ("git-repos.list", "gitrepo list"),
    ("git-repos.log", "gitrepo log"),
    ("git-repos.update", "gitrepo update"),
    ("deployments.create", "deploy"),
    ("deployments.get", "deployment show"),
    ("deployments.list", "deployment list"),
    ("deployments.run", "deployment cancel"),
    ("gitdeploys.create", "gitdeploy create"),
    ("gitdeploys.delete", "gitdeploy delete"),
    ("gitdeploys.get", "gitdeploy show"),
    ("gitdeploys.list", "gitdeploy list"),
    ("gitdeploys.run", "gitdeploy commit"),
    ("gitdeploys.update", "gitdeploy update"),
    ("groups.create", "group create"),
    ("groups.delete", "group delete"),
    ("groups.get", "group show"),
    ("groups.list", "group list"),
    ("groups.update", "group update"),
    ("health.ready", "doctor"),
    ("jobs.cancel", "job cancel"),
    ("jobs.cancel-matching", "job cancel"),
    ("jobs.entries", "log"),
    ("jobs.get", "job show"),
    ("jobs.list", "job list"),
    ("jobs.log", "log"),
    ("keypairs.create", "keypair create"),
    ("keypairs.delete", "keypair delete"),
    ("keypairs.get", "keypair show"),
    ("keypairs.list", "keypair list"),
    ("keypairs.update", "keypair update"),
    ("package-maps.create", "packagemap create"),
    ("package-maps.delete", "packagemap delete"),
    ("package-maps.get", "packagemap show"),
    ("package-maps.list", "packagemap list"),
    ("package-maps.update", "packagemap update"),
    ("plugins.get", "plugin show"),
    ("plugins.list", "plugin list"),
    ("receipts.list", "deployment receipts"),
    ("servers.check", "server check"),
    ("servers.command", "server exec"),
    ("servers.command-several", "server exec"),
    ("servers.create", "server create"),
    ("servers.delete", "server delete"),
    ("servers.environments", "server environments"),
    ("servers.get", "server show"),
    ("servers.list", "server list"),
    ("servers.update", "server update"),
    ("tokens.create", "login"),
    ("tokens.delete", "logout"),
    ("tokens.get", "token show"),
    ("tokens.list", "token list"),
    ("tokens.rotate", "token rotate"),
    ("users.create", "user create"),
    ("users.delete", "user delete"),
    ("users.get", "user show"),
    ("users.list", "user list"),
    ("users.permissions", "user permissions"),
    ("users.update", "user update"),
];

/// What has none, with the reason.
const WITHOUT: [(&str, &str); 5] = [
    ("about.root", "the same as about.get"),
    ("events.follow", "for programs that show what changes; `elita follow` follows jobs"),
    ("health.live", "for what watches processes"),
    ("metrics.get", "for Prometheus"),
    ("openapi.get", "`elita api GET /openapi.json`"),
];

#[tokio::test]
async fn each_operation_has_a_command_or_a_reason_why_not() {
    let host = TestHost::start().await;
    let elita = crate::harness::Elita::new();
    let api = Api::of(&host.client).await;
    let mut missing = BTreeSet::new();
    for operation in api.operations() {
        let id = operation.id();
        // Creating by PUT is creating.
        let id = id.strip_suffix(".put").map_or_else(|| id.to_owned(), |noun| format!("{noun}.create"));
        if WITHOUT.iter().any(|(without, _)| *without == id) {
            continue;
        }
        match COMMANDS.iter().find(|(known, _)| *known == id) {
            None => _ = missing.insert(id),
            Some((_, command)) => {
                let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
                assert_eq!(elita.run(&words).await.code, 0, "there is no `elita {command}`");
            }
        }
    }
    assert!(missing.is_empty(), "neither with a command nor explained here: {missing:?}");
}
