"""What stands in front of a route besides guards: limits of how often, and proofs against forged requests."""

import inspect
import re
import types
from typing import Any, Final

_LIMITERS: Final = frozenset({"fastapi_limiter", "slowapi", "pyrate_limiter", "asgi_ratelimit", "ratelimit"})
_LIMITING_NAME: Final = re.compile(r"rate_?limit|throttl|^limit_?(requests?|rate|calls)|limiter$", re.IGNORECASE)
_FORGERY_NAME: Final = re.compile(r"csrf|xsrf|double_?submit", re.IGNORECASE)


def limits_calls(call: object, name: str) -> bool:
    """Tell whether something limits how often it may be called, by its library or its name."""
    module = str(getattr(call, "__module__", "") or type(call).__module__ or "").split(".")[0]
    if module == "slowapi":
        return _of_slowapi(call)
    if module == "fastapi_limiter":
        return "RateLimiter" in name
    return (
        module in _LIMITERS
        or bool(_LIMITING_NAME.search(name.rsplit(".", 1)[-1]))
        or bool(_LIMITING_NAME.search(name.split(".", maxsplit=1)[0]))
    )


def asks_against_forgery(name: str) -> bool:
    """Tell whether something asks for a proof that the request was meant, by its name."""
    return bool(_FORGERY_NAME.search(name))


def _of_slowapi(call: object) -> bool:
    """Of slowapi's decorators that limit; ``exempt`` does not. Its middleware limits what has default limits."""
    if isinstance(call, types.FunctionType):
        return "limit_decorator" in call.__code__.co_qualname if hasattr(call.__code__, "co_qualname") else True
    return inspect.isclass(call)


def limits_by_default(app: Any) -> bool:
    """Tell whether slowapi's middleware limits routes without a decorator in this application."""
    limiter = getattr(getattr(app, "state", None), "limiter", None)
    if limiter is None:
        return False
    limits = [*getattr(limiter, "_default_limits", ()), *getattr(limiter, "_application_limits", ())]
    return bool(limits) and getattr(limiter, "enabled", True) is not False


def is_exempt(endpoint: Any) -> bool:
    """Tell whether a handler is left out of limits by fastapi-limiter's mark."""
    return getattr(endpoint, "_skip_limiter", False) is True
