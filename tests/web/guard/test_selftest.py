"""The guard notices at start when the framework does not do what it relies on."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Match, Mount, Route, Router
from starlette.types import Receive, Scope, Send

from limen.core.errors import ConfigurationError
from limen.fastapi import roles
from limen.web.fastapi import PolicyEnforcement
from limen.web.guard import dependants, dispatch, leaves, protect, selftest
from tests.web.guard.kit import Counted, SmallGate, call


@pytest.fixture(autouse=True)
def _ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was proved before is forgotten, and what is proved here afterwards."""
    monkeypatch.setattr(selftest, "_KNOWN_TO_HOLD", set())


def _app(framework: Any, counted: Counted) -> Any:
    app = framework(routes=[Route("/leaf", roles("admin")(counted.endpoint()))])
    protect(app, SmallGate())
    return app


@pytest.mark.parametrize("framework", [FastAPI, Starlette])
async def test_with_the_installed_framework_the_guard_holds(framework: Any) -> None:
    """The sentinels pass, and the result is remembered."""
    await selftest.assert_guard_holds(framework())
    assert len(selftest._KNOWN_TO_HOLD) == 1
    await selftest.assert_guard_holds(framework())
    assert len(selftest._KNOWN_TO_HOLD) == 1


async def test_a_framework_that_calls_handlers_of_refused_dependencies_stops_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Policies about a resource lean on that, so it is tried where a gate has policies."""
    await selftest.assert_guard_holds(FastAPI(), has_policies=True)
    monkeypatch.setattr(selftest, "_KNOWN_TO_HOLD", set())

    async def decides_nothing(self: Any, connection: Any, resource: Any = None) -> Any:
        return resource

    monkeypatch.setattr(PolicyEnforcement, "__call__", decides_nothing)
    with pytest.raises(ConfigurationError, match="/decided"):
        await selftest.assert_guard_holds(FastAPI(), has_policies=True)
    await selftest.assert_guard_holds(FastAPI())


async def _silent(self: Router, scope: Scope, receive: Receive, send: Send) -> None:
    """A router that tells nobody where it goes, as a future one might."""
    for route in self.routes:
        match, child = route.matches(scope)
        if match is Match.FULL:
            for key, value in child.items():
                scope[key] = value
            await route.handle(scope, receive, send)
            return


async def test_a_router_that_does_not_announce_the_leaf_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The habit the guard leans on is gone: the application refuses to serve, and its handlers do not run."""
    counted = Counted()
    monkeypatch.setattr(Router, "app", _silent)
    monkeypatch.setattr(leaves, "KNOWN_DISPATCH", [_silent])
    app = _app(Starlette, counted)
    for who in (None, "admin"):
        with pytest.raises(ConfigurationError, match="the guard does not hold"):
            await call(app, "/leaf", who)
    assert counted.ran == []


async def test_a_mount_that_does_not_lead_to_the_router_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mounted router that is entered beside its guard is found out."""
    counted = Counted()

    async def beside(self: Mount, scope: Scope, receive: Receive, send: Send) -> None:
        inner = self.app.router if isinstance(self.app, Starlette) else self.app
        plain = dict(scope)
        await (Router.app(inner, plain, receive, send) if isinstance(inner, Router) else inner(plain, receive, send))

    monkeypatch.setattr(Mount, "handle", beside)
    with pytest.raises(ConfigurationError, match="/mounted/unmarked"):
        await call(_app(Starlette, counted), "/leaf", "admin")
    assert counted.ran == []


async def test_a_guard_that_lets_pass_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in the guard itself stops the start as well."""
    monkeypatch.setattr(dispatch.InnerGuard, "decide_foreign", lambda self, state, route: None)
    with pytest.raises(ConfigurationError, match="/foreign"):
        await call(_app(Starlette, Counted()), "/leaf", "admin")


async def test_dependencies_that_cannot_be_read_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the requirements of an included router not seen at dispatch, the body would be read first: 422, not 403."""
    monkeypatch.setattr(dependants, "_restrictions", lambda node, is_root: iter(()))
    monkeypatch.setattr(dependants, "_requirement", lambda thing: None)
    with pytest.raises(ConfigurationError, match="dependencies of an included router"):
        await call(_app(FastAPI, Counted()), "/leaf", "admin")


async def test_a_guard_that_refuses_everything_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentinels include one that must get through."""
    monkeypatch.setattr(selftest, "write_mark", lambda target, requirement: None)
    with pytest.raises(ConfigurationError, match="a public route is not reached"):
        await call(_app(Starlette, Counted()), "/leaf", "admin")
