"""What stands in front of a route besides guards: limits of how often, and proofs against forged requests."""

import inspect
import re
import types
from typing import Any, Final

from limen.checklist.routes.asked import cells_of

_LIMITERS: Final = frozenset({"fastapi_limiter", "slowapi", "pyrate_limiter", "asgi_ratelimit", "ratelimit"})
_LIMITING_NAME: Final = re.compile(r"rate_?limit|throttl|^limit_?(requests?|rate|calls)|(?<!de)limiter$", re.IGNORECASE)
_FORGERY_NAME: Final = re.compile(r"csrf|xsrf|double_?submit", re.IGNORECASE)


def limits_calls(call: object, name: str) -> bool:
    """Tell whether something limits how often it may be called, by its library or its name."""
    module = str(getattr(call, "__module__", "") or type(call).__module__ or "").split(".")[0]
    if module == "slowapi":
        return inspect.isclass(call)
    if module == "fastapi_limiter":
        return "RateLimiter" in name
    return module in _LIMITERS or any(_LIMITING_NAME.search(part) for part in name.split("."))


def asks_against_forgery(name: str) -> bool:
    """Tell whether something asks for a proof that the request was meant, by its name."""
    return bool(_FORGERY_NAME.search(name))


def limits_by_decorator(wrapper: types.FunctionType) -> bool:
    """Tell whether a wrapper of slowapi's limits: ``exempt`` does not, nor does one of a limiter that is off."""
    cells = cells_of(wrapper)
    limiter = cells.get("self")
    return limiter is not None and "func" in cells and getattr(limiter, "enabled", True) is not False


def limits_by_default(app: Any, route: Any, endpoint: Any) -> bool:
    """Tell whether slowapi's middleware limits a route that has no limit of its own.

    It looks for the handler among the application's own routes, so it knows none of a router that FastAPI keeps.
    """
    limiter = getattr(getattr(app, "state", None), "limiter", None)
    if limiter is None or getattr(limiter, "enabled", True) is False:
        return False
    limits = [*getattr(limiter, "_default_limits", ()), *getattr(limiter, "_application_limits", ())]
    name = f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__name__', '')}"
    is_exempt = name in getattr(limiter, "_exempt_routes", ())
    return bool(limits) and not is_exempt and any(each is route for each in app.routes)


def skips_limit(endpoint: Any) -> bool:
    """Tell whether a handler is left out of limits by fastapi-limiter's mark."""
    return getattr(endpoint, "_skip_limiter", False) is True
