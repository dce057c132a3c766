"""Client certificates put together: the strategy that reads them, and the use cases behind them."""

from collections.abc import Callable
from dataclasses import dataclass

from limen.authn.client_certificate import CertificateSource, ClientCertificateStrategy
from limen.authn.ended import EndedSessions
from limen.authn.issuing import Door
from limen.core.clock import Clock
from limen.features.accounts.service import AccountService
from limen.features.client_certificates.service import ClientCertificateService
from limen.features.client_certificates.store import ClientCertificateStore
from limen.features.roles.service import RoleService
from limen.features.sessions.service import SessionService


@dataclass(frozen=True, slots=True)
class ClientCertificates:
    """The parts.

    Attributes:
        strategy: finds the service of a certificate; None where no certificate is believed.
        service: registers, lists and takes away; exchanges a certificate for a token.
    """

    strategy: ClientCertificateStrategy | None
    service: ClientCertificateService


def build_client_certificates(
    store: ClientCertificateStore,
    source: CertificateSource | None,
    door: Door,
    *,
    ended: EndedSessions,
    accounts: AccountService,
    sessions: SessionService,
    roles: RoleService,
    permissions_of: Callable[[frozenset[str]], frozenset[str]],
    known_roles: Callable[[], frozenset[str]],
    clock: Clock,
    keep_ended_ms: int,
) -> ClientCertificates:
    """Put them together. Without a source names are administered all the same: for other processes."""
    strategy = None
    if source is not None:
        strategy = ClientCertificateStrategy(
            store, ended, source, permissions_of=permissions_of, known_roles=known_roles, clock=clock
        )
    service = ClientCertificateService(
        store,
        door,
        accounts=accounts,
        sessions=sessions,
        roles=roles,
        record=sessions.record,
        keep_ended_ms=keep_ended_ms,
        removed=(lambda: None) if strategy is None else strategy.forget,
    )
    return ClientCertificates(strategy, service)
