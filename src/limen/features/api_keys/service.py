"""API keys: made, listed, rotated and revoked, for one's own account or for one that somebody administers.

Whose key it is, is never said by the request: it is the account of the session, or the one that the path names and who
acts may act on (CVE-2025-61928).
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from limen.authn.api_key_issuing import IssuedKey, KeyDoor, KeyTerms
from limen.authn.api_key_records import KeyState
from limen.authn.issuing import Grant, Proof
from limen.authz.administration import Administration
from limen.authz.authority import Authority, judged
from limen.authz.permissions import is_permission_name
from limen.core.errors import (
    Conflict,
    InputFault,
    InvalidInput,
    NotFound,
    PermissionRequired,
    SessionEnded,
)
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin
from limen.core.ids import is_uuid7
from limen.core.mails import MailKind
from limen.core.networks import canonical_network
from limen.core.pages import DEFAULT_PAGE, check_limit, check_place
from limen.core.principal import Principal
from limen.features.accounts.service import AccountService, AccountView
from limen.features.api_keys.store import ApiKeyStore, StoredKey
from limen.features.roles.service import Actor, Operator, RoleService
from limen.features.sessions.service import SessionService

T = TypeVar("T")

KeyView: TypeAlias = StoredKey
"""A key as it is shown: nothing of its secret is in it."""

OVERLAP_MS: Final = 24 * 60 * 60 * 1000
"""How long the secret before a rotation goes on being accepted."""
SHORTEST: Final = 60
"""Seconds that a key lives at least."""
MOST_SCOPES: Final = 200
MOST_NETWORKS: Final = 32
MAX_NAME: Final = 128
USED_AGAIN_MS: Final = 24 * 60 * 60 * 1000
"""A use is an event where the one noted before is as long ago as this, or there was none."""


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Some keys, the newest first.

    Attributes:
        items: the keys.
        next: what to hand in as ``after`` for those that follow; None at the end.
    """

    items: Sequence[StoredKey]
    next: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asks for.

    Attributes:
        name: what it is to be called.
        scopes: the permissions it is to be limited to; None for whatever its owner may.
        expires_in: seconds until it ends; None for what the settings say.
        networks: from where it may be used, addresses or networks; None from everywhere.
    """

    name: str
    scopes: Collection[str] | None = None
    expires_in: int | None = None
    networks: Collection[str] | None = None


class ApiKeyService:
    """The use cases of API keys.

    Args:
        store: where they are.
        door: issues them.
        accounts: finds their owners.
        sessions: knows the session of who makes a key for themselves.
        roles: judges who may act on whom.
        permissions_of: what a set of roles gives.
        record: writes an event.
        default_ttl: seconds that a key lives where nothing is said.
        max_ttl: seconds that it may live at most.
        keep_ended_ms: how long a revoked key stays on the list.
        revoked: called after a key was revoked, so that this process knows at once.
    """

    def __init__(
        self,
        store: ApiKeyStore,
        door: KeyDoor,
        *,
        accounts: AccountService,
        sessions: SessionService,
        roles: RoleService,
        permissions_of: Callable[[frozenset[str]], frozenset[str]],
        record: EventSink,
        default_ttl: int,
        max_ttl: int,
        keep_ended_ms: int,
        revoked: Callable[[], None],
    ) -> None:
        self._store = store
        self._door = door
        self._accounts = accounts
        self._sessions = sessions
        self._roles = roles
        self._permissions_of = permissions_of
        self._record = record
        self._default_ttl = default_ttl
        self._max_ttl = max_ttl
        self._keep_ended_ms = keep_ended_ms
        self._revoked = revoked

    # --- one's own

    async def create_own(self, principal: Principal, wanted: Wanted, *, origin: Origin = NOWHERE) -> IssuedKey:
        """Make a key for the principal's own account.

        Raises:
            InvalidInput: a name, scope, time or network that is not acceptable.
            PermissionRequired: a scope that the principal does not hold.
            SessionEnded, AccountNotActive: who asks is not there any more.
            Conflict: there are too many keys already.
        """
        terms = self._terms(wanted)
        _require_held(terms.scopes, principal.permissions)
        state = await self._sessions.live_state(principal)
        proof = self._proof(Grant.API_KEY, principal.sub, state.account_epoch, origin)
        issued = await self._door.issue_key(proof, terms, created_by=principal.sub)
        if issued is None:
            raise SessionEnded()
        return issued

    async def rotate_own(self, principal: Principal, key_id: str, *, origin: Origin = NOWHERE) -> IssuedKey:
        """Give one of the principal's own keys a new secret; the one before is accepted for 24 hours more.

        Raises:
            NotFound: there is no such key that lives, or it is somebody else's.
            Conflict: it was rotated by somebody else at this moment.
        """
        state = await self._sessions.live_state(principal)
        proof = self._proof(Grant.API_KEY_ROTATION, principal.sub, state.account_epoch, origin)
        return await self._rotate(proof, key_id, principal.sub, None)

    async def revoke_own(self, principal: Principal, key_id: str, *, origin: Origin = NOWHERE) -> None:
        """Revoke one of the principal's own keys.

        Raises:
            NotFound: there is no such key, or it is somebody else's: the two are not told apart.
        """
        await self._revoke(principal.sub, key_id, principal.sub, origin, None)

    async def confirm_own(self, principal: Principal, key_id: str, *, origin: Origin = NOWHERE) -> None:
        """Let one of the principal's own keys be used again that came back with a restored database.

        Raises:
            NotFound: there is no such key, or it is somebody else's.
        """
        await self._confirm(principal.sub, key_id, principal.sub, origin, None)

    async def page(self, account_id: str, *, limit: int = DEFAULT_PAGE, after: str | None = None) -> KeyPage:
        """List the keys of an account that are not revoked, the newest first: at most ``limit`` (1 to 200).

        Raises:
            InvalidInput: a limit out of range, or an ``after`` that no page has answered.
        """
        found = await self._store.of_account(account_id, limit=check_limit(limit) + 1, after=check_place(after))
        return KeyPage(found[:limit], found[limit - 1].id if len(found) > limit else None)

    # --- of an account that somebody administers

    async def create_for(self, actor: Actor, account_id: str, wanted: Wanted, *, origin: Origin = NOWHERE) -> IssuedKey:
        """Make a key for the account of a service; the operator may for any account.

        It takes ``services:write`` and everything that the account may do: whoever has the key may it too.

        Raises:
            NotFound: there is no such service.
            PermissionRequired: who acts does not hold that, or the account does not hold a scope.
            InvalidInput, Conflict: as for one's own.
        """
        terms = self._terms(wanted)

        async def attempt(authority: Authority | None) -> IssuedKey:
            account = await self._account(actor, account_id)
            _require_held(terms.scopes, self._permissions_of(account.roles) | account.permissions)
            proof = self._proof(Grant.API_KEY, account.id, account.session_epoch, origin)
            issued = await self._door.issue_key(proof, terms, created_by=_name_of(actor), authority=authority)
            if issued is None:
                raise Conflict("The account is not active.")
            return issued

        refused = Event(EventName.API_KEY_CREATED, actor=_name_of(actor), origin=origin, data={"account": account_id})
        return await self._judged(actor, account_id, attempt, refused)

    async def rotate_for(self, actor: Actor, account_id: str, key_id: str, *, origin: Origin = NOWHERE) -> IssuedKey:
        """Give a key of a service's account a new secret; see `create_for` and `rotate_own`."""

        async def attempt(authority: Authority | None) -> IssuedKey:
            account = await self._account(actor, account_id)
            proof = self._proof(Grant.API_KEY_ROTATION, account.id, account.session_epoch, origin)
            return await self._rotate(proof, key_id, _name_of(actor), authority)

        refused = _event(EventName.API_KEY_ROTATED, account_id, key_id, _name_of(actor), origin)
        return await self._judged(actor, account_id, attempt, refused)

    async def revoke_for(self, actor: Actor, account_id: str, key_id: str, *, origin: Origin = NOWHERE) -> None:
        """Revoke a key of a service's account; see `create_for`."""

        async def attempt(authority: Authority | None) -> None:
            await self._account(actor, account_id)
            await self._revoke(account_id, key_id, _name_of(actor), origin, authority)

        refused = _event(EventName.API_KEY_REVOKED, account_id, key_id, _name_of(actor), origin)
        await self._judged(actor, account_id, attempt, refused)

    async def confirm_for(self, actor: Actor, account_id: str, key_id: str, *, origin: Origin = NOWHERE) -> None:
        """Let a key of a service's account be used again that came back with a restored database; see `create_for`."""

        async def attempt(authority: Authority | None) -> None:
            await self._account(actor, account_id)
            await self._confirm(account_id, key_id, _name_of(actor), origin, authority)

        refused = _event(EventName.API_KEY_CONFIRMED, account_id, key_id, _name_of(actor), origin)
        await self._judged(actor, account_id, attempt, refused)

    async def page_for(
        self, actor: Actor, account_id: str, *, limit: int = DEFAULT_PAGE, after: str | None = None
    ) -> KeyPage:
        """List the keys of a service's account; see `page`.

        Raises:
            NotFound: there is no such service.
        """
        await self._account(actor, account_id)
        return await self.page(account_id, limit=limit, after=after)

    async def used(self, row: KeyState) -> None:
        """Record that a key is used, the first time and then once a day at most; never each request."""
        last = row.last_used_at
        if last is None or row.now - last >= USED_AGAIN_MS:
            data = {"account": row.account_id, "first": last is None}
            await self._record(Event(EventName.API_KEY_USED, actor=row.account_id, target=row.id, data=data))

    # --- inside

    def _proof(self, grant: Grant, account_id: str, epoch: int, origin: Origin) -> Proof:
        notice = self._accounts.notice_of(account_id, MailKind.API_KEY_ISSUED, origin)
        return Proof(grant, account_id, epoch, (), "", origin, notice=notice)

    async def _account(self, actor: Actor, account_id: str) -> AccountView:
        account = await self._accounts.by_id(account_id)
        if account.kind != "service" and not isinstance(actor, Operator):
            raise NotFound("There is no such service.")
        return account

    async def _judged(
        self, actor: Actor, account_id: str, attempt: Callable[[Authority | None], Awaitable[T]], refused: Event
    ) -> T:
        async def judge() -> Authority | None:
            return await self._roles.authority(actor, Administration.SERVICES_WRITE, over=account_id)

        return await judged(judge, attempt, record=self._record, refused=refused)

    async def _rotate(self, proof: Proof, key_id: str, actor: str, authority: Authority | None) -> IssuedKey:
        row = await self._store.look_up(key_id) if is_uuid7(key_id) else None
        if row is None or row.account_id != proof.account_id or row.is_revoked or not row.in_time:
            raise _no_such_key()
        issued = await self._door.rotate_key(
            proof, key_id, rotations=row.rotations, rotated_by=actor, authority=authority
        )
        if issued is None:
            raise Conflict("The key or its account was changed at this moment.")
        return issued

    async def _revoke(
        self, account_id: str, key_id: str, actor: str, origin: Origin, authority: Authority | None
    ) -> None:
        event = _event(EventName.API_KEY_REVOKED, account_id, key_id, actor, origin)
        done = is_uuid7(key_id) and await self._store.revoke(
            key_id, account_id=account_id, event=event, keep_ended_ms=self._keep_ended_ms, authority=authority
        )
        if not done:
            raise _no_such_key()
        self._revoked()
        await self._sessions.catch_up()

    async def _confirm(
        self, account_id: str, key_id: str, actor: str, origin: Origin, authority: Authority | None
    ) -> None:
        event = _event(EventName.API_KEY_CONFIRMED, account_id, key_id, actor, origin)
        done = is_uuid7(key_id) and await self._store.confirm(
            key_id, account_id=account_id, event=event, authority=authority
        )
        if not done:
            raise _no_such_key()

    def _terms(self, wanted: Wanted) -> KeyTerms:
        name = wanted.name.strip()
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise _fault("name", "invalid_value", f"A name has 1 to {MAX_NAME} printable characters.")
        seconds = self._default_ttl if wanted.expires_in is None else wanted.expires_in
        if not SHORTEST <= seconds <= self._max_ttl:
            raise _fault("expires_in", "out_of_range", f"A key lives for {SHORTEST} to {self._max_ttl} seconds.")
        return KeyTerms(name, _scopes(wanted.scopes), _networks(wanted.networks), seconds * 1000)


def _event(name: EventName, account_id: str, key_id: str, actor: str, origin: Origin) -> Event:
    return Event(name, actor=actor, target=key_id[:128], origin=origin, data={"account": account_id})


def _scopes(given: Collection[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    scopes = tuple(sorted(set(given)))
    if not 0 < len(scopes) <= MOST_SCOPES or not all(is_permission_name(scope) for scope in scopes):
        message = f"Name 1 to {MOST_SCOPES} permissions, as resource:action, or leave scopes out."
        raise _fault("scopes", "invalid_value", message)
    return scopes


def _networks(given: Collection[str] | None) -> tuple[str, ...] | None:
    if given is None:
        return None
    try:
        networks = tuple(sorted({canonical_network(network) for network in given}))
    except ValueError:
        networks = ()
    if not 0 < len(networks) <= MOST_NETWORKS:
        message = f"Name 1 to {MOST_NETWORKS} networks, such as 192.0.2.0/24 or 2001:db8::/32, or leave networks out."
        raise _fault("networks", "invalid_value", message)
    return networks


def _fault(field: str, code: str, message: str) -> InvalidInput:
    return InvalidInput(message, errors=[InputFault(("body", field), code, message)])


def _require_held(scopes: tuple[str, ...] | None, held: frozenset[str]) -> None:
    missing = [scope for scope in scopes or () if scope not in held]
    if missing:
        raise PermissionRequired(f"The owner of the key does not hold {', '.join(missing[:5])}.")


def _no_such_key() -> NotFound:
    return NotFound("There is no such API key.")


def _name_of(actor: Actor) -> str:
    return actor.name if isinstance(actor, Operator) else actor.sub
