"""An application behind a real uvicorn that speaks TLS, for tests."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from limen import Limen
from limen.starlette import client_certificate, public
from tests.mtls.authority import Authority


@client_certificate
async def _who(request: Request) -> JSONResponse:
    return JSONResponse({"sub": request.user.sub, "amr": request.user.authentication.methods})


@public
async def _tls(request: Request) -> JSONResponse:
    return JSONResponse(request.scope.get("extensions", {}).get("tls"))


@client_certificate
async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_json({"sub": websocket.user.sub})
    with contextlib.suppress(Exception):
        while True:
            await websocket.receive_text()


def application(gate: Limen) -> Starlette:
    """An application of the tests' own, which a gate guards."""
    app = Starlette(
        routes=[Route("/who", _who, methods=["GET", "POST"]), Route("/tls", _tls), WebSocketRoute("/socket", _socket)]
    )
    gate.protect(app)
    return app


@contextlib.contextmanager
def served(app: Any, authority: Authority, folder: Path, **options: Any) -> Iterator[int]:
    """Run an application under uvicorn with TLS, as somebody does who runs uvicorn themselves; yield the port."""
    certificate, key = authority.server().files(folder, "server")
    authorities = folder / "uvicorn-clients.pem"
    authorities.write_text(authority.root.pem)
    config = uvicorn.Config(
        app,
        ssl_certfile=certificate,
        ssl_keyfile=str(key),
        ssl_ca_certs=str(authorities),
        log_level="warning",
        proxy_headers=False,
        **{"ssl_cert_reqs": ssl.CERT_OPTIONAL, **options},
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            deadline = time.monotonic() + 30
            while not server.started:
                assert thread.is_alive()
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(30)
