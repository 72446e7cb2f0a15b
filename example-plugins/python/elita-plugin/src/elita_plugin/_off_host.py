"""What componentize-py makes of the WIT package, where there is no component: for tests with plain Python.

The modules `wit_world` and `componentize_py_types` are put in place when this is imported. What the host's functions do
there is up to `Host` of `elita_plugin.testing`; without one they raise, and say so.
"""

import enum
import sys
from dataclasses import dataclass, make_dataclass
from types import ModuleType
from typing import Any, Generic, TypeVar

E = TypeVar("E")

INTERFACES = (
    "actions applications builds deployments git_providers git_repos gitdeploys groups jobs log package_maps remote salt"
    " servers types"
).split()


class NoHost(RuntimeError):
    """A function of the host was called where there is none."""


@dataclass(eq=False)
class Err(Exception, Generic[E]):
    value: E


@dataclass(frozen=True)
class Ok(Generic[E]):
    value: E


host: Any = None
"""The `Host` that runs something, if there is one."""


class Interface(ModuleType):
    """Has the types of an interface, and looks for its functions at the host."""

    def __getattr__(self, name: str) -> Any:
        interface = self.__name__.rpartition(".")[2]
        if name.startswith("__") or not name.islower():
            if name.startswith("__"):
                raise AttributeError(name)
            return record(self, name)

        def function(*arguments: Any) -> Any:
            if host is None:
                raise NoHost(
                    f"{interface}.{name} is a function of the host, and there is none in a test: "
                    "call what you test by `elita_plugin.testing.Host().run(…)`"
                )
            found = getattr(host, f"_{interface}_{name}", None)
            if found is None:
                raise NoHost(
                    f"{interface}.{name} is a function of the host, and `elita_plugin.testing.Host` does not have it: "
                    "put what you test into a function that does not call it"
                )
            return found(*arguments)

        function.__name__ = name
        setattr(self, name, function)
        return function


def record(module: ModuleType, name: str) -> type:
    """A type that is not known here: it takes what it is given."""

    def keep(self: Any, *values: Any, **named: Any) -> None:
        self.__dict__.update({"value": values[0] if len(values) == 1 else values, **named})

    made = type(name, (), {"__init__": keep})
    setattr(module, name, made)
    return made


def _records(module: ModuleType, **fields: str) -> None:
    for name, names in fields.items():
        setattr(module, name, make_dataclass(name, names.split()))


def _install() -> None:
    def module(name: str, kind: type[ModuleType] = ModuleType) -> Any:
        made = kind(name)
        sys.modules[name] = made
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], last, made)
        return made

    results = module("componentize_py_types")
    results.Err, results.Ok, results.Result = Err, Ok, Ok
    for package in ("wit_world", "wit_world.imports", "wit_world.exports"):
        module(package).__path__ = []

    handler = module("wit_world.exports.handler")
    _records(
        handler,
        ActionCall="application action parameters job attempt user",
        HookCall="application hook parameters job",
        Failure="message details trace",
    )
    registration = module("wit_world.exports.registration")
    _records(
        registration,
        Parameter="name type description",
        Action="name description parameters idempotent timeout_seconds",
        ApplicationActions="application actions",
        ApplicationHooks="application hooks",
    )
    imports = {name: module(f"wit_world.imports.{name}", Interface) for name in INTERFACES}
    cases = "NotFound AlreadyExists Invalid Denied Conflict Unavailable TimedOut LimitExceeded Other"
    _records(imports["types"], Page="after limit", Names="items next", **{f"Error_{case}": "value" for case in cases.split()})
    _records(imports["applications"], Application="name attributes created_at updated_at")
    _records(
        imports["builds"],
        PackageFile="name filename file_type size_bytes sha256",
        Build="application name stored master_file packages attributes created_at updated_at",
    )
    _records(
        imports["jobs"],
        Job="id name job_type application status attempt created_at started_at completed_at data result error",
        Entry="seq at source data",
    )
    imports["jobs"].Status = enum.Enum("Status", "QUEUED RUNNING SUCCEEDED FAILED CANCELLED LOST", start=0)
    _records(
        imports["remote"],
        Report="server outcome exit_code signal timed_out stdout stderr truncated message duration",
        System="server os name message",
        Options="directory environment stdin timeout_seconds output_bytes secrets",
        BuildPackage="application build package",
        Content_Bytes="value",
        Content_BuildPackage="value",
        PullOptions="remote branch favor patience ignore_all_space",
    )
    for name, cases in {
        "Outcome": "OK FAILED NO_RESPONSE UNKNOWN",
        "Os": "UNIX WINDOWS",
        "Shell": "SH POWERSHELL",
        "Favor": "OURS THEIRS",
        "Autocrlf": "TRUE FALSE INPUT",
    }.items():
        setattr(imports["remote"], name, enum.Enum(name, cases, start=0))
    imports["log"].Level = enum.Enum("Level", "TRACE DEBUG INFO WARN ERROR", start=0)


_install()
