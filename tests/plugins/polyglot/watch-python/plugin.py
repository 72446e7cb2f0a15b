"""What `watch-deployments` does: takes part in all hooks of gitdeploys and deployments, by their typed parameters."""

from typing import Any

from elita_plugin import HookCall, Plugin, append
from elita_plugin.hooks import (
    AutoDeploymentBatch,
    AutoDeploymentComplete,
    AutoDeploymentFailed,
    AutoDeploymentStart,
    GitdeployCommitDiff,
    GitdeployServers,
)

plugin = Plugin()


@plugin.hook("shop", "GITDEPLOY_INIT_PRE")
@plugin.hook("shop", "GITDEPLOY_INIT_POST")
@plugin.hook("shop", "GITDEPLOY_DEINIT_PRE")
@plugin.hook("shop", "GITDEPLOY_DEINIT_POST")
def on_servers(call: HookCall) -> None:
    told = GitdeployServers.of(call)
    gitdeploy = told.gitdeploy
    record(call, {"servers": told.server_list, "gitdeploy": gitdeploy.name, "path": gitdeploy.location.path})


@plugin.hook("shop", "GITDEPLOY_COMMIT_DIFF")
def commit(call: HookCall) -> None:
    told = GitdeployCommitDiff.of(call)
    changes = [f"{change.status} {change.path}" for change in told.changes]
    record(call, {"gitdeploy": told.gitdeploy.name, "package": told.gitdeploy.package, "changes": changes})
    lines = [[change.binary, change.insertions, change.deletions] for change in told.changes]
    on = [[server.server, server.deployed_build] for server in told.gitdeploy.servers]
    of = [told.commit, told.gitrepo, told.build_name]
    append({"files": told.files, "more": told.more, "lines": lines, "of": of, "on": on})


@plugin.hook("shop", "AUTO_DEPLOYMENT_START")
def start(call: HookCall) -> None:
    told = AutoDeploymentStart.of(call)
    target = told.target
    record(call, {"groups": target.groups, "environments": target.environments, "batches": len(told.batches)})


@plugin.hook("shop", "AUTO_DEPLOYMENT_BATCH_BEGIN")
@plugin.hook("shop", "AUTO_DEPLOYMENT_BATCH_DONE")
def batch(call: HookCall) -> None:
    told = AutoDeploymentBatch.of(call)
    of = {"batch": f"{told.batch_number} of {told.batch_count}", "servers": told.batch.servers}
    record(call, of | {"gitdeploys": told.batch.gitdeploys, "ordered": told.batch.ordered_gitdeploy})
    targets = [[target.server, target.gitdeploy] for one in told.batches for target in one.targets]
    append({"targets": targets, "build": told.build, "deployment_id": told.deployment_id})


@plugin.hook("shop", "AUTO_DEPLOYMENT_COMPLETE")
def complete(call: HookCall) -> None:
    told = AutoDeploymentComplete.of(call)
    record(call, {"status": told.deployment["status"], "summary": told.deployment["summary"]})


@plugin.hook("shop", "AUTO_DEPLOYMENT_FAILED")
def failed(call: HookCall) -> None:
    told = AutoDeploymentFailed.of(call)
    record(call, {"status": told.deployment["status"], "error": told.error["code"]})


def record(call: HookCall, told: Any) -> None:
    append({"hook": call.hook, "told": told})


Registration, Handler = plugin.exports()
