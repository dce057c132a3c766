"""With which values a guard was made: ``level(9)`` and ``level(1)`` are two guards, whatever their argument is called.

They go into a file that is committed. So only what reads as a number, a switch or a name of something is told, and
never what is called as a secret is, looks like one, or is the value of a secret of the environment.
"""

import dataclasses
import enum
import functools
import inspect
import os
import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from limen.checklist.redacting import secrets_of
from limen.checklist.routes.asked import asked_by, cells_of, stated_as
from limen.checklist.routes.code import function_of
from limen.checklist.source.words import is_secret
from limen.guard.layers import layers

_MOST: Final = 12
"""How many values of one guard are told, and how many members of one value."""
_LONGEST: Final = 200
"""Members of a value; what has more is data and no argument."""
_GREATEST: Final = 1_000_000
"""From there on a number is a time, an address in memory, or a code that somebody has to know."""
_DEEPEST: Final = 3
_NAME: Final = re.compile(r"[A-Za-z/*][A-Za-z_.:/*-]{0,39}\d{0,2}")
"""A role, a scope, a path; neither a sentence nor a password that mixes digits and letters."""
_COMPARED: Final = re.compile(
    r"key|pin|code|hash|digest|signature|salt|nonce|phrase|pass|pwd|cred|token|secret|expect|correct|valid|known|given"
    r"|^(value|text|word|answer|detail|message|description)s?$",
    re.IGNORECASE,
)
"""What a credential is compared with, which may be a word as any other; and what is only said."""
_OF_SCHEMES: Final = frozenset({"auto_error", "scheme_name"})
_FRAMEWORKS: Final = (
    "builtins",
    "fastapi",
    "starlette",
    "pydantic",
    "abc",
    "typing",
    "functools",
    "enum",
    "dataclasses",
)


def made_with(call: object) -> tuple[str, ...]:
    """Return the values with which a guard was made, such as ``minimum=9``, sorted; what it asks for is left out.

    Args:
        call: a function, a wrapper, a partial, a method, an object that is called, or a class.
    """
    asked = set(asked_by(call))
    values = _values(call, {id(each) for each in layers(call)}, _DEEPEST)
    return _listed((name, value) for name, value in values if not asked.intersection(stated_as(name, value)))


def of_options(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the options of a middleware in the same way."""
    return _listed(options.items())


def _listed(values: Iterable[tuple[str, Any]]) -> tuple[str, ...]:
    found = dict(islice(_told(values, _DEEPEST), _MOST))
    return tuple(f"{name}={value}" for name, value in sorted(found.items()))


def _values(call: object, around: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Yield every value that something was made with, with its name."""
    if depth == 0:
        return
    if isinstance(call, functools.partial):
        function = function_of(call.func)
        names = function.__code__.co_varnames if function is not None else ()
        yield from zip(names, call.args, strict=False)
        yield from call.keywords.items()
        yield from _values(call.func, around, depth - 1)
    elif isinstance(call, types.FunctionType):
        for name, value in cells_of(call).items():
            if id(value) in around:
                continue  # what a decorator wraps is another matter
            yield name, value
            if isinstance(value, types.FunctionType | functools.partial):
                yield from _values(value, around, depth - 1)
    elif isinstance(call, types.MethodType):
        yield from _values(call.__func__, around, depth - 1)
        yield from _of_object(call.__self__)
    else:
        yield from _of_object(call)


def _of_object(owner: object) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an object and of its classes, or those of a class."""
    kind = owner if inspect.isclass(owner) else type(owner)
    for each in reversed(kind.__mro__):
        if each.__module__.split(".")[0] not in _FRAMEWORKS:
            yield from ((name, value) for name, value in vars(each).items() if not name.startswith(("__", "model_")))
            yield from ((name, getattr(owner, name, None)) for name in getattr(each, "__slots__", ()))
    if kind is not owner:
        yield from getattr(owner, "__dict__", {}).items()


def _told(values: Iterable[tuple[str, Any]], depth: int) -> Iterator[tuple[str, str]]:
    """Yield each plain value with its name and as text; of tables and dataclasses what they hold."""
    for name, value in values if depth else ():
        spelled = name.lstrip("_")
        if _is_kept_back(spelled):
            continue
        if type(value) is dict:
            inner = [(key, each) for key, each in islice(value.items(), _MOST) if isinstance(key, str)]
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = [(each.name, getattr(value, each.name, None)) for each in dataclasses.fields(value)[:_MOST]]
        else:
            text = _text(value)
            if text is not None:
                yield spelled, text
            continue
        yield from ((f"{spelled}.{key}", text) for key, text in _told(inner, depth - 1))


def _is_kept_back(name: str) -> bool:
    return name in _OF_SCHEMES or is_secret(name) or _COMPARED.search(name) is not None


def _text(value: object) -> str | None:
    """Return a value as it is told; None where it is not plain, or might be a secret."""
    text = None
    if isinstance(value, enum.Enum):
        text = value.name
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int | float):
        text = f"{value:g}" if abs(value) < _GREATEST else None
    elif isinstance(value, str):
        text = value if _NAME.fullmatch(value) and value not in secrets_of(os.environ) else None
    elif isinstance(value, tuple | list | set | frozenset):
        text = _members(value)
    return text


def _members(value: Collection[object]) -> str | None:
    """Return the members of a value, as ``a|b``; None where it has none, or one that is not told."""
    plain = [each for each in value if not isinstance(each, tuple | list | set | frozenset)][: _LONGEST + 1]
    told = [text for each in plain if (text := _text(each)) is not None]
    if not told or len(told) != len(value) or len(told) > _LONGEST:
        return None
    listed = sorted(told) if isinstance(value, set | frozenset) else told
    return "|".join(listed[:_MOST]) + (f"|and {len(value) - _MOST} more" if len(value) > _MOST else "")
