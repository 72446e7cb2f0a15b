"""Takes the place of the host in tests with plain Python, such as pytest's: actions and hooks run without a server.

    from elita_plugin.testing import Host  # before the plugin

    import plugin

    def test_a_stranger_is_greeted():
        host = Host().build("my_application", "124-master")
        assert host.action(plugin.plugin, "my_application", "Greet", name="Ada") == "hello, stranger called Ada"
        assert host.entries == [{"status": "greeting", "whom": "Ada"}]

A `Host` has applications, builds, and actions of other plugins, as far as the test gives it some; the functions of `jobs`,
`log`, `applications`, `builds` and `actions` work as on a server. Others raise `NoHost`, and so do all of them where no
`Host` runs. There are no grants here, and no limits but those of an entry and of a percentage.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from . import Plugin, _off_host
from ._off_host import Err, NoHost

__all__ = ["Host", "NoHost", "Started"]

_JOB = "00000000-0000-0000-0000-000000000000"
_TIME = "2026-01-01T00:00:00.000Z"
_MAX_ENTRY_BYTES = 64 * 1024

_types = sys.modules["wit_world.imports.types"]
_jobs = sys.modules["wit_world.imports.jobs"]
_builds = sys.modules["wit_world.imports.builds"]
_applications = sys.modules["wit_world.imports.applications"]
_handler = sys.modules["wit_world.exports.handler"]


@dataclass(frozen=True)
class Started:
    """A job that was started."""

    job: str
    application: str
    action: str
    parameters: list[tuple[str, str]]


@dataclass
class _Build:
    attributes: Any
    packages: dict[str, tuple[str, bytes]]


class Host:
    """What an action or a hook finds when it runs in a test, and what it has left."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        """What was added to the job's log."""
        self.log: list[tuple[str, str]] = []
        """What was written for operators: the level, such as `info`, and the line."""
        self.started: list[Started] = []
        """The jobs that were started."""
        self.applications: dict[str, Any] = {}
        """The attributes of each."""
        self._held: dict[tuple[str, str], _Build] = {}
        self._results: dict[tuple[str, str], Any] = {}
        self._cancelled = False

    def application(self, name: str, attributes: Any = None) -> "Host":
        """With an application."""
        self.applications[name] = attributes or {}
        return self

    def build(
        self, application: str, name: str, attributes: Any = None, master: bytes | None = None, file_type: str = "zip"
    ) -> "Host":
        """With a build, and its application. With `master` it is stored."""
        self.applications.setdefault(application, {})
        packages = {} if master is None else {"master": (file_type, master)}
        self._held[application, name] = _Build(attributes or {}, packages)
        return self

    def other_action(self, application: str, name: str, result: Any = None) -> "Host":
        """With an action that can be started. Its job has ended with this result when it is looked at."""
        self._results[application, name] = result
        return self

    def cancelled(self) -> "Host":
        """With a job that was asked to stop."""
        self._cancelled = True
        return self

    def attributes(self, application: str, build: str) -> Any:
        """The attributes of a build."""
        return self._held[application, build].attributes

    def run(self, work: Callable[[], Any]) -> Any:
        """Does something as on this host, and returns what it returns."""
        former, _off_host.host = _off_host.host, self
        try:
            return work()
        finally:
            _off_host.host = former

    def action(self, plugin: Plugin, application: str, name: str, /, **parameters: Any) -> Any:
        """Runs an action as the host does, and returns its result. A list repeats a parameter; what is not a text is
        given as its JSON. An action that fails raises `Err`, whose `value` has its message, details and trace."""
        given = []
        for key, value in parameters.items():
            for one in value if isinstance(value, list) else [value]:
                given.append((key, one if isinstance(one, str) else json.dumps(one)))
        call = _handler.ActionCall(application, name, given, _JOB, 1, "tester")
        return self._handled(plugin, lambda handler: handler.run_action(call))

    def hook(self, plugin: Plugin, application: str, name: str, parameters: dict[str, Any]) -> Any:
        """Runs a hook as the host does, and returns its result."""
        call = _handler.HookCall(application, name, json.dumps(parameters), _JOB)
        return self._handled(plugin, lambda handler: handler.run_hook(call))

    def upload(self, plugin: Plugin, application: str, build: str) -> Any:
        """Fires BUILD_UPLOAD_SUCCESS for a build that is stored, with its files."""
        packages = self._held[application, build].packages
        with tempfile.TemporaryDirectory() as directory:
            files = {}
            for package, (file_type, content) in packages.items():
                file = self._file(build, package, file_type, content)
                Path(directory, file.filename).write_bytes(content)
                files[package] = {key: value for key, value in vars(file).items() if key != "name"}
            master = files["master"]
            parameters = {
                "build_name": build,
                "storage_dir": directory,
                "filename": master["filename"],
                "file_type": master["file_type"],
                "packages": files,
            }
            return self.hook(plugin, application, "BUILD_UPLOAD_SUCCESS", parameters)

    def _handled(self, plugin: Plugin, work: Callable[[Any], str]) -> Any:
        _, handler = plugin.exports()
        return json.loads(self.run(lambda: work(handler())))

    # --- the host's functions -------------------------------------------------------------------------

    def _jobs_current(self) -> str:
        return _JOB

    def _jobs_append(self, data: str) -> int:
        if len(data.encode()) > _MAX_ENTRY_BYTES:
            raise Err(_types.Error_LimitExceeded(f"an entry has at most {_MAX_ENTRY_BYTES} bytes"))
        self.entries.append(json.loads(data))
        return len(self.entries)

    def _jobs_progress(self, percent: int, status: str) -> int:
        self.entries.append({"status": status, "progress": percent})
        return len(self.entries)

    def _jobs_cancel_requested(self) -> bool:
        return self._cancelled

    def _jobs_get(self, id: str) -> Any:
        if id == _JOB:
            return _jobs.Job(id, "test", "action", None, _jobs.Status.RUNNING, 1, _TIME, _TIME, None, "{}", None, None)
        for started in self.started:
            if started.job == id:
                result = json.dumps(self._results[started.application, started.action])
                data = json.dumps({"parameters": started.parameters})
                its = started.action, "action", started.application, _jobs.Status.SUCCEEDED
                return _jobs.Job(id, *its, 1, _TIME, _TIME, _TIME, data, result, None)
        raise Err(_types.Error_NotFound(f"job `{id}` does not exist"))

    def _jobs_entries(self, id: str, after: int, limit: int) -> list[Any]:
        self._jobs_get(id)
        all = self.entries if id == _JOB else []
        made = [_jobs.Entry(seq, _TIME, "test", json.dumps(data)) for seq, data in enumerate(all, 1)]
        return made[after:][:limit]

    def _log_write(self, level: Any, message: str) -> None:
        self.log.append((level.name.lower(), message))

    def _actions_run(self, application: str, action: str, parameters: list[tuple[str, str]]) -> str:
        if (application, action) not in self._results:
            raise Err(_types.Error_NotFound(f"action `{action}` of application `{application}` does not exist"))
        job = f"{_JOB[:-12]}{len(self.started) + 1:012}"
        self.started.append(Started(job, application, action, list(parameters)))
        return job

    def _applications_get(self, name: str) -> Any:
        if name not in self.applications:
            raise Err(_types.Error_NotFound(f"application `{name}` does not exist"))
        return _applications.Application(name, json.dumps(self.applications[name]), _TIME, _TIME)

    def _applications_list(self, page: Any) -> Any:
        return _page(self.applications, page)

    def _applications_update(self, name: str, change: str) -> Any:
        self._applications_get(name)
        self.applications[name] = _changed(self.applications[name], change)
        return self._applications_get(name)

    def _builds_get(self, application: str, name: str) -> Any:
        build = self._build(application, name)
        files = [self._file(name, package, *it) for package, it in sorted(build.packages.items())]
        master = next((file.filename for file in files if file.name == "master"), None)
        attributes = json.dumps(build.attributes)
        return _builds.Build(application, name, master is not None, master, files, attributes, _TIME, _TIME)

    def _builds_list(self, application: str, page: Any) -> Any:
        self._applications_get(application)
        return _page([name for of, name in self._held if of == application], page)

    def _builds_create(self, application: str, name: str, attributes: str) -> Any:
        self._applications_get(application)
        if (application, name) in self._held:
            raise Err(_types.Error_AlreadyExists(f"build `{name}` already exists"))
        self._held[application, name] = _Build(json.loads(attributes), {})
        return self._builds_get(application, name)

    def _builds_update(self, application: str, name: str, change: str) -> Any:
        build = self._build(application, name)
        build.attributes = _changed(build.attributes, change)
        return self._builds_get(application, name)

    def _builds_delete(self, application: str, name: str) -> None:
        self._build(application, name)
        del self._held[application, name]

    def _builds_read_package(self, application: str, build: str, name: str, offset: int, length: int) -> bytes:
        packages = self._build(application, build).packages
        if name not in packages:
            raise Err(_types.Error_NotFound(f"package `{name}` does not exist"))
        return packages[name][1][offset : offset + length]

    def _build(self, application: str, name: str) -> _Build:
        if (application, name) not in self._held:
            raise Err(_types.Error_NotFound(f"build `{name}` does not exist"))
        return self._held[application, name]

    def _file(self, build: str, package: str, file_type: str, content: bytes) -> Any:
        stem = build if package == "master" else f"{build}-{package}"
        digest = sha256(content).hexdigest()
        return _builds.PackageFile(package, f"{stem}.{file_type}", file_type, len(content), digest)


def _page(names: Any, page: Any) -> Any:
    rest = sorted(name for name in names if page.after is None or name > page.after)
    limit = page.limit or 100
    return _types.Names(rest[:limit], rest[limit - 1] if len(rest) > limit else None)


def _changed(attributes: Any, change: str) -> Any:
    patch = json.loads(change)
    for name in patch:
        if name != "attributes":
            raise Err(_types.Error_Invalid(f"`{name}` cannot be changed"))
    return _merged(attributes, patch.get("attributes", {}))


def _merged(target: Any, patch: Any) -> Any:
    """A merge patch, RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    made = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            made.pop(name, None)
        else:
            made[name] = _merged(made.get(name), value)
    return made
