"""What is changed in libraries as soon as an application imports them: nothing starts, and nobody is called."""

import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

Change = Callable[[ModuleType], None]

_DRIVERS: Final[Mapping[str, Sequence[str]]] = {
    "psycopg": ("connect", "Connection.connect", "AsyncConnection.connect"),
    "psycopg2": ("connect",),
    "MySQLdb": ("connect", "Connect"),
    "pyodbc": ("connect",),
    "pymssql": ("connect",),
    "oracledb": ("connect",),
}
"""What opens connections in C, where no hook of Python's sees it."""


class NoNetwork(OSError):
    """Code that is imported wants to speak to somebody."""


def no_network(whom: str) -> NoNetwork:
    """Return the refusal of a connection."""
    return NoNetwork(f"limen check imports without a network, and this wants to reach {whom}")


def _nothing(*_: object, **__: object) -> None:
    """Serve nobody."""


async def _nothing_later(*_: object, **__: object) -> None:
    """Serve nobody."""


def _refuse(*_: object, **__: object) -> None:
    raise no_network("a database")


_SERVERS: Final[Mapping[str, Mapping[str, Callable[..., object]]]] = {
    "uvicorn.main": {"run": _nothing},
    "uvicorn.server": {"Server.run": _nothing, "Server.serve": _nothing_later},
    "hypercorn.run": {"run": _nothing},
    "hypercorn.asyncio": {"serve": _nothing_later},
    "granian.server.common": {"AbstractServer.serve": _nothing},
    "gunicorn.app.base": {"BaseApplication.run": _nothing},
}
"""What serves: a module without ``if __name__ == "__main__"`` calls it at its end, and would run the lifespan."""


def intervene(also: Mapping[str, Change]) -> None:
    """Change modules when they are imported, also those that were imported before.

    Args:
        also: besides servers and drivers, by the name of the module.
    """
    changes: dict[str, Change] = {name: _replacing(replaced) for name, replaced in _SERVERS.items()}
    changes |= {name: _replacing(dict.fromkeys(names, _refuse)) for name, names in _DRIVERS.items()}
    changes |= also
    sys.meta_path.insert(0, _Watch(changes))
    for name, change in changes.items():
        if name in sys.modules:
            change(sys.modules[name])


def _replacing(replaced: Mapping[str, Callable[..., object]]) -> Change:
    def change(module: ModuleType) -> None:
        for name, replacement in replaced.items():
            owner: Any = module
            *outer, last = name.split(".")
            for each in outer:
                owner = getattr(owner, each, None)
            if getattr(owner, last, None) is not None:
                try:
                    setattr(owner, last, replacement)
                except (AttributeError, TypeError):  # a type that C made
                    continue

    return change


class _Watch(importlib.abc.MetaPathFinder):
    """Finds what all others find, and has it changed after it was loaded."""

    def __init__(self, changes: dict[str, Change]) -> None:
        self._changes = changes

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the specification of a module that is to be changed; None for all others."""
        if fullname not in self._changes:
            return None
        change = self._changes.pop(fullname)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Changing(spec.loader, change)
        return spec


class _Changing(importlib.abc.Loader):
    """Loads as another loader does."""

    def __init__(self, inner: Any, change: Change) -> None:
        self._inner = inner
        self._change = change

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Return the module that the other one makes."""
        found: ModuleType | None = self._inner.create_module(spec)
        return found

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, and change it."""
        module.__loader__ = self._inner
        if module.__spec__ is not None:
            module.__spec__.loader = self._inner
        self._inner.exec_module(module)
        self._change(module)
