"""The security headers of a guarded application: on every answer there is, and none of them twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from limen import Limen
from limen.guard.requirements import AUTHENTICATED
from limen.starlette import public
from limen.web.guard import protect
from tests.support.gates import PASSWORD, gate_for
from tests.web.guard.kit import SmallGate

USUAL = ("x-content-type-options", "x-frame-options", "referrer-policy", "permissions-policy")
RESOURCE, OPENER = "cross-origin-resource-policy", "cross-origin-opener-policy"
CHECKER = {"Authorization": "Bearer checker"}


class Doubling:
    """Middleware of the application that sets some of the headers itself, in capitals."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def own(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["path"] == "/own":
                message["headers"] = [
                    *message["headers"],
                    (b"Permissions-Policy", b"camera=(self)"),
                    (b"Cross-Origin-Opener-Policy", b"same-origin-allow-popups"),
                    (b"Cross-Origin-Resource-Policy", b"cross-origin"),
                ]
            await send(message)

        await self.app(scope, receive, own)


@public
async def opened(_request: Request) -> Response:
    """Answer everybody."""
    return PlainTextResponse("for everybody")


async def kept(_request: Request) -> Response:
    """Answer whoever is known."""
    return PlainTextResponse("for some")


async def streamed(_request: Request) -> Response:
    """Answer in parts."""
    return StreamingResponse(iter([b"a", b"b"]))


async def redirected(_request: Request) -> Response:
    """Send elsewhere."""
    return RedirectResponse("https://other.example/")


async def broken(_request: Request) -> Response:
    """Fail."""
    raise RuntimeError


async def socket(websocket: WebSocket) -> None:
    """Take whoever is known."""
    await websocket.accept()
    await websocket.close()


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A client of an application with leaves of many kinds."""
    (tmp_path / "logo.svg").write_text("<svg/>")
    routes = [
        Route("/open", opened),
        Route("/kept", kept),
        Route("/own", kept),
        Route("/streamed", streamed),
        Route("/redirected", redirected),
        Route("/broken", broken),
        Mount("/static", StaticFiles(directory=tmp_path)),
        Mount("/files", StaticFiles(directory=tmp_path)),
        WebSocketRoute("/socket", socket),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Doubling)])
    protection = protect(app, SmallGate())
    protection.public_mount("/static")
    protection.mount_rule("/files", AUTHENTICATED)
    with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "headers", "status", "resource"),
    [
        ("/open", {}, 200, None),
        ("/open", CHECKER, 200, None),
        ("/kept", CHECKER, 200, "same-site"),
        ("/kept", {}, 401, "same-origin"),
        ("/streamed", CHECKER, 200, "same-site"),
        ("/redirected", CHECKER, 307, "same-site"),
        ("/broken", CHECKER, 500, "same-site"),
        ("/nowhere", CHECKER, 404, None),
        ("/open/", {}, 307, None),
        ("/static/logo.svg", {}, 200, None),
        ("/static/none.svg", {}, 404, None),
        ("/files/logo.svg", CHECKER, 200, "same-site"),
        ("/files/logo.svg", {}, 401, "same-origin"),
    ],
)
def test_every_answer_carries_them(
    client: TestClient, path: str, headers: dict[str, str], status: int, resource: str | None
) -> None:
    """Errors, files, streams, redirects and what no route has: each header once; other sites embed what is public.

    Twice, since the guard remembers what it has decided.
    """
    for _ in range(2):
        answer = client.get(path, headers=headers)
        assert answer.status_code == status
        assert [answer.headers.get_list(name).__len__() for name in USUAL] == [1] * len(USUAL)
        assert answer.headers.get_list(RESOURCE) == ([] if resource is None else [resource])
        assert OPENER not in answer.headers


def test_what_the_application_says_stands(client: TestClient) -> None:
    """A header of the application's own, in whatever case, is neither doubled nor changed."""
    answer = client.get("/own", headers=CHECKER)
    assert answer.headers.get_list("permissions-policy") == ["camera=(self)"]
    assert answer.headers.get_list(OPENER) == ["same-origin-allow-popups"]
    assert answer.headers.get_list(RESOURCE) == ["cross-origin"]


def test_a_refused_handshake_carries_them(client: TestClient) -> None:
    """What denies a WebSocket is an HTTP answer like any other."""
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/socket"):
        pass
    assert refused.value.status_code == 401
    assert [refused.value.headers.get_list(name).__len__() for name in USUAL] == [1] * len(USUAL)
    assert refused.value.headers[RESOURCE] == "same-origin"


def test_settings_reach_the_answers(tmp_path: Path) -> None:
    """LIMEN_OPENER_POLICY and LIMEN_RESOURCE_POLICY are what an application's answers carry."""

    async def page(_request: Request) -> Response:
        return JSONResponse({})

    gate: Limen = gate_for(tmp_path, opener_policy="same-origin", resource_policy="same-origin")
    app = Starlette(routes=[Route("/page", page), Route("/open", opened)])
    gate.protect(app)
    with TestClient(app) as client:
        assert client.portal is not None
        client.portal.call(gate.accounts.create, "ann", PASSWORD)
        answer = client.post("/auth/login", json={"username": "ann", "password": PASSWORD})
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        page_answer, open_answer = client.get("/page", headers=bearer), client.get("/open")
    assert page_answer.status_code == open_answer.status_code == 200
    assert page_answer.headers[OPENER] == page_answer.headers[RESOURCE] == "same-origin"
    assert open_answer.headers[OPENER] == "same-origin"
    assert RESOURCE not in open_answer.headers
