"""An existing table of users: read by limen for names that it does not know, and taken over account by account.

limen's statements join its own table of accounts, so another table cannot stand in for it. It is asked at the login of
a name that limen has no account of; who proves the password gets one. From then on limen's account is what counts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from limen.core.errors import Conflict, InvalidInput, LimenError, Unavailable
from limen.core.events import NOWHERE, Event, EventName, Origin
from limen.core.held import counting
from limen.core.ids import is_uuid7, uuid7
from limen.features.accounts.names import normalise_email, normalise_username
from limen.features.accounts.store import Account, AccountStore, NewAccount

_log = logging.getLogger(__name__)

T = TypeVar("T")

EXISTING_SECONDS: Final = 3.0
"""How long the existing table may take to answer; whoever logs in is told to come back then."""


@dataclass(frozen=True, slots=True)
class ExistingAccount:
    """A row of the existing table.

    Attributes:
        key: the row's own key, as text; limen hands it back and does not keep it.
        username: as it is written there.
        password_hash: as it is stored there, if limen can verify it (bcrypt, Argon2id); anything else verifies nothing.
        email: as it is written there.
        active: False refuses the login, like a wrong password.
        roles: the names of limen's roles that it is to hold; what limen does not know is left out.
    """

    key: str
    username: str
    password_hash: str | None = field(repr=False)
    email: str | None = None
    active: bool = True
    roles: frozenset[str] = frozenset()


class ExistingAccounts(Protocol):
    """The existing table. `limen.testing.contracts.existing_accounts` is its contract suite."""

    async def find(self, username: str) -> ExistingAccount | None:
        """Find the row that this normalised username (NFKC, case folded) means, in whatever case it is written there.

        None where there is none, and where several rows differ by their case only: neither may get in as the other.
        It is asked at each login with a name that limen does not know.
        """
        ...

    async def assign_sub(self, key: str, sub: str) -> str | None:
        """Write ``sub``, the id of the account to be, into the row, unless it has one; return the one it has now.

        One atomic step: two who come at once are told the same. None where the row is gone or no longer active.
        """
        ...


class TakingOver:
    """Makes accounts of the rows of an existing table.

    Args:
        existing: the table.
        store: limen's accounts.
        known_roles: answers the names of the roles there are.
    """

    def __init__(
        self, existing: ExistingAccounts, store: AccountStore, *, known_roles: Callable[[], frozenset[str]]
    ) -> None:
        self._existing = existing
        self._store = store
        self._known_roles = known_roles

    async def find(self, name: str) -> ExistingAccount | None:
        """Return the row of a normalised username; one that answers to another name is none.

        Raises:
            Unavailable: the table does not answer.
        """
        found = await _answered(self._existing.find(name))
        if found is None:
            return None
        try:
            fits = normalise_username(found.username) == name
        except InvalidInput:
            fits = False
        if not fits:
            _log.error("existing_account_of_another_name", extra={"key": found.key})
        return found if fits else None

    async def take_over(self, name: str, found: ExistingAccount, *, origin: Origin = NOWHERE) -> Account | None:
        """Make the account of a row whose password was proved, or that a trusted caller names, and return it.

        The row gets its ``sub`` first, and then limen the account of that id. Whatever ends in between, the next login
        goes on where it stopped, with the same id; and an account that limen has deleted does not come back.

        Returns:
            None where the row is not active, its account was deleted, or somebody else has the name by now.

        Raises:
            Unavailable: the table does not answer.
        """
        if not found.active:
            return None
        sub = await _answered(self._existing.assign_sub(found.key, uuid7()))
        if sub is None:
            return None
        if not is_uuid7(sub):
            _log.error("existing_account_without_uuid7", extra={"key": found.key})
            raise Unavailable()
        names = self._known_roles()
        there = found.roles & names
        if there != found.roles:
            _log.warning("existing_account_roles_unknown", extra={"roles": sorted(found.roles - there)})
        roles = counting(there, names)
        if roles != there:
            _log.warning("existing_account_roles_separated", extra={"roles": sorted(there - roles)})
        new = NewAccount(
            id=sub, username=name, email=_usable(found.email), password_hash=found.password_hash, roles=roles
        )
        event = Event(
            EventName.ACCOUNT_CREATED,
            actor=sub,
            target=sub,
            origin=origin,
            data={"roles": sorted(roles), "taken_over": True},
        )
        # Of two who come at once one has made it, and both find it. PostgreSQL fails the second where both insert the
        # same id in the same moment; so it is the account that decides, and not whether this one made it.
        with suppress(Conflict):
            await self._store.create(new, event)
        account = await self._store.by_username(name)
        return account if account is not None and account.id == sub else None


def _usable(email: str | None) -> str | None:
    try:
        return None if email is None else normalise_email(email)
    except InvalidInput:
        _log.warning("existing_account_email_unusable")
        return None


async def _answered(asked: Awaitable[T]) -> T:
    """Wait for the application's code, in its bounds: whatever goes wrong there is a no."""
    try:
        async with asyncio.timeout(EXISTING_SECONDS):
            return await asked
    except LimenError:
        raise
    except Exception as error:
        # Not its message, which may hold a statement with its parameters.
        _log.error("existing_accounts_failed", extra={"failure": type(error).__name__})
        raise Unavailable() from error
