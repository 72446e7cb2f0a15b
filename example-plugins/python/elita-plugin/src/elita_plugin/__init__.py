"""Write Elita plugins in Python: plain functions, and one object that tells the host about them.

    from elita_plugin import ActionCall, Plugin

    plugin = Plugin()

    @plugin.action("my_application", "Greet", "Greets someone", {"name": ("string", "whom to greet")})
    def greet(call: ActionCall) -> str:
        return f"hello, {call.text('name')}"

    Registration, Handler = plugin.exports()

What a function returns is the job's result, and has to be JSON. It may be async: then the job goes on until it has
ended, and all tasks that it has started. What it raises ends the job as failed: a
`Failure` with its message and details, an answer of the host with the host's sentence, and anything else with
its name, and its traceback as the error's trace. The host's functions are in `wit_world.imports`. `elita_plugin.hooks`
has the parameters of hooks, and `elita_plugin.testing` takes the host's place in tests.
"""

import asyncio
import json
import re
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

if sys.platform != "wasi":
    # In a test: see `elita_plugin.testing`.
    from . import _off_host as _off_host

from componentize_py_types import Err
from wit_world.exports import handler, registration
from wit_world.imports import jobs

__all__ = ["ActionCall", "Failure", "HookCall", "Plugin", "append", "progress"]

_SHOWN_CHARACTERS = 64


class Failure(Exception):
    """Ends the job as failed with this message. Details are kept in its error: anything that is JSON."""

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


def append(data: Any) -> int:
    """Adds an entry to the job's log, for its users to see: any JSON of at most 64 KiB. Returns its number."""
    return jobs.append(_json(data))


def progress(percent: float, status: str) -> int:
    """Says in the job's log how far it is, from 0 to 100 percent, and what it does. Returns the entry's number."""
    if not 0 <= percent <= 100:
        raise ValueError(f"progress is a number from 0 to 100, and not {percent!r}")
    return jobs.progress(int(percent), status)


class ActionCall:
    """A request to run an action."""

    def __init__(self, call: handler.ActionCall) -> None:
        self.application = call.application
        self.action = call.action
        self.job = call.job
        self.attempt = call.attempt
        self.user = call.user
        self.parameters: dict[str, list[str]] = {}
        """All values of each name, in the order of the request."""
        for name, value in call.parameters:
            self.parameters.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """The value of a parameter that must be there exactly once."""
        match self.parameters.get(name, []):
            case [value]:
                return value
            case []:
                raise Failure(f"parameter `{name}` is missing")
            case values:
                raise Failure(f"parameter `{name}`: given {len(values)} times, and one value is expected")

    def optional_text(self, name: str) -> str | None:
        """The same of one that may be missing. JSON's null is as good as missing, here and below."""
        return self.text(name) if self._is_given(name) else None

    def boolean(self, name: str) -> bool:
        """A parameter that is true or false."""
        value = self.text(name)
        if value.lower() not in ("true", "false"):
            raise Failure(f"parameter `{name}`: `{_shown(value)}` is not true or false")
        return value.lower() == "true"

    def optional_boolean(self, name: str) -> bool | None:
        """The same of one that may be missing."""
        return self.boolean(name) if self._is_given(name) else None

    def integer(self, name: str, minimum: int = 0, maximum: int = 2**32 - 1) -> int:
        """A parameter that is an integer in a range."""
        value = self.text(name)
        if re.fullmatch("[+-]?[0-9]{1,30}", value) and minimum <= int(value) <= maximum:
            return int(value)
        raise Failure(f"parameter `{name}`: `{_shown(value)}` is not an integer of {minimum} to {maximum}")

    def optional_integer(self, name: str, minimum: int = 0, maximum: int = 2**32 - 1) -> int | None:
        """The same of one that may be missing."""
        return self.integer(name, minimum, maximum) if self._is_given(name) else None

    def value(self, name: str) -> Any:
        """An object or a list, or null, that was sent as JSON; anything else is a text. None if it is missing."""
        text = self.optional_text(name)
        if text is None or not text.startswith(("{", "[")):
            return text
        try:
            return json.loads(text)
        except ValueError:
            return text

    def _is_given(self, name: str) -> bool:
        return self.parameters.get(name, ["null"]) != ["null"]


class HookCall:
    """A named point of an operation that was reached."""

    def __init__(self, call: handler.HookCall) -> None:
        self.application = call.application
        self.hook = call.hook
        self.job = call.job
        self.parameters: dict[str, Any] = json.loads(call.parameters)


class Plugin:
    """The actions and hooks of a plugin, by application."""

    def __init__(self) -> None:
        self._actions: dict[str, dict[str, tuple[registration.Action, Callable[[ActionCall], Any]]]] = {}
        self._hooks: dict[str, dict[str, Callable[[HookCall], Any]]] = {}

    def action(
        self,
        application: str,
        name: str,
        description: str,
        parameters: Mapping[str, tuple[str, str]] | None = None,
        idempotent: bool = False,
        timeout_seconds: int | None = None,
        optional: Mapping[str, tuple[str, str]] | None = None,
    ) -> Callable[[Callable[[ActionCall], Any]], Callable[[ActionCall], Any]]:
        """Declares the function below it as an action.

        `parameters` are those that every request must have, each with a type, which describes and is not
        enforced, and a description. `optional` are those that a request may lack: the function looks for them, and people
        and forms know of them. `idempotent`: it may be run again when its host died while it ran.
        """
        declared = [registration.Parameter(key, *told) for key, told in (parameters or {}).items()]
        declared += [registration.Parameter(key, f"{of}?", what) for key, (of, what) in (optional or {}).items()]
        action = registration.Action(name, description, declared, idempotent, timeout_seconds)

        def declare(function: Callable[[ActionCall], Any]) -> Callable[[ActionCall], Any]:
            if name in self._actions.get(application, {}):
                raise ValueError(f"the application `{application}` has two actions of the name `{name}`")
            self._actions.setdefault(application, {})[name] = action, function
            return function

        return declare

    def hook(self, application: str, name: str) -> Callable[[Callable[[HookCall], Any]], Callable[[HookCall], Any]]:
        """Declares the function below it as a hook: it runs when the named point is reached."""

        def declare(function: Callable[[HookCall], Any]) -> Callable[[HookCall], Any]:
            if name in self._hooks.get(application, {}):
                raise ValueError(f"the application `{application}` has two functions for the hook `{name}`")
            self._hooks.setdefault(application, {})[name] = function
            return function

        return declare

    def exports(plugin) -> tuple[type, type]:
        """What the component exports. componentize-py looks for the names `Registration` and `Handler`."""

        class Registration:
            def register_actions(self) -> list[registration.ApplicationActions]:
                return [
                    registration.ApplicationActions(application, [action for action, _ in actions.values()])
                    for application, actions in plugin._actions.items()
                ]

            def register_hooks(self) -> list[registration.ApplicationHooks]:
                return [registration.ApplicationHooks(name, list(hooks)) for name, hooks in plugin._hooks.items()]

        class Handler:
            def run_action(self, call: handler.ActionCall) -> str:
                return _run(lambda: plugin._actions[call.application][call.action][1](ActionCall(call)))

            def run_hook(self, call: handler.HookCall) -> str:
                return _run(lambda: plugin._hooks[call.application][call.hook](HookCall(call)))

        return Registration, Handler


def _run(function: Callable[[], Any]) -> str:
    try:
        result = function()
        return _json(_Loop().run(result) if isinstance(result, Awaitable) else result)
    except Failure as failure:
        raise _expected(failure) from None
    except Err as answer:
        raise _answered(answer) from None
    except Exception as error:
        message = "".join(traceback.format_exception_only(error)).strip()
        raise _failed(message, trace=traceback.format_exc()) from None


def _expected(failure: Failure) -> Err[handler.Failure]:
    try:
        return _failed(str(failure), details=None if failure.details is None else _json(failure.details))
    except Exception as problem:
        left_out = f"its details are left out, because they cannot be written as JSON: {problem}\n"
        return _failed(str(failure), trace=left_out + "".join(traceback.format_exception(failure)))


def _answered(answer: Err[Any]) -> Err[handler.Failure]:
    """An answer of the host has a sentence; those of WASI's interfaces are names."""
    sentence = getattr(answer.value, "value", None)
    if isinstance(sentence, str):
        return _failed(sentence)
    return _failed(f"the host answered {answer.value!r}", trace=traceback.format_exc())


def _failed(message: str, details: str | None = None, trace: str | None = None) -> Err[handler.Failure]:
    return Err(handler.Failure(message, details, trace))


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


class _Loop(asyncio.BaseEventLoop):
    """What runs async functions in the sandbox: without files, sockets and threads, time is all that is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = self

    def run(self, work: Awaitable[Any]) -> Any:
        # Where a component can wait for more than time, such as for a response, componentize-py has one that never runs.
        asyncio._set_running_loop(None)
        try:
            return self.run_until_complete(_to_the_end(work))
        finally:
            self.close()

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Failure("it waits for something that can never happen, so it would never end")
        time.sleep(timeout)
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


async def _to_the_end(work: Awaitable[Any]) -> Any:
    result = await work
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.gather(*tasks)
    return result


def _shown(value: str) -> str:
    """A value as an error message shows it."""
    return value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "…"
