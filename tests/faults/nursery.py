"""Starts servers in a moment: everything is imported once, and each server is a fork of this process.

``python -m tests.faults.nursery`` reads commands from standard input. ``start`` with a JSON object (``port``,
``environment``, ``output``, ``one_core``, ``application``) forks a server and prints its process id, ``gone`` with a
process id waits for the end of one that was killed. Each server is one uvicorn worker in a process of its own, with its
own descriptors and locks, so killing it is what it is anywhere. The application ``serve`` is run by `limen serve`'s own
code, shutdown included.
"""

import asyncio
import importlib.util
import json
import os
import pkgutil
import secrets
import sys
import tempfile
import threading
import traceback
from pathlib import Path
from typing import Any

import uvicorn

from limen.server import demo, standalone
from limen.settings import Settings
from tests.faults.application import make


def _application(name: str) -> Any:
    return make() if name == "faults" else demo.application(Settings.load(), Path(os.environ["ORDERS_DATABASE"]))


def _serve(told: dict[str, Any]) -> None:
    output = os.open(told["output"], os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ.update(told["environment"])
    if told["one_core"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if told["application"] == "serve":
        standalone.run(Settings.load(), host="127.0.0.1", port=told["port"], on_ready=lambda _address: None)
        return
    # As `limen serve` runs it: nobody's headers are believed, and query strings are not logged.
    config = uvicorn.Config(
        _application(told["application"]),
        host="127.0.0.1",
        port=told["port"],
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
    )
    uvicorn.Server(config).run()


def preload() -> None:
    """Import what limen imports only when it starts: each server would do it again."""
    for room in ("server", "storage", "web"):
        package = importlib.import_module(f"limen.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"limen.{room}."):
            # Those are run, not imported.
            if ".migrations." not in module.name and not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    for name in ("uvloop", "httptools", "uvicorn.protocols.http.auto", "uvicorn.lifespan.on", "uvicorn.loops.auto"):
        if importlib.util.find_spec(name):
            importlib.import_module(name)


def warm_up() -> None:
    """Run the stand-alone server once, without a port: what is imported or computed at the first use is then there."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.load(
            database_url=f"sqlite:///{folder}/limen.db",
            jwt_access_secret=secrets.token_urlsafe(48),
            jwt_refresh_secret=secrets.token_urlsafe(48),
        )
        asyncio.run(_start_and_stop(standalone.application(settings)))
    # What is forked has only the thread that forks: another one's locks would stay held. Those of a closed loop were
    # told to end, which takes them a moment.
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(60)
    assert threading.active_count() == 1, threading.enumerate()


async def _start_and_stop(app: Any) -> None:
    said: asyncio.Queue[Any] = asyncio.Queue()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.ensure_future(app(scope, said.get, heard.put))
    for word in ("startup", "shutdown"):
        await said.put({"type": f"lifespan.{word}"})
        assert (await heard.get())["type"] == f"lifespan.{word}.complete"
    await running


def main() -> None:
    """Obey commands until the input ends."""
    preload()
    warm_up()
    for line in iter(sys.stdin.readline, ""):
        command, _, argument = line.strip().partition(" ")
        if command == "gone":
            os.waitpid(int(argument), 0)
            sys.stdout.write("gone\n")
        else:
            child = os.fork()
            if child == 0:
                try:
                    _serve(json.loads(argument))
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(0)
            sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
