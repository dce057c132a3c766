"""Imports an application without starting it: no network, no lifespan, no server.

This runs in a child process of its own; see `limen.checklist.child`.
"""

import ast
import functools
import importlib
import inspect
import os
import re
import socket
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from limen.checklist.facts import Broken, Place
from limen.checklist.intervening import no_network
from limen.checklist.redacting import without_secrets
from limen.checklist.routes.code import tree_of

_LOOKS_UP: Final = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})
_SPEAKS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "socket.bind"})
_OF_NETWORK: Final = _LOOKS_UP | _SPEAKS
_LOCAL_SERVICE: Final = re.compile(r"pgsql|postgres|mysql|mariadb|redis|valkey|mongo|docker|containerd", re.IGNORECASE)
_LIBRARIES: Final = ("site-packages", "dist-packages")
_OWN: Final = Path(__file__).parents[1]
_FRAME: Final = re.compile(r'^\s*File "(?P<file>[^"]+)", line (?P<line>\d+)', re.MULTILINE)
_LONGEST: Final = 500
_COVERS: Final = (functools.partial, type(functools.cache(int)))
"""What a function that makes an application may lie under."""


class NotFound(Exception):
    """There is no such object in the module."""


def cut_off_network() -> None:
    """Refuse every connection from now on, in this process, also from code that catches the error and tries again.

    What a program that an import runs does is not seen, nor what a library written in C does by itself.
    """
    here = {None, "", "localhost", "127.0.0.1", "::1", socket.gethostname()}

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event not in _OF_NETWORK:  # of 250 000 events of an import hardly one is
            return
        if event in _LOOKS_UP and args[0] not in here:
            raise no_network(str(args[0]))
        # Sockets of the local machine's kind, such as those of event loops and logs, have no address of a network.
        if event in _SPEAKS and _is_somebody(args[1]):
            raise no_network(_told(args[1]))

    sys.addaudithook(refuse)


def _is_somebody(address: object) -> bool:
    if isinstance(address, str | bytes):
        return bool(_LOCAL_SERVICE.search(os.fsdecode(address)))
    return address is not None


def _told(address: object) -> str:
    parts = address[:2] if isinstance(address, tuple) else (address,)
    return ":".join(str(each) for each in parts)


def load(target: str) -> Any:
    """Return the application that ``MODULE:NAME`` names; a function makes it.

    The current folder is on the path, and behind it its ``src``, where packages lie that nobody has installed.

    Raises:
        NotFound: the module has no such name.
        BaseException: whatever the import raises.
    """
    module, _, name = target.partition(":")
    here, src = Path.cwd(), Path.cwd() / "src"
    for number, folder in enumerate([here, src] if src.is_dir() else [here]):
        if str(folder) not in sys.path:
            sys.path.insert(number, str(folder))
    found: Any = importlib.import_module(module)
    for part in (name or "app").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NotFound(f"{module} has no {name or 'app'}") from None
    is_function = inspect.isfunction(found) or inspect.ismethod(found) or isinstance(found, _COVERS)
    return found() if is_function and not _is_asgi(found) else found


def placed(target: str) -> Place:
    """Return the line on which an application is made: the assignment of its name, or the function that makes it."""
    module, _, name = target.partition(":")
    file = getattr(sys.modules.get(module), "__file__", None) or ""
    tree = tree_of(file) if file.endswith(".py") else None
    for node in tree.body if tree is not None else ():
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names = {each.id for each in targets if isinstance(each, ast.Name)} | {getattr(node, "name", None)}
        if (name or "app").split(".")[0] in names:
            return Place(file, node.lineno)
    return Place(file, 1) if file else Place()


def _is_asgi(function: Any) -> bool:
    return list(inspect.signature(function).parameters)[:3] == ["scope", "receive", "send"]


def inner_application(app: Any) -> Any:
    """Return the application that middleware was wrapped around by hand, such as ``CORSMiddleware(app, …)``."""
    for _ in range(16):
        if getattr(app, "routes", None) is not None or getattr(app, "router", None) is not None:
            return app
        inner = next(
            (getattr(app, name, None) for name in ("app", "asgi", "_app", "other_asgi_app", "application")), None
        )
        if inner is None:
            return app
        app = inner
    return app


def broken(error: BaseException) -> Broken:
    """Return why an import failed, with the innermost line of the application's own code; no value of a variable."""
    frames = [(each.filename, each.lineno or 0) for each in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 0))
    text = " ".join(without_secrets(_message(error), os.environ).split()) or "without a message"
    return Broken(f"{type(error).__name__}: {text[:_LONGEST]}", innermost(frames))


def _message(error: BaseException) -> str:
    # pydantic's errors quote what was given: of settings, that is what the environment keeps secret.
    listed = getattr(error, "errors", None)
    if type(error).__name__ == "ValidationError" and callable(listed):
        try:
            told = "; ".join(f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in listed())
            return f"for {getattr(error, 'title', 'a model')}: {told}"
        except (TypeError, KeyError):
            return "of a kind that is not known"
    return str(error)


def innermost(frames: Iterable[tuple[str, int]]) -> Place:
    """Return the last of some lines that is the application's own; an empty place where none is."""
    return next((Place(file, line) for file, line in reversed([*frames]) if _is_own(file)), Place())


def innermost_of_dump(said: str) -> Place:
    """Return the same for what Python's faulthandler prints of a process that crashes, or is asked where it stands."""
    _, _, dump = said.rpartition("(most recent call first):")
    return innermost(reversed([(each["file"], int(each["line"])) for each in _FRAME.finditer(dump)]))


def _is_own(file: str) -> bool:
    path = Path(file)
    is_library = any(each in path.parts for each in _LIBRARIES) or path.is_relative_to(_OWN)
    return path.suffix == ".py" and not is_library and not is_stdlib(path)


def is_stdlib(path: Path) -> bool:
    """Tell whether a file belongs to Python itself."""
    return path.is_relative_to(Path(os.__file__).parent)


def own_files(target: str, here: Path) -> tuple[str, ...]:
    """Return the files of the application's own code: what was imported from its folder, or from its package.

    Args:
        target: ``MODULE:NAME``.
        here: the folder it was imported from; an import may have gone to another one.
    """
    root = target.partition(":")[0].split(".")[0]
    found = set()
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or not file.endswith(".py"):
            continue
        path = Path(file).resolve()
        if name.startswith("limen.checklist"):  # it is here to look, not to be looked at
            continue
        is_library = any(each in path.parts for each in _LIBRARIES)
        if name.split(".")[0] == root or (path.is_relative_to(here) and not is_library and not is_stdlib(path)):
            found.add(str(path))
    return tuple(sorted(found))
