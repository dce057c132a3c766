"""Accounts: made, found, switched off and on, and their passwords."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from limen.authz.authority import Authority
from limen.core.errors import Conflict, InputFault, InvalidCredentials, InvalidInput, NotFound, UsernameTaken
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin, Outcome
from limen.core.ids import is_uuid7, uuid7
from limen.core.mails import MailKind, Notices
from limen.core.notices import Notice
from limen.core.pages import check_limit
from limen.crypto.hashing_pool import HashingPool
from limen.crypto.passwords import PasswordHasher
from limen.features.accounts.existing import ExistingAccount, TakingOver
from limen.features.accounts.names import normalise_email, normalise_username
from limen.features.accounts.password_policy import check_new_password, check_presented_password
from limen.features.accounts.store import Account, AccountStatus, AccountStore, NewAccount, StatusChange
from limen.features.accounts.temporary import new_temporary_password

AccountView: TypeAlias = Account
"""An account as it is shown, but for its password's hash."""


@dataclass(frozen=True, slots=True)
class AccountPage:
    """Some accounts in the order of their usernames.

    Attributes:
        items: the accounts.
        next: what to hand in as ``after`` for those that follow; None at the end.
    """

    items: Sequence[Account]
    next: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What was found by a name a moment ago, so that it is not looked up once more; None for nobody."""

    account: Account | None


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """What a check of a password found.

    Attributes:
        account: the account, where the password is its own; it may still be one that must not be used.
        found: the account with that name, right password or not, for the audit trail only.
        outdated: the hash should be made anew with the present settings.
    """

    account: Account | None
    found: Account | None
    outdated: bool


class AccountService:
    """The use cases of accounts.

    Args:
        store: where the accounts are.
        hasher: the scheme and cost for new passwords.
        pool: the threads that hash, so that the event loop does not.
        known_roles: answers the names of the roles there are.
        password_min_length: code points.
        forbidden_words: words no password may contain beside the account's own: the product, the host.
        keep_ended_ms: how long an ended session stays on the list: an access token's life and a margin.
        record: writes the event of a failure.
        sessions_ended: called after sessions ended, so that this process knows at once.
        taking_over: asks an existing table of users for names that limen does not know, if there is one.
    """

    def __init__(
        self,
        store: AccountStore,
        *,
        hasher: PasswordHasher,
        pool: HashingPool,
        known_roles: Callable[[], Collection[str]],
        password_min_length: int,
        forbidden_words: Sequence[str],
        keep_ended_ms: int,
        record: EventSink,
        sessions_ended: Callable[[], Awaitable[None]],
        taking_over: TakingOver | None = None,
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._pool = pool
        self._known_roles = known_roles
        self._password_min_length = password_min_length
        self._forbidden_words = tuple(forbidden_words)
        self._keep_ended_ms = keep_ended_ms
        self._record = record
        self._sessions_ended = sessions_ended
        self._taking_over = taking_over
        self._notices: Notices | None = None

    def use_mail(self, notices: Notices) -> None:
        """Write mails with what is done from now on: to prove new addresses, and to tell of changed passwords."""
        self._notices = notices

    def notice(self, kind: MailKind, origin: Origin) -> Notice | None:
        """Return a notice about what is done to an account now; None where there is no mail."""
        return None if self._notices is None else self._notices.notice(kind, origin)

    def notice_of(self, account_id: str, kind: MailKind, origin: Origin, **more: object) -> Notice | None:
        """Return the same for an event of this account to carry, with more values for its template."""
        notice = self.notice(kind, origin)
        return None if notice is None else replace(notice, account_id=account_id, data={**notice.data, **more})

    def recipient(self, email: str | None) -> str | None:
        """Return the address that a mail goes to when an account is made with it; None where none is sent."""
        return None if self._notices is None or email is None else self.address(email)

    async def create(
        self,
        username: str,
        password: str | None,
        *,
        email: str | None = None,
        roles: frozenset[str] = frozenset(),
        actor: str = "",
        origin: Origin = NOWHERE,
        authority: Authority | None = None,
        kind: str = "person",
    ) -> Account:
        """Make an active account and return it; of a service, where ``kind`` says so, which has no password.

        Raises:
            InvalidInput: a name, address, role or password that is not acceptable, with the field and the reason.
            UsernameTaken: somebody has the name, in whatever spelling.
            Busy: too many passwords wait to be hashed.
        """
        name = normalise_username(username)
        address = normalise_email(email) if email is not None else None
        unknown = sorted(roles.difference(self._known_roles()))
        if unknown:
            message = f"There is no role {', '.join(unknown)}."
            raise InvalidInput(message, errors=[InputFault(("roles",), "unknown_role", message)])
        # A name of the existing table is somebody's, who has only not come yet.
        if await self._existing(name) is not None:
            raise UsernameTaken()
        stored = None
        if password is not None:
            accepted = self._accept_new_password(password, name, address)
            stored = await self._pool.run(self._hasher.hash, accepted)
        new = NewAccount(id=uuid7(), username=name, email=address, password_hash=stored, roles=roles, kind=kind)
        event = Event(
            EventName.ACCOUNT_CREATED,
            actor=actor or new.id,
            target=new.id,
            origin=origin,
            data={"roles": sorted(roles)},
        )
        mail = None
        if self._notices is not None and address is not None and kind == "person":
            mail = self._notices.verification(new.id, address)
        if not await self._store.create(new, event, authority=authority, mail=mail):
            raise UsernameTaken()
        account = await self._store.by_id(new.id)
        if account is None:
            raise Conflict("The account was removed while it was being made.")
        return account

    async def free_name(self, wanted: str) -> str | None:
        """Return a name as it would be stored, where nobody has it, here or in the existing table; otherwise None.

        It is for suggesting names: whether one is taken, only making the account tells.
        """
        try:
            name = normalise_username(wanted)
        except InvalidInput:
            return None
        is_taken = await self._store.by_username(name) is not None or await self._existing(name) is not None
        return None if is_taken else name

    @staticmethod
    def address(text: str) -> str | None:
        """Return an e-mail address as it would be stored; None for what is not one plain address."""
        try:
            return normalise_email(text)
        except InvalidInput:
            return None

    def _accept_new_password(self, password: str, username: str, email: str | None, *, field: str = "password") -> str:
        names = [username, *self._forbidden_words]
        if email is not None:
            names.append(email.partition("@")[0])
        return check_new_password(password, minimum=self._password_min_length, names=names, field=field)

    async def by_username(self, username: str) -> Account:
        """Find an account by its name, in whatever spelling.

        Raises:
            NotFound: there is none, or the name cannot be one.
        """
        try:
            name = normalise_username(username)
        except InvalidInput:
            raise NotFound("There is no account of that name.") from None
        account = await self._store.by_username(name)
        if account is None:
            raise NotFound("There is no account of that name.")
        return account

    async def by_id(self, account_id: str) -> Account:
        """Find an account by its id.

        Raises:
            NotFound: there is none, or it was deleted.
        """
        account = await self._store.by_id(account_id) if is_uuid7(account_id) else None
        if account is None or account.status is AccountStatus.DELETED:
            raise NotFound("There is no such account.")
        return account

    async def page(self, *, query: str = "", limit: int = 50, after: str | None = None, kind: str = "") -> AccountPage:
        """List accounts by username: at most ``limit`` (1 to 200) whose name or address contains ``query``.

        With a ``kind``, only those of that kind.
        """
        items = await self._store.page(query=query.casefold(), limit=check_limit(limit) + 1, after=after, kind=kind)
        if len(items) > limit:
            return AccountPage(items[:limit], items[limit - 1].username)
        return AccountPage(items, None)

    async def disable(
        self, account: Account, *, actor: str, origin: Origin = NOWHERE, authority: Authority | None = None
    ) -> StatusChange:
        """Switch an active account off; all its sessions end. Doing it twice changes nothing the second time."""
        event = Event(EventName.ACCOUNT_DISABLED, actor=actor, target=account.id, origin=origin)
        return await self._change(account, AccountStatus.ACTIVE, AccountStatus.DISABLED, event, authority)

    async def enable(
        self, account: Account, *, actor: str, origin: Origin = NOWHERE, authority: Authority | None = None
    ) -> StatusChange:
        """Switch a disabled account on again; a blocked one stays blocked."""
        event = Event(EventName.ACCOUNT_ENABLED, actor=actor, target=account.id, origin=origin)
        return await self._change(account, AccountStatus.DISABLED, AccountStatus.ACTIVE, event, authority)

    async def block(
        self, account: Account, *, actor: str, origin: Origin = NOWHERE, authority: Authority | None = None
    ) -> StatusChange:
        """Block an active account on suspicion; all its sessions end. Only `unblock` undoes it."""
        event = Event(EventName.ACCOUNT_BLOCKED, actor=actor, target=account.id, origin=origin)
        return await self._change(account, AccountStatus.ACTIVE, AccountStatus.BLOCKED, event, authority)

    async def unblock(
        self, account: Account, *, actor: str, origin: Origin = NOWHERE, authority: Authority | None = None
    ) -> StatusChange:
        """Undo a block; a disabled account stays disabled."""
        event = Event(EventName.ACCOUNT_UNBLOCKED, actor=actor, target=account.id, origin=origin)
        return await self._change(account, AccountStatus.BLOCKED, AccountStatus.ACTIVE, event, authority)

    async def _change(
        self, account: Account, of: AccountStatus, to: AccountStatus, event: Event, authority: Authority | None
    ) -> StatusChange:
        change = await self._store.change_status(
            account.id, of=of, to=to, event=event, keep_ended_ms=self._keep_ended_ms, authority=authority
        )
        if change.status in (None, AccountStatus.DELETED):
            raise NotFound("There is no such account.")
        if change.status is not to:
            raise Conflict(f"The account is {change.status}.")
        if change.changed and to is not AccountStatus.ACTIVE:
            await self._sessions_ended()
        return change

    def compared(self, username: str) -> str:
        """Return a username as it is compared; InvalidInput for what is none."""
        return normalise_username(username)

    async def looked_up(self, name: str) -> Found:
        """Look an account up by its name as it is compared, for `check_password`."""
        return Found(await self._store.by_username(name))

    async def check_password(self, username: str, password: str, seen: Found | None = None) -> PasswordCheck:
        """Check a password for a login. An unknown name costs one hash of the same kind, so that time tells nothing.

        The account may be one that must not be used: that is for the door to say, after the same work.

        Args:
            username: in any spelling.
            password: as it was typed.
            seen: what was found by that name already, if it was looked up.

        Raises:
            InvalidInput: the name or the password is longer than any can be, which tells nothing about accounts.
            Busy: too many passwords wait to be hashed.
        """
        check_presented_password(password)
        name = normalise_username(username)
        found = await self._store.by_username(name) if seen is None else seen.account
        # Asked before the hash and for every name that limen does not know, so that time tells nothing.
        existing = await self._existing(name) if found is None else None
        known = existing if found is None else found
        stored = None if known is None else known.password_hash
        # As it was typed: what was imported may not have been normalised.
        verification = await self._pool.run(self._hasher.verify, password, stored)
        if verification.matches and existing is not None and self._taking_over is not None:
            found = await self._taking_over.take_over(name, existing)
            if found is not None and found.password_hash != stored:
                found = None  # taken over before, and the password is another one by now
        account = found if verification.matches else None
        return PasswordCheck(account, found, account is not None and verification.outdated)

    async def take_over(self, username: str, *, origin: Origin = NOWHERE) -> Account:
        """Make the account of somebody in the existing table now, before they log in, and return it.

        Raises:
            NotFound: there is nobody of that name in the table, or they are not to be taken over.
            UsernameTaken: limen has an account of that name already.
        """
        name = normalise_username(username)
        if await self._store.by_username(name) is not None:
            raise UsernameTaken()
        existing = await self._existing(name)
        if existing is None or self._taking_over is None:
            raise NotFound("There is no account of that name.")
        account = await self._taking_over.take_over(name, existing, origin=origin)
        if account is None:
            raise NotFound("There is no account of that name.")
        return account

    async def _existing(self, name: str) -> ExistingAccount | None:
        return None if self._taking_over is None else await self._taking_over.find(name)

    async def rehash(self, account: Account, password: str, *, origin: Origin = NOWHERE) -> None:
        """Make the hash anew with the present settings, unless somebody changed it meanwhile."""
        if account.password_hash is None:
            return
        new_hash = await self._pool.run(self._hasher.hash, check_presented_password(password))
        event = Event(EventName.PASSWORD_REHASHED, actor="system", target=account.id, origin=origin)
        await self._store.change_password(
            account.id, seen_hash=account.password_hash, new_hash=new_hash, event=event, end_others=False
        )

    async def change_password(
        self, account_id: str, current: str, new: str, *, sid: str | None, origin: Origin = NOWHERE
    ) -> Account:
        """Change a password by who knows the present one; every other session ends.

        Returns:
            The account with the ``session_epoch`` that this change gave it: not one that somebody else did meanwhile.

        Args:
            account_id: whose.
            current: the password now.
            new: the password to be.
            sid: the session that asks, which stays.
            origin: where the request came from.

        Raises:
            InvalidCredentials: the present password is not right, or it was changed meanwhile.
            InvalidInput: the new password is not acceptable.
        """
        account = await self.confirm_password(account_id, current, origin=origin)
        accepted = self._accept_new_password(new, account.username, account.email, field="new_password")
        if not await self._replace_password(account, accepted, sid=sid, origin=origin):
            raise InvalidCredentials("The password was changed meanwhile.")
        return replace(account, session_epoch=account.session_epoch + 1)

    async def _replace_password(self, account: Account, accepted: str, *, sid: str | None, origin: Origin) -> bool:
        new_hash = await self._pool.run(self._hasher.hash, accepted)
        changed = await self._store.change_password(
            account.id,
            seen_hash=account.password_hash or "",
            new_hash=new_hash,
            event=Event(EventName.PASSWORD_CHANGED, actor=account.id, target=account.id, origin=origin),
            end_others=True,
            keep_sid=sid,
            keep_ended_ms=self._keep_ended_ms,
            notice=self.notice(MailKind.PASSWORD_CHANGED, origin),
        )
        if changed:
            await self._sessions_ended()
        return changed

    async def replace_temporary_password(
        self, account: Account, temporary: str, new: str, *, origin: Origin = NOWHERE
    ) -> Account:
        """Put a password of its own in the place of the temporary one that was just checked; return the account.

        Raises:
            InvalidCredentials: the password was changed meanwhile.
            InvalidInput: the new password is not acceptable, or it is the temporary one.
        """
        accepted = self._accept_new_password(new, account.username, account.email, field="new_password")
        if accepted == check_presented_password(temporary):
            message = "The new password must be another one."
            raise InvalidInput(message, errors=[InputFault(("body", "new_password"), "unchanged", message)])
        if not await self._replace_password(account, accepted, sid=None, origin=origin):
            raise InvalidCredentials()
        return await self.by_id(account.id)

    async def hash_new_password(self, password: str, username: str, email: str | None) -> str:
        """Return the hash of a password that an account is to have, where it is acceptable.

        Raises:
            InvalidInput: it is not.
            Busy: too many passwords wait to be hashed.
        """
        accepted = self._accept_new_password(password, username, email, field="new_password")
        return await self._pool.run(self._hasher.hash, accepted)

    async def confirm_password(self, account_id: str, password: str, *, origin: Origin = NOWHERE) -> Account:
        """Return the account where this is its password: asked once more before something that lasts.

        Raises:
            InvalidCredentials: it is not, or the account has none.
            Busy: too many passwords wait to be hashed.
        """
        check_presented_password(password, field="current_password")
        account = await self._store.by_id(account_id)
        stored = None if account is None else account.password_hash
        verification = await self._pool.run(self._hasher.verify, password, stored)
        if account is None or not verification.matches:
            await self._record(Event(EventName.PASSWORD_CHANGE_FAILED, Outcome.FAILURE, account_id, account_id, origin))
            raise InvalidCredentials("The current password is not right.")
        return account

    async def hash_temporary_password(self) -> tuple[str, str]:
        """Make a temporary password; return it, and its hash.

        Raises:
            Busy: too many passwords wait to be hashed.
        """
        password = new_temporary_password(self._password_min_length)
        return password, await self._pool.run(self._hasher.hash, password)

    def checked_email(self, email: str | None) -> str | None:
        """Return an address in the form in which it is stored.

        Raises:
            InvalidInput: it is none.
        """
        return normalise_email(email) if email is not None else None
