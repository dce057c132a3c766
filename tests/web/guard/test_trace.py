"""TRACE, which sends a request back with its credentials in it, is on no path."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from limen.fastapi import public
from tests.support.gates import gate_for

CANARY = "kanarie"


class Echo:
    """Middleware and application in one: sends back what it was asked, and notes that."""

    ran: int = 0

    def __init__(self, app: ASGIApp | None = None) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "TRACE":
            Echo.ran += 1
            await PlainTextResponse(str(scope["headers"]))(scope, receive, send)
        elif self.app is not None:
            await self.app(scope, receive, send)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of an application that would answer TRACE wherever it can."""
    app = FastAPI()

    async def echo(request: Request) -> Response:
        Echo.ran += 1
        return PlainTextResponse(str(request.headers))

    app.trace("/route")(public(echo))
    app.mount("/static", StaticFiles(directory=tmp_path))
    app.mount("/mounted", Echo())
    app.add_middleware(Echo)
    gate = gate_for(tmp_path)
    gate.protect(app, health=True)
    gate.public_mount("/static")
    gate.public_mount("/mounted")
    Echo.ran = 0
    with TestClient(app, base_url="https://app.example") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("/route", "POST"),
        ("/static/limen.db", "GET"),
        ("/mounted/x", "GET"),
        ("/nowhere", "GET"),
        ("/auth/login", "POST"),
        ("/auth/me", "GET, HEAD"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_nothing_answers_it(client: TestClient, path: str, allow: str) -> None:
    """Routes, files, mounts, middleware and limen's own: 405 before the application, and nothing comes back."""
    answer = client.request("TRACE", path, headers={"X-Canary": CANARY, "Cookie": f"a={CANARY}"})
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert CANARY not in answer.text + str(answer.headers)
    assert Echo.ran == 0
    assert allow in answer.headers["allow"]
    assert "TRACE" not in answer.headers["allow"]
    if path.startswith("/auth/"):
        assert answer.headers["allow"] == allow
