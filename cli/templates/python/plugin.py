"""Greets people, and notes builds."""

from componentize_py_types import Err
from elita_plugin import ActionCall, HookCall, Plugin, append
from wit_world.imports import builds, types

plugin = Plugin()


@plugin.action("my_application", "MyAction", "Greets someone", {"name": ("string", "whom to greet")})
def greet(call: ActionCall) -> str:
    name = call.text("name")
    append({"status": "greeting", "whom": name})
    return f"hello, {name}" if has_build(call.application, name) else f"hello, stranger called {name}"


def has_build(application: str, build: str) -> bool:
    try:
        builds.get(application, build)
        return True
    except Err as error:
        if isinstance(error.value, types.Error_NotFound):
            return False
        raise


@plugin.hook("my_application", "BUILD_UPLOAD_SUCCESS")
def note_build(call: HookCall) -> None:
    append({"status": "noted", "build": call.parameters["build_name"]})


Registration, Handler = plugin.exports()
