"""What an application knows of its own users beside the token, for decisions: a limit, a branch, a manager.

They are loaded by code of the application, and only read afterwards: deciding does no I/O.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeAlias
from uuid import UUID

from limen.core.errors import LimenError, Unavailable
from limen.core.principal import Principal

_log = logging.getLogger(__name__)

Attributes: TypeAlias = Mapping[str, object]
"""Values by name; neither can be changed."""

AttributeLoader: TypeAlias = Callable[[Principal], Awaitable[Mapping[str, object]]]
"""Given by the application: returns the attributes of an authenticated principal."""

LOADING_SECONDS: Final = 2.0
"""How long a loader may take."""
DEEPEST: Final = 8
"""How many containers may lie in one another."""

_NONE: Attributes = MappingProxyType({})
_PLAIN = (type(None), bool, int, float, str, bytes, Decimal, date, datetime, time, timedelta, UUID, Enum)


class AttributesUnusable(LimenError):
    """What the loader returned cannot be held still: a row of an ORM, say, which changes and does I/O when read."""

    hint = "The loader of attributes= returns a mapping of names to plain values, lists, sets and mappings of them."


async def load_attributes(loader: AttributeLoader | None, principal: Principal) -> Attributes:
    """Return the attributes of a principal; none for the anonymous one, and where the application has no loader.

    Raises:
        LimenError: the loader says no.
        Unavailable: it failed in another way, or took longer than two seconds. What is not known is never «empty».
        AttributesUnusable: it returned something else than plain values.
    """
    if loader is None or not principal.is_authenticated:
        return _NONE
    try:
        async with asyncio.timeout(LOADING_SECONDS):
            found: object = await loader(principal)
    except LimenError:
        raise
    except Exception as error:
        # Not its message, which may hold a statement with its parameters.
        _log.error("attributes_failed", extra={"failure": type(error).__name__})
        raise Unavailable() from error
    if not isinstance(found, Mapping):
        _log.error("attributes_unusable", extra={"type": type(found).__name__})
        raise AttributesUnusable()
    return MappingProxyType({_name(name): _still(value, name, DEEPEST) for name, value in found.items()})


def _name(name: object) -> str:
    if not isinstance(name, str):
        _log.error("attributes_unusable", extra={"type": type(name).__name__})
        raise AttributesUnusable()
    return name


def _still(value: object, name: str, depth: int) -> object:
    """Return a copy that cannot be changed: mappings are read-only, lists are tuples, sets are frozen."""
    if depth and not isinstance(value, _PLAIN):
        if isinstance(value, Mapping):
            return MappingProxyType({_name(key): _still(each, name, depth - 1) for key, each in value.items()})
        if isinstance(value, (list, tuple)):
            return tuple(_still(each, name, depth - 1) for each in value)
        if isinstance(value, Set):
            return frozenset(_still(each, name, depth - 1) for each in value)
    if not isinstance(value, _PLAIN):
        _log.error("attributes_unusable", extra={"attribute": name, "type": type(value).__name__})
        raise AttributesUnusable()
    return value
