"""Libraries as their documentation shows them: what guards is told as a guard, and what only looks like it is not."""

from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest
from authx import AuthX, AuthXConfig
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Security
from fastapi_azure_auth import MultiTenantAzureAuthorizationCodeBearer, SingleTenantAzureAuthorizationCodeBearer
from fastapi_azure_auth.user import User as AzureUser
from fastapi_limiter.decorators import skip_limiter
from fastapi_limiter.depends import RateLimiter
from fastapi_users import BaseUserManager, FastAPIUsers
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, CookieTransport, JWTStrategy
from fastapi_users.db import BaseUserDatabase
from pydantic import BaseModel
from pyrate_limiter import Duration, Limiter, Rate
from slowapi import Limiter as SlowLimiter
from slowapi.middleware import SlowAPIMiddleware
from slowapi.util import get_remote_address
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationError, SimpleUser, requires
from starlette.authentication import AuthenticationBackend as Backend
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.routing import Route as StarletteRoute

from limen.checklist.facts import Route
from limen.checklist.judging import judge, named_public
from limen.checklist.routes.reading import read_application

_SECRET = "a secret of the tests, and of nothing else"


def read(app: Any) -> dict[str, Route]:
    """Return the routes of an application by their names, without FastAPI's own pages."""
    found = read_application(app, "tests:app").routes
    return {each.name: each for each in found if each.kind != "pages"}


def standings(app: Any) -> dict[str, str]:
    """Return who may call each route."""
    return {name: each.standing for name, each in read(app).items()}


def asks(route: Route) -> set[str]:
    """Return what the guards of a route ask for besides who is calling."""
    return {ask for guard in route.guards for ask in guard.asks if not guard.is_optional}


class Account(BaseModel):
    """An account of fastapi-users."""

    id: int
    email: str
    hashed_password: str
    is_active: bool = True
    is_superuser: bool = False
    is_verified: bool = False


class InMemory(BaseUserDatabase[Account, int]):
    """A database of accounts that has none."""

    async def get(self, id: int) -> Account | None:  # noqa: A002 - as the base class calls it
        """Return nobody."""
        return None

    async def get_by_email(self, email: str) -> Account | None:
        """Return nobody."""
        return None


class Accounts(BaseUserManager[Account, int]):
    """Who looks after accounts."""

    def parse_id(self, value: Any) -> int:
        """Return an id."""
        return int(value)


async def accounts() -> AsyncIterator[Accounts]:
    """Hand out who looks after accounts."""
    yield Accounts(InMemory())


def strategy() -> JWTStrategy[Account, int]:
    """Hand out how tokens are made."""
    return JWTStrategy(secret=_SECRET, lifetime_seconds=60)


BEARER = AuthenticationBackend[Account, int]("jwt", BearerTransport("auth/login"), strategy)
COOKIE = AuthenticationBackend[Account, int]("cookie", CookieTransport(cookie_secure=True), strategy)
USERS = FastAPIUsers[Account, int](accounts, [BEARER, COOKIE])


@pytest.mark.parametrize(
    ("options", "standing", "asked"),
    [
        ({}, "guarded", set()),
        ({"active": True}, "guarded", set()),
        ({"active": True, "verified": True}, "guarded", set()),
        ({"active": True, "superuser": True}, "guarded", {"role:superuser"}),
        ({"optional": True}, "open", set()),
        ({"optional": True, "superuser": True}, "open", set()),
    ],
    ids=["anybody", "active", "verified", "superuser", "optional", "optional superuser"],
)
def test_fastapi_users(options: dict[str, Any], standing: str, asked: set[str]) -> None:
    """`current_user` guards, `optional=True` lets everybody in, and superusers and verified ones are told."""
    app = FastAPI()
    who = USERS.current_user(**options)

    @app.get("/mine")
    def mine(user: Annotated[Account, Depends(who)]) -> str:
        return user.email

    @app.get("/also", dependencies=[Depends(USERS.authenticator.current_user_token(**options))])
    def also() -> str:
        return ""

    @app.get("/news")
    def news() -> str:
        return ""

    found = read(app)
    assert standings(app) == {"GET /mine": standing, "GET /also": standing, "GET /news": "open"}
    assert asks(found["GET /mine"]) == asks(found["GET /also"]) == asked


def test_the_routers_of_fastapi_users() -> None:
    """Logging in is public and is not throttled; what changes other accounts is for superusers."""
    app = FastAPI()
    app.include_router(USERS.get_auth_router(BEARER), prefix="/auth/jwt")
    app.include_router(USERS.get_register_router(Account, Account), prefix="/auth")  # type: ignore[type-var]
    app.include_router(USERS.get_users_router(Account, Account), prefix="/users")  # type: ignore[type-var]
    application = named_public(read_application(app, "tests:app"))
    found = {each.name: each for each in application.routes}
    assert found["POST /auth/jwt/login"].standing == found["POST /auth/register"].standing == "public"
    assert found["POST /auth/jwt/logout"].standing == "guarded"
    assert found["GET /users/me"].standing == "guarded"
    assert "role:superuser" in asks(found["DELETE /users/{id}"])
    throttled = {each.route for each in judge(application) if each.rule.id == "LC010"}
    assert {"/auth/jwt/login", "/auth/register"} <= throttled


def test_authx() -> None:
    """Its dependencies guard, the ones that only read a token do not, and scopes are told."""
    auth: AuthX[Any] = AuthX(AuthXConfig(JWT_SECRET_KEY=_SECRET, JWT_TOKEN_LOCATION=["headers"]))
    app = FastAPI()
    guards = {
        "access": auth.access_token_required,
        "fresh": auth.fresh_token_required,
        "refresh": auth.refresh_token_required,
        "subject": auth.get_current_subject,
        "scopes": auth.scopes_required("orders:read", "orders:write"),
        "limited": auth.rate_limited(max_requests=3),
        "bundle": auth.get_dependency,
        "token": auth.ACCESS_TOKEN.dependency,  # type: ignore[attr-defined]
    }
    for name, guard in guards.items():
        app.get(f"/{name}", dependencies=[Depends(guard)])(lambda: "")
    app.get("/news")(lambda: "")
    found = read(app)
    guarded = {name for name, each in found.items() if each.standing == "guarded"}
    assert guarded == {"GET /access", "GET /fresh", "GET /refresh", "GET /subject", "GET /scopes", "GET /limited"}
    opened = {name for name, each in found.items() if each.standing == "open"}
    assert opened == {"GET /bundle", "GET /token", "GET /news"}
    assert asks(found["GET /scopes"]) == {"scope:orders:read", "scope:orders:write"}
    assert found["GET /limited"].throttled_by
    assert not found["GET /access"].throttled_by


@pytest.mark.parametrize("is_optional", [False, True], ids=["it raises", "auto_error=False"])
def test_azure(is_optional: bool) -> None:
    """Its schemes verify and guard, with the scopes of Security; with auto_error=False they let everybody in."""
    single = SingleTenantAzureAuthorizationCodeBearer("app", tenant_id="tenant", auto_error=not is_optional)
    several = MultiTenantAzureAuthorizationCodeBearer("app", validate_iss=False, auto_error=not is_optional)
    app = FastAPI()

    @app.get("/single", dependencies=[Security(single, scopes=["user_impersonation"])])
    def one() -> str:
        return ""

    @app.get("/several")
    def more(user: Annotated[AzureUser | None, Depends(several)]) -> str:
        return ""

    @app.get("/admin")
    def admin(user: Annotated[AzureUser | None, Depends(single)]) -> str:
        if user is None or "Admin" not in user.roles:
            raise HTTPException(403)
        return ""

    app.get("/news")(lambda: "")
    found = read(app)
    standing = "open" if is_optional else "guarded"
    assert {name: each.standing for name, each in found.items()} == {
        "GET /single": standing,
        "GET /several": standing,
        "GET /admin": "guarded",
        "GET /news": "open",
    }
    assert asks(found["GET /single"]) == (set() if is_optional else {"scope:user_impersonation"})


class Sessions(Backend):
    """Lets through who shows nothing, as in Starlette's documentation."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Return who is calling."""
        if "Authorization" not in conn.headers:
            return None
        if conn.headers["Authorization"] != _SECRET:
            raise AuthenticationError("no")
        return AuthCredentials(["authenticated"]), SimpleUser("ann")


class Strict(Backend):
    """Refuses who shows nothing."""

    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        """Return who is calling."""
        if conn.headers.get("Authorization") != _SECRET:
            raise AuthenticationError("no")
        return AuthCredentials(["authenticated"]), SimpleUser("ann")


async def plain(request: Request) -> JSONResponse:
    """Answer anybody."""
    return JSONResponse({})


@requires("admin")
async def for_admins(request: Request) -> JSONResponse:
    """Answer admins."""
    return JSONResponse({})


@requires([])
async def for_all(request: Request) -> JSONResponse:
    """Answer anybody: no scope is asked for."""
    return JSONResponse({})


@requires("authenticated", redirect="login")
async def for_some(request: Request) -> JSONResponse:
    """Answer who is logged in."""
    return JSONResponse({})


ENDPOINTS = {"/plain": plain, "/admins": for_admins, "/all": for_all, "/some": for_some}


@pytest.mark.parametrize(("backend", "standing"), [(Sessions, "open"), (Strict, "guarded")])
def test_authentication_middleware(backend: type[Backend], standing: str) -> None:
    """Starlette's middleware guards nothing where its backend lets through who shows nothing; `requires` does."""
    around = [Middleware(AuthenticationMiddleware, backend=backend())]
    app = Starlette(routes=[StarletteRoute(path, call) for path, call in ENDPOINTS.items()], middleware=around)
    found = read(app)
    assert {each.path: each.standing for each in found.values()} == {
        "/plain": standing,
        "/admins": "guarded",
        "/all": standing,
        "/some": "guarded",
    }
    (admins,) = [each for each in found.values() if each.path == "/admins"]
    assert asks(admins) == {"scope:admin"}


def test_authentication_middleware_around_one_route() -> None:
    """It guards what it is put around, and nothing beside it."""
    around = [Middleware(AuthenticationMiddleware, backend=Strict())]
    app = Starlette(routes=[StarletteRoute("/in", plain, middleware=around), StarletteRoute("/out", plain)])
    assert {each.path: each.standing for each in read(app).values()} == {"/in": "guarded", "/out": "open"}


def limited(app: FastAPI) -> set[str]:
    """Return the routes on which calls are limited."""
    return {each.path for each in read_application(app, "tests:app").routes if each.throttled_by}


def slow(limiter: SlowLimiter) -> FastAPI:
    """Return an application with slowapi's decorators."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.limiter = limiter

    @app.post("/login")
    @limiter.limit("5/minute")
    async def login(request: Request) -> str:
        return ""

    @app.post("/shared")
    @limiter.shared_limit("5/minute", scope="all")
    def shared(request: Request) -> str:
        return ""

    @app.post("/register")
    @limiter.exempt  # type: ignore[untyped-decorator]
    async def register(request: Request) -> str:
        return ""

    @app.post("/reset")
    async def reset(request: Request) -> str:
        return ""

    return app


def test_slowapi() -> None:
    """Its decorator limits, `exempt` does not, and its middleware does where there are default limits."""
    app = slow(SlowLimiter(key_func=get_remote_address))
    assert limited(app) == {"/login", "/shared"}
    app.add_middleware(SlowAPIMiddleware)
    assert limited(app) == {"/login", "/shared"}
    app = slow(SlowLimiter(key_func=get_remote_address, default_limits=["9/minute"]))
    assert limited(app) == {"/login", "/shared"}
    app.add_middleware(SlowAPIMiddleware)
    assert limited(app) == {"/login", "/shared", "/reset"}
    router = APIRouter()
    router.post("/kept")(plain)
    app.include_router(router)
    # It looks for handlers among the application's own routes; whether an included one is among them, FastAPI says.
    is_copied = any(getattr(each, "path", "") == "/kept" for each in app.routes)
    assert ("/kept" in limited(app)) is is_copied


def test_slowapi_that_is_off() -> None:
    """A limiter that is switched off limits nothing."""
    app = slow(SlowLimiter(key_func=get_remote_address, default_limits=["9/minute"], enabled=False))
    app.add_middleware(SlowAPIMiddleware)
    assert limited(app) == set()


def test_fastapi_limiter() -> None:
    """Its dependency limits, and not what is marked as left out."""
    limit = RateLimiter(Limiter(Rate(2, Duration.SECOND)))
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/login", dependencies=[Depends(limit)])
    async def login() -> str:
        return ""

    @app.post("/register", dependencies=[Depends(limit)])
    @skip_limiter
    async def register() -> str:
        return ""

    @app.post("/reset")
    async def reset() -> str:
        return ""

    assert limited(app) == {"/login"}
    assert set(standings(app).values()) == {"open"}
