"""The parameters of the hooks that Elita fires, with their types: `BuildUploadSuccess.of(call)`.

Hook names are an open set: `call.parameters` has the parameters of those that are not here. Parameters that are not
listed here are ignored; `call.parameters` has all of them.
"""

import dataclasses
import types
import typing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from . import HookCall
    from typing import Self


class _Parameters:
    """What can be read from a call."""

    @classmethod
    def of(cls, call: "HookCall") -> "Self":
        """The parameters of this call."""
        return _read(cls, call.parameters)


@dataclass(frozen=True)
class Package:
    """A package of a build."""

    filename: str
    file_type: str
    """`zip`, `tar`, `tar.gz`, `tar.bz2`, `tar.xz` or `tar.zst`."""
    size_bytes: int
    sha256: str
    """In hexadecimal."""


@dataclass(frozen=True)
class BuildUploadSuccess(_Parameters):
    """`BUILD_UPLOAD_SUCCESS`: a build is stored and packaged."""

    build_name: str
    storage_dir: str
    """A directory that the hook can read, with the build's files."""
    filename: str
    """The master package's file in it."""
    file_type: str
    packages: dict[str, Package]
    """The build's packages by name, `master` among them."""

    def open(self, package: str = "master") -> BinaryIO:
        """Opens a package's file. It is read as it is needed: nothing of it has to be in memory."""
        if package not in self.packages:
            raise KeyError(f"build `{self.build_name}` has no package `{package}`")
        return open(f"{self.storage_dir}/{self.packages[package].filename}", "rb")


@dataclass(frozen=True)
class GitdeployLocation:
    """Where a gitdeploy deploys to."""

    path: str = ""
    """The directory on the servers."""
    gitrepo: str = ""
    """The name of the repository."""
    default_branch: str = ""
    """The branch that is deployed."""


@dataclass(frozen=True)
class InitializedServer:
    """A server that a gitdeploy is initialized on."""

    server: str = ""
    deployed_build: str | None = None
    """The build that was last deployed there."""


@dataclass(frozen=True)
class Gitdeploy:
    """A gitdeploy: what is deployed where, through which repository."""

    name: str = ""
    package: str = ""
    """The package that it deploys."""
    location: GitdeployLocation = GitdeployLocation()
    servers: list[InitializedServer] = field(default_factory=list)
    """The servers it is initialized on."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Whatever its owner keeps with it."""


@dataclass(frozen=True)
class GitdeployServers(_Parameters):
    """`GITDEPLOY_INIT_PRE`, `GITDEPLOY_INIT_POST`, `GITDEPLOY_DEINIT_PRE` and `GITDEPLOY_DEINIT_POST`: a gitdeploy is put
    on servers, or removed from them."""

    server_list: list[str]
    """The servers' names; in the `_POST` hooks those where it went well."""
    gitdeploy: Gitdeploy


@dataclass(frozen=True)
class FileChange:
    """What changed in one file."""

    path: str
    """Relative to the root of the repository."""
    status: str
    """What happened to it."""
    binary: bool = False
    """Whether it is not a text file, or is longer than 1 MiB; then its lines are not counted."""
    insertions: int | None = None
    """Lines added. None: they are not counted."""
    deletions: int | None = None
    """Lines removed. None: they are not counted."""


@dataclass(frozen=True)
class GitdeployCommitDiff(_Parameters):
    """`GITDEPLOY_COMMIT_DIFF`: a package was committed, and is about to be pushed."""

    files: list[str]
    """The changed files' paths, relative to the root of the repository; at most 2000."""
    changes: list[FileChange]
    """What changed in each of them."""
    gitdeploy: Gitdeploy
    commit: str
    """The commit's id."""
    more: bool = False
    """Whether further files have changed."""
    gitrepo: str = ""
    """The name of the repository."""
    build_name: str = ""
    """The build that was committed."""


@dataclass(frozen=True)
class Target:
    """What a group deployment deploys to."""

    groups: list[str] = field(default_factory=list)
    environments: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BatchTarget:
    """A gitdeploy that goes to a server."""

    server: str
    gitdeploy: str


@dataclass(frozen=True)
class Batch:
    """What a group deployment deploys together."""

    servers: list[str]
    gitdeploys: list[str]
    ordered_gitdeploy: bool
    """Whether it is a stage of an ordered group, with another one to follow."""
    targets: list[BatchTarget] = field(default_factory=list)
    """Which gitdeploy goes to which server."""


@dataclass(frozen=True)
class AutoDeploymentStart(_Parameters):
    """`AUTO_DEPLOYMENT_START`: a group deployment is about to begin."""

    deployment_id: str
    build: str
    """The build that is deployed."""
    target: Target
    """What it is deployed to."""
    batches: list[Batch]
    """What will be deployed together, in order."""


@dataclass(frozen=True)
class AutoDeploymentBatch(_Parameters):
    """`AUTO_DEPLOYMENT_BATCH_BEGIN` and `AUTO_DEPLOYMENT_BATCH_DONE`: around each batch of a group deployment."""

    deployment_id: str
    build: str
    batch_number: int
    """From 0."""
    batch_count: int
    batch: Batch
    batches: list[Batch]
    """All of them."""


@dataclass(frozen=True)
class AutoDeploymentComplete(_Parameters):
    """`AUTO_DEPLOYMENT_COMPLETE`: the last batch of a group deployment is done."""

    deployment_id: str
    build: str
    target: Target
    batches: list[Batch]
    deployment: dict[str, Any]
    """The deployment's document."""


@dataclass(frozen=True)
class AutoDeploymentFailed(_Parameters):
    """`AUTO_DEPLOYMENT_FAILED`: a group deployment ended before its last batch was done."""

    deployment_id: str
    build: str
    target: Target
    batches: list[Batch]
    deployment: dict[str, Any]
    """The deployment's document."""
    error: dict[str, Any]
    """Why it ended."""


def _read(kind: Any, given: Any) -> Any:
    """A value of JSON as one of this type."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is list:
        return [_read(arguments[0], one) for one in given]
    if origin is dict:
        return {name: _read(arguments[1], value) for name, value in given.items()}
    if origin is types.UnionType:
        return None if given is None else _read(arguments[0], given)
    if dataclasses.is_dataclass(kind):
        return kind(**{name: _read(of, given[name]) for name, of in typing.get_type_hints(kind).items() if name in given})
    return given
