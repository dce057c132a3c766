"""Rules for leaves that the guard cannot see into: they are denied until a rule for their path is declared."""

import re

from starlette.routing import compile_path

from limen.core.errors import ConfigurationError
from limen.guard.requirements import Requirement

OWN_DEFAULT = "*"
"""The path under which the rule for a router's own «nothing matched» handler is declared."""


class PathRules:
    """What is declared for mounted foreign applications, static files, frontends and the pages of the documentation.

    A path is the one of the mount, from the protected application's root, such as ``/static``; a template as routes
    have them is welcome (``/{tenant}/static``). An application mounted by host is named by that host, and the handler
    that a router calls when nothing matched by ``*``. Paths are compared as the router matched them, never decoded
    again.
    """

    def __init__(self) -> None:
        self._exact: dict[str, Requirement] = {}
        self._templates: list[tuple[str, re.Pattern[str], Requirement]] = []

    def declare(self, path: str, requirement: Requirement) -> None:
        """Declare what is required below a path.

        Raises:
            ConfigurationError: there is another rule for this path already.
        """
        name = _normal(path)
        present = dict(self.items()).get(name)
        if present is not None and present != requirement:
            raise ConfigurationError(f"two different rules are declared for {name}")
        if present is None and "{" in name:
            self._templates.append((name, compile_path(name)[0], requirement))
        elif present is None:
            self._exact[name] = requirement

    def find(self, path: str) -> Requirement | None:
        """Return the rule for a path, or None."""
        name = _normal(path)
        requirement = self._exact.get(name)
        if requirement is not None:
            return requirement
        return next((rule for _, pattern, rule in self._templates if pattern.match(name)), None)

    def find_template(self, path: str) -> str | None:
        """Return the declared path that is the rule for a leaf's template, or None."""
        name = _normal(path)
        if name in dict(self.items()):
            return name
        return next((declared for declared, pattern, _ in self._templates if pattern.match(name)), None)

    def items(self) -> list[tuple[str, Requirement]]:
        """Return every declared path and its rule."""
        return [*self._exact.items(), *((name, requirement) for name, _, requirement in self._templates)]


def _normal(path: str) -> str:
    return path.rstrip("/") or "/"
