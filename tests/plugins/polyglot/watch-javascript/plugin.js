// What `watch-deployments` does: takes part in all hooks of gitdeploys and deployments, by their typed parameters.
// @ts-check

import { append, plugin } from "elita-plugin";

export const { registration, handler } = plugin({
  hooks: {
    shop: {
      GITDEPLOY_INIT_PRE: onServers,
      GITDEPLOY_INIT_POST: onServers,
      GITDEPLOY_DEINIT_PRE: onServers,
      GITDEPLOY_DEINIT_POST: onServers,
      GITDEPLOY_COMMIT_DIFF: (call) => {
        const { files, more, changes, gitdeploy, commit, gitrepo, build_name } = call.parameters;
        const told = changes.map(({ status, path }) => `${status} ${path}`);
        record(call, { gitdeploy: gitdeploy.name, package: gitdeploy.package, changes: told });
        const lines = changes.map(({ binary, insertions, deletions }) => [binary, insertions, deletions]);
        const on = gitdeploy.servers.map(({ server, deployed_build }) => [server, deployed_build]);
        append({ files, more, lines, of: [commit, gitrepo, build_name], on });
      },
      AUTO_DEPLOYMENT_START: (call) => {
        const { target, batches } = call.parameters;
        record(call, { groups: target.groups, environments: target.environments, batches: batches.length });
      },
      AUTO_DEPLOYMENT_BATCH_BEGIN: batch,
      AUTO_DEPLOYMENT_BATCH_DONE: batch,
      AUTO_DEPLOYMENT_COMPLETE: (call) => {
        const { status, summary } = call.parameters.deployment;
        record(call, { status, summary });
      },
      AUTO_DEPLOYMENT_FAILED: (call) => {
        const { deployment, error } = call.parameters;
        record(call, { status: deployment.status, error: error.code });
      },
    },
  },
});

/** @param {import("elita-plugin").HookCall<import("elita-plugin").GitdeployServers>} call */
function onServers(call) {
  const { server_list, gitdeploy } = call.parameters;
  record(call, { servers: server_list, gitdeploy: gitdeploy.name, path: gitdeploy.location.path });
}

/** @param {import("elita-plugin").HookCall<import("elita-plugin").AutoDeploymentBatch>} call */
function batch(call) {
  const { deployment_id, build, batch_number, batch_count, batch, batches } = call.parameters;
  const { servers, gitdeploys, ordered_gitdeploy } = batch;
  record(call, { batch: `${batch_number} of ${batch_count}`, servers, gitdeploys, ordered: ordered_gitdeploy });
  const targets = batches.flatMap(({ targets }) => targets.map(({ server, gitdeploy }) => [server, gitdeploy]));
  append({ targets, build, deployment_id });
}

/**
 * @param {{ hook: string }} call
 * @param {import("elita-plugin").Json} told
 */
function record(call, told) {
  append({ hook: call.hook, told });
}
