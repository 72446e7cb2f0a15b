"""An action that takes its time: it says how far it is, and stops when it is asked to. And a hook."""

from typing import Any

from elita_plugin import ActionCall, Failure, HookCall, Plugin, append, progress
from wit_world.imports import applications, jobs, log

plugin = Plugin()

# How many widgets there are.
STOCK = 1000


@plugin.action(
    "my_application",
    "DeleteWidgets",
    "Deletes widgets",
    {
        "testing": ("boolean (string)", "do not delete widgets for real (true or false)"),
        "count": ("integer", "number of widgets to delete"),
    },
)
def delete_widgets(call: ActionCall) -> dict[str, Any]:
    """Deletes widgets, one after the other. What it returns is the job's result."""
    testing = call.boolean("testing")
    count = widget_count(call)
    application = applications.get(call.application)

    deleted = 0
    progress(0, "starting")
    for number in range(1, count + 1):
        if jobs.cancel_requested():
            raise Failure(f"stopped before widget {number}", {"deleted": deleted})
        if number == (count + 1) // 2:
            progress(45, "frobnicating the foobar")
        if testing:
            log.write(log.Level.DEBUG, f"would delete widget {number}")
        else:
            delete_widget(number)
            deleted += 1
    progress(100, "finished")

    return {"application": application.name, "deleted": deleted, "testing": testing}


def widget_count(call: ActionCall) -> int:
    count = call.integer("count")
    if count > STOCK:
        raise Failure(f"there are {STOCK} widgets, {count} cannot be deleted")
    return count


def delete_widget(number: int) -> None:
    """Stands for the real work. The log is for operators; users see the job's entries."""
    log.write(log.Level.INFO, f"deleting widget {number}")


@plugin.hook("my_application", "BUILD_UPLOAD_SUCCESS")
def declare_uploaded_build(call: HookCall) -> None:
    """Tells the job of an upload which build it was."""
    append({"status": "declared", "build": call.parameters["build_name"]})


Registration, Handler = plugin.exports()
