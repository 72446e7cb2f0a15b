"""Takes the place of the host in tests with plain Python, such as pytest's: actions and hooks run without a server.

    from elita_plugin.testing import Host  # before the plugin

    import plugin

    def test_a_stranger_is_greeted():
        host = Host().build("my_application", "124-master")
        assert host.action(plugin.plugin, "my_application", "Greet", name="Ada") == "hello, stranger called Ada"
        assert host.entries == [{"status": "greeting", "whom": "Ada"}]

A `Host` has applications, builds, actions of other plugins, and servers, as far as the test gives it some; the functions of
`jobs`, `log`, `applications`, `builds`, `actions` and `remote` work as on a server. Others raise `NoHost`, and so do all of
them where no `Host` runs. There are no grants here, and no limits but those of an entry and of a percentage.

Servers answer to commands as the test says, and nothing runs anywhere:

    host = Host().server("web1").server("web2", lambda called: Answer(exit_code=1, stderr="no space left"))
    host.action(plugin.plugin, "my_application", "Restart", server=["web1", "web2"])
    assert host.called[0].arguments["command"] == ["systemctl", "restart", "shop"]
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from pathlib import Path
from typing import Any

from . import Plugin, _off_host
from ._off_host import Err, NoHost

__all__ = ["Answer", "Called", "Host", "NoHost", "Started"]

_JOB = "00000000-0000-0000-0000-000000000000"
_TIME = "2026-01-01T00:00:00.000Z"
_MAX_ENTRY_BYTES = 64 * 1024

_types = sys.modules["wit_world.imports.types"]
_jobs = sys.modules["wit_world.imports.jobs"]
_builds = sys.modules["wit_world.imports.builds"]
_remote = sys.modules["wit_world.imports.remote"]
_applications = sys.modules["wit_world.imports.applications"]
_handler = sys.modules["wit_world.exports.handler"]


@dataclass(frozen=True)
class Started:
    """A job that was started."""

    job: str
    application: str
    action: str
    parameters: list[tuple[str, str]]


@dataclass(frozen=True)
class Called:
    """A function of `remote` that was called."""

    function: str
    """Its name, such as `run`, `run_script` or `delete_directory`."""
    servers: list[str]
    arguments: dict[str, Any]
    """The other arguments by their names, without those that were not given: the `command` of `run`, a `path`, and of the
    options such as `directory` and `stdin`. Bytes are a text."""


@dataclass(frozen=True)
class Answer:
    """What comes of it on a server. Output of `ping` and `operating_systems` is the name of the system, `Linux` if there is
    none."""

    stdout: str = ""
    stderr: str = ""
    exit_code: int | None = 0
    """Other than 0 it has failed. None: it was not begun, or nobody can say what became of it."""
    message: str | None = None
    """Why not."""
    begun: bool = True

    @staticmethod
    def no_response(why: str) -> "Answer":
        """It was not begun, for this reason: the server could not be reached."""
        return Answer(exit_code=None, message=why, begun=False)

    @staticmethod
    def unknown(why: str) -> "Answer":
        """It began, and nobody can say what became of it."""
        return Answer(exit_code=None, message=why)

    def _report(self, server: str) -> Any:
        outcomes = _remote.Outcome
        if self.exit_code is None:
            outcome = outcomes.UNKNOWN if self.begun else outcomes.NO_RESPONSE
        else:
            outcome = outcomes.OK if self.exit_code == 0 else outcomes.FAILED
        duration = None if self.exit_code is None else 0.0
        told = self.stdout, self.stderr, False, self.message, duration
        return _remote.Report(server, outcome, self.exit_code, None, False, *told)


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
        self.called: list[Called] = []
        """What was done on servers."""
        self._servers: dict[str, Callable[[Called], Answer]] = {}
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

    def server(self, name: str, answers: Callable[[Called], Answer] = lambda _: Answer()) -> "Host":
        """With a server that answers like this to whatever is done there; without a function, all goes well."""
        self._servers[name] = answers
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

    def _remote_ping(self, servers: list[str], timeout_seconds: int | None) -> list[Any]:
        reports = self._on_servers("ping", servers, timeout_seconds=timeout_seconds)
        for report in reports:
            if report.outcome == _remote.Outcome.OK:
                report.stdout = report.stdout or "Linux"
        return reports

    def _remote_operating_systems(self, servers: list[str]) -> list[Any]:
        systems = []
        for report in self._on_servers("operating_systems", servers):
            if report.outcome == _remote.Outcome.OK:
                name = report.stdout or "Linux"
                os = _remote.Os.WINDOWS if name == "Windows" else _remote.Os.UNIX
                systems.append(_remote.System(report.server, os, name, None))
            else:
                systems.append(_remote.System(report.server, None, None, report.message))
        return systems

    def _remote_run(self, servers: list[str], command: list[str], options: Any) -> list[Any]:
        return self._on_servers("run", servers, command=command, **_options(options))

    def _remote_run_script(self, servers: list[str], script: str, shell: Any, options: Any) -> list[Any]:
        return self._on_servers("run_script", servers, script=script, shell=shell, **_options(options))

    def _remote_create_directory(self, servers: list[str], path: str) -> list[Any]:
        return self._on_servers("create_directory", servers, path=path)

    def _remote_delete_directory(self, servers: list[str], path: str) -> list[Any]:
        return self._on_servers("delete_directory", servers, path=path)

    def _remote_delete_file(self, servers: list[str], path: str) -> list[Any]:
        return self._on_servers("delete_file", servers, path=path)

    def _remote_touch(self, servers: list[str], path: str) -> list[Any]:
        return self._on_servers("touch", servers, path=path)

    def _remote_append_to_file(self, servers: list[str], path: str, bytes: bytes) -> list[Any]:
        return self._on_servers("append_to_file", servers, path=path, bytes=bytes)

    def _remote_push_file(
        self, servers: list[str], content: Any, path: str, mode: int | None, timeout_seconds: int | None
    ) -> list[Any]:
        given: dict[str, Any] = {"path": path, "mode": mode, "timeout_seconds": timeout_seconds}
        if isinstance(content, _remote.Content_Bytes):
            given["bytes"] = content.value
        else:
            package = content.value
            self._builds_read_package(package.application, package.build, package.package, 0, 0)
            given["package"] = vars(package)
        return self._on_servers("push_file", servers, **given)

    def _remote_git_clone(self, servers: list[str], url: str, path: str, branch: str | None) -> list[Any]:
        return self._on_servers("git_clone", servers, url=url, path=path, branch=branch)

    def _remote_git_checkout(self, servers: list[str], path: str, reference: str) -> list[Any]:
        return self._on_servers("git_checkout", servers, path=path, reference=reference)

    def _remote_git_discard_changes(self, servers: list[str], path: str) -> list[Any]:
        return self._on_servers("git_discard_changes", servers, path=path)

    def _remote_git_add_all(self, servers: list[str], path: str) -> list[Any]:
        return self._on_servers("git_add_all", servers, path=path)

    def _remote_git_commit(self, servers: list[str], path: str, message: str) -> list[Any]:
        return self._on_servers("git_commit", servers, path=path, message=message)

    def _remote_git_set_user(self, servers: list[str], path: str, name: str, email: str) -> list[Any]:
        return self._on_servers("git_set_user", servers, path=path, name=name, email=email)

    def _remote_git_set_autocrlf(self, servers: list[str], path: str, value: Any) -> list[Any]:
        return self._on_servers("git_set_autocrlf", servers, path=path, value=value)

    def _remote_git_set_push_url(self, servers: list[str], path: str, url: str) -> list[Any]:
        return self._on_servers("git_set_push_url", servers, path=path, url=url)

    def _remote_git_pull(self, servers: list[str], path: str, options: Any) -> list[Any]:
        return self._on_servers("git_pull", servers, path=path, **vars(options))

    def _on_servers(self, function: str, servers: list[str], **given: Any) -> list[Any]:
        if self._cancelled:
            raise Err(_types.Error_Conflict("the job was asked to stop"))
        for index, server in enumerate(servers):
            if server not in self._servers:
                raise Err(_types.Error_NotFound(f"server `{server}` does not exist"))
            if server in servers[:index]:
                raise Err(_types.Error_Invalid(f"server `{server}` is given twice"))
        if not servers:
            raise Err(_types.Error_Invalid("no server is given"))
        path = given.get("path", "/")
        if not re.match(r"/|~/|[A-Za-z]:[\\/]", path) or ".." in re.split(r"[\\/]", path):
            raise Err(_types.Error_Invalid(f"path: `{path}` does not begin with `/` or `~/`, or has `..` in it"))
        called = Called(function, list(servers), {name: _shown(it) for name, it in given.items() if it is not None})
        self.called.append(called)
        return [self._servers[server](called)._report(server) for server in servers]

    def _build(self, application: str, name: str) -> _Build:
        if (application, name) not in self._held:
            raise Err(_types.Error_NotFound(f"build `{name}` does not exist"))
        return self._held[application, name]

    def _file(self, build: str, package: str, file_type: str, content: bytes) -> Any:
        stem = build if package == "master" else f"{build}-{package}"
        digest = sha256(content).hexdigest()
        return _builds.PackageFile(package, f"{stem}.{file_type}", file_type, len(content), digest)


def _options(options: Any) -> dict[str, Any]:
    """Those that are given."""
    given = {name: value for name, value in vars(options).items() if value not in (None, [], b"")}
    if "environment" in given:
        given["environment"] = dict(given["environment"])
    return given


def _shown(argument: Any) -> Any:
    """An argument as it is easily compared with."""
    if isinstance(argument, Enum):
        return argument.name.lower()
    return argument.decode(errors="replace") if isinstance(argument, bytes) else argument


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
