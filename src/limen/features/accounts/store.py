"""What the accounts ask of a database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.authz.authority import Authority
from limen.core.events import Event
from limen.core.mails import NewMail
from limen.core.notices import Notice


class AccountStatus(StrEnum):
    """Whether an account may be used. Everything but ``active`` is refused by the door and by every live check.

    ``deleted`` is final: only the id is left, so that what refers to it still refers to something.
    """

    ACTIVE = "active"
    DISABLED = "disabled"
    BLOCKED = "blocked"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Account:
    """The record of a subscriber.

    Attributes:
        id: UUIDv7; the ``sub`` of its tokens.
        username: normalised: NFKC, case folded.
        email: as given at registration, normalised; not verified, so it proves nothing.
        status: whether it may be used.
        password_hash: with its scheme's marker; None where no password was ever set.
        session_epoch: raised whenever all sessions must go; a session of an earlier epoch is dead.
        second_factor_required: the door refuses a grant that proved one factor only.
        roles: the names of the roles it holds.
        created_at: milliseconds since 1970 UTC.
        password_expires_at: of a temporary password, which only leads to another one: until when it does, milliseconds
            since 1970 UTC; None where the password is the account's own.
        password_expired: that time is over, by the database's clock.
        kind: ``person`` or ``service``; a service has no password and no session, only API keys.
        permissions: what was granted to it beside its roles.
    """

    id: str
    username: str
    email: str | None
    status: AccountStatus
    password_hash: str | None = field(repr=False)
    session_epoch: int
    second_factor_required: bool
    roles: frozenset[str]
    created_at: int
    password_expires_at: int | None = None
    password_expired: bool = False
    kind: str = "person"
    permissions: frozenset[str] = frozenset()

    @property
    def password_temporary(self) -> bool:
        """Whether an operator set the password, and another one has to take its place before it opens anything."""
        return self.password_expires_at is not None


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account to be made. It begins active, at epoch 0, without a second factor."""

    id: str
    username: str
    email: str | None
    password_hash: str | None = field(repr=False)
    roles: frozenset[str] = frozenset()
    kind: str = "person"


@dataclass(frozen=True, slots=True)
class StatusChange:
    """What became of a change of status.

    Attributes:
        changed: True where this very call changed it.
        status: the state now; None where there is no such account.
    """

    changed: bool
    status: AccountStatus | None


class AccountStore(Protocol):
    """Accounts in a database. Every verb is one transaction, and the event is written in it.

    Where a verb is given an ``authority``, it asks first, in the same transaction, whether that still holds, and raises
    AuthorityMoved, with nothing changed, where it does not.
    """

    async def create(
        self, account: NewAccount, event: Event, *, authority: Authority | None = None, mail: NewMail | None = None
    ) -> bool:
        """Insert the account with its roles, and a mail; False, and nothing written, where the username is taken."""
        ...

    async def by_username(self, username: str) -> Account | None:
        """Find the account with this normalised username."""
        ...

    async def by_id(self, account_id: str) -> Account | None:
        """Find the account with this id."""
        ...

    async def page(self, *, query: str, limit: int, after: str | None, kind: str = "") -> Sequence[Account]:
        """List at most ``limit`` accounts after the username ``after`` whose name or e-mail contains ``query``.

        Deleted ones are not among them; with a ``kind``, only those of that kind.
        """
        ...

    async def change_status(
        self,
        account_id: str,
        *,
        of: AccountStatus,
        to: AccountStatus,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> StatusChange:
        """Change the status if it is ``of``; where ``to`` is not active, end every session in the same transaction.

        Ending raises ``session_epoch``, deletes the session rows and lists each as ended, kept for ``keep_ended_ms``
        milliseconds. The event is written only where something changed. ``deleted`` is neither left nor entered here.

        Raises:
            Conflict: it would take away the last administrator; nothing is changed.
        """
        ...

    async def change_password(
        self,
        account_id: str,
        *,
        seen_hash: str,
        new_hash: str,
        event: Event,
        end_others: bool,
        keep_sid: str | None = None,
        keep_ended_ms: int = 0,
        notice: Notice | None = None,
    ) -> bool:
        """Replace the hash if it is still ``seen_hash`` and the account is active; otherwise write nothing: False.

        With ``end_others`` the epoch is raised and every session but ``keep_sid`` ends in the same transaction; the one
        that is kept moves to the new epoch; the new password is the account's own. Without it (a rehash of the same
        password) no session is touched, and a temporary one stays temporary.
        """
        ...


class AccountAdministrationStore(Protocol):
    """What only an administrator does to an account. Every verb is one transaction, and the event is written in it.

    An ``authority`` is asked for as by the verbs of `AccountStore`.
    """

    async def delete(
        self, account_id: str, *, event: Event, keep_ended_ms: int, authority: Authority | None = None
    ) -> bool:
        """Erase what is personal and keep a tombstone: the id, with the status ``deleted``, for ever.

        In one transaction name, e-mail and password go, every role is taken away and that is told to every process,
        the epoch is raised, and every session ends. The name is free again. False, and nothing written, where there is
        no such account, or it was deleted before.

        Raises:
            Conflict: it is the last administrator; nothing is changed.
        """
        ...

    async def set_email(
        self,
        account_id: str,
        email: str | None,
        *,
        event: Event,
        authority: Authority | None = None,
        notice: Notice | None = None,
    ) -> bool:
        """Replace the e-mail address; False, and nothing written, where there is no such account or it is deleted.

        Where it is another one, a notice goes to the one before, if that was verified. Every link that is on its way
        by mail ends.
        """
        ...

    async def set_temporary_password(
        self, account_id: str, *, new_hash: str, lifetime_ms: int, event: Event, keep_ended_ms: int
    ) -> bool:
        """Set a password that only leads to another one, for ``lifetime_ms`` milliseconds by the database's clock.

        The epoch is raised and every session ends in the same transaction. False, and nothing written, where there is
        no such account or it is deleted.
        """
        ...
