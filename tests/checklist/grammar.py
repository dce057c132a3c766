"""The parts that applications are made of to compare what `limen check` tells with what they do.

``_N`` is the number of an application; ``<refuse>`` and the like are filled in by `test_differential`.
"""

HEAD = """
import asyncio
import contextlib
import functools
import hmac
import logging
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Cookie, Depends, FastAPI, Header, HTTPException, Request, WebSocket, WebSocketException
from fastapi import status
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.endpoints import HTTPEndpoint
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import Mount, Route

KEY = "0123456789abcdef0123456789abcdef"
TOKENS = {"right": "ann", jwt.encode({"sub": "ann"}, KEY, algorithm="HS256"): "ann"}
log = logging.getLogger("generated")
ENFORCED = False
STRICT = True
NOBODY = []
TOO_MANY = 1000
bearer = HTTPBearer(auto_error=False)
api_key = APIKeyHeader(name="x-token", auto_error=False)
ERROR = HTTPException(status_code=401)


class Settings:
    debug = True
    production = True


settings = Settings()


class NotLoggedIn(HTTPException):
    def __init__(self) -> None:
        super().__init__(status_code=status.HTTP_401_UNAUTHORIZED, detail="log in")


def unauthorized(text: str) -> HTTPException:
    return HTTPException(401, text)


def deny() -> None:
    raise unauthorized("no")


def abort(status_code: int) -> None:
    raise HTTPException(status_code)


def verified(token: Any) -> str:
    name = TOKENS.get(token)
    if name is None:
        raise HTTPException(status_code=401)
    return name


def is_known(token: Any) -> bool:
    return token in TOKENS


def is_anybody(token: Any) -> bool:
    return True


def found(token: Any) -> str | None:
    for known, name in TOKENS.items():
        if known == token:
            return name
    return None


def quietly(token: Any) -> str | None:
    try:
        return verified(token)
    except HTTPException:
        return None


async def verified_later(token: Any) -> str:
    return verified(token)


def reached() -> dict[str, str]:
    return {"said": "reached"}
"""

REFUSALS = {
    "raise": "raise HTTPException(status_code=401)",
    "raise constant": "raise HTTPException(status.HTTP_403_FORBIDDEN)",
    "raise instance": "raise ERROR",
    "raise made": 'raise unauthorized("no")',
    "raise class": "raise NotLoggedIn",
    "call": "deny()",
    "call with status": "abort(401)",
}

# <refuse> is how it refuses. Sound ones let nobody in but the right token.
SOUND = {
    "not in": "if token not in TOKENS:\n    <refuse>\nreturn token",
    "early return": "if token in TOKENS:\n    return token\n<refuse>",
    "lookup": "name = TOKENS.get(token)\nif not name:\n    <refuse>\nreturn name",
    "none or unknown": "if token is None or token not in TOKENS:\n    <refuse>\nreturn token",
    "none, then unknown": (
        "if token is None:\n    <refuse>\nname = TOKENS.get(token)\nif name is None:\n    <refuse>\nreturn name"
    ),
    "missing key": "try:\n    return TOKENS[token]\nexcept KeyError:\n    <refuse>",
    "else": "if token in TOKENS:\n    name = TOKENS[token]\nelse:\n    <refuse>\nreturn name",
    "loop": "for known in TOKENS:\n    if known == token:\n        return known\n<refuse>",
    "with": "with contextlib.nullcontext():\n    if token not in TOKENS:\n        <refuse>\nreturn token",
    "match": "match TOKENS.get(token):\n    case None:\n        <refuse>\n    case name:\n        return name",
    "other error": 'try:\n    if token not in TOKENS:\n        raise ValueError("x")\nexcept ValueError:\n    <refuse>',
    "passed on": (
        "try:\n    if token not in TOKENS:\n        <refuse>\n"
        "except HTTPException:\n    raise\nexcept Exception:\n    return None"
    ),
    "flag that is on": "if not STRICT:\n    return None\nif token not in TOKENS:\n    <refuse>\nreturn token",
    "finally": "try:\n    if token not in TOKENS:\n        <refuse>\nfinally:\n    used = True\nreturn used",
    "called": "return verified(token)",
    "named in the test": "if not (name := TOKENS.get(token)):\n    <refuse>\nreturn name",
    "any of them": "if not any(token == each for each in TOKENS):\n    <refuse>\nreturn token",
    "compared": 'if not hmac.compare_digest((token or "").encode(), b"right"):\n    <refuse>\nreturn token',
    "inside": "if token:\n    if token in TOKENS:\n        return token\n<refuse>",
    "asked of a function": "if not is_known(token):\n    <refuse>\nreturn token",
    "found by a function": "name = found(token)\nif name is None:\n    <refuse>\nreturn name",
    "none where unknown": (
        "try:\n    name = TOKENS[token]\nexcept KeyError:\n    name = None\nif name is None:\n    <refuse>\nreturn name"
    ),
    "error by a name": "error = HTTPException(401)\nif token not in TOKENS:\n    raise error\nreturn token",
    "for and else": ("for known in TOKENS:\n    if known == token:\n        break\nelse:\n    <refuse>\nreturn token"),
    "while": "while token not in TOKENS:\n    <refuse>\nreturn token",
    "continue": "for known in TOKENS:\n    if known != token:\n        continue\n    return token\n<refuse>",
    "flag": "known = token in TOKENS\nif known is False:\n    <refuse>\nreturn token",
    "both of two": "if token is None:\n    <refuse>\nelif token not in TOKENS:\n    <refuse>\nelse:\n    return token",
    "decoded": (
        'try:\n    claims = jwt.decode(token or "", KEY, algorithms=["HS256"])\nexcept jwt.PyJWTError:\n    <refuse>\n'
        "return claims"
    ),
}

# These let somebody in who shows nothing, or anything.
UNSOUND = {
    "never": "if False:\n    <refuse>\nreturn token",
    "behind return": "return token\n<refuse>",
    "no raise": "if token not in TOKENS:\n    HTTPException(status_code=401)\nreturn token",
    "swallowed": "try:\n    if token not in TOKENS:\n        <refuse>\nexcept HTTPException:\n    pass\nreturn token",
    "swallowed wide": "try:\n    return verified(token)\nexcept Exception:\n    return None",
    "swallowed, all": "try:\n    return verified(token)\nexcept:\n    pass",
    "suppressed": "with contextlib.suppress(Exception):\n    if token not in TOKENS:\n        <refuse>\nreturn token",
    "finally returns": "try:\n    if token not in TOKENS:\n        <refuse>\nfinally:\n    return token",
    "optional": "if not token:\n    return None\nif token not in TOKENS:\n    <refuse>\nreturn token",
    "optional, inside": "if token:\n    if token not in TOKENS:\n        <refuse>\nreturn token",
    "optional, and": "if token and token not in TOKENS:\n    <refuse>\nreturn token",
    "flag that is off": "if ENFORCED:\n    if token not in TOKENS:\n        <refuse>\nreturn token",
    "debug": "if settings.debug:\n    return None\nif token not in TOKENS:\n    <refuse>\nreturn token",
    "not in production": "if not settings.production and token not in TOKENS:\n    <refuse>\nreturn token",
    "inner function": "def refuse() -> None:\n    <refuse>\nreturn token",
    "inner lambda": "refuse = lambda: verified(token)\nreturn token",
    "not awaited": "verified_later(token)\nreturn token",
    "only made": "error = unauthorized('no')\nreturn error",
    "file error": "try:\n    return token\nexcept PermissionError:\n    <refuse>",
    "for without else": "for known in TOKENS:\n    if known == token:\n        break\nreturn token",
    "a default": 'token = token or "right"\nif token not in TOKENS:\n    <refuse>\nreturn token',
    "everybody is known": "if not is_anybody(token):\n    <refuse>\nreturn token",
    "swallowed by a function": "return quietly(token)",
    "asked and forgotten": "is_known(token)\nreturn token",
    "the other way round": "if token in TOKENS:\n    <refuse>\nreturn token",
    "and something else": "if token not in TOKENS and ENFORCED:\n    <refuse>\nreturn token",
    "or a flag": "if token in TOKENS or settings.debug:\n    return token\n<refuse>",
    "only logged": "if token not in TOKENS:\n    log.warning('%s is refused', token)\nreturn token",
    "wrong level": "if token:\n    if token in TOKENS:\n        return token\n    <refuse>",
    "unverified": (
        'try:\n    claims = jwt.decode(token or "", options={"verify_signature": False})\nexcept jwt.PyJWTError:\n'
        "    claims = None\nif settings.debug:\n    return claims\n<refuse>"
    ),
    "banned only": "if token == 'banned':\n    <refuse>\nreturn token",
    "stolen only": 'if token in ("stolen", "lost"):\n    <refuse>\nreturn token',
    "found, and banned": 'name = TOKENS.get(token)\nif name == "banned":\n    <refuse>\nreturn name',
    "and another matter": "if token not in TOKENS and len(TOKENS) > TOO_MANY:\n    <refuse>\nreturn token",
    "asked of none": "for wanted in NOBODY:\n    if token != wanted:\n        <refuse>\nreturn token",
    "decoded quietly, and revoked": (
        'claims = {}\ntry:\n    claims = jwt.decode(token or "", KEY, algorithms=["HS256"])\nexcept jwt.PyJWTError:\n'
        '    pass\nif claims.get("revoked"):\n    <refuse>\nreturn claims'
    ),
}

# How the token comes to the guard, where a dependency asks for it.
TAKEN = {
    "header": 'token: str = Header("", alias="x-token")',
    "header or none": 'token: str | None = Header(None, alias="x-token")',
    "annotated header": 'token: Annotated[str | None, Header(alias="x-token")] = None',
    "api key": "token: str | None = Depends(api_key)",
}

# How a dependency is written; <taken> are its parameters, <body> its code.
FORMS = {
    "def": "def guard_N(<taken>):\n<body>\n",
    "async def": "async def guard_N(<taken>):\n<body>\n",
    "call of an object": "class Guard_N:\n    def __call__(self, <taken>):\n<inner>\n\nguard_N = Guard_N()\n",
    "method": "class Guard_N:\n    def ask(self, <taken>):\n<inner>\n\nguard_N = Guard_N().ask\n",
    "made by a factory": (
        "def make_N(wanted):\n    def guard(<taken>):\n<inner>\n    return guard\n\nguard_N = make_N('x')\n"
    ),
    "partial": "def ask_N(wanted, <taken>):\n<body>\n\nguard_N = functools.partial(ask_N, 'x')\n",
    "asked by another": "def ask_N(<taken>):\n<body>\n\ndef guard_N(asked=Depends(ask_N)):\n    return asked\n",
    "class of its own": "class Guard_N:\n    def __init__(self, <taken>):\n<nothing>\n\nguard_N = Guard_N\n",
    "generator": "async def guard_N(<taken>):\n<yielded>\n",
}

BARE = "FastAPI(docs_url=None, redoc_url=None, openapi_url=None<more>)"

# Where a dependency is put.
PLACES = {
    "route": '@app_N.get("/a", dependencies=[Depends(guard_N)])\ndef handler_N():\n    return reached()\n',
    "parameter": '@app_N.get("/a")\ndef handler_N(who=Depends(guard_N)):\n    return reached()\n',
    "annotated": (
        '@app_N.get("/a")\nasync def handler_N(who: Annotated[Any, Depends(guard_N)]):\n    return reached()\n'
    ),
    "router": (
        "router_N = APIRouter(dependencies=[Depends(guard_N)])\n"
        '@router_N.get("/a")\ndef handler_N():\n    return reached()\n\napp_N.include_router(router_N)\n'
    ),
    "inclusion, before its routes": (
        "router_N = APIRouter()\napp_N.include_router(router_N, prefix='/p', dependencies=[Depends(guard_N)])\n"
        '@router_N.post("/a")\ndef handler_N():\n    return reached()\n'
    ),
    "inclusion in inclusion": (
        "inner_N, outer_N = APIRouter(), APIRouter(dependencies=[Depends(guard_N)])\n"
        '@inner_N.api_route("/a", methods=["PUT"])\ndef handler_N():\n    return reached()\n\n'
        "outer_N.include_router(inner_N)\napp_N.include_router(outer_N, prefix='/o')\n"
    ),
    "mounted application": (
        "sub_N = " + BARE.replace("<more>", ", dependencies=[Depends(guard_N)]") + "\n"
        '@sub_N.get("/a")\ndef handler_N():\n    return reached()\n\napp_N.mount("/sub", sub_N)\n'
    ),
    "application around a mount": (
        "app_N = " + BARE.replace("<more>", ", dependencies=[Depends(guard_N)]") + "\n"
        "sub_N = " + BARE.replace("<more>", "") + "\n"
        '@sub_N.get("/a")\ndef handler_N():\n    return reached()\n\napp_N.mount("/sub", sub_N)\n'
    ),
    "one of two inclusions": (
        'router_N = APIRouter()\n@router_N.get("/a")\ndef handler_N():\n    return reached()\n\n'
        "app_N.include_router(router_N, prefix='/v1', dependencies=[Depends(guard_N)])\n"
        "app_N.include_router(router_N, prefix='/v2')\n"
    ),
    "another router": (
        "router_N = APIRouter()\nother_N = APIRouter(dependencies=[Depends(guard_N)])\n"
        '@router_N.get("/a")\ndef handler_N():\n    return reached()\n\n'
        "app_N.include_router(other_N)\napp_N.include_router(router_N)\n"
    ),
    "made in a loop": (
        "for name_N in ('a', 'b'):\n"
        "    @app_N.delete('/' + name_N, dependencies=[Depends(guard_N)] if name_N == 'a' else [])\n"
        "    def handler_N():\n        return reached()\n"
    ),
    "replaced": (
        '@app_N.get("/a", dependencies=[Depends(guard_N)])\ndef handler_N():\n    return reached()\n\n'
        "app_N.dependency_overrides[guard_N] = lambda: None\n"
    ),
}

# Where code asks that is no dependency: `ask_N` is the guard.
TAKEN_BY_HAND = 'token = request.headers.get("x-token")\n'
OTHER_PLACES = {
    "handler": '@app_N.get("/a")\ndef handler_N(request: Request):\n    ask_N(request)\n    return reached()\n',
    "async handler": (
        '@app_N.get("/a")\nasync def handler_N(request: Request):\n    ask_N(request)\n    return reached()\n'
    ),
    "decorator": (
        "def wrap_N(handler):\n    @functools.wraps(handler)\n    def wrapper(request: Request):\n"
        "        ask_N(request)\n        return handler(request)\n    return wrapper\n\n"
        '@app_N.get("/a")\n@wrap_N\ndef handler_N(request: Request):\n    return reached()\n'
    ),
    "decorator above the route": (
        "def wrap_N(handler):\n    @functools.wraps(handler)\n    def wrapper(request: Request):\n"
        "        ask_N(request)\n        return handler(request)\n    return wrapper\n\n"
        '@wrap_N\n@app_N.get("/a")\ndef handler_N(request: Request):\n    return reached()\n'
    ),
    "class view": (
        "class View_N(HTTPEndpoint):\n    def get(self, request):\n        ask_N(request)\n"
        "        return JSONResponse(reached())\n\n"
        "    def post(self, request):\n        return JSONResponse(reached())\n\n"
        'app_N = Starlette(routes=[Route("/a", View_N)])\n'
    ),
    "by method": (
        '@app_N.api_route("/a", methods=["GET", "POST"])\ndef handler_N(request: Request):\n'
        '    if request.method == "POST":\n        ask_N(request)\n    return reached()\n'
    ),
}

# Middleware answers itself, since nobody catches what it raises.
MIDDLEWARE = {
    "function": (
        '@app_N.middleware("http")\nasync def guard_N(request, call_next):\n    <open>\n'
        '    if request.headers.get("x-token") not in TOKENS<and_more>:\n'
        "        return JSONResponse({}, status_code=401)\n    return await call_next(request)\n"
    ),
    "class": (
        "class Guard_N(BaseHTTPMiddleware):\n    async def dispatch(self, request, call_next):\n        <open>\n"
        '        if request.headers.get("x-token") not in TOKENS<and_more>:\n'
        "            return JSONResponse({}, status_code=401)\n        return await call_next(request)\n\n"
        "app_N.add_middleware(Guard_N)\n"
    ),
    "asgi": (
        "class Guard_N:\n    def __init__(self, app):\n        self.app = app\n\n"
        "    async def __call__(self, scope, receive, send):\n"
        '        if scope["type"] != "http":\n            await self.app(scope, receive, send)\n            return\n'
        "        request = Request(scope)\n        <open>\n"
        '        if request.headers.get("x-token") not in TOKENS<and_more>:\n'
        "            response = JSONResponse({}, status_code=401)\n            await response(scope, receive, send)\n"
        "            return\n        await self.app(scope, receive, send)\n\napp_N.add_middleware(Guard_N)\n"
    ),
    "errors mapped": (
        '@app_N.middleware("http")\nasync def guard_N(request, call_next):\n    <open>\n    try:\n'
        "        return await call_next(request)\n    except PermissionError:\n"
        "        return JSONResponse({}, status_code=403)\n"
    ),
    "answers changed": (
        '@app_N.middleware("http")\nasync def guard_N(request, call_next):\n    <open>\n'
        "    response = await call_next(request)\n    if response.status_code == 401<and_more>:\n"
        "        return JSONResponse({}, status_code=401)\n    return response\n"
    ),
}
MIDDLEWARE_LETS_IN = {
    "nobody": ("pass", ""),
    "a path": ("pass", ' and request.url.path.startswith("/admin")'),
    "a path, by another name": ("url = request.url", ' and url.path.startswith("/admin")'),
    "an address": ("pass", ' and "/admin" in str(request.url)'),
    "a method": ("pass", ' and request.method in {"POST", "PUT"}'),
    "strangers": ("pass", ' and request.headers.get("x-token")'),
    "all, by a flag": ("pass", " and ENFORCED"),
}
MIDDLEWARE_ROUTES = (
    '@app_N.get("/a")\ndef handler_N():\n    return reached()\n\n'
    '@app_N.websocket("/ws")\nasync def socket_N(ws: WebSocket):\n    await ws.accept()\n'
    '    await ws.send_text("reached")\n'
)
