"""Who may call a route by what stands around it: routers, mounts, middleware, decorators, the handler itself."""

import pytest

from tests.checklist.conftest import Told

ROUTES: dict[str, tuple[dict[str, str], str]] = {
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


@pytest.mark.parametrize("name", ROUTES)
def test_standing(name: str, told: Told) -> None:
    """Of routers, mounts, middleware, decorators, handlers and sockets, each route has the standing that it has."""
    standings, text = ROUTES[name]
    assert told(text) == standings
