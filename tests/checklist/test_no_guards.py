"""Dependencies that only look like guards: a route behind one is never told as guarded."""

import pytest

from tests.checklist.conftest import Told

OPEN = {
    "roles of which none was named": """
def need(*roles):
    def dep(x_role: str = Header("")):
        if not all(each == x_role for each in roles): raise HTTPException(403)
    return dep
dep = need()
""",
    "a table with a default": """
def dep(x_token: str | None = Header(None)):
    if not TOKENS.get(x_token, "guest"): raise HTTPException(401)
""",
    "errors that are handed back": """
async def ask(r): current(r)
async def dep(r: Request): await asyncio.gather(ask(r), return_exceptions=True)
""",
    "a response that is returned": """
def dep(t=Header(None)):
    if t != KEY: return JSONResponse({}, status_code=401)
""",
    "nobody awaits it": """
async def ask(r): current(r)
async def dep(r: Request): ask(r)
""",
    "none is shown": """
def dep(c=Depends(HTTPBearer(auto_error=False))):
    if c is None: return None
    raise HTTPException(401)
""",
    "only a wrong one is refused": """
def dep(authorization: str | None = Header(None)):
    if authorization and authorization != KEY:
        raise HTTPException(401)
""",
    "anything that is shown": """
def dep(authorization: str | None = Header(None)):
    if authorization is None: raise HTTPException(401)
    return authorization
""",
    "a signature that nobody asks": """
def dep(t: str = Depends(OAuth2PasswordBearer('x'))):
    return jwt.decode(t, KEY, options={'verify_signature': False}, algorithms=['HS256'])
""",
    "a factory that is not called": """
def dep(role='x'):
    def check(r: Request):
        current(r)
    return check
""",
    "an inner function that nobody calls": """
def dep(r: Request):
    def ask(): current(r)
    return r
""",
    "dead code": """
def dep(r: Request):
    return 1
    current(r)
""",
    "what is after the yield": """
async def dep(t=Header(None)):
    yield t
    if t != KEY: raise HTTPException(401)
""",
    "a switch that is off": """
def dep(r: Request):
    if AUTH_ENABLED: current(r)
""",
    "a way around for the developer": """
def dep(r: Request):
    if DEBUG: return 'dev'
    return current(r)
""",
    "no such object": """
def dep(r: Request):
    found = getattr(r.app.state, 'x', None)
    if not found: raise HTTPException(404)
""",
}

UNKNOWN = {
    "a context manager that swallows": """
class Quiet:
    def __enter__(self): return self
    def __exit__(self, *error): return True
def dep(r: Request):
    with Quiet(): current(r)
""",
    "it is swallowed": """
def dep(r: Request):
    try: return current(r)
    except HTTPException: return None
""",
    "it is suppressed": """
def dep(r: Request):
    with contextlib.suppress(Exception): current(r)
""",
    "only the kind of it is asked": """
class dep(HTTPBearer):
    async def __call__(self, request: Request):
        c = await super().__call__(request)
        if c.scheme != 'Bearer': raise HTTPException(403)
        return c
dep = dep()
""",
    "by the path": """
def dep(r: Request):
    if r.url.path in OPEN_PATHS: return None
    return current(r)
""",
    "by the method": """
def dep(r: Request):
    if r.method != 'GET': current(r)
""",
    "by a parameter of whoever asks": """
def dep(x_token: str = Header(''), asked: bool = True):
    if asked and x_token not in TOKENS: raise HTTPException(401)
""",
    "about another matter": """
def dep(r: Request):
    if r.app.state.read_only: raise HTTPException(403)
""",
    "what cannot be followed": """
def dep(r: Request): r.app.state.service.verify(r)
""",
    "what cannot be followed, of who is calling": """
def got(r: Request): return r.state.authentication
def dep(r: Request, a=Depends(got)): a.authorize_request(r)
""",
}


def _standing(text: str, told: Told) -> str:
    return told(f"{text}\napp.get('/a', dependencies=[Depends(dep)])(handler)\n")["GET /a"]


@pytest.mark.parametrize("name", OPEN)
def test_open(name: str, told: Told) -> None:
    """What lets strangers in, or those who show anything at all, leaves the route open."""
    assert _standing(OPEN[name], told) == "open"


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown(name: str, told: Told) -> None:
    """What refuses some, for a reason that is not who is calling or that cannot be followed, is told as unknown."""
    assert _standing(UNKNOWN[name], told) == "unknown"
