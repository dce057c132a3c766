"""Finds who changes the client's address before the guard sees it.

uvicorn puts such a middleware around every application unless it is told not to, and believes the proxies that *it* was
told of: with ``--forwarded-allow-ips='*'`` any stranger would choose the address of a trusted proxy, and be believed in
whatever that proxy may say. From inside, such a middleware can be seen among the callers alone.
"""

import logging
import sys
from typing import Final

from limen.core.errors import ConfigurationError
from limen.web.peers import TrustedProxies

_MODULE: Final = "uvicorn.middleware.proxy_headers"
_CLASS: Final = "ProxyHeadersMiddleware"
_ADVICE: Final = (
    "start uvicorn with --no-proxy-headers (proxy_headers=False), and name the proxies in LIMEN_TRUSTED_PROXIES"
)

_log = logging.getLogger("limen.guard")


def refuse_rewritten_addresses(proxies: TrustedProxies) -> None:
    """Look for uvicorn's middleware around this very call, which has to be made by the application under guard.

    Without trusted proxies it is a warning: addresses are what that middleware makes of them, as they were before limen
    was there.

    Raises:
        ConfigurationError: it is there, and limen was told of trusted proxies: it could not know any more whether it
            is one of them that speaks.
    """
    if not is_rewritten():
        return
    if proxies:
        raise ConfigurationError(
            "uvicorn changes the client's address before limen sees it, so nobody can tell whether a trusted proxy "
            f"speaks: {_ADVICE}"
        )
    _log.warning("uvicorn changes the client's address before limen sees it: %s", _ADVICE)


def is_rewritten() -> bool:
    """Tell whether uvicorn's middleware for the headers of proxies is among the callers."""
    middleware = getattr(sys.modules.get(_MODULE), _CLASS, None)
    if middleware is None:
        return False
    code = middleware.__call__.__code__
    frame = sys._getframe()  # coroutines that await are callers like others
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code is code:
            return True
    return False
