"""What the sealed trail asks of a database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

from limen.core.events import Event
from limen.features.events.service import RecordView


class Seal(NamedTuple):
    """What holds one record in its place.

    Attributes:
        number: its place in the chain, from 1, without gaps.
        seq: the number of the record.
        sealed_at: milliseconds since 1970 UTC by the database's clock.
        kid: the id of the secret under which it is linked.
        nonce: the salt of the digest of its details; None where the details were erased.
        details: the salted digest of the details.
        digest: the digest of the record.
        link: holds it to the seal before.
    """

    number: int
    seq: int
    sealed_at: int
    kid: str
    nonce: bytes | None
    details: bytes
    digest: bytes
    link: bytes


class SealedRecord(NamedTuple):
    """A seal, and the record it is about; None where that is gone."""

    seal: Seal
    record: RecordView | None


class Base(NamedTuple):
    """Where the chain begins after older records were removed, vouched for by the one who removed them.

    Attributes:
        number: the number of the last seal that was removed; 0 where none was.
        link: its link.
        kid: the id of the secret under which this is vouched for.
        mac: vouches for it.
    """

    number: int = 0
    link: bytes = bytes(32)
    kid: str = ""
    mac: bytes = b""


class Mark(NamedTuple):
    """Vouches for where the chain stands.

    Attributes:
        kid: the id of the secret under which this is vouched for; empty before the first seal.
        mac: vouches for it.
    """

    kid: str = ""
    mac: bytes = b""


@dataclass(frozen=True, slots=True)
class TrailHead:
    """Where the chain stands.

    Attributes:
        number: that of the last seal; 0 before the first.
        link: the last link.
        floor: every record up to this number is sealed, and none of them can come any more.
        base: where it begins.
        now: the database's clock, milliseconds since 1970 UTC.
        mark: vouches for number, link and floor.
    """

    number: int
    link: bytes
    floor: int
    base: Base
    now: int
    mark: Mark


@dataclass(frozen=True, slots=True)
class Due:
    """What waits to be sealed.

    Attributes:
        waits: whether there may be any.
        lag_ms: how long the oldest of them has been waiting; 0 where none does.
    """

    waits: bool
    lag_ms: int


class Sealing(Protocol):
    """What makes seals, and holds the keys to do so."""

    def seals(self, records: Sequence[RecordView], head: TrailHead) -> Sequence[Seal]:
        """Make the seals of records, after the head."""
        ...

    def vouches(self, number: int, link: bytes, floor: int) -> Mark:
        """Vouch for where the chain stands."""
        ...

    def is_sound(self, head: TrailHead) -> bool:
        """Tell whether it was vouched for."""
        ...

    def is_current(self, head: TrailHead) -> bool:
        """Tell whether it was vouched for under the secret that is used now."""
        ...


Recovered: TypeAlias = Base
"""Where a chain begins, as it was made out from what is left of it."""


class AuditStore(Protocol):
    """The chain in a database."""

    async def due(self) -> Due:
        """Tell whether records may wait to be sealed."""
        ...

    async def seal(self, sealing: Sealing, *, limit: int) -> int:
        """Seal at most ``limit`` committed records, in one transaction; return how many.

        One caller works at a time: whoever comes meanwhile seals none. A record is sealed once, also one that was
        committed after others with higher numbers. Where nobody vouches for where the chain stands, it goes on after
        the last seal there is, and this is not vouched for again: that it was changed by hand stays to be seen.
        """
        ...

    async def head(self) -> TrailHead | None:
        """Return where the chain stands; None where the row that says so is gone, which nothing here removes."""
        ...

    async def sealed(self, number: int | None, *, limit: int) -> Sequence[SealedRecord]:
        """Return at most ``limit`` seals that follow this number, in order, with their records.

        None stands for the beginning: below 1 there are only those that were put there by hand.
        """
        ...

    async def unsealed(self, seq: int | None, *, limit: int) -> tuple[Sequence[RecordView], int | None]:
        """Return records without a seal among the ``limit`` that follow this number, and where it goes on, or None.

        None as a number stands for the beginning: below 1 there are only records that were put there by hand.
        """
        ...

    async def sessions_of(self, account_id: str) -> Sequence[str]:
        """Return the ids of what an account did something with: its sessions are among them."""
        ...

    async def erase(
        self, account_id: str, seq: int | None, *, limit: int, event: Event, sessions: Sequence[str] = ()
    ) -> tuple[int, int | None]:
        """Erase the details of records by or about an account, among the ``limit`` that follow this number.

        What was done with one of ``sessions`` by somebody who had proved nothing, with a spent token, is theirs too.

        Where there was one, ``event`` is written in the same transaction, with ``records`` added to its data.

        Returns:
            How many were erased, and where it goes on, or None.
        """
        ...

    async def prune(self, old: Base, new: Base, *, event: Event) -> int:
        """Remove the seals that follow one beginning up to another, with their records; return how many.

        Nothing is removed, and 0 returned, where the chain does not begin at ``old``, or has no seal with the number
        and the link of ``new``, or ends there, or where a sink has not taken all of it. Where any goes, ``event`` is
        written in the same transaction, with ``records``, ``until`` and ``link`` added to its data.
        """
        ...

    async def recover(self, found: Recovered, sealing: Sealing, *, event: Event) -> TrailHead | None:
        """Let the chain stand at its last seal, and vouch for that anew, with the event in the same transaction.

        Args:
            found: where it begins, which is used only where the row that says so is gone.
            sealing: vouches.
            event: gets the new place and what stood there before as ``place`` and ``stood`` in its data.

        Returns:
            Where it stands; None where it stands there already and was vouched for: nothing is done.
        """
        ...


class SinkState(NamedTuple):
    """How far a sink has been handed the trail.

    Attributes:
        name: by which the store knows it.
        place: the last place that it has taken; 0 before the first.
        link: the link of that place; None before the first.
        last: the last place of the chain.
        lag_ms: how long the first record that it was not handed has been sealed; 0 where there is none.
        is_free: whether somebody may hand on now: nobody else does, and no pause is kept.
        since_checkpoint_ms: how long ago it was handed a checkpoint; from 1970 on where it never was.
        attempts: how often it has failed since it took something.
        failure: what failed the last time; empty where nothing has.
        handed_at: when it took something the last time, milliseconds since 1970 UTC; None where it never did.
    """

    name: str
    place: int
    link: bytes | None
    last: int
    lag_ms: int
    is_free: bool
    since_checkpoint_ms: int
    attempts: int
    failure: str
    handed_at: int | None


class SinkLease(NamedTuple):
    """The right to hand on to a sink, for a while.

    Attributes:
        name: of the sink.
        lease: names this right; who was slower than it lasts has lost it.
        place: the last place that the sink has taken; 0 before the first.
        link: the link of that place; None before the first.
        attempts: how often it has failed since it took something.
        since_checkpoint_ms: as `SinkState`.
    """

    name: str
    lease: str
    place: int
    link: bytes | None
    attempts: int
    since_checkpoint_ms: int


class SinkStore(Protocol):
    """How far sinks have been handed the trail. What a sink has not taken is never removed by `AuditStore.prune`."""

    async def state(self, name: str) -> SinkState:
        """Tell how far a sink is; one that is not known yet is at the beginning."""
        ...

    async def states(self) -> Sequence[SinkState]:
        """Tell how far every sink is that was ever handed anything, by name."""
        ...

    async def claim(self, name: str, *, lease_ms: int) -> SinkLease | None:
        """Take the right to hand on; None where somebody else has it, or a pause is kept. A new sink becomes known."""
        ...

    async def moved(
        self, lease: SinkLease, place: int, link: bytes | None, *, with_checkpoint: bool, lease_ms: int
    ) -> bool:
        """Note what the sink has taken; the right goes on for so long. False: it was lost, and nothing is noted."""
        ...

    async def released(self, lease: SinkLease) -> bool:
        """Give the right back; False where it was lost."""
        ...

    async def put_off(self, lease: SinkLease, *, failure: str, again_ms: int) -> bool:
        """Note a failure and keep a pause, and give the right back; False where it was lost."""
        ...

    async def forget(self, name: str, event: Event) -> bool:
        """Forget a sink, with the event in the same transaction; False where it is not known."""
        ...
