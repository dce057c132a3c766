"""What refuses for reasons that are not who is calling, and conditions that hold whatever is unknown."""

import pytest

from tests.checklist.conftest import Told

_PLAIN = """
class Hosts:
    def __init__(self, app, allowed): self.app, self.allowed = app, allowed
    async def __call__(self, scope, receive, send):
        if scope["type"] != "http": return await self.app(scope, receive, send)
        refused = JSONResponse({{}}, status_code=403)
        {}
        return await self.app(scope, receive, send)
app.add_middleware(Hosts, allowed=["good.example"])
"""
_BASE = """
class Hosts(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        {}
        return await call_next(request)
app.add_middleware(Hosts)
"""

HOSTS = {
    "of bytes": _PLAIN.format("""
        if dict(scope["headers"]).get(b"host", b"").decode() not in self.allowed:
            return await refused(scope, receive, send)"""),
    "of bytes, but for one path": _PLAIN.format("""
        if scope["path"] == "/health": return await self.app(scope, receive, send)
        host = dict(scope.get("headers", [])).get(b"host", b"").decode("utf-8")
        if host not in self.allowed: return await refused(scope, receive, send)"""),
    "in messages": _PLAIN.format("""
        if scope["path"] == "/health": return await self.app(scope, receive, send)
        if dict(scope["headers"]).get(b"Host", b"") not in self.allowed:
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return"""),
    "gone through": _PLAIN.format("""
        if scope["path"] == "/health": return await self.app(scope, receive, send)
        host = next((value for name, value in scope["headers"] if name == b"host"), b"")
        if host.decode() not in self.allowed: return await refused(scope, receive, send)"""),
    "an origin": _BASE.format("""
        if request.method in ("GET", "HEAD"): return await call_next(request)
        origin = request.headers.get("origin") or request.headers.get("x-forwarded-host")
        if origin and origin not in ["https://good.example"]: return JSONResponse({}, status_code=403)"""),
    "of authorities": _BASE.format("""
        authorities = ["good.example"]
        if request.headers["host"] not in authorities: return JSONResponse({}, status_code=401)"""),
}

HOSTS_AND_WHO = {
    "a header": (
        "guarded",
        _PLAIN.format("""
        headers = dict(scope["headers"])
        if headers.get(b"host", b"").decode() not in self.allowed: return await refused(scope, receive, send)
        if headers.get(b"authorization") != b"k": return await refused(scope, receive, send)"""),
    ),
    "a cookie": (
        "guarded",
        _BASE.format("""
        if request.headers["host"] not in ["good.example"]: return JSONResponse({}, status_code=403)
        if request.cookies.get("session") not in TOKENS: return JSONResponse({}, status_code=401)"""),
    ),
    "a header, but for one path": (
        "unknown",
        _PLAIN.format("""
        if scope["path"].startswith(self.allowed[0]): return await self.app(scope, receive, send)
        headers = dict(scope["headers"])
        if headers.get(b"host", b"").decode() not in self.allowed: return await refused(scope, receive, send)
        if headers.get(b"authorization") != b"k": return await refused(scope, receive, send)"""),
    ),
    "either": (
        "unknown",
        _BASE.format("""
        if request.headers["host"] not in ["good.example"] and request.headers.get("x-token") not in TOKENS:
            return JSONResponse({}, status_code=401)"""),
    ),
}


@pytest.mark.parametrize("name", HOSTS)
def test_what_reads_the_host_alone_is_no_guard(name: str, told: Told) -> None:
    """Who asks only for which host or from which page a request comes asks nothing about who is calling."""
    assert told(f"{HOSTS[name]}\napp.post('/a')(handler)\n") == {"POST /a": "open"}


@pytest.mark.parametrize("name", HOSTS_AND_WHO)
def test_what_reads_a_credential_besides_the_host_is_asked(name: str, told: Told) -> None:
    """Where a credential is read besides, the host changes nothing: it is a guard, or nobody can tell."""
    standing, text = HOSTS_AND_WHO[name]
    assert told(f"{text}\napp.post('/a')(handler)\n") == {"POST /a": standing}


_SWITCHED = """
import os
class Settings: callback = None
settings = Settings()
settings.callback = handler
def required():
    return {}
def dep(r: Request):
    if not required(): return None
    return current(r)
app.get('/a', dependencies=[Depends(dep)])(handler)
"""

FIRM = {
    "or True": ("guarded", "os.getenv('A') or True"),
    "a live object": ("guarded", "bool(os.environ.get('A')) or settings.callback is not None or len(os.environ) > 3"),
    "a live object first": ("guarded", "settings.callback is not None or os.getenv('A') == 'b'"),
    "nested": ("guarded", "True and (os.getenv('A') or (os.getenv('B') or settings.callback is not None))"),
    "not and False": ("guarded", "not (os.getenv('A') and False)"),
    "not of a live object": ("guarded", "not (os.getenv('A') and settings.callback is None)"),
    "and False": ("open", "os.getenv('A') and False"),
    "not or True": ("open", "not (os.getenv('A') or True)"),
    "nested and False": ("open", "os.getenv('A') and (os.getenv('B') and settings.callback is None)"),
    "and True": ("unknown", "os.getenv('A') and True"),
    "or False": ("unknown", "os.getenv('A') or settings.callback is None"),
    "not and True": ("unknown", "not (os.getenv('A') and settings.callback is not None)"),
    "an environment alone": ("unknown", "bool(os.environ.get('A')) or os.getenv('B') == 'b'"),
}


@pytest.mark.parametrize("name", FIRM)
def test_a_condition_may_hold_whatever_is_unknown(name: str, told: Told) -> None:
    """``x or True`` is true and ``x and False`` is false whatever the environment says; else it depends on that."""
    standing, condition = FIRM[name]
    assert told(_SWITCHED.format(condition)) == {"GET /a": standing}


NAMES = {
    "get_required_fields": "open",
    "list_required_parts": "open",
    "get_required_user": "unknown",
    "require_login": "unknown",
    "require": "unknown",
    "_require_session": "unknown",
    "admin_required": "unknown",
    "check_access": "unknown",
}


@pytest.mark.parametrize("name", NAMES)
def test_what_is_required_is_not_always_somebody(name: str, told: Told) -> None:
    """What cannot be followed and is called as a check is unknown; that fields are required is no check."""
    text = f"@app.get('/a')\ndef a(r: Request) -> None: r.app.state.mapper.{name}(r)\n"
    assert told(text) == {"GET /a": NAMES[name]}


OF_THE_HANDLER = {
    "a limit": ("open", "    if size > 100: raise HTTPException(403)"),
    "who is calling": ("unknown", "    if r.headers.get('x-token') not in TOKENS: raise HTTPException(403)"),
    "what cannot be followed": ("unknown", "    if not r.app.state.known(r): raise HTTPException(401)"),
}


@pytest.mark.parametrize("name", OF_THE_HANDLER)
def test_a_handler_that_forbids_too_much_asks_nobody(name: str, told: Told) -> None:
    """A 403 of a handler that looks at nothing of who is calling is no doubt, whatever it depends on."""
    standing, line = OF_THE_HANDLER[name]
    head = "@app.get('/a')\ndef a(r: Request, size: int) -> None:\n    if r.url.path in OPEN_PATHS: return None\n"
    assert told(head + line + "\n") == {"GET /a": standing}
