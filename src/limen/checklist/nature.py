"""Routes that have to be open, by their paths: nobody is logged in before a login, and a probe brings no credential.

A path is taken at its word only where it says nothing else: ``/auth/login`` and ``/api/v1/health``, but neither
``/orders/{id}/confirm`` nor ``/cache/refresh``. What is not recognised stays open and is a finding that can be
accepted; what were recognised wrongly nobody would hear of.
"""

import re
from typing import Final

from limen.checklist.facts import Route


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PREFIX: Final = re.compile(r"\A(api|rest|public|v\d+(\.\d+)*|(?:alpha|beta|latest))\Z")
_PARAMETER: Final = re.compile(r"\A{([^}:]+)(:[^}]*)?}\Z")
_INSIDE: Final = frozenset({"admin", "internal", "private", "manage", "management", "debug", "superuser"})

_ACCOUNTS: Final = frozenset({"account", "accounts", "user", "users", "me", "customer", "customers"})
_ENTRANCE: Final = _words(
    "auth authentication authn identity jwt cookie bearer session sessions security sso saml saml2 oidc openid oauth "
    "oauth2 connect login signin sign-in password passwordless magic-link mfa 2fa otp google github microsoft"
)
_PROVIDERS: Final = _words("auth login sso saml saml2 oidc openid oauth oauth2 connect")
_SECRET_PARAMETER: Final = re.compile(r"(token|code|key|secret|signature|nonce)\Z", re.IGNORECASE)

_OF_ITSELF: Final = _words(
    "login log-in signin sign-in logout log-out signout sign-out register signup sign-up registration callback "
    "forgot-password reset-password password-reset recover-password password-recovery lost-password request-reset "
    "verify-email confirm-email email-verification resend-verification request-verify-token resend-confirmation "
    "magic-link login-link"
)
"""They say it alone, and behind accounts."""
_BY_POST: Final = _words("token access-token refresh-token jwt otp verify-otp send-otp authenticate")
"""They say it alone, where something is sent; a GET may list."""
_BEHIND_AN_ENTRANCE: Final = _words(
    "refresh confirm confirmation verify verification authorize activate activation recover recovery reset forgot "
    "forgotten authenticated acs metadata start begin complete finish options providers"
)
"""They say it behind ``/auth`` and the like, and something else anywhere else."""

_BEFORE: Final = _ENTRANCE | _ACCOUNTS | _OF_ITSELF | {"admin"}
_LOGINS: Final = _words("login log-in signin sign-in logout log-out signout sign-out")
"""Those who administer log in, too."""

_PROBES: Final = _words(
    "health healthz healthcheck health-check heartbeat live livez liveness ready readyz readiness startup ping up "
    "alive version favicon.ico robots.txt manifest.json jwks.json security.txt openapi.json"
)
_PARTS_OF_HEALTH: Final = _words("live liveness ready readiness startup ping")


def open_by_nature(route: Route) -> bool:
    """Tell whether a route has to be open.

    Args:
        route: its path and methods are looked at. Neither sockets nor what changes or removes by PUT, PATCH or DELETE
            is open by nature.
    """
    if route.kind != "http" or not route.methods or not set(route.methods) <= {"GET", "HEAD", "POST"}:
        return False
    parts = [_spelled(each) for each in route.path.split("/") if each]
    if _INSIDE & set(parts) and not (parts[:-1] == ["admin"] and parts[-1] in _LOGINS):
        return False
    reads = "POST" not in route.methods
    if reads and (not parts or parts[0] == ".well-known"):
        return True
    while parts and _PREFIX.match(parts[0]):
        parts = parts[1:]
    return bool(parts) and (_is_entrance(parts, reads=reads) or (reads and _is_probe(parts)))


def is_webhook(route: Route) -> bool:
    """Tell whether others' services are to call a route: who sent it is told by a signature, if anything asks."""
    parts = [_spelled(each) for each in route.path.split("/") if each]
    return (
        set(route.methods) == {"POST"} and not _INSIDE & set(parts) and bool({"webhook", "webhooks"} & set(parts[-2:]))
    )


def _spelled(part: str) -> str:
    """Return a part of a path in lower case with hyphens; a parameter as it is."""
    if part.startswith("{"):
        return part
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", part).replace("_", "-").strip("-").lower()


def _is_probe(parts: list[str]) -> bool:
    first, *rest = parts
    if first in {"health", "healthz"} and len(rest) == 1:
        return rest[0] in _PARTS_OF_HEALTH
    return first in _PROBES and not rest


def _is_entrance(parts: list[str], *, reads: bool) -> bool:
    parts = _without_parameters(parts)
    if not parts:
        return False
    *before, last = parts
    if not all(each in _BEFORE for each in before):
        return False
    if last in _OF_ITSELF or (last in _BY_POST and not reads):
        return True
    return last in _BEHIND_AN_ENTRANCE and not set(before) <= _ACCOUNTS and bool(before)


def _without_parameters(parts: list[str]) -> list[str]:
    """Leave out a provider's name behind ``/sso`` and a token at the end; with any other parameter return nothing."""
    kept: list[str] = []
    for number, part in enumerate(parts):
        parameter = _PARAMETER.match(part)
        if parameter is None:
            kept.append(part)
            continue
        is_token = number == len(parts) - 1 and _SECRET_PARAMETER.search(parameter[1])
        if not kept or not (is_token or kept[-1] in _PROVIDERS):
            return []
    return kept
