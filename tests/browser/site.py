"""An application with pages, in a process of its own, over TLS or without; and pages of somebody else beside it.

``python -m tests.browser.site FOLDER [CERTIFICATE]`` serves the application on a free port, which it writes down.
"""

import asyncio
import secrets
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from limen import Limen, Settings
from limen.starlette import permissions, public
from tests.docs.markdown import ROOT, blocks
from tests.support.gates import PASSWORD, ROLES, settings_for

SITE: Final = "app.shop.test"
SUB_DOMAIN: Final = "evil.shop.test"
OTHER_SITE: Final = "evil.other.test"
NAMES: Final = ("localhost", SITE, SUB_DOMAIN, OTHER_SITE)
ACCOUNTS: Final = ("ann", "mallory")

_GUIDE: Final = (ROOT / "docs" / "guides" / "tokens.md").read_text(encoding="utf-8")
_SINGLE_PAGE: Final = next(block.text for block in blocks(_GUIDE) if block.language == "js")
"""The script of the page «Tokens», as it is printed there."""


def application(gate: Limen, made: Path) -> Starlette:
    """Make the application: two pages for everybody, and orders for makers, each a line in a file."""

    @public
    async def plain(_request: Request) -> Response:
        return HTMLResponse("<!doctype html><title>shop</title><h1>shop</h1>")

    @public
    async def single_page(_request: Request) -> Response:
        return HTMLResponse(f"<!doctype html><title>shop</title><h1>one page</h1><script>{_SINGLE_PAGE}</script>")

    @permissions("order:create")
    async def make(request: Request) -> Response:
        with made.open("a", encoding="utf-8") as file:
            file.write(f"{request.user.sub}\n")
        return JSONResponse({"cookies": sorted(request.cookies)}, 201)

    routes = [Route("/", plain), Route("/single-page", single_page), Route("/orders", make, methods=["POST"])]
    app = Starlette(routes=routes)
    gate.protect(app)
    return app


async def make_accounts(settings: Settings) -> None:
    """Make the accounts, all with the one password of the tests."""
    async with Limen(settings, roles=ROLES).running() as gate:
        for name in ACCOUNTS:
            await gate.accounts.create(name, PASSWORD, roles=frozenset({"maker"}))


def serve(folder: Path, certificate: str | None) -> None:
    """Serve the application until the process is ended."""
    settings = settings_for(folder)
    asyncio.run(make_accounts(settings))
    app = application(Limen(settings, roles=ROLES), folder / "orders.txt")
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ssl_certfile=certificate))
    ready = folder / f"port.{secrets.token_hex(4)}"
    ready.write_text(str(listener.getsockname()[1]))
    # What waits in the listener's queue is answered as soon as the server runs.
    ready.rename(folder / "port")
    server.run(sockets=[listener])


def certificate_for_all(folder: Path) -> Path:
    """Make one certificate, with its key, for every name that is used here."""
    file = folder / "certificate.pem"
    trustme.CA().issue_cert(*NAMES).private_key_and_cert_chain_pem.write_to_path(file)
    return file


@contextmanager
def foreign_pages(target: str, certificate: Path | None) -> Iterator[int]:
    """Serve somebody else's pages: ``/form`` sends a form to the target by itself; give the port."""
    form = f'<form method="post" action="{target}" enctype="text/plain"><input name="a" value="b"></form>'
    sends = f"{form}<script>document.forms[0].submit()</script>"

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = f"<!doctype html><title>prizes</title>{sends if self.path == '/form' else ''}".encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), Pages) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else None)
