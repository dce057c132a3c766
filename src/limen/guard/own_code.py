"""Functions of an application's own that take part in deciding: what they are given, and what they may say."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from limen.core.decision import Decision
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal

Check: TypeAlias = Callable[[Principal, Any], Decision | Awaitable[Decision]]
"""Is given the principal and the request, and says yes or no. Whatever else it says, or raises, is a no."""

Before: TypeAlias = Callable[[Principal, Any], Decision | Awaitable[Decision | None] | None]
"""Is given the principal and the request before the handler runs; a `Decision` that says no is a refusal."""

After: TypeAlias = Callable[[Principal, Any, Any], Awaitable[None] | None]
"""Is given the principal, the request and how the answer begins, before that is sent."""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Intercept:
    """What runs around a handler.

    Attributes:
        before: runs when the request may enter.
        after: runs when the answer is about to begin.
    """

    before: Before | None = None
    after: After | None = None


def checked_callable(what: str, function: _F, count: int) -> _F:
    """Return a function that can be called with so many arguments.

    Raises:
        ConfigurationError: it cannot, or cannot be told from others.
    """
    try:
        hash(function)
        inspect.signature(function).bind(*range(count))
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{what} takes a function of {count} arguments, not {function!r}: {error}") from error
    return function


def name_of(function: object) -> str:
    """Return what a function is called, for the documentation of an operation and for the log."""
    return str(getattr(function, "__name__", None) or type(function).__name__)
