"""``/docs`` and ``/openapi.json``: Swagger UI from a package on this machine, under a strict Content-Security-Policy.

FastAPI's own page loads its scripts from elsewhere: it shows nothing without a network, and whoever serves those
scripts could read every password that is typed into the page.
"""

from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from limen.core.errors import ConfigurationError
from limen.web.headers import OWN_PAGE_HEADERS

if TYPE_CHECKING:
    from fastapi import FastAPI

ASSETS_PACKAGE = "fastapi_offline"
"""The package that brings Swagger UI; only its files are used, nothing of it is imported."""

_ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_HEADERS = {
    **{name.decode("ascii"): value.decode("ascii") for name, value in OWN_PAGE_HEADERS},
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # Nothing in them is anybody's own, and they are large: kept, and asked for whether they are still the same.
    "cache-control": "no-cache",
}
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The HTTP interface</title>
<link rel="icon" href="data:,">
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
<head><meta charset="utf-8"><link rel="icon" href="data:,"><title>The HTTP interface</title></head>
<body><p>The interface is described in <a href="openapi.json">openapi.json</a>.
To see it as a page, install Swagger UI on the server: <code>pip install fastapi-offline</code></p></body>
</html>
"""

Endpoint = Callable[[Request], Awaitable[Response]]


def add_docs(app: "FastAPI", rule: Callable[[Endpoint], Endpoint]) -> None:
    """Add ``/docs``, its files and ``/openapi.json`` to a FastAPI application.

    ::

        app = FastAPI(openapi_url=None)
        add_docs(app, roles("admin"))

    Where the package with Swagger UI is missing, ``/docs`` says so.

    Args:
        app: the application, made without FastAPI's own pages.
        rule: who may read them: ``public``, or a requirement such as ``roles("admin")``. A browser that opens the page
            sends cookies and no token.

    Raises:
        ConfigurationError: the application has FastAPI's own pages.
    """
    if app.openapi_url is not None:
        raise ConfigurationError(
            "the application has FastAPI's own pages, whose scripts come from elsewhere: make it by "
            "FastAPI(openapi_url=None)"
        )
    assets = assets_folder()

    async def description(request: Request) -> Response:
        return JSONResponse(app.openapi(), headers=_HEADERS)

    async def page(request: Request) -> Response:
        return HTMLResponse(_PAGE if assets else _WITHOUT_ASSETS, headers=_HEADERS)

    async def start(request: Request) -> Response:
        return Response(_START, media_type="text/javascript", headers=_HEADERS)

    endpoints: dict[str, Endpoint] = {"/openapi.json": description, "/docs": page, "/docs/start.js": start}
    if assets is not None:
        endpoints |= {f"/docs/{name}": _asset(assets / name, media_type) for name, media_type in _ASSETS.items()}
    app.router.routes += [Route(path, rule(endpoint), methods=["GET"]) for path, endpoint in endpoints.items()]


def assets_folder() -> Path | None:
    """Return the folder that holds Swagger UI, or None where it is not installed."""
    found = find_spec(ASSETS_PACKAGE)
    folders = [Path(place, "static") for place in (found.submodule_search_locations or ())] if found else []
    return next((folder for folder in folders if all((folder / name).is_file() for name in _ASSETS)), None)


def _asset(file: Path, media_type: str) -> Endpoint:
    async def send(request: Request) -> Response:
        return FileResponse(file, media_type=media_type, headers=_HEADERS)

    return send
