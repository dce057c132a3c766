"""limen's own routes inside an application: in front of its list of routes, and only for paths that are theirs."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, NoMatchFound, compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.core.errors import MethodNotAllowed
from limen.web.guard.state import state_of
from limen.web.measuring import measured
from limen.web.problems import send_problem

Endpoint = Callable[[Request], Awaitable[Response]]
Table = Mapping[str, Mapping[str, Endpoint]]
"""Endpoints by path, then by HTTP method."""


class _Resource:
    """What is at one path."""

    def __init__(self, path: str, endpoints: Mapping[str, Endpoint]) -> None:
        self.path = path
        self.endpoints = {method.upper(): endpoint for method, endpoint in endpoints.items()}
        self.apps: dict[str, ASGIApp] = {
            method: measured(_served(endpoint), method, path) for method, endpoint in self.endpoints.items()
        }
        if "GET" in self.endpoints:
            self.endpoints.setdefault("HEAD", self.endpoints["GET"])
            self.apps.setdefault("HEAD", self.apps["GET"])
        self.any_endpoint = next(iter(self.endpoints.values()))
        self.allow = ", ".join(sorted(self.endpoints))
        self.pattern, _, self.convertors = compile_path(path)


def _served(endpoint: Endpoint) -> ASGIApp:
    """Return the endpoint as an application.

    Starlette's own way wraps it in what calls the application's exception handlers: none of them is asked here.
    """

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        response = await endpoint(Request(scope, receive, send))
        await response(scope, receive, send)

    return serve


class OwnRoutes(BaseRoute):
    """Routes that an application does not have to know of.

    The endpoints are ordinary leaves, marked like any other, and the guard decides them. What is not found here is left
    to the application's own routes.

    They do not stand in the application's list of routes, where every request would ask them: the guard asks them
    for the few requests whose path may be one of theirs.

    Args:
        prefix: what every path begins with; may be empty.
        table: the endpoints by path and method; paths may have parameters, as routes have them.

    Attributes:
        exact: the paths without parameters.
        beginnings: what all others begin with. Whoever asks these two first need not ask `matches` for most requests;
            below a ``root_path``, paths may be spelt otherwise.
    """

    def __init__(self, prefix: str, table: Table) -> None:
        self.prefix = prefix
        resources = [_Resource(prefix + path, endpoints) for path, endpoints in table.items()]
        self.exact: Mapping[str, _Resource] = {each.path: each for each in resources if "{" not in each.path}
        self._templates = [each for each in resources if "{" in each.path]
        self.beginnings = tuple({each.path.partition("{")[0] for each in self._templates})

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Name the endpoint for a request, or say that there is none."""
        path, root = scope["path"], scope.get("root_path", "")
        resource = self.exact.get(path)
        if resource is None and root and path.startswith(root):
            path = path[len(root) :]
            resource = self.exact.get(path)
        if resource is not None:
            return self._matched(scope, resource, {})
        if path.startswith(self.prefix):
            for each in self._templates:
                found: re.Match[str] | None = each.pattern.match(path)
                if found:
                    named = {name: each.convertors[name].convert(text) for name, text in found.groupdict().items()}
                    return self._matched(scope, each, named)
        return Match.NONE, {}

    def methods_at(self, scope: Scope) -> str | None:
        """Return the methods that there are at a path, as Allow has them; None where it is none of limen's own."""
        resource: _Resource | None = self.matches(scope)[1].get("limen.resource")
        return None if resource is None else resource.allow

    def _matched(self, scope: Scope, resource: _Resource, named: Mapping[str, object]) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        method: str = scope["method"]
        endpoint = resource.endpoints.get(method)
        child = {
            "endpoint": endpoint or resource.any_endpoint,
            "path_params": {**scope.get("path_params", {}), **named},
            "limen.resource": resource,
        }
        return (Match.PARTIAL if endpoint is None else Match.FULL), child

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that matched; another method is answered 405, with the methods there are."""
        resource: _Resource = scope["limen.resource"]
        app = resource.apps.get(scope["method"])
        if app is None:
            allow = (b"allow", resource.allow.encode("ascii"))
            await send_problem(scope, send, MethodNotAllowed(), state_of(scope).request_id, headers=[allow])
            return
        await app(scope, receive, send)

    def url_path_for(self, name: str, /, **path_params: object) -> "None":  # type: ignore[override]
        """Say that nothing here has a name.

        Raises:
            NoMatchFound: always.
        """
        raise NoMatchFound(name, path_params)

    def listed(self) -> Iterator[tuple[str, frozenset[str], Endpoint]]:
        """Yield path, methods and endpoint of everything there is."""
        for resource in (*self.exact.values(), *self._templates):
            by_endpoint: dict[Endpoint, set[str]] = {}
            for method, endpoint in resource.endpoints.items():
                by_endpoint.setdefault(endpoint, set()).add(method)
            for endpoint, methods in by_endpoint.items():
                yield resource.path, frozenset(methods), endpoint
