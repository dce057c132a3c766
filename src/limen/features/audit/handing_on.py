"""Hands the sealed trail on to sinks: in the order of the chain, each place at least once, none left out.

How far a sink is stands in the database, and moves only after the sink has taken what it was given. So a sink that is
down, or a process that dies, delays, and loses nothing; what was under way is handed on again. Nobody who logs in waits
for any of it.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from limen.core import metrics
from limen.core.events import Event, EventName
from limen.features.audit.checkpoints import Checkpoint, line_of
from limen.features.audit.lines import as_line, sealed_as_json
from limen.features.audit.sinks import Batch, Item, Sink, SinkFailed
from limen.features.audit.store import AuditStore, SealedRecord, SinkLease, SinkState, SinkStore

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 1.0
"""How often is looked for what was sealed since."""
MOST_ITEMS: Final = 200
"""Records of one batch."""
MOST_BATCHES: Final = 50
"""Batches of one round; the next round goes on."""
MOST_SECONDS: Final = 20.0
"""For one batch, whatever the sink is."""
LEASE_MS: Final = 60_000
"""How long one process hands on to a sink alone without saying so again; longer than a batch may take."""
CHECKPOINT_MS: Final = 3_600_000
"""How often a sink is handed a checkpoint."""
FIRST_PAUSE_MS: Final = 1_000
LONGEST_PAUSE_MS: Final = 300_000
"""Between two attempts: each time twice as long, at most this."""
BEHIND_MS: Final = 300_000
"""How long a record may wait to be handed on before the process says that a sink is behind."""


class HandingOn:
    """Hands the trail on to one sink.

    Args:
        sink: takes it.
        trail: where it lies.
        states: how far sinks are.
        checkpoint: signs where the chain stands.

    Attributes:
        lag_ms: how long the first record that the sink has not taken had been sealed, when it was looked the last time.
    """

    def __init__(
        self, sink: Sink, trail: AuditStore, states: SinkStore, checkpoint: Callable[[], Awaitable[Checkpoint]]
    ) -> None:
        self._sink = sink
        self._trail = trail
        self._states = states
        self._checkpoint = checkpoint
        self.lag_ms = 0
        metrics.TRAIL_SINK_LAG.read_by(lambda: self.lag_ms / 1000, sink.name)

    @property
    def name(self) -> str:
        """The sink's name."""
        return self._sink.name

    @property
    def is_behind(self) -> bool:
        """Whether records have been waiting for too long."""
        return self.lag_ms > BEHIND_MS

    async def work(self) -> int:
        """Hand on what the sink has not taken; return how many records it took. Any number of processes may do so.

        Raises:
            Unavailable: the database does not answer; nothing is lost.
        """
        state = await self._states.state(self.name)
        self.lag_ms = state.lag_ms
        is_due = state.last != state.place or state.since_checkpoint_ms >= CHECKPOINT_MS
        if not is_due or not state.is_free or not state.last:
            return 0
        lease = await self._states.claim(self.name, lease_ms=LEASE_MS)
        if lease is None:
            return 0
        taken = 0
        try:
            for _ in range(MOST_BATCHES):
                count, lease = await self._one_batch(lease)
                taken += count
                if count < MOST_ITEMS:
                    break
        except SinkFailed as error:
            await self._failed(lease, error.reason)
            return taken
        except _Lost:
            return taken
        await self._states.released(lease)
        self.lag_ms = (await self._states.state(self.name)).lag_ms
        return taken

    async def _one_batch(self, lease: SinkLease) -> tuple[int, SinkLease]:
        """Hand on what comes next; return how many records, and the right with where the sink is now."""
        found = await self._following(lease)
        items = [_item_of(each) for each in found]
        with_checkpoint = len(found) < MOST_ITEMS and lease.since_checkpoint_ms >= CHECKPOINT_MS
        if with_checkpoint:
            items.append(_item_of_checkpoint(await self._checkpoint()))
        if not items:
            return 0, lease
        place, link = (found[-1].seal.number, found[-1].seal.link) if found else (lease.place, lease.link)
        await self._send(Batch(_name_of(items, place, link), items))
        if not await self._states.moved(lease, place, link, with_checkpoint=with_checkpoint, lease_ms=LEASE_MS):
            raise _Lost
        since = 0 if with_checkpoint else lease.since_checkpoint_ms
        return len(found), lease._replace(place=place, link=link, attempts=0, since_checkpoint_ms=since)

    async def _following(self, lease: SinkLease) -> Sequence[SealedRecord]:
        """Return the records that follow what the sink has taken, which is held against the chain as it is now."""
        if not lease.place:
            return await self._trail.sealed(0, limit=MOST_ITEMS)
        found = await self._trail.sealed(lease.place - 1, limit=MOST_ITEMS + 1)
        if found and found[0].seal.number == lease.place and found[0].seal.link == lease.link:
            return found[1:]
        head = await self._trail.head()
        if head is not None and head.base.number == lease.place and head.base.link == lease.link:
            return found[:MOST_ITEMS]
        # Going on after the old place would pass by whatever has another place now.
        _log.error(
            "the sealed trail is not the one that a sink was handed; it is handed on from its beginning",
            extra={"sink": self.name, "place": lease.place},
        )
        return await self._trail.sealed(0, limit=MOST_ITEMS)

    async def _send(self, batch: Batch) -> None:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                await self._sink.send(batch)
        except TimeoutError:
            raise SinkFailed(f"nothing was taken within {MOST_SECONDS:g} s") from None
        except SinkFailed:
            raise
        except Exception as error:
            # Its words may hold what was sent.
            raise SinkFailed(f"it failed ({type(error).__name__})") from error

    async def _failed(self, lease: SinkLease, reason: str) -> None:
        pause = min(FIRST_PAUSE_MS * 2 ** min(lease.attempts, 20), LONGEST_PAUSE_MS)
        pause -= secrets.randbelow(pause // 4 + 1)  # so that all that failed together do not come back together
        _log.warning(
            "a sink of the audit trail did not take it; it is tried again",
            extra={"sink": self.name, "reason": reason, "attempts": lease.attempts + 1},
        )
        await self._states.put_off(lease, failure=reason, again_ms=pause)


class TrailSinks:
    """The sinks of an installation.

    Args:
        each: one for each sink that is set.
        states: how far sinks are.

    Attributes:
        each: one for each sink that is set.
    """

    def __init__(self, each: Sequence[HandingOn], states: SinkStore) -> None:
        self.each = tuple(each)
        self._states = states

    @property
    def is_behind(self) -> bool:
        """Whether records have been waiting for too long to be handed on to one of them."""
        return any(one.is_behind for one in self.each)

    async def states(self) -> Sequence[tuple[SinkState, bool]]:
        """Tell how far each sink is, and whether it is set; those that were set once, and keep `prune` back, too."""
        known = {state.name: state for state in await self._states.states()}
        for one in self.each:
            if one.name not in known:
                known[one.name] = await self._states.state(one.name)
        set_ones = {one.name for one in self.each}
        return [(known[name], name in set_ones) for name in sorted(known)]

    async def forget(self, name: str, *, actor: str) -> bool:
        """Forget how far a sink is, with a record; False where it is not known. One that is set begins anew."""
        return await self._states.forget(name, Event(EventName.TRAIL_SINK_FORGOTTEN, actor=actor, data={"sink": name}))


class _Lost(Exception):
    """Somebody else hands on by now; what was sent meanwhile is sent twice."""


def _item_of(each: SealedRecord) -> Item:
    seal, record = each.seal, each.record
    line = as_line(sealed_as_json(each))
    if record is None:
        return Item(line, seal.number, seal.sealed_at, "missing", is_failure=True)
    return Item(line, seal.number, record.time, record.event, is_failure=record.outcome != "success")


def _item_of_checkpoint(point: Checkpoint) -> Item:
    return Item(f'{{"checkpoint":{line_of(point)}}}', point.number, point.time, "checkpoint")


def _name_of(items: Sequence[Item], place: int, link: bytes | None) -> str:
    """Name a batch by what is in it: the same again is named the same, and another chain has other names."""
    end = "" if link is None else link.hex()[:16]
    kind = f"-{items[-1].time}" if items[-1].event == "checkpoint" else ""
    return f"trail_{items[0].place}-{place}-{end}{kind}"
