"""Single sign-on put together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from limen.authn.cookie import CookieStrategy
from limen.authn.issuing import Door
from limen.authn.outbound import Outbound
from limen.core.clock import Clock
from limen.crypto.sealing import Sealer
from limen.features.accounts.service import AccountService
from limen.features.roles.service import RoleService
from limen.features.sessions.service import SessionService
from limen.features.sso.client import ProviderClient
from limen.features.sso.flows import Flows
from limen.features.sso.logout import SsoLogout
from limen.features.sso.providers import SSOProvider
from limen.features.sso.service import SsoService
from limen.features.sso.store import SsoStore


@dataclass(frozen=True, slots=True)
class SsoSettings:
    """What single sign-on is told.

    Attributes:
        secrets: the texts of ``LIMEN_DATA_SECRETS``; without one no ID token is kept for the logout.
        public_url: the address of this application.
        redirects: where a browser may be sent besides paths of this origin.
        client_id: the client named in the tokens.
        keep_ended_ms: how long an ended session stays on the list.
    """

    secrets: Sequence[str]
    public_url: str
    redirects: frozenset[str]
    client_id: str
    keep_ended_ms: int


@dataclass(frozen=True, slots=True)
class Sso:
    """The parts.

    Attributes:
        providers: by name.
        service: logs in, exchanges, links.
        logout: logs out.
        public_url: the address of this application; empty where it was not told.
        redirects: where a browser may be sent besides paths of this origin.
    """

    providers: Mapping[str, SSOProvider]
    service: SsoService
    logout: SsoLogout
    public_url: str
    redirects: frozenset[str]


def build_sso(
    told: SsoSettings,
    providers: Mapping[str, SSOProvider],
    store: SsoStore,
    *,
    outbound: Outbound,
    door: Door,
    accounts: AccountService,
    roles: RoleService,
    sessions: SessionService,
    cookies: CookieStrategy,
    known_roles: Callable[[], frozenset[str]],
    clock: Clock,
) -> Sso | None:
    """Put them together; None where no provider is declared."""
    if not providers:
        return None
    flows = Flows(store, {name: ProviderClient(each, outbound, clock=clock) for name, each in providers.items()})
    sealer = Sealer(told.secrets, "sso-hint") if told.secrets else None
    service = SsoService(
        store,
        flows,
        door,
        accounts=accounts,
        roles=roles,
        sessions=sessions,
        cookies=cookies,
        known_roles=known_roles,
        record=sessions.record,
        sealer=sealer,
        client_id=told.client_id,
    )
    logout = SsoLogout(
        store,
        flows,
        sessions=sessions,
        sealer=sealer,
        public_url=told.public_url,
        keep_ended_ms=told.keep_ended_ms,
    )
    return Sso(providers, service, logout, told.public_url, told.redirects)
