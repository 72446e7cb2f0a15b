"""What `misbehave` does, as far as languages differ in it: how a run fails, what one costs, and how values look."""

import asyncio
import json
from typing import Any

from componentize_py_types import Err
from elita_plugin import ActionCall, Failure, HookCall, Plugin, progress
from wit_world.exports import handler
from wit_world.imports import actions, builds, gitdeploys, git_repos, groups, jobs, package_maps, remote, salt, servers, types

plugin = Plugin()


@plugin.action("hostile", "Noop", "Does nothing")
def noop(_: ActionCall) -> None:
    pass


@plugin.action("hostile", "Ask", "Asks once whether to stop")
def ask(_: ActionCall) -> bool:
    return jobs.cancel_requested()


@plugin.action("hostile", "Shapes", "Hands the host a value of every shape, and gets them back")
def shapes(call: ActionCall) -> Any:
    app = call.application
    names = builds.list(app, types.Page(None, 10))
    rule = package_maps.PackageRule("web", ["web/**"], None, "www/")
    package_map = package_maps.create(app, "shapes", [rule], "{}")
    git_repos.create(app, "shapes", git_repos.NewGitRepo(None, True, "https://git.example/shapes.git"), "{}")
    new_gitdeploy = gitdeploys.NewGitdeploy(
        "web",
        gitdeploys.Location("/srv/shapes", "shapes", "main"),
        gitdeploys.Options(gitdeploys.Favor.OURS, True, ["*.log"]),
        gitdeploys.Actions([["echo", "one", "two"]], []),
    )
    gitdeploy = gitdeploys.create(app, "shapes", new_gitdeploy, "{}")
    stages = groups.Gitdeploys_Ordered([["shapes"]])
    group = groups.create(app, "shapes", groups.NewGroup(stages, True, "all shapes"), "{}")
    job = jobs.get(actions.run(app, "Noop", [("a", "1"), ("a", "2")]))
    entry = jobs.append('{"a": 1}')
    return {
        "builds": [names.items, names.next],
        "rules": [[rule.name, rule.patterns, rule.remove_prefix, rule.prefix] for rule in package_map.packages],
        "favor": gitdeploy.options.favor.name.lower(),
        "prepull": gitdeploy.actions.prepull,
        "ordered": group.gitdeploys.value if isinstance(group.gitdeploys, groups.Gitdeploys_Ordered) else None,
        "environments": servers.environments(),
        "job": job.status in (jobs.Status.QUEUED, jobs.Status.RUNNING, jobs.Status.SUCCEEDED),
        "entries": [[entry.seq, entry.data] for entry in jobs.entries(call.job, entry - 1, 10)],
    }


@plugin.action("hostile", "OnServers", "Works on a server")
def on_servers(_: ActionCall) -> Any:
    servers_ = ["web1"]
    [system] = remote.operating_systems(servers_)
    options = remote.Options("/opt/foobar", [("A", "b c")], b"in\n", 30, None, ["secret"])
    package = remote.Content_BuildPackage(remote.BuildPackage("hostile", "none", "master"))
    try:
        remote.push_file(servers_, package, "/opt/foobar/b", None, None)
        missing = None
    except Err as error:
        missing = type(error.value).__name__.removeprefix("Error_").lower()
    reports = [
        *remote.create_directory(servers_, "/opt/foobar"),
        *remote.push_file(servers_, remote.Content_Bytes(b"a\n"), "/opt/foobar/a", 0o600, None),
        *remote.run(servers_, ["sh", "-c", "cat a -; echo $A secret; exit 3"], options),
        *remote.delete_directory(servers_, "/opt/foobar"),
    ]
    return {
        "system": [system.server, system.os.name.lower() if system.os is not None else None, system.name],
        "missing": missing,
        "reports": [[report.outcome.name.lower(), report.exit_code, report.stdout] for report in reports],
    }


@plugin.action("hostile", "Salt", "Calls a function of Salt")
def call_salt(_: ActionCall) -> Any:
    returned = salt.salt_command(["m1"], "test.ping", [], [("a", json.dumps("b=c"))], 30)
    return [[one.server, one.outcome.name.lower(), json.loads(one.value or "null"), one.retcode] for one in returned]


@plugin.action("hostile", "Fail", "Fails as is to be expected")
def fail(_: ActionCall) -> Any:
    raise Failure("the widget press is jammed", {"press": 42, "widgets": ["left", "right"]})


@plugin.action("hostile", "Panic", "Fails as nobody expects")
def panic(_: ActionCall) -> None:
    on_the_way_down()


def on_the_way_down() -> None:
    deep_inside_the_plugin()


def deep_inside_the_plugin() -> None:
    raise ValueError("the widget press is jammed: 42")


@plugin.action("hostile", "Late", "Returns after a while")
async def late(_: ActionCall) -> str:
    await asyncio.sleep(0.01)
    return "late"


@plugin.action("hostile", "LateFail", "Fails after a while, as is to be expected")
async def late_fail(call: ActionCall) -> Any:
    await asyncio.sleep(0.01)
    fail(call)


@plugin.action("hostile", "LatePanic", "Fails after a while, as nobody expects")
async def late_panic(_: ActionCall) -> None:
    await asyncio.sleep(0.01)
    on_the_way_down()


@plugin.action("hostile", "Never", "Waits for what never comes")
async def never(_: ActionCall) -> None:
    await asyncio.get_running_loop().create_future()


@plugin.action("hostile", "Forgotten", "Returns what it should have awaited")
async def forgotten(call: ActionCall) -> Any:
    return {"pages": [late(call), late(call)]}


@plugin.action("hostile", "NotAwaited", "Starts what fails after a while, and does not wait for it")
async def not_awaited(call: ActionCall) -> str:
    asyncio.create_task(late_panic(call))
    return "early"


@plugin.hook("hostile", "BUILD_UPLOAD_SUCCESS")
async def late_hook(call: HookCall) -> Any:
    """By what the build is called."""
    await asyncio.sleep(0.01)
    match call.parameters["build_name"]:
        case "late":
            return "late"
        case "late-fail":
            raise Failure("the widget press is jammed", {"press": 42, "widgets": ["left", "right"]})
        case "late-never":
            await asyncio.get_running_loop().create_future()


@plugin.action("hostile", "ThrowsObject", "Raises an answer that is none of Elita's")
def throws_object(_: ActionCall) -> None:
    raise Err({"code": 5})


@plugin.action("hostile", "ThrowsCause", "Raises an error with a cause")
def throws_cause(_: ActionCall) -> None:
    try:
        on_the_way_down()
    except ValueError as cause:
        raise RuntimeError("no widgets today") from cause


@plugin.action("hostile", "OddDetails", "Fails with details that are not JSON")
def odd_details(_: ActionCall) -> None:
    raise Failure("the widget press is jammed", {"press": {42}})


@plugin.action("hostile", "HalfProgress", "Says how far it is by numbers that are not whole")
def half_progress(_: ActionCall) -> None:
    progress(45.5, "halfway")
    progress(100.0, "done")


@plugin.action("hostile", "OddProgress", "Is further than the end")
def odd_progress(_: ActionCall) -> None:
    progress(300, "too far")


@plugin.action(
    "hostile",
    "Given",
    "Returns its optional parameters",
    optional={"text": ("string", "a text"), "truth": ("boolean", "yes or no"), "number": ("integer", "a number")},
)
def given(call: ActionCall) -> Any:
    found = [
        call.optional_text("text"),
        call.optional_boolean("truth"),
        call.optional_integer("number"),
        call.value("value"),
    ]
    return ["missing" if value is None else value for value in found]


@plugin.action("hostile", "PanicUncaught", "The same where nothing catches it")
def panic_uncaught(_: ActionCall) -> None:
    """Run by `Handler` below, without the helper module."""


Registration, Handled = plugin.exports()


class Handler(Handled):
    def run_action(self, call: handler.ActionCall) -> str:
        if call.action == "PanicUncaught":
            on_the_way_down()
        return super().run_action(call)
