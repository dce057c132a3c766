"""All of limen's own routes, and how a schema describes them."""

from collections.abc import Awaitable, Callable, Mapping

from limen.crypto.keys import KeySet
from limen.features.accounts.service import AccountService
from limen.features.api_keys.service import ApiKeyService
from limen.features.approvals.service import ApprovalService
from limen.features.client_certificates.service import ClientCertificateService
from limen.features.forwarding.service import ForwardingService
from limen.features.login.service import LoginService
from limen.features.personal_data.service import PersonalDataService
from limen.features.recovery.service import RecoveryService
from limen.features.sessions.feed import EndedFeed
from limen.features.sessions.service import SessionService
from limen.features.signing_keys.service import JWKS_MAX_AGE
from limen.features.sso.building import Sso
from limen.features.throttling.building import Throttling
from limen.web.guard.own_routes import OwnRoutes
from limen.web.peers import TrustedProxies
from limen.web.routes.account import account_routes
from limen.web.routes.administration import Administered, administration_paths, administration_routes
from limen.web.routes.api_keys import own_key_paths, own_key_routes
from limen.web.routes.approvals import approval_paths, approval_routes
from limen.web.routes.client_certificates import certificate_token_paths, certificate_token_routes
from limen.web.routes.ended import ended_paths, ended_routes
from limen.web.routes.health import health_routes
from limen.web.routes.jwks import JWKS_PATH, jwks_routes
from limen.web.routes.login import login_routes
from limen.web.routes.personal_data import personal_data_paths, personal_data_routes
from limen.web.routes.recovery import recovery_paths, recovery_routes
from limen.web.routes.refresh_cookie import RefreshCookies
from limen.web.routes.schema import BEARER, BODY_PROBLEMS, Paths, array, object_of, operation, text
from limen.web.routes.session_cookie import Cookies, cookie_paths, cookie_routes
from limen.web.routes.sessions import session_paths, session_routes
from limen.web.routes.sso import sso_routes
from limen.web.routes.sso_schema import sso_paths
from limen.web.routes.verify import verify_paths, verify_routes


def own_routes(
    prefix: str,
    *,
    accounts: AccountService,
    login: LoginService,
    sessions: SessionService,
    ended: EndedFeed,
    keys: Callable[[], KeySet],
    cookies: Cookies,
    forwarding: ForwardingService,
    proxies: TrustedProxies,
    throttling: Throttling,
    personal_data: PersonalDataService,
    registration_open: bool,
    ready: Callable[[], Awaitable[Mapping[str, str]]] | None,
    administration: Administered | None = None,
    api_keys: ApiKeyService | None = None,
    public_url: str | None = None,
    certificates: ClientCertificateService | None = None,
    sso: Sso | None = None,
    approvals: ApprovalService | None = None,
    recovery: RecoveryService | None = None,
) -> OwnRoutes:
    """Make the one entry for an application's list of routes.

    ``ready`` adds ``/healthz`` and ``/readyz``, ``administration`` everything under ``/admin/api``, ``api_keys`` the
    caller's own. ``public_url`` is where others reach the application; ``certificates`` adds the tokens of services,
    ``sso`` the providers of single sign-on, ``approvals`` everything under ``/approvals``, ``recovery`` forgotten
    passwords and the proof of addresses.
    """
    refresh_cookies = RefreshCookies(cookies.csrf, cookies.https_only, prefix, public_url)
    limited = throttling.requests
    table = {
        **login_routes(
            login,
            accounts,
            sessions,
            refresh_cookies,
            cookies.devices,
            limited,
            prefix=prefix,
            registration_open=registration_open,
        ),
        **session_routes(sessions, cookies, refresh_cookies, limited, prefix=prefix),
        **account_routes(accounts, cookies, throttling.logins, prefix=prefix),
        **personal_data_routes(personal_data, limited, prefix=prefix),
        **cookie_routes(cookies, prefix=prefix),
        **ended_routes(ended, prefix=prefix),
        **verify_routes(forwarding, cookies.csrf, proxies, prefix=prefix),
        **jwks_routes(keys, max_age=JWKS_MAX_AGE),
        **(own_key_routes(api_keys, limited, prefix=prefix) if api_keys is not None else {}),
        **(certificate_token_routes(certificates, prefix=prefix) if certificates is not None else {}),
        **(sso_routes(sso, cookies, throttling, prefix=prefix) if sso is not None else {}),
        **(approval_routes(approvals) if approvals is not None else {}),
        **(recovery_routes(recovery, throttling, prefix=prefix) if recovery is not None else {}),
        **(health_routes(ready) if ready is not None else {}),
        **(administration_routes(administration) if administration is not None else {}),
    }
    return OwnRoutes("", table)


_PASSWORD = text(format="password", maxLength=1024)
_TOKENS = object_of(
    {
        "access_token": text(),
        "refresh_token": text(),
        "token_type": text(enum=["Bearer"]),
        "expires_in": {"type": "integer", "description": "seconds"},
        "refresh_expires_in": {"type": "integer", "description": "seconds"},
    },
    # It is in the cookie, where the login asked for that.
    "refresh_token",
)
_REFRESH = object_of({"refresh_token": text()})
_KEYS = object_of({"keys": array({"type": "object", "additionalProperties": {"type": "string"}})})
_ME = object_of(
    {
        "sub": text(format="uuid"),
        "kind": text(enum=["person", "service"]),
        "username": text(),
        "roles": array(text()),
        "permissions": array(text()),
        "sid": {"type": ["string", "null"]},
        "amr": array(text()),
        "auth_time": {"type": ["string", "null"], "format": "date-time"},
    }
)


def paths_of_schema(
    prefix: str,
    *,
    registration_open: bool,
    health: bool,
    administration: bool = False,
    api_keys: bool = False,
    sso: bool = False,
    certificates: bool = False,
    approvals: bool = False,
    recovery: bool = False,
) -> Paths:
    """Describe the routes as OpenAPI paths, so that they stand beside the application's own in its schema."""
    return {
        **_token_paths(prefix),
        **_own_paths(prefix),
        JWKS_PATH: {"get": operation("The public keys", {200: _KEYS})},
        **(_registration_paths(prefix) if registration_open else {}),
        **(_health_paths() if health else {}),
        **session_paths(prefix),
        **cookie_paths(prefix),
        **personal_data_paths(prefix),
        **ended_paths(prefix),
        **verify_paths(prefix),
        **(own_key_paths(prefix) if api_keys else {}),
        **(sso_paths(prefix, _TOKENS) if sso else {}),
        **(certificate_token_paths(prefix) if certificates else {}),
        **(approval_paths() if approvals else {}),
        **(recovery_paths(prefix) if recovery else {}),
        **(administration_paths(api_keys=api_keys, recovery=recovery) if administration else {}),
    }


def _token_paths(prefix: str) -> Paths:
    credentials = object_of(
        {
            "username": text(),
            "password": _PASSWORD,
            "new_password": {**_PASSWORD, "type": ["string", "null"]},
            "refresh": text(enum=["body", "cookie"], default="body"),
        },
        "new_password",
        "refresh",
    )
    return {
        f"{prefix}/login": {
            "post": operation(
                "Log in with a password", {200: _TOKENS}, 401, 403, *BODY_PROBLEMS, 429, 503, body=credentials
            )
        },
        f"{prefix}/refresh": {
            "post": operation(
                "Exchange a refresh token",
                {200: _TOKENS},
                401,
                403,
                *BODY_PROBLEMS,
                429,
                503,
                body=_REFRESH,
                body_required=False,
            )
        },
        f"{prefix}/logout": {
            "post": operation(
                "End one session", {204: None}, 401, 403, *BODY_PROBLEMS, 503, body=_REFRESH, body_required=False
            )
        },
    }


def _own_paths(prefix: str) -> Paths:
    passwords = object_of({"current_password": _PASSWORD, "new_password": _PASSWORD})
    return {
        f"{prefix}/logout-all": {
            "post": operation("End every session of mine", {204: None}, 401, 503, security=BEARER)
        },
        f"{prefix}/me": {"get": operation("Who am I", {200: _ME}, 401, 503, security=BEARER)},
        f"{prefix}/password": {
            "post": operation(
                "Change my password", {204: None}, 401, *BODY_PROBLEMS, 429, 503, body=passwords, security=BEARER
            )
        },
    }


def _registration_paths(prefix: str) -> Paths:
    registration = object_of(
        {"username": text(minLength=1, maxLength=64), "password": _PASSWORD, "email": text(format="email")}, "email"
    )
    registered = object_of({"id": text(format="uuid"), "username": text()})
    made = operation("Make an account", {201: registered}, 409, *BODY_PROBLEMS, 429, 503, body=registration)
    return {f"{prefix}/register": {"post": made}}


def _health_paths() -> Paths:
    refused = text(enum=["refused"])
    alive = object_of(
        {"status": text(), "store": text(enum=["rolled_back"]), "policies": refused, "shadow_policies": refused},
        "store",
        "policies",
        "shadow_policies",
    )
    return {
        "/healthz": {"get": operation("The process is alive", {200: alive})},
        "/readyz": {"get": operation("Requests can be served", {200: alive}, 503)},
    }
