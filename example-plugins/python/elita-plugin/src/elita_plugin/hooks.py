"""The parameters of the hooks that Elita fires, with their types: `BuildUploadSuccess.of(call)`.

Parameters that are not listed here are ignored; `call.parameters` has all of them.
"""

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from . import HookCall


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
class BuildUploadSuccess:
    """`BUILD_UPLOAD_SUCCESS`: a build is stored and packaged."""

    build_name: str
    storage_dir: str
    """A directory that the hook can read, with the build's files."""
    filename: str
    """The master package's file in it."""
    file_type: str
    packages: dict[str, Package]
    """The build's packages by name, `master` among them."""

    @classmethod
    def of(cls, call: "HookCall") -> "BuildUploadSuccess":
        given = _known(cls, call.parameters)
        packages = {name: Package(**_known(Package, package)) for name, package in given.pop("packages").items()}
        return cls(packages=packages, **given)

    def open(self, package: str = "master") -> BinaryIO:
        """Opens a package's file. It is read as it is needed: nothing of it has to be in memory."""
        if package not in self.packages:
            raise KeyError(f"build `{self.build_name}` has no package `{package}`")
        return open(f"{self.storage_dir}/{self.packages[package].filename}", "rb")


def _known(cls: type, given: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(cls)}
    return {name: value for name, value in given.items() if name in names}
