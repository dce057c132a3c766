"""The rules about who may call a route: each asked of an application that has it, and of those that only look so."""

import pytest

from tests.checklist.conftest import Checked

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
@app.get('/{a}')
def a(a: str) -> Person: ...
""",
    ),
    "anybody may change it": (
        "LC003",
        """
@app.post('/a', dependencies=[Depends(current)])
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
    "a probe": """
@app.get('/healthz')
def a() -> Person: ...
""",
}


@pytest.mark.parametrize("name", FOUND)
def test_found(name: str, checked: Checked) -> None:
    """What a rule is for is found, and nothing else beside it."""
    rule, text = FOUND[name]
    assert {each.rule.id for each in checked(text)[1]} == {rule}


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_left_alone(name: str, checked: Checked) -> None:
    """What is guarded, wherever the guard stands, is left alone."""
    assert [(each.rule.id, each.what) for each in checked(LEFT_ALONE[name])[1]] == []
