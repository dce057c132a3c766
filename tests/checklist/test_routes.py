"""The other rules about routes: each asked of a small application that has it, and of one that has not.

What a route lets in and out, whose object it is about, logins, cookies, origins. Who may call it: `test_open_routes`.
"""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from limen.checklist.facts import Application, Route
from tests.checklist.conftest import Checked

FOUND = {
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
}

LEFT_ALONE = {
    "a login": """
from limits_of import RateLimiter
@app.post('/login', dependencies=[Depends(RateLimiter())])
def login(a: Annotated[str, Body(embed=True)]) -> Person: ...
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
def test_found(name: str, checked: Checked) -> None:
    """What a rule is for is found, and nothing else beside it."""
    rule, text = FOUND[name]
    assert {each.rule.id for each in checked(text)[1]} == {rule}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str, checked: Checked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only looks like it is left alone."""
    limits = ModuleType("limits_of")
    limits.__dict__["RateLimiter"] = type("RateLimiter", (), {"__call__": lambda self: None})
    monkeypatch.setitem(sys.modules, "limits_of", limits)
    assert [(each.rule.id, each.what) for each in checked(LEFT_ALONE[name])[1]] == []


def _only(application: Application) -> Route:
    assert len(application.routes) == 1
    return application.routes[0]


def test_what_a_guard_asks(checked: Checked) -> None:
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


def test_the_paths_are_those_that_requests_have(checked: Checked) -> None:
    """Prefixes of routers, of inclusions and of mounts are in the path."""
    text = (
        "r = APIRouter(prefix='/r')\ninner = APIRouter(prefix='/i')\n@inner.get('/a')\ndef a() -> Person: ...\n"
        "r.include_router(inner, prefix='/x')\napp.include_router(r, prefix='/y')\n"
    )
    assert _only(checked(text)[0]).name == "GET /y/r/x/i/a"


def test_places_are_those_of_the_handler(checked: Checked) -> None:
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
