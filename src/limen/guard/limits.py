"""How often a route may be called, as a plain value."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from limen.core.errors import ConfigurationError
from limen.core.rates import Rate
from limen.guard.own_code import checked_callable

LimitKey: TypeAlias = Literal["account", "network"] | Callable[..., Any]
"""Whom a limit counts for: the account, or the network where nobody is authenticated; the network; or what a function
of the request returns."""

_NAME = 64


@dataclass(frozen=True, slots=True)
class RouteLimit:
    """How often a route may be called by one account, or by one of whatever else is counted for.

    Attributes:
        rate: how often.
        key: whom it counts for.
        name: how the RateLimit fields call it; letters, digits and dashes.
        shared: every route that says this name shares the count; None where the owner counts for itself.
        owner: the function or class that it was written on; empty where it was written on none, and each endpoint
            counts for itself.
    """

    rate: Rate
    key: LimitKey = "account"
    name: str = ""
    shared: str | None = None
    owner: str = ""

    def owned(self, target: object) -> "RouteLimit":
        """Return the limit as it is where it was written on a function or a class."""
        return self if self.owner else replace(self, owner=name_of_endpoint(target))


def limits_of(rates: tuple[str, ...], key: LimitKey | None, name: str | None) -> tuple[RouteLimit, ...]:
    """Return what ``rate_limit(…)`` says.

    Args:
        rates: ``10/minute``, ``300/15 minutes``; one at least.
        key: see `LimitKey`; None for the account.
        name: of a count that several routes share.

    Raises:
        ConfigurationError: there is no rate or one is malformed; the key is no function of a request; the name is not
            of letters, digits and dashes.
    """
    if not rates:
        raise ConfigurationError('rate_limit() takes a rate: rate_limit("10/minute")')
    if key is not None and key not in ("account", "network"):
        if not callable(key):
            raise ConfigurationError(f'rate_limit(key=…) takes "account", "network" or a function, not {key!r}')
        checked_callable("rate_limit(key=…)", key, 1)
    if name is not None and not (0 < len(name) <= _NAME and name.isascii() and name.replace("-", "").isalnum()):
        raise ConfigurationError(f"rate_limit(name=…) takes letters, digits and dashes, {_NAME} at most, not {name!r}")
    return tuple(_limit(_rate(text), key or "account", name) for text in dict.fromkeys(rates))


def name_of_endpoint(endpoint: object) -> str:
    """Return the module and the name of a function or class: the same in each process that runs the same code."""
    while isinstance(endpoint, functools.partial):
        endpoint = endpoint.func
    if inspect.ismethod(endpoint):
        endpoint = endpoint.__func__
    named = endpoint if hasattr(endpoint, "__qualname__") else type(endpoint)
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', '')}"


def _limit(rate: Rate, key: LimitKey, name: str | None) -> RouteLimit:
    told = str(rate).replace("/", "-per-").replace(" ", "-")
    return RouteLimit(rate, key, f"{name}-{told}" if name else told, name)


def _rate(text: object) -> Rate:
    if not isinstance(text, str):
        raise ConfigurationError(f'rate_limit() takes rates as text, such as "10/minute", not {text!r}: call it')
    try:
        return Rate.of(text)
    except ValueError as error:
        raise ConfigurationError(f"rate_limit({text!r}) {error}") from None
