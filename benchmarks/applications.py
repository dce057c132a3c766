"""The applications that are measured: the same route bare, guarded by limen, and guarded as people do by hand."""

import os
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.security import OAuth2PasswordBearer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import limen.fastapi
import limen.starlette
from benchmarks.gates import ROLES
from limen import Limen

ORDER = {"id": 1, "item": "tea", "amount": 3, "status": "pending"}
PATH = "/orders/1"
ISSUER, AUDIENCE = "https://bench.example", "bench"


def fastapi_bare() -> FastAPI:
    """FastAPI without a guard."""
    app = FastAPI(openapi_url=None)

    @app.get("/orders/{order_id}")
    async def read(order_id: int) -> Any:
        return ORDER

    return app


def fastapi_limen(gate: Limen | None = None) -> FastAPI:
    """FastAPI, guarded by limen: a role is required."""
    app = FastAPI(openapi_url=None)

    @app.get("/orders/{order_id}")
    @limen.fastapi.roles("maker")
    async def read(order_id: int) -> Any:
        return ORDER

    _protect(app, gate)
    return app


def _included(router: APIRouter) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(router, prefix="/orders")
    return app


def fastapi_included_bare() -> FastAPI:
    """FastAPI with an included router, without a guard."""
    router = APIRouter()

    @router.get("/{order_id}")
    async def read(order_id: int) -> Any:
        return ORDER

    return _included(router)


def fastapi_included_limen(gate: Limen | None = None) -> FastAPI:
    """FastAPI with an included router, guarded by limen."""
    router = APIRouter()

    @router.get("/{order_id}")
    @limen.fastapi.roles("maker")
    async def read(order_id: int) -> Any:
        return ORDER

    app = _included(router)
    _protect(app, gate)
    return app


def fastapi_pyjwt(secret: str | None = None) -> FastAPI:
    """FastAPI with a dependency on PyJWT, as its tutorial has it."""
    key = secret or os.environ["LIMEN_JWT_ACCESS_SECRET"]
    app = FastAPI(openapi_url=None)
    scheme = OAuth2PasswordBearer(tokenUrl="token")

    async def principal(token: Annotated[str, Depends(scheme)]) -> dict[str, Any]:
        try:
            return _by_pyjwt(token, key)
        except jwt.InvalidTokenError:
            raise HTTPException(401, headers={"WWW-Authenticate": "Bearer"}) from None

    async def maker(claims: Annotated[dict[str, Any], Depends(principal)]) -> dict[str, Any]:
        if "maker" not in claims["roles"]:
            raise HTTPException(403)
        return claims

    @app.get("/orders/{order_id}")
    async def read(order_id: int, me: Annotated[dict[str, Any], Depends(maker)]) -> Any:
        return ORDER

    return app


async def _read(request: Request) -> Response:
    return JSONResponse(ORDER)


async def _echo(request: Request) -> Response:
    return JSONResponse(await request.json())


def starlette_bare() -> Starlette:
    """Starlette without a guard; ``POST /echo`` is what any endpoint that reads and answers JSON costs."""
    return Starlette(routes=[Route("/orders/{order_id:int}", _read), Route("/echo", _echo, methods=["POST"])])


async def _live(request: Request) -> Response:
    return JSONResponse(ORDER)


async def _work(request: Request) -> Response:
    return JSONResponse({"sum": sum(number * number for number in range(20_000))})


def starlette_routes(gate: Limen | None = None) -> Starlette:
    """Starlette, guarded by limen: a route that asks the database, one that works for a millisecond or two."""
    maker = limen.starlette.roles("maker")
    app = Starlette(
        routes=[
            Route("/orders/{order_id:int}", maker(_read)),
            Route("/live", maker(limen.starlette.live(_live))),
            Route("/work", maker(_work)),
        ]
    )
    _protect(app, gate)
    return app


def starlette_limen(gate: Limen | None = None) -> Starlette:
    """Starlette, guarded by limen."""
    app = Starlette(routes=[Route("/orders/{order_id:int}", limen.starlette.roles("maker")(_read))])
    _protect(app, gate)
    return app


def starlette_pyjwt(secret: str | None = None) -> Starlette:
    """Starlette with a call of PyJWT at the top of the endpoint."""
    key = secret or os.environ["LIMEN_JWT_ACCESS_SECRET"]

    async def read(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = _by_pyjwt(token, key)
        except jwt.InvalidTokenError:
            return JSONResponse({"detail": "token"}, 401, {"WWW-Authenticate": "Bearer"})
        if scheme.lower() != "bearer" or "maker" not in claims["roles"]:
            return JSONResponse({"detail": "role"}, 403)
        return JSONResponse(ORDER)

    return Starlette(routes=[Route("/orders/{order_id:int}", read)])


def _by_pyjwt(token: str, key: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, key, algorithms=["HS256"], options={"verify_aud": False})
    return claims


def _protect(app: Any, gate: Limen | None) -> None:
    (Limen.from_env(roles=ROLES) if gate is None else gate).protect(app)


Application = Callable[[Any, Any, Any], Awaitable[None]]

APPLICATIONS: dict[str, Callable[..., Application]] = {
    "fastapi-bare": fastapi_bare,
    "fastapi-limen": fastapi_limen,
    "fastapi-included-bare": fastapi_included_bare,
    "fastapi-included-limen": fastapi_included_limen,
    "fastapi-pyjwt": fastapi_pyjwt,
    "starlette-bare": starlette_bare,
    "starlette-limen": starlette_limen,
    "starlette-pyjwt": starlette_pyjwt,
    "starlette-routes": starlette_routes,
}


def from_environment() -> Application:
    """Make the application that ``BENCH_APPLICATION`` names."""
    return APPLICATIONS[os.environ["BENCH_APPLICATION"]]()
