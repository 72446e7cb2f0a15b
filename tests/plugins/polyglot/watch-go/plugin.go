// What watch-deployments does: takes part in all hooks of gitdeploys and deployments, by their typed parameters.
package main

import (
	"fmt"

	"elita"
)

func init() {
	for _, name := range []string{
		"GITDEPLOY_INIT_PRE", "GITDEPLOY_INIT_POST", "GITDEPLOY_DEINIT_PRE", "GITDEPLOY_DEINIT_POST",
	} {
		elita.Hook("shop", name, onServers)
	}
	elita.Hook("shop", "GITDEPLOY_COMMIT_DIFF", commit)
	elita.Hook("shop", "AUTO_DEPLOYMENT_START", start)
	elita.Hook("shop", "AUTO_DEPLOYMENT_BATCH_BEGIN", batch)
	elita.Hook("shop", "AUTO_DEPLOYMENT_BATCH_DONE", batch)
	elita.Hook("shop", "AUTO_DEPLOYMENT_COMPLETE", complete)
	elita.Hook("shop", "AUTO_DEPLOYMENT_FAILED", failed)
}

type members = map[string]any

func onServers(call *elita.HookCall) (any, error) {
	var told elita.GitdeployServers
	if err := call.Read(&told); err != nil {
		return nil, err
	}
	at := told.Gitdeploy
	return record(call, members{"servers": told.ServerList, "gitdeploy": at.Name, "path": at.Location.Path})
}

func commit(call *elita.HookCall) (any, error) {
	var told elita.GitdeployCommitDiff
	if err := call.Read(&told); err != nil {
		return nil, err
	}
	changes, lines, on := []string{}, [][]any{}, [][]any{}
	for _, change := range told.Changes {
		changes = append(changes, change.Status+" "+change.Path)
		lines = append(lines, []any{change.Binary, change.Insertions, change.Deletions})
	}
	for _, server := range told.Gitdeploy.Servers {
		on = append(on, []any{server.Server, server.DeployedBuild})
	}
	its := members{"gitdeploy": told.Gitdeploy.Name, "package": told.Gitdeploy.Package, "changes": changes}
	if _, err := record(call, its); err != nil {
		return nil, err
	}
	of := []string{told.Commit, told.Gitrepo, told.BuildName}
	_, err := elita.Append(members{"files": told.Files, "more": told.More, "lines": lines, "of": of, "on": on})
	return nil, err
}

func start(call *elita.HookCall) (any, error) {
	var told elita.AutoDeploymentStart
	if err := call.Read(&told); err != nil {
		return nil, err
	}
	target := told.Target
	return record(call, members{
		"groups": target.Groups, "environments": target.Environments, "batches": len(told.Batches),
	})
}

func batch(call *elita.HookCall) (any, error) {
	var told elita.AutoDeploymentBatch
	if err := call.Read(&told); err != nil {
		return nil, err
	}
	if _, err := record(call, members{
		"batch":   fmt.Sprintf("%d of %d", told.BatchNumber, told.BatchCount),
		"servers": told.Batch.Servers, "gitdeploys": told.Batch.Gitdeploys, "ordered": told.Batch.OrderedGitdeploy,
	}); err != nil {
		return nil, err
	}
	targets := [][]string{}
	for _, one := range told.Batches {
		for _, target := range one.Targets {
			targets = append(targets, []string{target.Server, target.Gitdeploy})
		}
	}
	_, err := elita.Append(members{"targets": targets, "build": told.Build, "deployment_id": told.DeploymentID})
	return nil, err
}

func complete(call *elita.HookCall) (any, error) {
	var told elita.AutoDeploymentComplete
	if err := call.Read(&told); err != nil {
		return nil, err
	}
	return record(call, members{"status": told.Deployment["status"], "summary": told.Deployment["summary"]})
}

func failed(call *elita.HookCall) (any, error) {
	var told elita.AutoDeploymentFailed
	if err := call.Read(&told); err != nil {
		return nil, err
	}
	return record(call, members{"status": told.Deployment["status"], "error": told.Error["code"]})
}

func record(call *elita.HookCall, told members) (any, error) {
	_, err := elita.Append(members{"hook": call.Hook, "told": told})
	return nil, err
}

// The host calls what init has declared.
func main() {}
