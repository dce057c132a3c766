"""``/docs`` and ``/openapi.json``: Swagger UI from a package on this machine, under a strict Content-Security-Policy.

FastAPI's own page loads its scripts from elsewhere: it shows nothing without a network, and whoever serves those
scripts could read every password that is typed into the page.
"""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from limen.web.starlette import public

ASSETS_PACKAGE = "fastapi_offline"
"""The package that brings Swagger UI; only its files are used, nothing of it is imported."""

_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>limen: the HTTP interface</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'
_WITHOUT_ASSETS = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>limen: the HTTP interface</title></head>
<body><p>The interface is described in <a href="openapi.json">openapi.json</a>.
To see it as a page, install Swagger UI on the server: <code>pip install fastapi-offline</code></p></body>
</html>
"""

Endpoint = Callable[[Request], Awaitable[Response]]


def add_docs(app: FastAPI) -> None:
    """Add ``/docs``, its files and ``/openapi.json`` to an application, for everybody to read.

    The application must have been made without FastAPI's own pages (``openapi_url=None``).
    """
    assets = assets_folder()

    @public
    async def description(request: Request) -> Response:
        return JSONResponse(app.openapi(), headers=_HEADERS)

    @public
    async def page(request: Request) -> Response:
        return HTMLResponse(_PAGE if assets else _WITHOUT_ASSETS, headers=_HEADERS)

    @public
    async def start(request: Request) -> Response:
        return Response(_START, media_type="text/javascript", headers=_HEADERS)

    app.router.routes += [
        Route("/openapi.json", description, methods=["GET"]),
        Route("/docs", page, methods=["GET"]),
        Route("/docs/start.js", start, methods=["GET"]),
    ]
    if assets is not None:
        app.router.routes += [_asset(assets / name, media_type) for name, media_type in _ASSETS.items()]


def assets_folder() -> Path | None:
    """Return the folder that holds Swagger UI, or None where it is not installed."""
    found = find_spec(ASSETS_PACKAGE)
    folders = [Path(place, "static") for place in (found.submodule_search_locations or ())] if found else []
    return next((folder for folder in folders if all((folder / name).is_file() for name in _ASSETS)), None)


def _asset(file: Path, media_type: str) -> Route:
    @public
    async def send(request: Request) -> Response:
        return FileResponse(file, media_type=media_type, headers=_HEADERS)

    return Route(f"/docs/{file.name}", send, methods=["GET"])
