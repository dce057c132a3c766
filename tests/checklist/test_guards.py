"""Dependencies that guard, in all their forms: each refuses strangers, and those who show something made up."""

import pytest

from tests.checklist.conftest import Told

GUARDS = {
    "an exception that leads away": """
class Away(Exception): ...
app.add_exception_handler(Away, lambda request, error: RedirectResponse("/"))
def dep(c: str | None = Cookie(None, alias="session")):
    if c in TOKENS:
        return c
    raise Away()
""",
    "a look-up that fails": """
def dep(r: Request): current(r)
""",
    "a presence and a comparison": """
def dep(t=Header(None, alias='x-token')):
    if t is None or t != KEY: raise HTTPException(401)
""",
    "who is let in is found first": """
def dep(x_token: str = Header('')):
    if x_token in TOKENS: return x_token
    raise HTTPException(401)
""",
    "a loop that finds": """
def dep(x_token: str = Header('')):
    for t in TOKENS:
        if t == x_token: return t
    raise HTTPException(401)
""",
    "a token that is decoded": """
def dep(t: str = Depends(OAuth2PasswordBearer('x'))):
    try: return jwt.decode(t, KEY, algorithms=['HS256'])
    except jwt.PyJWTError: raise HTTPException(401) from None
""",
    "a helper that makes the refusal": """
def abort(code): raise HTTPException(code)
def dep(x_token: str = Header('')):
    if x_token not in TOKENS: abort(401)
""",
    "a thread": """
async def dep(r: Request): await run_in_threadpool(current, r)
""",
    "a lambda": """
dep = lambda r=Depends(current): r
""",
    "an alternative": """
def dep(r: Request): return TOKENS.get(r.cookies.get('t')) or current(r)
""",
    "a method of a parameter's class": """
class Rules:
    def __init__(self, r: Request): self.key = r.headers.get('x-key')
    def ask(self):
        if self.key != KEY: raise HTTPException(401)
def dep(rules: Annotated[Rules, Depends()]): rules.ask()
""",
    "an exception that a handler answers": """
class Stop(Exception): ...
@app.exception_handler(Stop)
def on(request, exc): return JSONResponse({}, 401)
def dep(x_token: str = Header('')):
    if x_token not in TOKENS: raise Stop()
""",
    "a way to the login": """
def dep(r: Request):
    if not r.session.get('user'):
        raise HTTPException(303, headers={'location': '/login'})
""",
    "what is before the yield": """
async def dep(r: Request):
    yield current(r)
""",
}


@pytest.mark.parametrize("name", GUARDS)
def test_guards(name: str, told: Told) -> None:
    """What refuses strangers, and those who show something made up, is a guard."""
    assert told(f"{GUARDS[name]}\napp.get('/a', dependencies=[Depends(dep)])(handler)\n") == {"GET /a": "guarded"}
