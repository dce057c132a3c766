"""What stands around a whole application: guards, other origins, cookies, headers, limits."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.middleware import Middleware

from limen.checklist.facts import Cookie, Cors, Guard
from limen.checklist.routes.guards import Found, of_middleware

_SECURITY_HEADERS: Final = (
    "securityheaders",
    "secure",
    "helmet",
    "talisman",
    "hsts",
    "securityheader",
    "headersmiddleware",
)


class Around:
    """The middleware of an application, read once.

    Attributes:
        names: of every middleware, the outermost first.
        guards: those that refuse, whatever the path.
        by_path: the names of those that refuse, and look at the path.
        doubtful: names of calls in middleware that could not be followed.
        cors: what other origins may do.
        cookies: what middleware sets.
        throttled_by: what limits requests, or empty.
        forgery: what asks for a proof against forged requests, or empty.
        sends_security_headers: something sets them.
    """

    def __init__(self) -> None:
        self.names: tuple[str, ...] = ()
        self.guards: list[Guard] = []
        self.by_path: list[str] = []
        self.doubtful: set[str] = set()
        self.cors: tuple[Cors, ...] = ()
        self.cookies: tuple[Cookie, ...] = ()
        self.throttled_by = ""
        self.forgery = ""
        self.sends_security_headers: bool | None = False

    def read(self, middleware: Middleware) -> tuple[Found, bool]:
        """Return what a middleware is, and whether it decides by the path."""
        return of_middleware(middleware)

    def take(self, middleware: Middleware) -> None:
        """Take one middleware of the application."""
        name = getattr(middleware.cls, "__name__", type(middleware.cls).__name__)
        self.names = (*self.names, name)
        options = _options(middleware)
        if name == "CORSMiddleware":
            self.cors = (*self.cors, _cors(options))
        elif name == "SessionMiddleware":
            self.cookies = (*self.cookies, _session_cookie(options))
        if any(word in name.lower() for word in _SECURITY_HEADERS):
            self.sends_security_headers = True
        found, by_path = self.read(middleware)
        self.throttled_by = self.throttled_by or found.throttles
        self.forgery = self.forgery or found.forgery
        self.doubtful |= found.doubtful
        if found.guard is not None and by_path:
            self.by_path.append(found.guard.name)
        elif found.guard is not None:
            self.guards.append(found.guard)


def around_application(app: Any) -> Around:
    """Return what stands around an application."""
    found = Around()
    for middleware in getattr(app, "user_middleware", None) or ():
        found.take(middleware)
    if getattr(app, "limen_protection", None) is not None:
        # limen sets them on every answer, and asks for a proof wherever a cookie is the credential.
        found.sends_security_headers = True
        found.forgery = "limen"
    return found


def _options(middleware: Middleware) -> Mapping[str, Any]:
    return dict(middleware.kwargs)


def _cors(options: Mapping[str, Any]) -> Cors:
    origins = options.get("allow_origins") or ()
    listed = (origins,) if isinstance(origins, str) else tuple(str(each) for each in origins)
    return Cors(listed, str(options.get("allow_origin_regex") or ""), bool(options.get("allow_credentials")))


def _session_cookie(options: Mapping[str, Any]) -> Cookie:
    return Cookie(
        str(options.get("session_cookie", "session")),
        bool(options.get("https_only", False)),
        str(options.get("same_site", "lax")),
    )
