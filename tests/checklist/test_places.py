"""Middleware that exempts paths: what is told of each route beside what the route does when strangers call it."""

import asyncio
import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.middleware import Middleware

from limen.checklist.routes import around, places
from limen.checklist.routes.guards import Found, of_middleware
from limen.checklist.routes.places import Asked, Place, Spot
from limen.checklist.routes.reading import read_application
from tests.checklist.test_differential import imported

BEGINNING = """
import re
from fastapi import APIRouter, FastAPI, Request
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

PUBLIC = {"/login", "/health"}
BEGINNINGS = ["/public", "/assets"]
ENDS = re.compile(r"/(login|health)$")

def reached():
    return "reached"

def refused():
    return JSONResponse({}, 401)
"""
HTTP = """
    if <exempts>:
        return await call_next(request)
    if request.headers.get("x-token") != "right":
        return refused()
    return await call_next(request)
"""
ROUTES = """
for _method, _path in ROUTES:
    app.add_api_route(_path, reached, methods=[_method])
_inner = FastAPI()
_inner.add_api_route("/login", reached)
_inner.add_api_route("/orders", reached)
app.mount("/sub", _inner)
async def plain(request):
    return PlainTextResponse("reached")
app.router.routes.append(Route("/plain", plain))
app.add_api_route("/{rest:path}", reached, methods=["PATCH"])
"""
TOLD = """
ROUTES = [("GET", "/login"), ("POST", "/login"), ("GET", "/health"), ("GET", "/orders"), ("POST", "/orders"),
          ("GET", "/public/{name}"), ("GET", "/publications"), ("GET", "/orders/{order}"), ("GET", "/{any}/login"),
          ("DELETE", "/orders/{order}/login")]
"""
CALLED = (
    *("/login", "/health", "/orders", "/public/1", "/publications", "/orders/1", "/1/login", "/orders/1/login"),
    *("/sub/login", "/sub/orders", "/plain", "/else/where", "/public/../orders", "//login", "/login/", "/orders/"),
    *("/login\n", "/orders\n", "/plain\n", "/Orders", "/orders/login", "/public\n", "/sub/orders\n", "/orders/x\n"),
)
EXEMPTS = {
    "in a set": "request.url.path in PUBLIC",
    "in the scope": 'request.scope["path"] in {"/login", "/health"}',
    "equal": 'request.url.path == "/login"',
    "not equal": 'not request.url.path != "/login"',
    "not in": 'request.url.path not in {"/orders", "/orders/{order}"}',
    "not in, of the scope": 'request.scope["path"] not in ("/orders", "/plain", "/sub/orders")',
    "beginning": 'request.url.path.startswith("/public")',
    "no such beginning": 'not request.scope["path"].startswith("/orders")',
    "beginnings": 'request.url.path.startswith(("/public", "/assets"))',
    "end": 'request.url.path.endswith("/login")',
    "other end": 'not request.scope["path"].endswith("/orders")',
    "part": '"public" in request.url.path',
    "any": "any(request.url.path.startswith(each) for each in BEGINNINGS)",
    "all": 'all(not request.scope["path"].startswith(each) for each in ("/orders", "/plain"))',
    "pattern": 're.match(r"/(login|health)$", request.url.path)',
    "compiled": 'ENDS.fullmatch(request.scope["path"]) is not None',
    "no prefix": 'request.scope["path"].removeprefix(request.scope.get("root_path", "")) in PUBLIC',
    "other case": 'request.url.path.lower().rstrip("/") in PUBLIC',
    "method": 'request.method == "GET"',
    "method and path": 'request.method.upper() in ("GET", "HEAD") and request.url.path in PUBLIC',
    "no head": 'request.method not in ("GET", "POST", "DELETE", "PATCH")',
    "several": 'request.url.path in PUBLIC or request.url.path.startswith("/public")',
    "handed": "is_open(request.url.path)",
    "read elsewhere": "is_exempt(request)",
}
MORE = """
def is_open(path: str) -> bool:
    return path in PUBLIC or any(path.startswith(each) for each in BEGINNINGS)

def is_exempt(request: Request) -> bool:
    path = request.url.path
    if path == "/login":
        return True
    return path.startswith("/public/")

"""
FORMS = {
    "function": '@app.middleware("http")\nasync def guard(request: Request, call_next):' + HTTP,
    "class": """
class Gate:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = Request(scope)
        if not (<exempts>) and request.headers.get("x-token") != "right":
            await refused()(scope, receive, send)
            return
        await self.app(scope, receive, send)

app.add_middleware(Gate)
""",
}
APPLICATIONS = {"none": "app = FastAPI()", "root": 'app = FastAPI()\napp.root_path = "/v1"'}


def _application(form: str, exempts: str, root: str = "none") -> str:
    middleware = FORMS[form].replace("<exempts>", EXEMPTS.get(exempts, exempts))
    return f"{BEGINNING}{TOLD}{APPLICATIONS[root]}\n{ROUTES}{MORE}{middleware}"


def _made(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write an application to a file of its own, as the source of a file is read once, and return it."""
    folder.mkdir()
    return imported(text, folder, monkeypatch).app


async def _answered(app: Any, method: str, path: str) -> tuple[str, bool]:
    """Call an application without a credential; return the template of the route that was reached, and whether."""
    scope = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"x/login?")],
        "client": ("192.0.2.1", 50000),
        "server": ("orders.example", 80),
    }
    messages: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        messages.append(message)

    with contextlib.suppress(Exception):
        await app(scope, receive, send)
    started = next((each["status"] for each in messages if each["type"] == "http.response.start"), 500)
    is_reached = started == 200 and "endpoint" in scope
    mounted = "/sub" if str(scope.get("root_path", "")).endswith("/sub") else ""
    return mounted + str(getattr(scope.get("route"), "path", "/plain")), is_reached


def _opened(app: Any, read: Callable[[str, str], bool]) -> list[str]:
    """Return the requests of strangers that reach a route of which it is told that it is guarded."""

    async def ask() -> list[str]:
        found = []
        for method, path in itertools.product(("GET", "HEAD", "POST", "DELETE", "PATCH"), CALLED):
            for whole in (path, f"/v1{path}"):
                template, is_reached = await _answered(app, method, whole)
                if is_reached and read("GET" if method == "HEAD" else method, template):
                    found.append(f"{method} {whole!r} reaches {template}")
        return found

    return asyncio.run(ask())


def _standings(app: Any) -> dict[tuple[str, str], str]:
    return {
        (method, each.path): each.standing
        for each in read_application(app, "places:app").routes
        for method in each.methods or ("GET",)
    }


@pytest.mark.parametrize("root", APPLICATIONS)
@pytest.mark.parametrize("form", FORMS)
def test_no_stranger_reaches_what_is_told_guarded(
    form: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever strangers vary of path, method and host, they reach no route that is told guarded by the middleware."""
    known = 0
    for number, each in enumerate(EXEMPTS):
        app = _made(_application(form, each, root), tmp_path / str(number), monkeypatch)
        told = _standings(app)
        known += "guarded" in told.values()

        def is_guarded(method: str, template: str, told: dict[tuple[str, str], str] = told) -> bool:
            return told.get((method, template)) == "guarded"

        assert _opened(app, is_guarded) == [], each
    assert known >= len(EXEMPTS) // 2


TOLD_OF = {
    ("in a set", "none"): {
        "open": ["GET /login", "POST /login", "GET /health"],
        "unknown": ["PATCH /{rest:path}"],
    },
    ("several", "none"): {
        "open": ["GET /login", "POST /login", "GET /health", "GET /public/{name}", "GET /publications"],
        "unknown": ["GET /{any}/login", "PATCH /{rest:path}"],
    },
    ("method and path", "none"): {"open": ["GET /login", "GET /health"], "unknown": []},
    ("no prefix", "root"): {
        "open": ["GET /login", "POST /login", "GET /health"],
        "unknown": ["GET /{any}/login", "PATCH /{rest:path}"],
    },
    ("end", "none"): {
        "open": ["GET /login", "POST /login", "GET /sub/login"],
        "unknown": [
            *("GET /public/{name}", "GET /orders/{order}", "GET /{any}/login", "DELETE /orders/{order}/login"),
            "PATCH /{rest:path}",
        ],
    },
}


@pytest.mark.parametrize(("exempts", "root"), TOLD_OF)
def test_each_route_is_told_by_its_own_path(
    exempts: str, root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A route that is exempted is open, one that cannot be is guarded, one that a stranger may make so is unknown."""
    told = _standings(_made(_application("function", exempts, root), tmp_path / "told", monkeypatch))
    own = {f"{method} {path}": each for (method, path), each in told.items()}
    for standing in ("open", "unknown"):
        assert [each for each in own if own[each] == standing] == TOLD_OF[exempts, root][standing]
    assert "guarded" in own.values()


VARIED = {
    "a line's end": ('request.scope["path"] != "/orders"', "GET", "/orders\n"),
    "head": ('request.method == "HEAD"', "HEAD", "/plain"),
    "the root path": ('request.scope["path"].startswith("/v1")', "GET", "/v1/orders"),
}


@pytest.mark.parametrize("varied", VARIED)
def test_what_a_stranger_can_vary_leaves_a_route_unknown(
    varied: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test that another spelling of the same route passes makes it unknown, and the spelling really reaches it."""
    exempts, method, path = VARIED[varied]
    root = "root" if varied == "the root path" else "none"
    app = _made(_application("function", exempts, root), tmp_path / "varied", monkeypatch)
    template, is_reached = asyncio.run(_answered(app, method, path))
    assert is_reached
    assert _standings(app)["GET", template] == "unknown"


def test_middleware_of_a_mounted_application_knows_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes its ``root_path`` from the path sees the mount's, and routes outside it are not its."""
    guard = FORMS["function"].replace("<exempts>", EXEMPTS["no prefix"]).replace("@app.", "@_inner.")
    text = f"{BEGINNING}{TOLD}{APPLICATIONS['none']}\n{ROUTES}{guard}"
    app = _made(text, tmp_path / "mounted", monkeypatch)
    told = _standings(app)
    assert told["GET", "/sub/login"] == "open"
    assert told["GET", "/sub/orders"] == "guarded"
    assert told["GET", "/orders"] == "open"
    assert _opened(app, lambda method, template: told.get((method, template)) == "guarded") == []


def test_a_middleware_that_moves_requests_makes_paths_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a middleware puts another path in the place of the request's, nobody knows the path of a route."""
    moves = """
class Moves:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            scope["path"] = scope["path"].replace("/login/../", "/")
        await self.app(scope, receive, send)

app.add_middleware(Moves)
"""
    app = _made(_application("function", "in a set") + moves, tmp_path / "moved", monkeypatch)
    assert _standings(app)["GET", "/orders"] == "unknown"


def test_code_is_read_once_for_each_way_in_which_its_tests_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an application with many routes, no middleware is read for each of them."""
    read: list[Middleware] = []

    def counted(middleware: Middleware, kind: str, asked: Asked | None = None) -> Found:
        read.append(middleware)
        return of_middleware(middleware, kind, asked)

    monkeypatch.setattr(around, "of_middleware", counted)
    more = 'for _n in range(200):\n    app.add_api_route(f"/many/{_n}", reached)\n'
    app = _made(_application("function", "several") + more, tmp_path / "many", monkeypatch)
    assert list(_standings(app).values()).count("guarded") > 200
    assert len(read) < 20


def test_the_path_of_an_url_is_unknown_where_the_host_header_may_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an unread ``Host`` is put into the URL, ``Host: x/login?`` is a path, and only the scope's is known."""
    assert Place("/orders", "GET", "").decides(Spot("url.path"), "eq", "/login") is False
    monkeypatch.setattr(places, "_urls_are_paths", lambda: False)
    assert Place("/orders", "GET", "").decides(Spot("url.path"), "eq", "/login") is None
    assert Place("/orders", "GET", "").decides(Spot("path"), "eq", "/login") is False
