package elita

// The parameters of the hooks that Elita fires, for [HookCall.Read]. Hook names are an open set: a hook without a struct
// here is read into one's own, or into a map[string]any. Members that are not listed here are ignored.

// BuildUploadSuccess are the parameters of BUILD_UPLOAD_SUCCESS: a build is stored and packaged.
type BuildUploadSuccess struct {
	BuildName string `json:"build_name"`
	// StorageDir is a directory that the hook can read, with the build's files.
	StorageDir string `json:"storage_dir"`
	// Filename is that of the master package.
	Filename string `json:"filename"`
	FileType string `json:"file_type"`
	// Packages has those of the build by name, master among them.
	Packages map[string]Package `json:"packages"`
}

// Package is a package of a build.
type Package struct {
	Filename  string `json:"filename"`
	FileType  string `json:"file_type"`
	SizeBytes uint64 `json:"size_bytes"`
	SHA256    string `json:"sha256"`
}

// GitdeployServers are the parameters of GITDEPLOY_INIT_PRE, GITDEPLOY_INIT_POST, GITDEPLOY_DEINIT_PRE and
// GITDEPLOY_DEINIT_POST: a gitdeploy is put on servers, or removed from them.
type GitdeployServers struct {
	// ServerList has the servers' names; in the _POST hooks those where it went well.
	ServerList []string  `json:"server_list"`
	Gitdeploy  Gitdeploy `json:"gitdeploy"`
}

// GitdeployCommitDiff are the parameters of GITDEPLOY_COMMIT_DIFF: a package was committed, and is about to be pushed.
type GitdeployCommitDiff struct {
	// Files has the changed files' paths, relative to the root of the repository; at most 2000.
	Files []string `json:"files"`
	// Changes says what changed in each of them.
	Changes []FileChange `json:"changes"`
	// More says whether further files have changed.
	More      bool      `json:"more"`
	Gitdeploy Gitdeploy `json:"gitdeploy"`
	// Gitrepo is the name of the repository.
	Gitrepo string `json:"gitrepo"`
	// BuildName is the build that was committed.
	BuildName string `json:"build_name"`
	// Commit is the commit's id.
	Commit string `json:"commit"`
}

// FileChange is what changed in one file.
type FileChange struct {
	// Path is relative to the root of the repository.
	Path string `json:"path"`
	// Status is what happened to it.
	Status string `json:"status"`
	// Binary says whether it is not a text file, or is longer than 1 MiB; then its lines are not counted.
	Binary bool `json:"binary"`
	// Insertions are lines added; nil: they are not counted.
	Insertions *uint64 `json:"insertions"`
	// Deletions are lines removed; nil: they are not counted.
	Deletions *uint64 `json:"deletions"`
}

// Gitdeploy is what is deployed where, through which repository.
type Gitdeploy struct {
	Name string `json:"name"`
	// Package is the package that it deploys.
	Package string `json:"package"`
	// Location is where it deploys to.
	Location GitdeployLocation `json:"location"`
	// Servers are those that it is initialized on.
	Servers []InitializedServer `json:"servers"`
	// Attributes are whatever its owner keeps with it.
	Attributes map[string]any `json:"attributes"`
}

// InitializedServer is a server that a gitdeploy is initialized on.
type InitializedServer struct {
	Server string `json:"server"`
	// DeployedBuild is the build that was last deployed there; nil: none was.
	DeployedBuild *string `json:"deployed_build"`
}

// GitdeployLocation is where a gitdeploy deploys to.
type GitdeployLocation struct {
	// Path is the directory on the servers.
	Path string `json:"path"`
	// Gitrepo is the name of the repository.
	Gitrepo string `json:"gitrepo"`
	// DefaultBranch is the branch that is deployed.
	DefaultBranch string `json:"default_branch"`
}

// AutoDeploymentStart are the parameters of AUTO_DEPLOYMENT_START: a group deployment is about to begin.
type AutoDeploymentStart struct {
	DeploymentID string `json:"deployment_id"`
	// Build is the build that is deployed.
	Build string `json:"build"`
	// Target is what it is deployed to.
	Target Target `json:"target"`
	// Batches are what will be deployed together, in order.
	Batches []Batch `json:"batches"`
}

// AutoDeploymentBatch are the parameters of AUTO_DEPLOYMENT_BATCH_BEGIN and AUTO_DEPLOYMENT_BATCH_DONE: around each batch
// of a group deployment.
type AutoDeploymentBatch struct {
	DeploymentID string `json:"deployment_id"`
	Build        string `json:"build"`
	// BatchNumber counts from 0.
	BatchNumber uint32 `json:"batch_number"`
	// BatchCount is how many there are.
	BatchCount uint32 `json:"batch_count"`
	Batch      Batch  `json:"batch"`
	// Batches are all of them.
	Batches []Batch `json:"batches"`
}

// AutoDeploymentComplete are the parameters of AUTO_DEPLOYMENT_COMPLETE: the last batch of a group deployment is done.
type AutoDeploymentComplete struct {
	DeploymentID string  `json:"deployment_id"`
	Build        string  `json:"build"`
	Target       Target  `json:"target"`
	Batches      []Batch `json:"batches"`
	// Deployment is the deployment's document.
	Deployment map[string]any `json:"deployment"`
}

// AutoDeploymentFailed are the parameters of AUTO_DEPLOYMENT_FAILED: a group deployment ended before its last batch was
// done.
type AutoDeploymentFailed struct {
	DeploymentID string  `json:"deployment_id"`
	Build        string  `json:"build"`
	Target       Target  `json:"target"`
	Batches      []Batch `json:"batches"`
	// Deployment is the deployment's document.
	Deployment map[string]any `json:"deployment"`
	// Error is why it ended.
	Error map[string]any `json:"error"`
}

// Target is what a group deployment deploys to: names of groups and of environments.
type Target struct {
	Groups       []string `json:"groups"`
	Environments []string `json:"environments"`
}

// Batch is what a group deployment deploys together.
type Batch struct {
	// Servers has names of servers.
	Servers []string `json:"servers"`
	// Gitdeploys has names of gitdeploys.
	Gitdeploys []string `json:"gitdeploys"`
	// OrderedGitdeploy says whether it is a stage of an ordered group, with another one to follow.
	OrderedGitdeploy bool `json:"ordered_gitdeploy"`
	// Targets says which gitdeploy goes to which server.
	Targets []BatchTarget `json:"targets"`
}

// BatchTarget is a gitdeploy that goes to a server, each by its name.
type BatchTarget struct {
	Server    string `json:"server"`
	Gitdeploy string `json:"gitdeploy"`
}
