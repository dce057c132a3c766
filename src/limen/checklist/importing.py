"""Imports an application without starting it: no network, no lifespan, and settings that are missing are made up.

This runs in a child process of its own; see `limen.checklist.child`.
"""

import ast
import importlib
import inspect
import os
import secrets
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any, Final

from limen.checklist.facts import Broken, Place
from limen.checklist.routes.code import tree_of

FAKE_SECRET: Final = "made-up-by-limen-check-0123456789abcdef0123456789abcdef"
"""What stands in for a setting that is missing."""

_NETWORK: Final = frozenset(
    {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"}
)
_BY_TYPE: Final[tuple[tuple[str, Any], ...]] = (
    ("bool", "false"),
    ("int", 60),
    ("float", 60),
    ("postgresdsn", "postgresql://made-up:made-up@made-up.invalid/made_up"),
    ("redisdsn", "redis://127.0.0.1:1/0"),
    ("anyurl", "https://made-up.invalid"),
    ("anyhttpurl", "https://made-up.invalid"),
    ("httpurl", "https://made-up.invalid"),
    ("path", "."),
    ("list", ["made-up"]),
    ("set", ["made-up"]),
    ("tuple", ["made-up"]),
    ("dict", {"made-up": "made-up"}),
)
"""What a field of a settings class is given, by the beginning of its type's name."""

_LIBRARIES: Final = ("site-packages", "dist-packages")


class NoNetwork(OSError):
    """Code that is imported wants to speak to somebody."""


class NotFound(Exception):
    """There is no such object in the module."""


def cut_off_network() -> None:
    """Refuse every connection from now on, in this process, also from code that catches the error and tries again."""

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        # Sockets of the local machine's kind, such as those of event loops, have no address of a network.
        if event in _NETWORK and not (len(args) > 1 and isinstance(args[1], str | bytes)):
            raise NoNetwork("limen check imports without a network")

    sys.addaudithook(refuse)


class FilledEnvironment(MutableMapping[str, str]):
    """The environment, in which every variable that is demanded exists.

    Only ``os.environ["NAME"]`` is answered so; ``os.environ.get`` and ``in`` tell the truth, since they have a default.

    Attributes:
        faked: the names that were made up.
    """

    def __init__(self, real: MutableMapping[str, str]) -> None:
        self._real = real
        self.faked: list[str] = []

    def __getitem__(self, name: str) -> str:
        try:
            return self._real[name]
        except KeyError:
            self.faked.append(name)
            return made_up(name)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the variable, or the default: nothing is made up where somebody has one."""
        return self._real.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._real

    def __setitem__(self, name: str, value: str) -> None:
        self._real[name] = value

    def __delitem__(self, name: str) -> None:
        del self._real[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._real)

    def __len__(self) -> int:
        return len(self._real)

    def copy(self) -> dict[str, str]:
        """Return the variables that are there."""
        return dict(self._real)


def fill_settings_of_limen(environment: FilledEnvironment) -> None:
    """Make up what limen itself demands, which it asks for without a ``[…]``; the database is never opened."""
    wanted = {
        "LIMEN_DATABASE_URL": "sqlite:///made-up-by-limen-check.db",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
    }
    for name in wanted.keys() - environment.keys():
        environment[name] = wanted[name]
        environment.faked.append(name)


def made_up(name: str) -> str:
    """Return a value for a setting by its name: an address where it sounds like one, a number, or a secret."""
    lower = name.lower()
    if "database" in lower or lower.endswith(("db_url", "db_uri", "dsn", "sqlalchemy_url")):
        return "sqlite://"
    if "redis" in lower or "valkey" in lower or "broker" in lower:
        return "redis://127.0.0.1:1/0"
    if lower.endswith(("url", "uri", "endpoint", "issuer", "origin")):
        return "https://made-up.invalid"
    if lower.endswith(("port", "_ttl", "timeout", "minutes", "seconds", "days", "size", "limit", "count", "workers")):
        return "60"
    if "email" in lower or "mail_from" in lower:
        return "nobody@made-up.invalid"
    return FAKE_SECRET


def fill_settings(faked: list[str]) -> None:
    """Make pydantic's settings classes start: required fields without a value get one by their type."""
    settings = sys.modules.get("pydantic_settings") or _imported("pydantic_settings")
    if settings is None:
        return
    original = settings.BaseSettings.__init__

    def filled(self: Any, /, **given: Any) -> None:
        from pydantic import ValidationError

        for _ in range(3):
            try:
                original(self, **given)
            except ValidationError as error:
                missing = [
                    each["loc"][0] for each in error.errors() if each["type"] == "missing" and len(each["loc"]) == 1
                ]
                if not missing:
                    raise
                for name in missing:
                    given[str(name)] = _for_field(type(self), str(name))
                    faked.append(str(name))
            else:
                return
        original(self, **given)

    settings.BaseSettings.__init__ = filled


def _for_field(kind: Any, name: str) -> Any:
    field = kind.model_fields.get(name)
    for other, each in kind.model_fields.items():
        if field is None and name in {each.alias, each.validation_alias, other.upper()}:
            field = each
    annotation = getattr(field, "annotation", str)
    text = getattr(annotation, "__name__", str(annotation)).lower().removeprefix("typing.")
    return next((value for prefix, value in _BY_TYPE if text.startswith(prefix)), None) or made_up(name)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def load(target: str) -> Any:
    """Return the application that ``MODULE:NAME`` names; the current folder is on the path. A function makes it.

    Raises:
        NotFound: the module has no such name.
        BaseException: whatever the import raises.
    """
    module, _, name = target.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    found: Any = importlib.import_module(module)
    for part in (name or "app").split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise NotFound(f"{module} has no {name or 'app'}") from None
    if (inspect.isfunction(found) or inspect.ismethod(found)) and not _is_asgi(found):
        found = found()
    return found


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


def broken(error: BaseException, said: str) -> Broken:
    """Return why an import failed, with the innermost line of the application's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if _is_own(each.filename)]
    last = own[-1] if own else None
    text = " ".join(str(error).split()) or "without a message"
    return Broken(
        f"{type(error).__name__}: {text[:500]}",
        Place() if last is None else Place(last.filename, last.lineno or 0),
        said,
    )


def _is_own(file: str) -> bool:
    path = Path(file)
    return (
        path.suffix == ".py" and not any(each in path.parts for each in (*_LIBRARIES, "limen")) and not is_stdlib(path)
    )


def is_stdlib(path: Path) -> bool:
    """Tell whether a file belongs to Python itself."""
    return path.is_relative_to(Path(os.__file__).parent)


def own_files(target: str) -> tuple[str, ...]:
    """Return the files of the application's own code: what was imported from its folder, or from its package."""
    here = Path.cwd()
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
