"""What the roles ask of a database.

Every change is judged by what was read before, and is written only where that still holds: the version of the
catalogue, and how often the roles of the accounts concerned were changed. So nothing is decided by what is no longer
true, and two who change something at once are told apart.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.core.events import Event
from limen.core.held import Held, ends_of, joined, split


class RoleSource(StrEnum):
    """Where a role comes from. One of the code cannot be changed anywhere else."""

    CODE = "code"
    DATABASE = "database"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a role is: its own permissions, and the roles whose permissions it has as well."""

    name: str
    permissions: frozenset[str] = frozenset()
    extends: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class StoredRole:
    """A role as it lies in the database."""

    definition: Definition
    source: RoleSource


@dataclass(frozen=True, slots=True)
class Holder:
    """An account, as far as roles are concerned.

    Attributes:
        id: the account.
        status: as in its row; plain text, since a status that this version does not know is simply not active.
        roles: the names of the roles it holds.
        version: how often its roles were changed.
        retired: roles that it holds and that the code no longer declares: they give nothing, and count again as soon as
            they are declared again.
        permissions: what was granted to it beside its roles.
        until: when something of this ends, by names as in `limen.core.held`, in milliseconds since 1970 UTC.
    """

    id: str
    status: str
    roles: frozenset[str]
    version: int
    retired: frozenset[str] = frozenset()
    permissions: frozenset[str] = frozenset()
    until: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, account_id: str, status: str, held: frozenset[str], version: int, retired: frozenset[str] = frozenset()
    ) -> "Holder":
        """Make one of what the account holds (`limen.core.held`)."""
        roles, permissions = split(held)
        return cls(account_id, status, roles, version, retired, permissions, dict(ends_of(held)))

    @property
    def held(self) -> frozenset[str]:
        """What it holds, as `limen.core.held` has it."""
        everything = joined(self.roles, self.permissions)
        return Held(everything, self.until) if self.until else everything


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every role there is, and the accounts that were asked for, by id; one that does not exist is missing.

    Attributes:
        version: the catalogue's; it grows with every change of a role.
        roles: by name; a retired role, which gives nothing, is neither here nor among what others extend.
        holders: by id.
        separated: pairs of roles that nobody may hold at once, the names of each in their order.
        now: the database's clock at this read, in milliseconds since 1970 UTC.
    """

    version: int
    roles: Mapping[str, StoredRole]
    holders: Mapping[str, Holder] = field(default_factory=dict)
    separated: frozenset[tuple[str, str]] = frozenset()
    now: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a change was judged by.

    Attributes:
        version: of the catalogue.
        actor: who acts, and must still be active with the same roles; None for the operator at the command line.
    """

    version: int
    actor: Holder | None = None


class Change(StrEnum):
    """What became of a change: done; or nothing, because what it was judged by is no longer so."""

    DONE = "done"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class ChangedRoles:
    """One entry of the list of accounts whose roles were changed lately.

    Attributes:
        account_id: whose.
        roles: what it holds now (`limen.core.held`).
        changed_at: milliseconds since 1970 UTC, by the database's clock.
        keep_until: milliseconds since 1970 UTC after which no access token with other roles can be alive.
    """

    account_id: str
    roles: frozenset[str]
    changed_at: int
    keep_until: int


@dataclass(frozen=True, slots=True)
class RoleChanges:
    """What a process has to know of the changes that others make: the catalogue's version, and whose roles changed."""

    version: int
    accounts: Sequence[ChangedRoles]


class RoleStore(Protocol):
    """Roles in a database. Every verb is one transaction, and the event is written in it.

    No change may take away the last administrator, which is an active account with a role that gives ``roles:assign``:
    it raises Conflict, and nothing is written. Only `sync` may, since it is the application that was changed.
    """

    async def sync(self, roles: Mapping[str, frozenset[str]], event: Event) -> bool:
        """Make the stored roles of code be exactly these (name to permissions).

        True, with the event written and the version raised, where something differed. Assignments to accounts are not
        touched, nor are roles of the database, unless the code declares one of the same name: then it is the code's,
        and the event says so (``taken_over``). Safe when two processes start at once.
        """
        ...

    async def read(self, account_ids: Collection[str] = (), *, committed: bool = False) -> Snapshot:
        """Read every role, the catalogue's version, and these accounts.

        ``committed`` leaves out what a transaction of the application, in which this is called, has not committed yet:
        what a whole process is to go by must not be taken back.
        """
        ...

    async def put(self, role: Definition, *, seen: Seen, event: Event) -> Change:
        """Make or replace a role of the database, and raise the catalogue's version.

        Raises Conflict where the name is a role of the code or a retired one, where a role that it extends is not
        there, where it would extend itself, and where an account would hold two roles by it that nobody may hold at
        once.
        """
        ...

    async def delete(self, name: str, *, seen: Seen, event: Event) -> Change:
        """Delete a role of the database, and raise the catalogue's version.

        Raises Conflict where an account holds it or a role extends it, and where it is no role of the database.
        """
        ...

    async def assign(
        self,
        target: Holder,
        *,
        grant: Collection[str],
        revoke: Collection[str],
        seen: Seen,
        event: Event,
        keep_ended_ms: int,
        until: int | None = None,
    ) -> Change:
        """Grant and revoke roles of one account, and permissions of its own; raise its version; list it as changed.

        What has ended gives nothing, and neither blocks nor excludes anything, whether its row is there or not.

        Raises Conflict where the account would hold two roles that nobody may hold at once, itself or by what they
        extend.

        Args:
            target: the account as it was read; where its version is another one by now, nothing is written.
            grant: what it is to hold, by names as in `limen.core.held`; Conflict where a role is not there. What it
                holds already it holds until the time that is said now.
            revoke: what it is not to hold.
            seen: what was judged by.
            event: what is recorded.
            keep_ended_ms: milliseconds for which the change stays on the list: an access token's life and a margin.
            until: when what is granted ends, in milliseconds since 1970 UTC by the database's clock, whole seconds;
                None: not by itself.
        """
        ...

    async def separate(self, pairs: Collection[tuple[str, str]], event: Event) -> int:
        """Make the pairs of roles that nobody may hold at once be exactly these, and count who does all the same.

        The event is written, and the catalogue's version raised, where something differed. Nobody loses anything by it.
        """
        ...

    async def violations(self, limit: int) -> Sequence[tuple[str, str, str]]:
        """List, by username, which accounts hold which pair of roles that nobody may hold at once."""
        ...

    async def changed_since(self, since_ms: int) -> RoleChanges:
        """Return the catalogue's version, and whose roles changed at or after this time (ms since 1970 UTC), or lately.

        «Lately» is as for the list of ended sessions (`limen.features.sessions.store.ALWAYS_READ_MS`).
        """
        ...
