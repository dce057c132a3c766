"""Applications as teams write them, right and subtly wrong, beside those of the grammar: each is called, too.

Who shows nothing, or something wrong, is refused or not; that is what the check is compared with, and not an opinion.
"""

BEGINNING = """
import asyncio
import contextlib
import functools
from typing import Annotated, Any, Optional

import jwt
from fastapi import APIRouter, BackgroundTasks, Cookie, Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi import WebSocket, WebSocketException, status
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser, requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount, Route

BARE: Any = {"docs_url": None, "redoc_url": None, "openapi_url": None}
TOKENS = {"good": "ann"}
app = FastAPI(**BARE)


def ok():
    return {"said": "reached"}


def verify(token):
    if token not in TOKENS:
        raise HTTPException(401)
    return token


async def averify(token):
    return verify(token)


def current(request: Request):
    return verify(request.headers.get("authorization", "").removeprefix("Bearer "))


def serve(path, dependency):
    app.get(path, dependencies=[Depends(dependency)])(ok)
"""

WRITTEN = {
    "a response returned by a dependency": """
def dep(token: str = Header(None)):
    if token != "good":
        return JSONResponse({"detail":"no"}, status_code=401)
serve("/a", dep)
""",
    "a factory that nobody called": """
def require_role(role: str = "admin"):
    def check(name=Depends(current)):
        if name != role: raise HTTPException(403)
    return check
serve("/a", require_role)
""",
    "a task that nobody waits for": """
async def dep(x_token: str = Header("")):
    asyncio.create_task(averify(x_token))
serve("/a", dep)
""",
    "a refusal after the yield": """
async def dep(x_token: str = Header("")):
    yield x_token
    if x_token not in TOKENS: raise HTTPException(401)
serve("/a", dep)
""",
    "a path let through": """
EXEMPT = {"/a"}
def dep(request: Request):
    if request.url.path in EXEMPT: return None
    return current(request)
api = FastAPI(dependencies=[Depends(dep)], **BARE)
app = api
@app.get("/a")
def h(): return ok()
@app.get("/b")
def b(): return ok()
""",
    "an endpoint let through by a mark": """
def dep(request: Request):
    if getattr(request.scope["endpoint"], "_is_open", False): return None
    return current(request)
app = FastAPI(dependencies=[Depends(dep)], **BARE)
def free(f):
    f._is_open = True
    return f
@app.get("/a")
@free
def h(): return ok()
""",
    "a file that may not be read": """
@app.get("/files/{name}")
def h(name: str):
    try:
        return ok()
    except PermissionError:
        raise HTTPException(status_code=403, detail="the file is not readable")
""",
    "the refusal of another service": """
def fetch():
    class R: status_code = 200
    return R()
@app.get("/weather")
def h():
    r = fetch()
    if r.status_code == 401:
        raise HTTPException(status_code=401, detail="our key for the weather service is wrong")
    return ok()
""",
    "credentials of another kind": """
class AwsCredentialsMissing(Exception): pass
def client():
    if 0: raise AwsCredentialsMissing()
@app.get("/a")
def h():
    client()
    return ok()
""",
    "any header at all": """
def dep(authorization: str = Header(None)):
    if authorization is None: raise HTTPException(401)
    return authorization.removeprefix("Bearer ")
@app.get("/a")
def h(t=Depends(dep)): return ok()
""",
    "a lambda": """
def fail(): raise HTTPException(401)
def check(t): return t in TOKENS or fail()
serve("/a", lambda x_token=Header(""): check(x_token))
""",
    "everybody is allowed": """
class Base:
    def __call__(self, request: Request):
        if not self.allowed(request): raise HTTPException(401)
    def allowed(self, request): return False
class AllowAll(Base):
    def allowed(self, request): return True
serve("/b", AllowAll())
""",
    "an error with a handler": """
class Stop(Exception):
    pass
@app.exception_handler(Stop)
def on(request, exc): return JSONResponse({}, status_code=401)
def dep(x_token: str = Header("")):
    if x_token not in TOKENS: raise Stop()
serve("/a", dep)
""",
    "a redirect to the login": """
def dep(request: Request):
    if request.cookies.get("session") not in TOKENS:
        raise HTTPException(status_code=303, headers={"location": "/login"})
serve("/a", dep)
""",
    "Starlette's requires": """
class B(AuthenticationBackend):
    async def authenticate(self, conn):
        if conn.headers.get("x-token") not in TOKENS: return None
        return AuthCredentials(["authenticated"]), SimpleUser("a")
app.add_middleware(AuthenticationMiddleware, backend=B())
@app.get("/a")
@requires("authenticated")
def h(request: Request): return ok()
@app.get("/b")
def b(request: Request): return ok()
""",
    "a backend that refuses": """
class B(AuthenticationBackend):
    async def authenticate(self, conn):
        if conn.headers.get("x-token") not in TOKENS: raise AuthenticationError("no")
        return AuthCredentials(["authenticated"]), SimpleUser("a")
app.add_middleware(AuthenticationMiddleware, backend=B())
@app.get("/b")
def b(request: Request): return ok()
""",
    "middleware of routes and mounts": """
class Guard:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        if dict(scope["headers"]).get(b"x-token") != b"good":
            response = JSONResponse({}, status_code=401)
            await response(scope, receive, send); return
        await self.app(scope, receive, send)
def h(request): return JSONResponse(ok())
around = [Middleware(Guard)]
mounted = Mount("/m", routes=[Route("/b", h)], middleware=around)
app = Starlette(routes=[Route("/a", h, middleware=around), mounted, Route("/c", h)])
""",
    "sockets": """
def dep(ws: WebSocket):
    if ws.headers.get("x-token") not in TOKENS: raise WebSocketException(code=1008)
@app.websocket("/ws", dependencies=[Depends(dep)])
async def w(ws: WebSocket):
    await ws.accept(); await ws.send_text("reached")
@app.websocket("/ws2")
async def w2(ws: WebSocket):
    if ws.headers.get("x-token") not in TOKENS:
        await ws.close(code=1008); return
    await ws.accept(); await ws.send_text("reached")
@app.websocket("/ws3")
async def w3(ws: WebSocket, token: str = Query(None)):
    await ws.accept()
    if token not in TOKENS:
        await ws.close(code=status.WS_1008_POLICY_VIOLATION); return
    await ws.send_text("reached")
@app.websocket("/ws4")
async def w4(ws: WebSocket):
    await ws.accept(); await ws.send_text("reached")
    await ws.close(code=1008)
""",
    "a class of routes": """
from fastapi.routing import APIRoute
class Guarded(APIRoute):
    def get_route_handler(self):
        original = super().get_route_handler()
        async def handler(request):
            if request.headers.get("x-token") not in TOKENS: raise HTTPException(401)
            return await original(request)
        return handler
r = APIRouter(route_class=Guarded)
@r.get("/a")
def h(): return ok()
app.include_router(r)
""",
    "awaited in many ways": """
async def dep(x_token: str = Header("")):
    return await averify(x_token)
serve("/a", dep)
@app.get("/b")
async def h2(request: Request):
    await averify(request.headers.get("x-token"))
    return ok()
@app.get("/c")
async def h3(request: Request):
    from fastapi.concurrency import run_in_threadpool
    await run_in_threadpool(current, request)
    return ok()
@app.get("/d")
async def h4(request: Request):
    await asyncio.gather(averify(request.headers.get("x-token")))
    return ok()
@app.get("/e")
async def h5(request: Request):
    await asyncio.wait_for(averify(request.headers.get("x-token")), 1)
    return ok()
""",
    "only what is private": """
@app.get("/a")
def h(request: Request, private: bool = False):
    if private:
        current(request)
    return ok()
""",
    "middleware of a mount": """
sub = FastAPI(**BARE)
@sub.middleware("http")
async def guard(request, call_next):
    if request.headers.get("x-token") not in TOKENS: return JSONResponse({}, status_code=401)
    return await call_next(request)
@sub.get("/a")
def h(): return ok()
app.mount("/sub", sub)
@app.get("/b")
def b(): return ok()
""",
    "middleware that only notes who calls": """
@app.middleware("http")
async def auth(request, call_next):
    request.state.user = TOKENS.get(request.headers.get("x-token"))
    return await call_next(request)
@app.get("/a")
def h(request: Request): return ok()
@app.get("/b")
def b(request: Request):
    if request.state.user is None: raise HTTPException(401)
    return ok()
""",
    "middleware that is off": """
class Guard(BaseHTTPMiddleware):
    def __init__(self, app, enabled=True):
        super().__init__(app); self.enabled = enabled
    async def dispatch(self, request, call_next):
        if not self.enabled: return await call_next(request)
        if request.headers.get("x-token") not in TOKENS: return JSONResponse({}, status_code=401)
        return await call_next(request)
app.add_middleware(Guard, enabled=False)
@app.get("/a")
def h(request: Request): return ok()
""",
    "middleware with exceptions": """
class Guard(BaseHTTPMiddleware):
    def __init__(self, app, exclude=()):
        super().__init__(app); self.exclude = exclude
    async def dispatch(self, request, call_next):
        if any(request.url.path.startswith(e) for e in self.exclude): return await call_next(request)
        if request.headers.get("x-token") not in TOKENS: return JSONResponse({}, status_code=401)
        return await call_next(request)
app.add_middleware(Guard, exclude=["/a"])
@app.get("/a")
def h(request: Request): return ok()
@app.get("/b")
def b(request: Request): return ok()
""",
    "an empty key": """
API_KEY = ""
def user(x_api_key: str = Header("")):
    if x_api_key != API_KEY: raise HTTPException(401)
@app.get("/a")
def h(u=Depends(user)): return ok()
""",
    "a key, if there is one": """
API_KEY = None
def user(x_api_key: str = Header("")):
    if API_KEY and x_api_key != API_KEY: raise HTTPException(401)
@app.get("/a")
def h(u=Depends(user)): return ok()
""",
    "a decorator that swallows": """
def verify(t):
    if t not in TOKENS: raise HTTPException(401)
    return t
async def averify(t): return verify(t)

def quiet(f):
    @functools.wraps(f)
    def w(*a, **k):
        try: return f(*a, **k)
        except HTTPException: return None
    return w
@quiet
def dep(x_token: str = Header("")): return verify(x_token)
serve("/a", dep)
""",
    "a factory told not to ask": """
def auth(required=True):
    def dep(x_token: str = Header("")):
        if x_token not in TOKENS:
            if required: raise HTTPException(401)
            return None
        return x_token
    return dep
serve("/a", auth(required=False))
serve("/b", auth())
""",
    "auto_error of its own": """
class JWTBearer(HTTPBearer):
    def __init__(self, auto_error=True): super().__init__(auto_error=auto_error)
    async def __call__(self, request: Request):
        c = await super().__call__(request)
        if c and c.credentials in TOKENS: return c
        if self.auto_error: raise HTTPException(403)
        return None
serve("/a", JWTBearer(auto_error=False))
serve("/b", JWTBearer())
""",
    "a mount in a router": """
r = APIRouter(dependencies=[Depends(current)])
sub = FastAPI(**BARE)
@sub.get("/a")
def h(): return ok()
r.mount("/m", sub)
@r.get("/b")
def b(): return ok()
app.include_router(r)
""",
    "a function that was replaced": """
def is_valid(t): return t in TOKENS
def dep(x_token: str = Header("")):
    if not is_valid(x_token): raise HTTPException(401)
serve("/a", dep)
is_valid = lambda t: True
""",
    "a refusal while it streams": """
from fastapi.responses import StreamingResponse
@app.get("/a")
def h(request: Request):
    def gen():
        yield "reached"
        current(request)
    return StreamingResponse(gen())
""",
    "an object of somebody's": """
ITEMS = {"1": "public"}
@app.get("/items/{item_id}")
def h(item_id: str):
    item = ITEMS.get(item_id)
    if item is None: raise HTTPException(404)
    if item == "private": raise HTTPException(403)
    return ok()
""",
    "scopes of which none was named": """
def dep(scopes: SecurityScopes, x_token: str = Header("")):
    for each in scopes.scopes:
        if each not in TOKENS.get(x_token, ""): raise HTTPException(403)
serve("/a", dep)
""",
    "whoever is not banned": """
class Guest: banned = False
def who(x_token: str = Header("")): return TOKENS.get(x_token) or Guest()
def dep(user=Depends(who)):
    if user.banned: raise HTTPException(403)
serve("/a", dep)
""",
    "until there is somebody who administers": """
ADMINS = []
def dep():
    if ADMINS: raise HTTPException(403, "it is set up already")
serve("/setup", dep)
""",
    "two things of which one is another's": """
def dep(request: Request):
    if request.headers.get("x-token") != "good" and request.headers.get("host") == "elsewhere":
        raise HTTPException(401)
serve("/a", dep)
""",
    "somebody made for strangers": """
class Guest: role = "admin"
def who(x_token: str = Header("")):
    name = TOKENS.get(x_token)
    if name is None: return Guest()
    return name
def dep(user=Depends(who)):
    if user is None: raise HTTPException(401)
def dep2(user=Depends(who)):
    if user.role != "admin": raise HTTPException(403)
serve("/a", dep)
serve("/b", dep2)
""",
    "claims made for strangers": """
def claims(x_token: str = Header("")):
    try: return jwt.decode(x_token, "k" * 32, algorithms=["HS256"])
    except jwt.InvalidTokenError: return {"role": "member"}
def dep(found=Depends(claims)):
    if found["role"] not in ("member", "admin"): raise HTTPException(403)
serve("/a", dep)
""",
    "a name where there is none": """
def dep(x_token: str = Header("")):
    user = TOKENS[x_token] if x_token in TOKENS else "guest"
    if not user: raise HTTPException(401)
def dep2(x_token: str = Header("")):
    if not (user := TOKENS.get(x_token) or "guest"): raise HTTPException(401)
def dep3(x_token: str = Header("")):
    if next((name for each, name in TOKENS.items() if each == x_token), "guest") is None: raise HTTPException(401)
def dep4(request: Request):
    if not getattr(request.state, "user", "guest"): raise HTTPException(401)
def dep5(request: Request):
    if request.headers.get("x-token", "good") not in TOKENS: raise HTTPException(401)
for number, each in enumerate((dep, dep2, dep3, dep4, dep5)): serve(f"/{number}", each)
""",
    "a session that everybody has": """
from starlette.middleware.sessions import SessionMiddleware
app.add_middleware(SessionMiddleware, secret_key="x")
def who(request: Request):
    if "uid" not in request.session:
        request.session["uid"] = "anonymous"
    return request.session["uid"]
def dep(uid=Depends(who)):
    if not uid: raise HTTPException(401)
serve("/a", dep)
""",
    "a state that everybody has": """
@app.middleware("http")
async def note(request, call_next):
    request.state.user = TOKENS.get(request.headers.get("x-token"), "anonymous")
    return await call_next(request)
def dep(request: Request):
    if not request.state.user: raise HTTPException(401)
serve("/a", dep)
""",
    "a backend that knows everybody": """
class B(AuthenticationBackend):
    async def authenticate(self, conn): return AuthCredentials(["authenticated"]), SimpleUser("guest")
app.add_middleware(AuthenticationMiddleware, backend=B())
def dep(request: Request):
    if not request.user.is_authenticated: raise HTTPException(401)
serve("/a", dep)
@app.get("/b")
@requires("authenticated")
def b(request: Request): return ok()
""",
    "a class of routes that answers itself": """
from fastapi.routing import APIRoute
class Shortcut(APIRoute):
    def get_route_handler(self):
        original = super().get_route_handler()
        async def handler(request):
            return JSONResponse(ok())
        return handler
class Timed(APIRoute):
    def get_route_handler(self):
        original = super().get_route_handler()
        async def handler(request):
            answer = await original(request)
            answer.headers["x-timed"] = "1"
            return answer
        return handler
for path, kind in (("/a", Shortcut), ("/b", Timed)):
    router = APIRouter(route_class=kind, dependencies=[Depends(current)])
    router.get(path)(ok)
    app.include_router(router)
""",
    "a key that the environment may not have": """
import hmac, os
def dep(x_token: str = Header("")):
    if not hmac.compare_digest(x_token, os.getenv("A_KEY_THAT_IS_NOT_SET", "")): raise HTTPException(401)
def dep2(x_token: str | None = Header(None)):
    if x_token != os.environ.get("A_KEY_THAT_IS_NOT_SET"): raise HTTPException(401)
def dep3(x_token: str = Header("")):
    if x_token not in os.getenv("A_KEY_THAT_IS_NOT_SET", "").split(","): raise HTTPException(401)
for number, each in enumerate((dep, dep2, dep3)): serve(f"/{number}", each)
""",
    "texts that hold the empty text": """
def dep(x_token: str = Header("")):
    if x_token not in "good,better": raise HTTPException(401)
def dep2(x_token: str = Header("")):
    if not "good".startswith(x_token): raise HTTPException(401)
def dep3(x_role: str = Header("")):
    if x_role in ("admin"): return x_role
    raise HTTPException(403)
for number, each in enumerate((dep, dep2, dep3)): serve(f"/{number}", each)
""",
    "the same compared with itself": """
import hmac
def dep(x_token: str = Header("")):
    if not hmac.compare_digest(x_token, x_token): raise HTTPException(401)
serve("/a", dep)
""",
    "of nothing, all": """
def roles_of(token): return [each for each in ("a",) if token in TOKENS]
def dep(x_token: str = Header("")):
    if not all(each == "a" for each in roles_of(x_token)): raise HTTPException(403)
serve("/a", dep)
""",
    "a variable that nobody sets": """
import contextvars
current_user = contextvars.ContextVar("current_user", default="anonymous")
def dep():
    if not current_user.get(): raise HTTPException(401)
serve("/a", dep)
""",
    "a level that everybody has": """
LEVELS = {"good": 5}
def dep(x_token: str = Header("")):
    if LEVELS.get(x_token, 0) < 0: raise HTTPException(403)
def dep2(x_token: str = Header("")):
    if LEVELS.get(x_token, 0) < 5: raise HTTPException(403)
serve("/a", dep)
serve("/b", dep2)
""",
    "a secret that is empty": """
from pydantic import SecretStr
SECRET = SecretStr("")
def dep(x_token: str = Header("")):
    if x_token != SECRET.get_secret_value(): raise HTTPException(401)
serve("/a", dep)
""",
    "a cache that gives strangers a name": """
@functools.lru_cache
def name_of(token): return TOKENS.get(token, "anonymous")
def dep(x_token: str = Header("")):
    if not name_of(x_token): raise HTTPException(401)
serve("/a", dep)
""",
    "a partial": """
def check(default, x_token: str = Header("")):
    if not TOKENS.get(x_token, default): raise HTTPException(401)
serve("/a", functools.partial(check, "anonymous"))
serve("/b", functools.partial(check, None))
""",
    "patterns that hold whatever there is": """
def dep(x_token: str = Header("")):
    match {"user": TOKENS.get(x_token)}:
        case {"user": user}: return user
        case _: raise HTTPException(401)
def dep2(x_token: str = Header("")):
    match TOKENS.get(x_token):
        case "banned": raise HTTPException(403)
        case _: return x_token
serve("/a", dep)
serve("/b", dep2)
""",
}
