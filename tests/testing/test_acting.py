import ast
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient

import limen
from limen import Limen, Settings
from limen.core.errors import ConfigurationError
from limen.core.principal import Principal
from limen.fastapi import CurrentPrincipal, live, permissions, roles
from limen.testing import acting_as

ROLES = {"maker": ["order:create"], "checker": ["order:approve"]}


@dataclass
class Application:
    """A protected application, its gate, and how often each handler ran."""

    gate: Limen
    client: TestClient
    calls: list[Principal] = field(default_factory=list)


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """An application that was protected before anybody acts."""
    settings = Settings(
        database_url=f"sqlite:///{tmp_path / 'limen.db'}",
        jwt_access_secret=secrets.token_urlsafe(48),
        jwt_refresh_secret=secrets.token_urlsafe(48),
        bcrypt_cost=10,
    )
    gate = Limen(settings, roles=ROLES)
    app = FastAPI()
    gate.protect(app)
    calls: list[Principal] = []

    @app.get("/plain")
    async def plain(me: CurrentPrincipal) -> str:
        calls.append(me)
        return me.sub

    @app.get("/maker")
    @roles("maker")
    async def maker(me: CurrentPrincipal) -> str:
        calls.append(me)
        return me.sub

    @app.get("/approve")
    @permissions("order:approve")
    @live
    async def approve(me: CurrentPrincipal) -> str:
        calls.append(me)
        return me.sub

    with TestClient(app) as client:
        yield Application(gate, client, calls)


def test_every_request_inside_is_the_principals(application: Application) -> None:
    """Inside the block a request without any credential is the principal's; before and after it is nobody's."""
    assert application.client.get("/plain").status_code == 401
    with acting_as(application.gate, sub="somebody", roles={"maker"}) as me:
        assert application.client.get("/plain").json() == "somebody"
        assert application.client.get("/maker").status_code == 200
    assert application.calls == [me, me]
    assert (me.roles, me.permissions) == (frozenset({"maker"}), frozenset({"order:create"}))
    assert application.client.get("/plain").status_code == 401
    assert len(application.calls) == 2


def test_the_guard_still_refuses(application: Application) -> None:
    """What the principal's roles do not allow is refused as ever, and the handler does not run."""
    with acting_as(application.gate, roles={"checker"}):
        refused = application.client.get("/maker")
    assert (refused.status_code, refused.json()["code"]) == (403, "role_required")
    assert application.calls == []


def test_a_live_route_needs_no_account(application: Application) -> None:
    """``@live`` is answered with the principal, inside only; further permissions can be given without a role."""
    with acting_as(application.gate, permissions={"order:approve"}) as me:
        assert application.client.get("/approve").json() == me.sub
    assert application.client.get("/approve").status_code == 401
    assert "live" not in vars(application.gate)


def test_a_credential_in_the_request_does_not_count(application: Application) -> None:
    """A token that would be refused, or is no token at all, does not change who acts."""
    with acting_as(application.gate) as me:
        answer = application.client.get("/plain", headers={"Authorization": "Bearer forged"})
    assert answer.json() == me.sub


def test_blocks_may_be_nested(application: Application) -> None:
    """The innermost block counts, and each end restores what was before it, also after an error."""

    def who() -> str:
        return str(application.client.get("/plain").json())

    def fail_as(sub: str) -> None:
        with acting_as(application.gate, sub=sub):
            assert who() == sub
            raise RuntimeError

    with acting_as(application.gate, sub="outer"):
        with pytest.raises(RuntimeError):
            fail_as("inner")
        assert who() == "outer"
        with acting_as(application.gate, permissions={"order:approve"}) as inner:
            assert application.client.get("/approve").json() == inner.sub
        assert application.client.get("/approve").status_code == 403
    assert application.client.get("/plain").status_code == 401


def test_a_role_that_is_not_declared_is_refused(application: Application) -> None:
    """A misspelt role is an error: a test that expects a refusal would pass for the wrong reason."""
    with pytest.raises(ConfigurationError, match="chekcer"), acting_as(application.gate, roles={"chekcer"}):
        pass
    assert application.client.get("/plain").status_code == 401


def test_it_holds_for_other_threads(application: Application) -> None:
    """A request from another thread inside the block is the principal's, too: test clients use threads."""
    statuses: list[int] = []
    with acting_as(application.gate, roles={"maker"}):
        thread = threading.Thread(target=lambda: statuses.append(application.client.get("/maker").status_code))
        thread.start()
        thread.join(30)
    assert statuses == [200]


def test_a_socket_is_the_principals_too(application: Application) -> None:
    """A WebSocket that is opened inside the block is the principal's."""
    app = application.client.app
    assert isinstance(app, FastAPI)

    @app.websocket("/socket")
    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(websocket.scope["user"].sub)
        await websocket.close()

    with acting_as(application.gate, sub="somebody"), application.client.websocket_connect("/socket") as connection:
        assert connection.receive_text() == "somebody"


def test_nothing_of_limen_imports_the_kit() -> None:
    """No module of limen outside of its testing kit imports it: what a test may do is not reachable in production."""
    source = Path(limen.__file__).parent
    checked = 0
    for file in source.rglob("*.py"):
        if file.is_relative_to(source / "testing"):
            continue
        checked += 1
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("limen.testing") for name in names), file
    assert checked > 50
