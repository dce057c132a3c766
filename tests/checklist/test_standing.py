"""Who may call what: guards in all their forms are told, and a route that is open is never told as guarded."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from limen.checklist.routes.reading import read_application

HEAD = """
import asyncio, contextlib, functools
from typing import Annotated, Any
import jwt
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Request, Response, Security, WebSocket
from fastapi import WebSocketException
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import APIKeyHeader, HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.endpoints import HTTPEndpoint, WebSocketEndpoint
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
TOKENS = {"good": "ann"}
KEY = "k"
DEBUG = True
AUTH_ENABLED = False
OPEN_PATHS = ["/news"]

def current(request: Request):
    name = TOKENS.get(request.headers.get("authorization", "").removeprefix("Bearer "))
    if name is None:
        raise HTTPException(status_code=401)
    return name

def handler() -> None: ...

class Guard(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        if request.headers.get("x-token") != KEY:
            return JSONResponse({}, status_code=401)
        return await call_next(request)

class Plain:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if dict(scope["headers"]).get(b"x-token") != b"k":
            return await JSONResponse({}, status_code=401)(scope, receive, send)
        return await self.app(scope, receive, send)
"""

DEPENDENCIES = {
    "an exception that leads away": (
        "guarded",
        """
class Away(Exception): ...
app.add_exception_handler(Away, lambda request, error: RedirectResponse("/"))
def dep(c: str | None = Cookie(None, alias="session")):
    if c in TOKENS:
        return c
    raise Away()
""",
    ),
    "roles of which none was named": (
        "open",
        """
def need(*roles):
    def dep(x_role: str = Header("")):
        if not all(each == x_role for each in roles): raise HTTPException(403)
    return dep
dep = need()
""",
    ),
    "a table with a default": (
        "open",
        """
def dep(x_token: str | None = Header(None)):
    if not TOKENS.get(x_token, "guest"): raise HTTPException(401)
""",
    ),
    "errors that are handed back": (
        "open",
        """
async def ask(r): current(r)
async def dep(r: Request): await asyncio.gather(ask(r), return_exceptions=True)
""",
    ),
    "a context manager that swallows": (
        "unknown",
        """
class Quiet:
    def __enter__(self): return self
    def __exit__(self, *error): return True
def dep(r: Request):
    with Quiet(): current(r)
""",
    ),
    "a look-up that fails": (
        "guarded",
        """
def dep(r: Request): current(r)
""",
    ),
    "a presence and a comparison": (
        "guarded",
        """
def dep(t=Header(None, alias='x-token')):
    if t is None or t != KEY: raise HTTPException(401)
""",
    ),
    "who is let in is found first": (
        "guarded",
        """
def dep(x_token: str = Header('')):
    if x_token in TOKENS: return x_token
    raise HTTPException(401)
""",
    ),
    "a loop that finds": (
        "guarded",
        """
def dep(x_token: str = Header('')):
    for t in TOKENS:
        if t == x_token: return t
    raise HTTPException(401)
""",
    ),
    "a token that is decoded": (
        "guarded",
        """
def dep(t: str = Depends(OAuth2PasswordBearer('x'))):
    try: return jwt.decode(t, KEY, algorithms=['HS256'])
    except jwt.PyJWTError: raise HTTPException(401) from None
""",
    ),
    "a helper that makes the refusal": (
        "guarded",
        """
def abort(code): raise HTTPException(code)
def dep(x_token: str = Header('')):
    if x_token not in TOKENS: abort(401)
""",
    ),
    "a thread": (
        "guarded",
        """
async def dep(r: Request): await run_in_threadpool(current, r)
""",
    ),
    "a lambda": (
        "guarded",
        """
dep = lambda r=Depends(current): r
""",
    ),
    "an alternative": (
        "guarded",
        """
def dep(r: Request): return TOKENS.get(r.cookies.get('t')) or current(r)
""",
    ),
    "a method of a parameter's class": (
        "guarded",
        """
class Rules:
    def __init__(self, r: Request): self.key = r.headers.get('x-key')
    def ask(self):
        if self.key != KEY: raise HTTPException(401)
def dep(rules: Annotated[Rules, Depends()]): rules.ask()
""",
    ),
    "an exception that a handler answers": (
        "guarded",
        """
class Stop(Exception): ...
@app.exception_handler(Stop)
def on(request, exc): return JSONResponse({}, 401)
def dep(x_token: str = Header('')):
    if x_token not in TOKENS: raise Stop()
""",
    ),
    "a way to the login": (
        "guarded",
        """
def dep(r: Request):
    if not r.session.get('user'):
        raise HTTPException(303, headers={'location': '/login'})
""",
    ),
    "what is before the yield": (
        "guarded",
        """
async def dep(r: Request):
    yield current(r)
""",
    ),
    "a response that is returned": (
        "open",
        """
def dep(t=Header(None)):
    if t != KEY: return JSONResponse({}, status_code=401)
""",
    ),
    "nobody awaits it": (
        "open",
        """
async def ask(r): current(r)
async def dep(r: Request): ask(r)
""",
    ),
    "it is swallowed": (
        "unknown",
        """
def dep(r: Request):
    try: return current(r)
    except HTTPException: return None
""",
    ),
    "it is suppressed": (
        "unknown",
        """
def dep(r: Request):
    with contextlib.suppress(Exception): current(r)
""",
    ),
    "none is shown": (
        "open",
        """
def dep(c=Depends(HTTPBearer(auto_error=False))):
    if c is None: return None
    raise HTTPException(401)
""",
    ),
    "only a wrong one is refused": (
        "open",
        """
def dep(authorization: str | None = Header(None)):
    if authorization and authorization != KEY:
        raise HTTPException(401)
""",
    ),
    "anything that is shown": (
        "open",
        """
def dep(authorization: str | None = Header(None)):
    if authorization is None: raise HTTPException(401)
    return authorization
""",
    ),
    "only the kind of it is asked": (
        "unknown",
        """
class dep(HTTPBearer):
    async def __call__(self, request: Request):
        c = await super().__call__(request)
        if c.scheme != 'Bearer': raise HTTPException(403)
        return c
dep = dep()
""",
    ),
    "a signature that nobody asks": (
        "open",
        """
def dep(t: str = Depends(OAuth2PasswordBearer('x'))):
    return jwt.decode(t, KEY, options={'verify_signature': False}, algorithms=['HS256'])
""",
    ),
    "a factory that is not called": (
        "open",
        """
def dep(role='x'):
    def check(r: Request):
        current(r)
    return check
""",
    ),
    "an inner function that nobody calls": (
        "open",
        """
def dep(r: Request):
    def ask(): current(r)
    return r
""",
    ),
    "dead code": (
        "open",
        """
def dep(r: Request):
    return 1
    current(r)
""",
    ),
    "what is after the yield": (
        "open",
        """
async def dep(t=Header(None)):
    yield t
    if t != KEY: raise HTTPException(401)
""",
    ),
    "a switch that is off": (
        "open",
        """
def dep(r: Request):
    if AUTH_ENABLED: current(r)
""",
    ),
    "a way around for the developer": (
        "open",
        """
def dep(r: Request):
    if DEBUG: return 'dev'
    return current(r)
""",
    ),
    "by the path": (
        "unknown",
        """
def dep(r: Request):
    if r.url.path in OPEN_PATHS: return None
    return current(r)
""",
    ),
    "by the method": (
        "unknown",
        """
def dep(r: Request):
    if r.method != 'GET': current(r)
""",
    ),
    "by a parameter of whoever asks": (
        "unknown",
        """
def dep(x_token: str = Header(''), asked: bool = True):
    if asked and x_token not in TOKENS: raise HTTPException(401)
""",
    ),
    "about another matter": (
        "unknown",
        """
def dep(r: Request):
    if r.app.state.read_only: raise HTTPException(403)
""",
    ),
    "no such object": (
        "open",
        """
def dep(r: Request):
    found = getattr(r.app.state, 'x', None)
    if not found: raise HTTPException(404)
""",
    ),
    "what cannot be followed": (
        "unknown",
        """
def dep(r: Request): r.app.state.service.verify(r)
""",
    ),
    "what cannot be followed, of who is calling": (
        "unknown",
        """
def got(r: Request): return r.state.authentication
def dep(r: Request, a=Depends(got)): a.authorize_request(r)
""",
    ),
}

REST: dict[str, tuple[dict[str, str], str]] = {
    "dependencies that are overridden": (
        {"GET /a": "open"},
        """
app.get('/a', dependencies=[Depends(current)])(handler)
app.dependency_overrides[current] = lambda: 'dev'
""",
    ),
    "a loader is no guard": (
        {"DELETE /a/{a_id}": "open"},
        """
def db(): return TOKENS
def load(a_id: str, d=Depends(db)):
    if a_id not in d: raise HTTPException(404)
@app.delete('/a/{a_id}')
def a(x=Depends(load)): ...
""",
    ),
    "a class of routes that guards": (
        {"GET /a": "guarded"},
        """
from fastapi.routing import APIRoute
class Own(APIRoute):
    def get_route_handler(self):
        inner = super().get_route_handler()
        async def asked(request: Request):
            current(request)
            return await inner(request)
        return asked
r = APIRouter(route_class=Own)
r.get('/a')(handler)
app.include_router(r)
""",
    ),
    "a handler's own check": (
        {"GET /a": "guarded", "GET /b": "open", "GET /c": "open"},
        """
@app.get('/a')
def a(request: Request): current(request)
@app.get('/b')
def b(size: int):
    if size > 10: raise HTTPException(403)
@app.get('/c')
def c(name: str):
    try: open(name)
    except PermissionError: raise HTTPException(403)
""",
    ),
    "a bound method below a decorator": (
        {"GET /a": "guarded"},
        """
def traced(f):
    @functools.wraps(f)
    async def inner(*a, **k): return await f(*a, **k)
    return inner
class S:
    @traced
    async def a(self, request: Request): self.ask(request)
    def ask(self, request): current(request)
app.add_api_route('/a', S().a)
""",
    ),
    "each method of a class view": (
        {"GET /a": "guarded", "POST /a": "open"},
        """
class View(HTTPEndpoint):
    async def get(self, request): current(request)
    async def post(self, request): ...
app.router.routes.append(Route('/a', View))
""",
    ),
    "decorators that wrap": (
        {"GET /a": "guarded", "GET /b": "open", "GET /c": "open"},
        """
def asks(f):
    @functools.wraps(f)
    async def inner(request: Request):
        current(request)
        return await f(request)
    return inner
def times(f):
    @functools.wraps(f)
    async def inner(request: Request): return await f(request)
    return inner
async def h(request: Request) -> None: ...
app.get('/a')(asks(h))
app.get('/b')(times(h))
app.get('/c')(h)
asks(h)
""",
    ),
    "a wrapper that calls something else": (
        {"GET /a": "unknown"},
        """
def asked(request: Request): current(request)
def other(request: Request): ...
app.get('/a')(functools.update_wrapper(other, asked))
""",
    ),
    "middleware sees no WebSockets": (
        {"GET /a": "guarded", "WS /w": "open"},
        """
app.add_middleware(Guard)
app.get('/a')(handler)
@app.websocket('/w')
async def w(ws: WebSocket): await ws.accept()
""",
    ),
    "plain middleware for http": (
        {"GET /a": "guarded", "WS /w": "open"},
        """
app.add_middleware(Plain)
app.get('/a')(handler)
@app.websocket('/w')
async def w(ws: WebSocket): await ws.accept()
""",
    ),
    "middleware that maps errors": (
        {"GET /a": "open"},
        """
@app.middleware('http')
async def maps(request: Request, call_next):
    try: return await call_next(request)
    except PermissionError: return JSONResponse({}, status_code=403)
app.get('/a')(handler)
""",
    ),
    "middleware about something else": (
        {"GET /a": "open"},
        """
@app.middleware('http')
async def uploads(request: Request, call_next):
    if request.headers.get('content-type') == 'x': return JSONResponse({}, status_code=403)
    return await call_next(request)
app.get('/a')(handler)
""",
    ),
    "middleware that leaves preflights alone": (
        {"GET /a": "guarded"},
        """
@app.middleware('http')
async def asks(request: Request, call_next):
    if request.method == 'OPTIONS': return await call_next(request)
    if request.headers.get('x-token') not in TOKENS: return JSONResponse({}, status_code=401)
    return await call_next(request)
app.get('/a')(handler)
""",
    ),
    "WebSockets": (
        {
            "WS /a": "guarded",
            "WS /b": "guarded",
            "WS /c": "guarded",
            "WS /d": "open",
            "WS /e": "guarded",
            "WS /f": "open",
        },
        """
def asks(ws: WebSocket):
    if ws.headers.get('x-token') not in TOKENS: raise WebSocketException(code=1008)
@app.websocket('/a')
async def a(ws: WebSocket, who=Depends(asks)): await ws.accept()
@app.websocket('/b')
async def b(ws: WebSocket):
    if ws.headers.get('x-token') not in TOKENS:
        await ws.close()
        return
    await ws.accept()
@app.websocket('/c')
async def c(ws: WebSocket, token: str | None = None):
    await ws.accept()
    if token not in TOKENS:
        await ws.close(code=1008)
        return
    await ws.send_text('')
@app.websocket('/d')
async def d(ws: WebSocket):
    await ws.accept()
    await ws.close(code=1008)
class E(WebSocketEndpoint):
    async def on_connect(self, websocket):
        if websocket.headers.get('x-token') not in TOKENS:
            await websocket.close()
            return
        await websocket.accept()
app.router.routes.append(WebSocketRoute('/e', E))
class F(WebSocketEndpoint): ...
app.router.routes.append(WebSocketRoute('/f', F))
""",
    ),
    "middleware around a mount and a route": (
        {"GET /in/a": "guarded", "GET /b": "guarded", "GET /c": "open"},
        """
async def h(request): return Response()
app.router.routes += [Mount('/in', routes=[Route('/a', h)], middleware=[Middleware(Plain)]),
    Route('/b', h, middleware=[Middleware(Guard)]), Route('/c', h)]
""",
    ),
    "mounts in mounts, hosts, applications in applications": (
        {"GET /one/two/a": "open", "GET /one/two/b": "guarded", "GET <api.example>/c": "open", "GET /sub/d": "guarded"},
        """
inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
inner.get('/a')(handler)
inner.get('/b', dependencies=[Depends(current)])(handler)
outer = Starlette(routes=[Mount('/two', inner)])
app.mount('/one', outer)
host = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
host.get('/c')(handler)
app.router.routes.append(Host('api.example', host))
sub = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
sub.add_middleware(Guard)
sub.get('/d')(handler)
app.mount('/sub', sub)
""",
    ),
    "routers that are kept, and grow later": (
        {"GET /x/y/a": "guarded", "GET /x/y/late": "guarded", "GET /x/open": "open", "WS /x/y/w": "guarded"},
        """
inner = APIRouter()
inner.get('/a')(handler)
outer = APIRouter()
outer.get('/open')(handler)
@inner.websocket('/w')
async def w(ws: WebSocket): ...
def who(x_token: str = Header('')):
    if x_token != KEY: raise HTTPException(401)
inner.get('/late')(handler)
outer.include_router(inner, prefix='/y', dependencies=[Depends(who)])
app.include_router(outer, prefix='/x')
""",
    ),
    "static files": (
        {"GET /files": "open"},
        """
app.mount('/files', StaticFiles(directory='/', check_dir=False))
""",
    ),
    "an application of another kind": (
        {"ANY /other": "unknown"},
        """
async def other(scope, receive, send): ...
app.mount('/other', other)
""",
    ),
    "scopes that nobody asks": (
        {"GET /a": "guarded"},
        """
app.get('/a', dependencies=[Security(current, scopes=['admin'])])(handler)
""",
    ),
}

Standings = Callable[[str], dict[str, str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Standings:
    """Reads an application from source text, and tells who may call each route."""

    def read(text: str) -> dict[str, str]:
        file = tmp_path / "told_application.py"
        file.write_text(HEAD + text)
        module = types.ModuleType("told_application")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "told_application", module)
        exec(compile(file.read_text(), str(file), "exec"), module.__dict__)  # noqa: S102 - this file's own text
        routes = read_application(module.app, "told_application:app").routes
        return {each.name: each.standing for each in routes}

    return read


@pytest.mark.parametrize("name", DEPENDENCIES)
def test_dependencies(name: str, told: Standings) -> None:
    """What refuses strangers, and those who show something made up, is a guard; what does not is none."""
    standing, text = DEPENDENCIES[name]
    assert told(f"{text}\napp.get('/a', dependencies=[Depends(dep)])(handler)\n") == {"GET /a": standing}


@pytest.mark.parametrize("name", REST)
def test_around(name: str, told: Standings) -> None:
    """Of routers, mounts, middleware, decorators, handlers and sockets, each route has the standing that it has."""
    standings, text = REST[name]
    assert told(text) == standings
