"""What works in Python, and what does not: each action tries one thing and returns what came of it."""

import asyncio
import datetime
import importlib
import os
import random
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any

import niquests
import requests
from elita_plugin import ActionCall, HookCall, Plugin
from elita_plugin.hooks import BuildUploadSuccess

plugin = Plugin()

BUILT = time.time()
FROZEN = [random.random(), uuid.uuid4().hex]
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def tried(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]


# Imports are done when it is built.
NATIVE = {
    name: tried(lambda: str(importlib.import_module(name)))
    for name in ["numpy", "lxml.etree", "cryptography.hazmat.primitives.ciphers"]
}


@plugin.action("works", "Niquests", "Sends a request by niquests")
def with_niquests(call: ActionCall) -> Any:
    answer = niquests.get(call.text("url"), timeout=5)
    return {"status": answer.status_code, "text": answer.text}


@plugin.action("works", "Requests", "Sends a request by requests")
def with_requests(call: ActionCall) -> Any:
    return tried(lambda: requests.get(call.text("url"), timeout=5).text)


@plugin.action("works", "Random", "Random numbers: of now, and of when it was built")
def random_numbers(_: ActionCall) -> Any:
    return {"now": [random.random(), uuid.uuid4().hex, os.urandom(8).hex()], "frozen": FROZEN}


@plugin.action("works", "Clocks", "How long ago it was built, and how long it sleeps")
def clocks(_: ActionCall) -> Any:
    began = time.monotonic()
    time.sleep(0.05)
    return {"age": time.time() - BUILT, "slept": time.monotonic() - began}


@plugin.action("works", "Zones", "The time zone, and another one")
def zones(_: ActionCall) -> Any:
    noon = datetime.datetime(2026, 7, 1, 12, tzinfo=datetime.timezone.utc)
    local = datetime.datetime(2026, 7, 1, 12).astimezone().utcoffset()
    return {
        "local": str(local),
        "berlin": noon.astimezone(BERLIN).hour,
        "lima": tried(lambda: noon.astimezone(zoneinfo.ZoneInfo("America/Lima")).hour),
    }


@plugin.action("works", "Async", "Two at a time")
async def two_at_a_time(_: ActionCall) -> Any:
    began = time.monotonic()
    await asyncio.gather(asyncio.sleep(0.1), asyncio.sleep(0.1))
    return time.monotonic() - began < 0.19


@plugin.action("works", "Outside", "Files, threads, processes and sockets")
def outside(_: ActionCall) -> Any:
    def write() -> None:
        with open("/tmp/a", "w") as file:
            file.write("a")

    return {
        "files": tried(write),
        "listing": tried(lambda: os.listdir("/")),
        "threads": tried(lambda: threading.Thread(target=print).start()),
        "processes": tried(lambda: subprocess.run(["true"])),
        "sockets": tried(lambda: socket.create_connection(("127.0.0.1", 1), 1).close()),
        "environment": dict(os.environ),
    }


@plugin.action("works", "Clients", "Sends a request by others that need sockets")
def with_others(call: ActionCall) -> Any:
    url = call.text("url")
    return {
        "urllib": tried(lambda: urllib.request.urlopen(url, timeout=5).read().decode()),
    }


@plugin.action("works", "Native", "What native extensions came to when it was built")
def native(_: ActionCall) -> Any:
    return NATIVE


@plugin.hook("works", "BUILD_UPLOAD_SUCCESS")
def files(call: HookCall) -> Any:
    """Reads the file of a build, and tries to write beside it."""
    build = BuildUploadSuccess.of(call)

    def write() -> None:
        with open(f"{build.storage_dir}/beside", "w") as file:
            file.write("a")

    with build.open() as file:
        return {"first": file.read(2).decode(), "write": tried(write)}


Registration, Handler = plugin.exports()
