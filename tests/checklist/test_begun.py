"""Guards of what has not begun yet, of classes that hand on to FastAPI's own, and of what only looks on."""

import pytest

from tests.checklist.conftest import Told

GUARDED = {
    "a store that is there once the server runs": """
_store = None
def store() -> "Store":
    if _store is None: raise RuntimeError("not begun")
    return _store
def dep(x_token: str = Header("")):
    if not store().is_known(x_token): raise HTTPException(401)
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
    "an attribute that is there once the server runs": """
class Service:
    store = None
    def ask(self, token):
        if self.store is None: raise RuntimeError("not begun")
        if not self.store.is_known(token): raise HTTPException(401)
SERVICE = Service()
def dep(x_token: str = Header("")): SERVICE.ask(x_token)
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
    "a cookie, or else what the class above takes": """
class Bearer(OAuth2PasswordBearer):
    async def __call__(self, request: Request):
        if token := request.cookies.get("session"): return token
        return await super().__call__(request)
def provider(token: str = Depends(Bearer(tokenUrl="t"))):
    if token not in TOKENS: raise HTTPException(401)
def in_a_thread(provider):
    @functools.wraps(provider)
    async def asked(*args, **kwargs):
        @functools.wraps(provider)
        def ask(*args, **kwargs): return provider(*args, **kwargs)
        return await asyncio.to_thread(functools.partial(ask, *args, **kwargs))
    return asked
app.get("/a", dependencies=[Depends(in_a_thread(provider))])(handler)
""",
    "parts of a key": """
class Key:
    key: str
    def __init__(self, key): self.key = key
class CredentialsNotValid(Exception): ...
def fetch(found: str | None = None):
    if found is not None and not TOKENS.get(found): raise CredentialsNotValid()
def dep(x_token: str = Header()): fetch(Key(x_token).key)
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
    "what was asked before an error was caught": """
def dep(r: Request):
    current(r)
    try: r.app.state.count()
    except Exception: pass
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
}

OPEN = {
    "a store that is there, and asks nothing": """
_store = None
def store():
    if _store is None: raise RuntimeError("not begun")
    return _store
def dep(x_token: str = Header("")): store().note(x_token)
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
    "a key that is not set": """
API_KEY = None
def dep(x_token: str = Header("")):
    if API_KEY is None: return
    if x_token != API_KEY: raise HTTPException(401)
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
    "a class that needs nothing shown": """
class Bearer(OAuth2PasswordBearer):
    async def __call__(self, request: Request):
        return await super().__call__(request)
def dep(token: str | None = Depends(Bearer(tokenUrl="t", auto_error=False))):
    if token and token not in TOKENS: raise HTTPException(401)
app.get("/a", dependencies=[Depends(dep)])(handler)
""",
    "a class above that nobody awaits": """
class Bearer(OAuth2PasswordBearer):
    async def __call__(self, request: Request):
        super().__call__(request)
        return "anybody"
app.get("/a", dependencies=[Depends(Bearer(tokenUrl="t"))])(handler)
""",
    "middleware that looks on": """
def is_known(request):
    if request.headers.get("x-token") not in TOKENS: raise HTTPException(401)
    return not request.url.path.startswith("/health")
@app.middleware("http")
async def counts(request: Request, call_next):
    try:
        if is_known(request): request.app.state.seen = True
    except Exception as error: print(error)
    try: return await call_next(request)
    except Exception: return JSONResponse({}, status_code=500)
app.get("/a")(handler)
""",
}


@pytest.mark.parametrize("name", GUARDED)
def test_a_guard_of_what_has_not_begun(name: str, told: Told) -> None:
    """What raises only since the server does not run yet is left out, and what a class hands on to is followed."""
    assert told(GUARDED[name]) == {"GET /a": "guarded"}


@pytest.mark.parametrize("name", OPEN)
def test_no_guard_of_what_has_not_begun(name: str, told: Told) -> None:
    """What asks nobody, or catches what it asks, is no guard, whether the server has begun or not."""
    assert told(OPEN[name]) == {"GET /a": "open"}


def test_a_socket_that_another_function_closes_is_not_told_open(told: Told) -> None:
    """A function that closes a WebSocket behind a switch, and is asked for its answer: it cannot be told from here."""
    standings = told(
        """
async def accepted(websocket: WebSocket, switch):
    token = websocket.headers.get("x-token")
    if switch and token not in TOKENS:
        await websocket.close(code=1008)
        return None
    await websocket.accept()
    return websocket
@app.websocket("/a")
async def a(websocket: WebSocket):
    websocket = await accepted(websocket, app.state.switch)
    if not websocket: return
    await websocket.send_text("")
@app.websocket("/b")
async def b(websocket: WebSocket):
    websocket.headers.get("x-token")
    await websocket.accept()
"""
    )
    assert standings == {"WS /a": "unknown", "WS /b": "open"}
