"""The rules about routes: each asked of a small application that has it, and of one that has not."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from limen.checklist.facts import Application, Route
from limen.checklist.findings import Finding
from limen.checklist.judging import judge, named_public
from limen.checklist.routes.reading import read_application

HEAD = """
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

Check = Callable[[str], tuple[Application, list[Finding]]]


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Reads an application from source text and judges it."""

    def read(text: str) -> tuple[Application, list[Finding]]:
        # A file of its own for each: what was read of a file is remembered.
        file = tmp_path / f"checked_application_{len(list(tmp_path.iterdir()))}.py"
        file.write_text(HEAD + text)
        module = types.ModuleType("checked_application")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "checked_application", module)
        exec(compile(file.read_text(), str(file), "exec"), module.__dict__)  # noqa: S102 - this file's own text
        application = named_public(read_application(module.app, "checked_application:app"))
        return application, [each for each in judge(application) if each.rule.id != "LC013"]

    return read


FOUND = {
    "an open route": (
        "LC001",
        """
@app.get('/a')
def a() -> Person: ...
""",
    ),
    "an open WebSocket": (
        "LC001",
        """
@app.websocket('/a')
async def a(ws: WebSocket): ...
""",
    ),
    "an open route below a mount": (
        "LC001",
        """
sub = FastAPI(docs_url=None, openapi_url=None, redoc_url=None)
@sub.get('/a')
def a() -> Person: ...
app.mount('/sub', sub)
""",
    ),
    "an open route of an included router": (
        "LC001",
        """
r = APIRouter()
inner = APIRouter()
@inner.get('/a')
def a() -> Person: ...
r.include_router(inner, prefix='/i')
app.include_router(r, prefix='/r')
""",
    ),
    "a dependency that guards nothing": (
        "LC001",
        """
def page(n: int = 0): return n
@app.get('/a')
def a(p=Depends(page)) -> Person: ...
""",
    ),
    "a guard of another method": (
        "LC001",
        """
@app.get('/a', dependencies=[Depends(current)])
def a() -> Person: ...
@app.put('/a')
def b() -> Person: ...
""",
    ),
    "an optional guard": (
        "LC001",
        """
o = OAuth2PasswordBearer(tokenUrl='x', auto_error=False)
@app.get('/a')
def a(t=Depends(o)) -> Person: ...
""",
    ),
    "an open route that answers first": (
        "LC001",
        """
@app.get('/a/{name}')
def a(name: str) -> Person: ...
@app.get('/a/admin', dependencies=[Depends(current)])
def b() -> Person: ...
""",
    ),
    "a call that cannot be followed": (
        "LC002",
        """
def check(request: Request):
    request.app.state.service.verify(request)
@app.get('/a')
def a(p=Depends(check)) -> Person: ...
""",
    ),
    "middleware that decides by the path": (
        "LC002",
        """
@app.middleware('http')
async def gate(request: Request, call_next):
    if request.url.path.startswith('/x') and request.headers.get('a') != KEY:
        return Response(status_code=401)
    return await call_next(request)
@app.get('/a')
def a() -> Person: ...
""",
    ),
    "anybody may change it": (
        "LC003",
        """
@app.post('/a', dependencies=[Depends(current)])
def a(b: Closed) -> Person: ...
""",
    ),
    "an object that nobody asks about": (
        "LC004",
        """
@app.get('/a/{a_id}')
def a(a_id: int, me: Me) -> Person: ...
""",
    ),
    "an object that is deleted": (
        "LC004",
        """
@app.delete('/a/{a_id}', status_code=204)
def a(a_id: int, me: Me): ...
""",
    ),
    "a dict as input": (
        "LC005",
        """
@app.post('/a', dependencies=[Depends(need('x'))])
def a(b: dict) -> Person: ...
""",
    ),
    "a body that the handler reads": (
        "LC005",
        """
@app.post('/a', dependencies=[Depends(need('x'))])
async def a(request: Request) -> Person:
    return await request.json()
""",
    ),
    "an open model": (
        "LC006",
        """
@app.post('/a', dependencies=[Depends(need('x'))])
def a(b: Person) -> Person: ...
""",
    ),
    "a hash in the answer": (
        "LC007",
        """
class Row(Person):
    password_hash: str
@app.get('/a', dependencies=[Depends(current)])
def a() -> list[Row]: ...
""",
    ),
    "a secret further in": (
        "LC007",
        """
class Key(BaseModel):
    secret: str
class Row(Person):
    key: Key | None
@app.get('/a', dependencies=[Depends(current)], response_model=Row)
def a(): ...
""",
    ),
    "no model of the answer": (
        "LC008",
        """
@app.get('/a', dependencies=[Depends(current)])
def a():
    return find()
""",
    ),
    "money by a token": (
        "LC009",
        """
@app.post('/payments', dependencies=[Depends(need('x'))])
def a(b: Closed) -> Person: ...
""",
    ),
    "a login without a limit": (
        "LC010",
        """
@app.post('/login')
def login(a: Annotated[str, Body(embed=True)]) -> Person: ...
""",
    ),
    "every origin, with cookies": (
        "LC011",
        """
app.add_middleware(CORSMiddleware, allow_origins=['*'], allow_credentials=True)
""",
    ),
    "every origin, by a pattern": (
        "LC011",
        """
app.add_middleware(CORSMiddleware, allow_origin_regex='.*', allow_credentials=True)
""",
    ),
    "a session over http": (
        "LC012",
        """
app.add_middleware(SessionMiddleware, secret_key='x')
""",
    ),
    "a session for all sites": (
        "LC012",
        """
app.add_middleware(SessionMiddleware, secret_key='x', https_only=True, same_site='none')
""",
    ),
    "open pages": (
        "LC014",
        """
app = FastAPI()
""",
    ),
    "a cookie and no proof": (
        "LC015",
        """
c = APIKeyCookie(name='s')
def who(s=Depends(c), db: Any = None):
    if not db.execute('x'):
        raise HTTPException(401)
    if s != 'admin':
        raise HTTPException(403)
@app.post('/a', dependencies=[Depends(who)])
def a(b: Closed) -> Person: ...
""",
    ),
    "a token that nobody verifies": (
        "LC016",
        """
@app.get('/a')
def a(token: str = Depends(oauth2)) -> Person: ...
""",
    ),
}

LEFT_ALONE = {
    "a guard as a dependency": """
@app.get('/a')
def a(me: Me) -> Person: ...
""",
    "a guarded route that answers first": """
@app.get('/a/admin', dependencies=[Depends(current)])
def b() -> Person: ...
@app.get('/a/{name}', dependencies=[Depends(current)])
def a(name: str, me: Me) -> Person:
    return find(name, me)
""",
    "a guard of the decorator": """
@app.get('/a', dependencies=[Depends(current)])
def a() -> Person: ...
""",
    "a guard of the router": """
r = APIRouter(dependencies=[Depends(current)])
@r.get('/a')
def a() -> Person: ...
app.include_router(r)
""",
    "a guard of the inclusion": """
r = APIRouter()
@r.get('/a')
def a() -> Person: ...
app.include_router(r, dependencies=[Depends(current)])
""",
    "a guard of the application": """
app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, dependencies=[Depends(current)])
r = APIRouter()
@r.get('/a')
def a() -> Person: ...
app.include_router(r)
""",
    "a guard of a WebSocket": """
@app.websocket('/a')
async def a(ws: WebSocket, me: Me): ...
""",
    "an object with __call__": """
class Need:
    def __init__(self, role): self.role = role
    def __call__(self, me: Me):
        raise HTTPException(status_code=403)
@app.get('/a', dependencies=[Depends(Need('x'))])
def a() -> Person: ...
""",
    "a method": """
class Service:
    def who(self):
        raise self.no()
    def no(self):
        return HTTPException(401)
s = Service()
@app.get('/a', dependencies=[Depends(s.who)])
def a() -> Person: ...
""",
    "an exception of its own": """
class NotAuthenticated(HTTPException):
    def __init__(self):
        super().__init__(status_code=401)
def who():
    raise NotAuthenticated()
@app.get('/a', dependencies=[Depends(who)])
def a() -> Person: ...
""",
    "an exception in a variable": """
def who():
    no = HTTPException(status_code=401)
    raise no
@app.get('/a', dependencies=[Depends(who)])
def a() -> Person: ...
""",
    "a decorator that wraps": """
import functools
def admin(f):
    @functools.wraps(f)
    async def inner(*args, **kwargs):
        raise HTTPException(403)
    return inner
@app.get('/a')
@admin
async def a() -> Person: ...
""",
    "Starlette's requires": """
from starlette.authentication import requires
@app.get('/a')
@requires('admin')
async def a(request: Request) -> Person: ...
""",
    "middleware for every path": """
@app.middleware('http')
async def gate(request: Request, call_next):
    if request.headers.get('a') != KEY:
        return Response(status_code=401)
    return await call_next(request)
@app.get('/a')
def a() -> Person: ...
""",
    "middleware of plain ASGI": """
class Gate:
    def __init__(self, app): self.app = app
    async def __call__(self, scope, receive, send):
        await send({'type': 'http.response.start', 'status': 401, 'headers': []})
app.add_middleware(Gate)
@app.get('/a')
def a() -> Person: ...
""",
    "a check in the handler": """
@app.get('/a')
def a(request: Request) -> Person:
    if request.headers.get('a') != KEY:
        raise HTTPException(401)
""",
    "a login": """
from limits_of import RateLimiter
@app.post('/login', dependencies=[Depends(RateLimiter())])
def login(a: Annotated[str, Body(embed=True)]) -> Person: ...
""",
    "a probe": """
@app.get('/healthz')
def a() -> Person: ...
""",
    "the caller's own object": """
@app.get('/a/{a_id}')
def a(a_id: int, me: Me) -> Person:
    return find(a_id, me.id)
""",
    "an object that a dependency loads": """
def own(a_id: int, me: Me): ...
@app.get('/a/{a_id}')
def a(one=Depends(own)) -> Person: ...
""",
    "a role for an object": """
@app.delete('/a/{a_id}', status_code=204, dependencies=[Depends(need('admin'))])
def a(a_id: int): ...
""",
    "a closed model": """
@app.post('/a', dependencies=[Depends(need('x'))])
def a(b: Closed) -> Person: ...
""",
    "a secret that is hidden": """
class Row(Person):
    password: SecretStr
@app.get('/a', dependencies=[Depends(current)])
def a() -> Row: ...
""",
    "a secret that is left out": """
class Row(Person):
    password: str
@app.get('/a', dependencies=[Depends(current)], response_model=Row,
    response_model_exclude={'password'})
def a(): ...
""",
    "nothing is answered": """
@app.get('/a', dependencies=[Depends(current)])
def a() -> None: ...
""",
    "responses are made": """
@app.get('/a', dependencies=[Depends(current)])
def a(b: int):
    if b:
        return Response()
    answer = Response()
    return answer
""",
    "a model below a name for a secret": """
class Shape(BaseModel):
    label: str
class Form(BaseModel):
    password: Shape
@app.get('/a', dependencies=[Depends(current)])
def a() -> Form: ...
""",
    "a response of its own": """
@app.get('/a', dependencies=[Depends(current)])
def a() -> Response: ...
""",
    "money, asked again": """
def again(me: Annotated[Person, Depends(asked)]):
    raise HTTPException(403)
@app.post('/payments', dependencies=[Depends(again)])
def a(b: Closed) -> Person: ...
""",
    "origins of a list": """
app.add_middleware(CORSMiddleware, allow_origins=['https://a.example'], allow_credentials=True)
""",
    "every origin, without cookies": """
app.add_middleware(CORSMiddleware, allow_origins=['*'])
""",
    "a session over https": """
app.add_middleware(SessionMiddleware, secret_key='x', https_only=True)
""",
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, checked: Check) -> None:
    """What a rule is for is found, and nothing else beside it."""
    rule, text = FOUND[name]
    assert {each.rule.id for each in checked(text)[1]} == {rule}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str, checked: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks like it is left alone."""
    limits = types.ModuleType("limits_of")
    limits.__dict__["RateLimiter"] = type("RateLimiter", (), {"__call__": lambda self: None})
    monkeypatch.setitem(sys.modules, "limits_of", limits)
    assert [(each.rule.id, each.what) for each in checked(LEFT_ALONE[name])[1]] == []


def _only(application: Application) -> Route:
    assert len(application.routes) == 1
    return application.routes[0]


def test_what_a_guard_asks(checked: Check) -> None:
    """A factory's argument and the scopes of Security are what a route asks."""
    text = "@app.get('/a', dependencies=[Depends(need('admin'))])\ndef a() -> Person: ..."
    assert {ask for each in _only(checked(text)[0]).guards for ask in each.asks} == {"role:admin"}
    text = """
def scoped(scopes: SecurityScopes, me: Me) -> Person:
    if set(scopes.scopes) - set(me.name.split()):
        raise HTTPException(403)
    return me
@app.get('/a')
def a(me=Security(scoped, scopes=['items:read'])) -> Person: ...
"""
    assert {ask for each in _only(checked(text)[0]).guards for ask in each.asks} == {"scope:items:read"}


def test_the_paths_are_those_that_requests_have(checked: Check) -> None:
    """Prefixes of routers, of inclusions and of mounts are in the path."""
    text = (
        "r = APIRouter(prefix='/r')\ninner = APIRouter(prefix='/i')\n@inner.get('/a')\ndef a() -> Person: ...\n"
        "r.include_router(inner, prefix='/x')\napp.include_router(r, prefix='/y')\n"
    )
    assert _only(checked(text)[0]).name == "GET /y/r/x/i/a"


def test_places_are_those_of_the_handler(checked: Check) -> None:
    """A finding about a route is at its def, not at a decorator, nor in a wrapper."""
    text = """
import functools

def w(f):
    return functools.wraps(f)(lambda: f())

@app.get('/a')
@w
def a() -> Person: ...
"""
    place = checked(text)[1][0].place
    assert Path(place.file).read_text().splitlines()[place.line - 1] == "def a() -> Person: ..."
