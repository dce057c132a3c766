"""What a guard asks for besides who is calling: the arguments of the factory that made it."""

import enum
import inspect
import types
from collections.abc import Collection, Iterator
from typing import Any, Final

_STATED: Final = (
    ("role", ("role", "roles", "allowed_roles", "required_roles", "required_role")),
    ("permission", ("permission", "permissions", "required_permission", "required_permissions", "perms", "perm")),
    ("scope", ("scope", "scopes", "scopes_list", "required_scopes", "required_scope")),
    ("policy", ("policy", "policies", "action")),
)
"""What an object or a closure calls what it asks for, where a factory such as ``require_role("admin")`` made it."""


def asked_by(call: object) -> tuple[str, ...]:
    """Return what a guard asks for, such as ``role:admin``: what it closes over, or has as attributes."""
    if isinstance(call, types.FunctionType):
        return tuple(_named(cells_of(call)))
    if inspect.isclass(call):
        return ()
    owner = call.__self__ if isinstance(call, types.MethodType) else call
    if type(owner).__module__.startswith("fastapi_azure_auth"):
        return ()  # its scopes are those that its documentation page offers
    return tuple(_named(getattr(owner, "__dict__", {})))


def only_authenticated(asks: tuple[str, ...]) -> tuple[str, ...]:
    """Leave out what everybody has who is logged in."""
    return tuple(each for each in asks if each != "scope:authenticated")


def cells_of(function: types.FunctionType) -> dict[str, Any]:
    """Return what a function closes over, by name."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:
            continue
    return found


def stated_as(name: str, value: object) -> tuple[str, ...]:
    """Return what a value of this name asks for; nothing where its name does not say that it asks for anything."""
    return tuple(_named({name: value}))


def _named(values: Any) -> Iterator[str]:
    for kind, names in _STATED:
        for name, value in values.items():
            if name.lower().lstrip("_") in names:
                yield from (f"{kind}:{each}" for each in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, enum.Enum):
        value = value.value
    if isinstance(value, str):
        yield value
    elif isinstance(value, Collection) and not isinstance(value, bytes | dict):
        for each in sorted(value, key=str):
            yield from _texts(each) if isinstance(each, str | enum.Enum) else ()
