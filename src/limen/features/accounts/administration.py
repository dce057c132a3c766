"""What an administrator does to the accounts of others. Each act is judged by the database as it is at that moment.

Nobody acts on whoever holds more than they do, nobody switches themselves off, and an administrator always remains
(ASVS 8.2.1). What an act was judged by is asked again in its own transaction, so that a role that is granted or revoked
meanwhile is not overlooked.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from limen.authz.administration import Administration
from limen.authz.authority import Authority, judged
from limen.core.errors import NotFound, OwnRequest
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin
from limen.core.mails import MailKind
from limen.core.principal import Principal
from limen.features.accounts.service import AccountService
from limen.features.accounts.store import Account, AccountAdministrationStore, StatusChange
from limen.features.accounts.temporary import LIFETIME_SECONDS
from limen.features.roles.service import Actor, Operator, RoleService
from limen.features.sessions.service import SessionService
from limen.features.throttling.service import LoginThrottle

T = TypeVar("T")

_WRITE, _DELETE, _END = Administration.ACCOUNTS_WRITE, Administration.ACCOUNTS_DELETE, Administration.SESSIONS_END

_Change = Callable[..., Awaitable[StatusChange]]


class AccountAdministration:
    """The use cases of an administrator of accounts.

    Args:
        accounts: what can be done to accounts at all.
        store: what only an administrator does to them.
        sessions: ends sessions.
        roles: judges who may act on whom, and grants.
        record: writes the event of a refusal.
        keep_ended_ms: how long an ended session stays on the list.
        roles_changed: called after roles were taken away, so that this process knows at once.
        throttle: what counts logins; a temporary password begins the account's counts anew.
    """

    def __init__(
        self,
        accounts: AccountService,
        store: AccountAdministrationStore,
        *,
        sessions: SessionService,
        roles: RoleService,
        record: EventSink,
        keep_ended_ms: int,
        roles_changed: Callable[[], Awaitable[None]],
        throttle: LoginThrottle,
    ) -> None:
        self._accounts = accounts
        self._store = store
        self._sessions = sessions
        self._roles = roles
        self._record = record
        self._keep_ended_ms = keep_ended_ms
        self._roles_changed = roles_changed
        self._throttle = throttle

    async def create(
        self,
        actor: Actor,
        username: str,
        password: str | None,
        *,
        email: str | None = None,
        roles: frozenset[str] = frozenset(),
        origin: Origin = NOWHERE,
    ) -> Account:
        """Make an account and return it; its roles only as far as who acts may grant them.

        Raises:
            InvalidInput: a name, address, role or password that is not acceptable.
            UsernameTaken: somebody has the name.
            PermissionRequired: ``accounts:write`` is not held, or ``roles:assign``, or what the roles give.
            Busy: too many passwords wait to be hashed.
        """

        async def attempt(authority: Authority | None) -> Account:
            return await self._accounts.create(
                username,
                password,
                email=email,
                roles=roles,
                actor=_name_of(actor),
                origin=origin,
                authority=authority,
            )

        refused = Event(EventName.ACCOUNT_CREATED, data={"roles": sorted(roles)})
        return await self._judged(actor, attempt, refused, origin, _WRITE, granting=roles)

    async def disable(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Switch an active account off; all its sessions end.

        This and the other verbs ask for ``accounts:write``, and for everything that the account may do.

        Raises:
            NotFound: there is no such account.
            OwnRequest: it is one's own (where it would be switched off).
            PermissionRequired: who acts does not hold what the account holds.
            Conflict: it is in another state, or it is the last administrator.
        """
        await self._set_status(actor, account_id, self._accounts.disable, EventName.ACCOUNT_DISABLED, origin)

    async def enable(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Switch a disabled account on again; see `disable`."""
        await self._set_status(actor, account_id, self._accounts.enable, EventName.ACCOUNT_ENABLED, origin)

    async def block(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Block an active account on suspicion; all its sessions end; see `disable`."""
        await self._set_status(actor, account_id, self._accounts.block, EventName.ACCOUNT_BLOCKED, origin)

    async def unblock(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Undo a block; see `disable`."""
        await self._set_status(actor, account_id, self._accounts.unblock, EventName.ACCOUNT_UNBLOCKED, origin)

    async def _set_status(
        self, actor: Actor, account_id: str, change: _Change, name: EventName, origin: Origin
    ) -> None:
        async def attempt(authority: Authority | None) -> StatusChange:
            if name in (EventName.ACCOUNT_DISABLED, EventName.ACCOUNT_BLOCKED):
                _refuse_own(actor, account_id)
            account = await self._accounts.by_id(account_id)
            return await change(account, actor=_name_of(actor), origin=origin, authority=authority)

        await self._judged(actor, attempt, Event(name, target=account_id[:128]), origin, _WRITE, over=account_id)

    async def delete(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Delete an account for good: what is personal is erased, the id stays as a tombstone, the name is free.

        Raises:
            NotFound: there is no such account.
            OwnRequest: it is one's own.
            PermissionRequired: ``accounts:delete`` is not held, or something that the account holds.
            Conflict: it is the last administrator.
        """
        event = Event(EventName.ACCOUNT_DELETED, actor=_name_of(actor), target=account_id[:128], origin=origin)

        async def attempt(authority: Authority | None) -> None:
            _refuse_own(actor, account_id)
            deleted = await self._store.delete(
                account_id, event=event, keep_ended_ms=self._keep_ended_ms, authority=authority
            )
            if not deleted:
                raise _no_such_account()

        await self._judged(actor, attempt, event, origin, _DELETE, over=account_id)
        await self._sessions.catch_up()
        await self._roles_changed()

    async def set_email(self, actor: Actor, account_id: str, email: str | None, *, origin: Origin = NOWHERE) -> None:
        """Replace an account's e-mail address, or remove it (None). Of two who do it at once the last one wins.

        Raises:
            InvalidInput: it is no address.
            NotFound: there is no such account.
            OwnRequest: it is one's own.
            PermissionRequired: ``accounts:write`` is not held, or something that the account holds.
        """
        address = self._accounts.checked_email(email)
        # The address itself is personal, and the trail is kept longer than the account.
        event = Event(
            EventName.EMAIL_CHANGED,
            actor=_name_of(actor),
            target=account_id[:128],
            origin=origin,
            data={"removed": address is None},
        )

        async def attempt(authority: Authority | None) -> None:
            # With the address goes the password: one's own is changed by who knows it.
            _refuse_own(actor, account_id, "Nobody changes their own address here.")
            notice = self._accounts.notice(MailKind.EMAIL_CHANGED, origin)
            done = await self._store.set_email(account_id, address, event=event, authority=authority, notice=notice)
            if not done:
                raise _no_such_account()

        await self._judged(actor, attempt, event, origin, _WRITE, over=account_id)

    async def set_roles(
        self, actor: Actor, account_id: str, roles: frozenset[str], *, origin: Origin = NOWHERE
    ) -> None:
        """Make an account hold exactly these roles; see `RoleService.set_roles`."""
        await self._roles.set_roles(actor, account_id, roles, origin=origin)

    async def change(
        self,
        actor: Actor,
        account_id: str,
        *,
        email: tuple[str | None] | None = None,
        roles: frozenset[str] | None = None,
        origin: Origin = NOWHERE,
    ) -> Account:
        """Change what is given, and return the account as it is then.

        Args:
            actor: who does it.
            account_id: whose account.
            email: the address to be, or None in it to remove the address; None leaves it as it is.
            roles: exactly the roles to hold; None leaves them as they are.
            origin: where the request came from.

        Raises:
            InvalidInput, NotFound, OwnRequest, PermissionRequired, Conflict: see `set_email` and `set_roles`.
        """
        if email is not None:
            # Before the roles are changed: what would be refused afterwards is refused now.
            self._accounts.checked_email(email[0])
            refused = Event(EventName.EMAIL_CHANGED, target=account_id[:128])

            async def judged_only(_authority: Authority | None) -> None:
                _refuse_own(actor, account_id, "Nobody changes their own address here.")

            await self._judged(actor, judged_only, refused, origin, _WRITE, over=account_id)
        if roles is not None:
            await self.set_roles(actor, account_id, roles, origin=origin)
        if email is not None:
            await self.set_email(actor, account_id, email[0], origin=origin)
        return await self._accounts.by_id(account_id)

    async def end_sessions(self, actor: Actor, account_id: str, *, origin: Origin = NOWHERE) -> int:
        """End every session of an account, and return how many there were.

        Raises:
            NotFound: there is no such account.
            PermissionRequired: ``sessions:end`` is not held, or something that the account holds.
        """

        async def attempt(authority: Authority | None) -> int:
            return await self._sessions.end_all(account_id, actor=_name_of(actor), origin=origin, authority=authority)

        refused = Event(EventName.SESSIONS_ENDED, target=account_id[:128])
        return await self._judged(actor, attempt, refused, origin, _END, over=account_id)

    async def set_temporary_password(self, actor: Operator, account_id: str, *, origin: Origin = NOWHERE) -> str:
        """Give an account a password that only leads to another one, and return it: it is shown nowhere else.

        Every session ends. Only the operator may: an administrator never knows a password of somebody (ASVS 6.4.6).

        Raises:
            NotFound: there is no such account.
            Busy: too many passwords wait to be hashed.
        """
        account = await self._accounts.by_id(account_id)
        password, new_hash = await self._accounts.hash_temporary_password()
        done = await self._store.set_temporary_password(
            account_id,
            new_hash=new_hash,
            lifetime_ms=LIFETIME_SECONDS * 1000,
            event=Event(
                EventName.PASSWORD_SET,
                actor=actor.name,
                target=account_id,
                origin=origin,
                notice=self._accounts.notice_of(account_id, MailKind.PASSWORD_CHANGED, origin),
            ),
            keep_ended_ms=self._keep_ended_ms,
        )
        if not done:
            raise _no_such_account()
        await self._sessions.catch_up()
        # What was counted were guesses at another password.
        await self._throttle.forget(account.username, account_id=account.id)
        return password

    async def _judged(
        self,
        actor: Actor,
        attempt: Callable[[Authority | None], Awaitable[T]],
        refused: Event,
        origin: Origin,
        *needed: str,
        over: str | None = None,
        granting: frozenset[str] = frozenset(),
    ) -> T:
        async def judge() -> Authority | None:
            return await self._roles.authority(actor, *needed, over=over, granting=granting)

        told = replace(refused, actor=_name_of(actor), origin=origin)
        return await judged(judge, attempt, record=self._record, refused=told)


def _refuse_own(
    actor: Actor, account_id: str, message: str = "Nobody switches off or deletes their own account here."
) -> None:
    if isinstance(actor, Principal) and actor.sub == account_id:
        raise OwnRequest(message)


def _name_of(actor: Actor) -> str:
    return actor.name if isinstance(actor, Operator) else actor.sub


def _no_such_account() -> NotFound:
    return NotFound("There is no such account.")
