"""API keys put together: the strategy that reads them, and the use cases behind them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limen.authn.api_key import ApiKeyStrategy
from limen.authn.api_key_issuing import KeyDoor
from limen.authn.api_key_records import KeyIssuingStore, KeyState
from limen.authn.ended import EndedSessions
from limen.core.clock import Clock
from limen.crypto.api_keys import KeyHasher
from limen.features.accounts.service import AccountService
from limen.features.api_keys.service import OVERLAP_MS, ApiKeyService
from limen.features.api_keys.services import ServiceAccounts
from limen.features.api_keys.store import ApiKeyStore
from limen.features.roles.service import RoleService
from limen.features.sessions.service import SessionService


@dataclass(frozen=True, slots=True)
class KeySettings:
    """What API keys are told.

    Attributes:
        secrets: the texts of ``LIMEN_DATA_SECRETS``; without one there are no API keys.
        environment: names the installation in each key.
        default_ttl: seconds that a key lives where nothing is said.
        max_ttl: seconds that it may live at most.
        keep_ended_ms: how long a revoked key stays on the list of what ended.
    """

    secrets: Sequence[str]
    environment: str
    default_ttl: int
    max_ttl: int
    keep_ended_ms: int


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """The parts.

    Attributes:
        strategy: finds the owner of a presented key.
        service: makes, lists, rotates and revokes.
        services: the accounts of services, which have nothing but keys.
        door: issues keys.
    """

    strategy: ApiKeyStrategy
    service: ApiKeyService
    services: ServiceAccounts
    door: KeyDoor


def build_api_keys(
    told: KeySettings,
    store: ApiKeyStore,
    issuing: KeyIssuingStore,
    *,
    ended: EndedSessions,
    accounts: AccountService,
    sessions: SessionService,
    roles: RoleService,
    permissions_of: Callable[[frozenset[str]], frozenset[str]],
    known_roles: Callable[[], frozenset[str]],
    clock: Clock,
) -> ApiKeys | None:
    """Put them together; None where there is no data secret, and so nothing to store a key under."""
    if not told.secrets:
        return None
    hasher = KeyHasher(told.secrets)
    door = KeyDoor(issuing, hasher=hasher, environment=told.environment, overlap_ms=OVERLAP_MS)
    services = ServiceAccounts(accounts, roles, record=sessions.record)

    async def used(row: KeyState) -> None:
        await service.used(row)

    strategy = ApiKeyStrategy(
        store,
        hasher,
        ended,
        environment=told.environment,
        permissions_of=permissions_of,
        known_roles=known_roles,
        clock=clock,
        used=used,
    )
    service = ApiKeyService(
        store,
        door,
        accounts=accounts,
        sessions=sessions,
        roles=roles,
        permissions_of=permissions_of,
        record=sessions.record,
        default_ttl=told.default_ttl,
        max_ttl=told.max_ttl,
        keep_ended_ms=told.keep_ended_ms,
        revoked=strategy.forget,
    )
    return ApiKeys(strategy, service, services, door)
