"""A server that changes the client's address before the guard sees it is found at the start."""

import logging
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from limen import Limen
from limen.core.errors import ConfigurationError
from tests.support.gates import gate_for


def application(gate: Limen) -> Starlette:
    """Make a protected application."""
    app = Starlette()
    gate.protect(app)
    return app


def loaded(app: Any, **settings: Any) -> Any:
    """Return the application as uvicorn wraps it."""
    config = uvicorn.Config(app, **settings)
    config.load()
    return config.loaded_app


@pytest.mark.parametrize("with_lifespan", [True, False])
def test_trusted_proxies_and_uvicorns_headers_do_not_go_together(tmp_path: Path, with_lifespan: bool) -> None:
    """Where proxies are trusted and uvicorn changes addresses by its own list, the application does not start."""
    app = loaded(application(gate_for(tmp_path, trusted_proxies=["10.0.0.5"])))
    if with_lifespan:
        with pytest.raises(ConfigurationError, match="--no-proxy-headers"), TestClient(app):
            pass
    else:
        answer = TestClient(app, raise_server_exceptions=False).get("/auth/me")
        assert answer.status_code == 500


def test_without_trusted_proxies_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where none are trusted, the log says what to do."""
    with caplog.at_level(logging.WARNING, logger="limen.guard"), TestClient(loaded(application(gate_for(tmp_path)))):
        pass
    assert [r.getMessage() for r in caplog.records if "--no-proxy-headers" in r.getMessage()]


def test_nothing_is_told_where_nothing_is_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """With proxy_headers=False, as limen serve runs it, and inside of the application, there is nothing to say."""
    app = application(gate_for(tmp_path, trusted_proxies=["10.0.0.5"]))
    with caplog.at_level(logging.WARNING, logger="limen.guard"), TestClient(loaded(app, proxy_headers=False)) as client:
        assert client.get("/auth/me").status_code == 401
    assert not caplog.records


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_scope_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    """The guard believes a trusted proxy without changing what the application sees of the socket."""
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body"})

    gate = gate_for(tmp_path, trusted_proxies=["10.0.0.5"])
    outer = Starlette(routes=[Mount("/below", app)])
    gate.protect(outer)
    gate.public_mount("/below")
    told = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    with TestClient(outer, client=("10.0.0.5", 7)) as client:
        if kind == "http":
            answer = client.get("/below/x", headers=told)
            assert answer.headers["strict-transport-security"]
            assert "strict-transport-security" not in client.get("/below/x").headers
        else:
            with pytest.raises(WebSocketDisconnect), client.websocket_connect("/below/x", headers=told):
                pass
    assert (seen[0]["client"], seen[0]["scheme"]) == (("10.0.0.5", 7), "http" if kind == "http" else "ws")
    assert seen[0]["limen.guard"].origin.address == "203.0.113.9"
