"""Applications as source text: one is read for who may call it, one is judged by the rules."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from limen.checklist.facts import Application
from limen.checklist.findings import Finding
from limen.checklist.judging import judge, named_public
from limen.checklist.routes.reading import read_application

TOLD = """
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

CHECKED = """
from typing import Annotated, Any
import jwt
from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Request, Response, Security, WebSocket
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBasic, HTTPBearer, OAuth2PasswordBearer, SecurityScopes
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel, ConfigDict, SecretStr
from starlette.middleware.sessions import SessionMiddleware

app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
KEY = "k"
oauth2 = OAuth2PasswordBearer(tokenUrl="login")

class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int

class Person(BaseModel):
    id: int
    name: str

def current(token: Annotated[str, Depends(oauth2)]) -> Person:
    try:
        claims = jwt.decode(token, "k", algorithms=["HS256"])
    except jwt.InvalidTokenError:
        raise HTTPException(status_code=401) from None
    return Person(id=claims["sub"], name="")

def asked(db: Any = None, token: str = Depends(oauth2)) -> Person:
    person = db.execute("SELECT 1")
    if not person:
        raise HTTPException(401)
    return person

Me = Annotated[Person, Depends(current)]

def need(role: str):
    def check(me: Me) -> None:
        if me.name != role:
            raise HTTPException(403)
    return check
"""

Told = Callable[[str], dict[str, str]]
Checked = Callable[[str], tuple[Application, list[Finding]]]
Made = Callable[[str], Application]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """Runs source text as a module, and reads the application ``app`` in it."""

    def make(text: str) -> Application:
        # A file of its own for each: what was read of a file is remembered.
        file = tmp_path / f"application_{len(list(tmp_path.iterdir()))}.py"
        file.write_text(text)
        module = ModuleType("application_of_text")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "application_of_text", module)
        exec(compile(text, str(file), "exec"), module.__dict__)  # noqa: S102 - the tests' own text
        return read_application(module.app, "application_of_text:app")

    return make


@pytest.fixture
def told(made: Made) -> Told:
    """Tells who may call each route of an application that begins with ``TOLD``."""
    return lambda text: {each.name: each.standing for each in made(TOLD + text).routes}


@pytest.fixture
def checked(made: Made) -> Checked:
    """Judges an application that begins with ``CHECKED``, without LC013: none of these has security headers."""

    def judged(text: str) -> tuple[Application, list[Finding]]:
        application = named_public(made(CHECKED + text))
        return application, [each for each in judge(application) if each.rule.id != "LC013"]

    return judged
