"""What an administrator is told of a decision: plain text, of a resource that the application's own loader finds."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Set
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final, TypeAlias
from uuid import UUID

from limen.core.errors import ConfigurationError, InputFault, InvalidInput, LimenError, NotFound, Unavailable

_log = logging.getLogger(__name__)

ResourceLoader: TypeAlias = Callable[[str], Awaitable[object | None]]
"""Given by the application: returns the resource of an id, with everything loaded that rules read, or None."""

LOADING_SECONDS: Final = 2.0
"""How long a loader may take."""
LONGEST: Final = 200
"""Characters of a value that are shown."""
_MOST: Final = 20
_LONGEST_ID: Final = 200
_BITS: Final = 640
"""Of an integer that is written out; Python refuses thousands of digits."""

_PLAIN = (bool, int, float, str, Decimal, date, datetime, time, timedelta, UUID)


class PolicyResources:
    """The loaders of what policies are about, by the names of the models.

    Args:
        declared: a loader for each model.

    Raises:
        ConfigurationError: what is declared is no class or no function, or two models have one name.
    """

    def __init__(self, declared: Mapping[type[Any], ResourceLoader] | None = None) -> None:
        self._loaders: dict[str, tuple[type[Any], ResourceLoader]] = {}
        for model, load in dict[Any, Any](declared or {}).items():
            if not isinstance(model, type) or not callable(load):
                raise ConfigurationError(
                    f"policy_resources: {model!r} needs a class and an async function: {{Order: load_order}}."
                )
            if model.__name__ in self._loaders:
                raise ConfigurationError(f"policy_resources: two models are called {model.__name__}.")
            self._loaders[model.__name__] = model, load

    async def find(self, written: str) -> object:
        """Return the resource that is written as ``Model:id``.

        Raises:
            InvalidInput: it is not written so, or no loader is declared for the model.
            NotFound: the loader knows no such thing.
            Unavailable: the loader failed, or took longer than two seconds.
            LimenError: the loader says no.
        """
        name, colon, key = written.partition(":")
        if not colon or not name or not key or len(key) > _LONGEST_ID:
            message = "A resource is written as Model:id, such as Order:17."
            raise InvalidInput(message, errors=[InputFault(("query", "resource"), "invalid_value", message)])
        declared = self._loaders.get(name)
        if declared is None:
            known = ", ".join(sorted(self._loaders))
            told = f"There are loaders for {known}." if known else "None is declared: policy_resources= takes them."
            message = f"Nothing loads a resource of that model. {told}"
            raise InvalidInput(message, errors=[InputFault(("query", "resource"), "unknown_model", message)])
        model, load = declared
        try:
            async with asyncio.timeout(LOADING_SECONDS):
                found: object = await load(key)
        except LimenError:
            raise
        except Exception as error:
            # Not its message, which may hold a statement with its parameters.
            _log.error("policy_resource_failed", extra={"model": name, "failure": type(error).__name__})
            raise Unavailable() from error
        if found is None:
            raise NotFound("There is no such resource.")
        # A TypedDict is a plain mapping when the program runs.
        if not isinstance(found, Mapping if issubclass(model, dict) else model):
            _log.error("policy_resource_unusable", extra={"model": name, "type": type(found).__name__})
            raise Unavailable()
        return found


def shown_value(value: object, code: str = "") -> str | None:
    """Return a compared value as plain text, 200 characters at most; None for None.

    No code of the value's own class is run: of what is no plain value, only the class is told.

    Args:
        value: of one side of a leaf.
        code: of that leaf: it stands beside what was not told, and so says that this is no text of the application's.
    """
    # Whoever has no policies does not wait for what they are made of.
    from limen.authz.policy.values import ABSENT

    if value is None:
        return None
    if value is ABSENT:
        return f"{ABSENT} ({code})" if code else str(ABSENT)
    text = _text(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if type(value) is int and value.bit_length() > _BITS:
        return "<int>"
    if type(value) in _PLAIN:
        return f"{value.isoformat()}" if isinstance(value, date | time) else str(value)
    if type(value) in {list, tuple, set, frozenset} and isinstance(value, list | tuple | Set):
        texts = [_text(each) for each in list(value)[:_MOST]] if isinstance(value, list | tuple) else _sorted(value)
        return f"[{', '.join([*texts[:_MOST], *(['…'] if len(value) > _MOST else [])])}]"
    return f"<{type(value).__name__}>"


def _sorted(values: Set[object]) -> list[str]:
    return sorted(_text(each) for each in values)
