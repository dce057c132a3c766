"""Rules for leaves that the guard cannot see into: they are denied until a rule of their own is declared."""

from typing import Any

from starlette.routing import Host

from limen.core.errors import ConfigurationError
from limen.guard.requirements import Requirement

OWN_DEFAULT = "*"
"""The path under which the rule for a router's own «nothing matched» handler is declared."""


class PathRules:
    """What is declared for mounted foreign applications, static files, frontends and the pages of the documentation.

    A rule belongs to the leaf that is registered under exactly this name, such as ``/static`` or ``/{tenant}/files``
    (`name_below`); the handler that a router calls when nothing matched is ``*``. The path of a request is never
    compared with a rule: the router's match says which leaf it is, and a path may match several templates.
    """

    def __init__(self) -> None:
        self._rules: dict[str, Requirement] = {}

    def declare(self, path: str, requirement: Requirement) -> None:
        """Declare what is required below a path.

        Raises:
            ConfigurationError: there is another rule for this path already.
        """
        name = normal_name(path)
        if self._rules.setdefault(name, requirement) != requirement:
            raise ConfigurationError(f"two different rules are declared for {name}")

    def find(self, name: str) -> Requirement | None:
        """Return the rule for the leaf of this name, or None."""
        return self._rules.get(normal_name(name))

    def items(self) -> list[tuple[str, Requirement]]:
        """Return every declared name and its rule."""
        return list(self._rules.items())


def name_below(above: str, route: Any) -> str:
    """Return the name under which rules know what a route leads to.

    It is the path as it is registered, parameters and all, from the application's root. What is mounted by host is
    named by the host's pattern, and so is all that is below it: ``files.example/static``.

    Args:
        above: the name of what the route's router is mounted as; empty for the application's own.
        route: a mount, a host or another route; a foreign one that has no path is named by its class.
    """
    if isinstance(route, Host):
        return f"{above}//{route.host}" if above else route.host
    return above + str(getattr(route, "path", f"<{type(route).__name__}>"))


def normal_name(path: str) -> str:
    """Return a name without the slash at its end, which means nothing."""
    return path.rstrip("/") or "/"
