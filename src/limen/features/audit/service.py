"""The use cases of the sealed trail: seal, verify, checkpoint, export, erase, remove what is old."""

import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from hmac import compare_digest
from typing import Final

from limen.core import metrics
from limen.core.errors import ConfigurationError, Conflict, InputFault, InvalidInput, Unavailable
from limen.core.events import Event, EventName
from limen.core.ids import is_uuid7
from limen.crypto.keys import KeySet, SigningKey
from limen.features.audit.chain import KeyedSealing, TrailKeys, is_vouched, link_of, vouched
from limen.features.audit.checkpoints import Checkpoint, CheckpointKeys, checkpoint_of, line_of
from limen.features.audit.store import AuditStore, Base, Seal, SealedRecord, Sealing, SinkState, SinkStore, TrailHead
from limen.features.audit.verification import Verdict, Verification

__all__ = ["AuditService", "SealedRecord", "SinkState", "TrailHead"]

_log = logging.getLogger(__name__)

SEAL_SECONDS: Final = 0.5
"""How often is looked for records to be sealed; the promise is a second after their commit."""
BATCH: Final = 1_000
"""Records that one transaction seals: the writer of SQLite is busy with them for some 30 ms."""
MOST_BATCHES: Final = 20
"""Batches of one round; the next round goes on."""
BEHIND_MS: Final = 60_000
"""How long a record may wait before the process says that sealing is behind."""
CHECKPOINT_MS: Final = 3_600_000
"""How often a process logs where the chain stands, where it has moved."""
_NO_SECRET: Final = (
    "LIMEN_DATA_SECRETS is not set: the audit trail is sealed under a secret that the database does not hold. Make one:"
    " limen secrets new"
)
_DAY_MS: Final = 86_400_000
_PAGE: Final = 2_000
_STRETCH: Final = 20_000


def _unheard(_done: int, _total: int) -> None:
    return


class AuditService:
    """Seals the audit trail, and proves it.

    Args:
        store: where it lies.
        secrets: the texts of ``LIMEN_DATA_SECRETS``; without one nothing is sealed.
        sinks: how far sinks have been handed the trail: what they have not taken is not removed.
        keys: the first signs checkpoints, every one verifies them; without any, keys that are derived of the secrets.

    Attributes:
        lag_ms: how long the oldest record had been waiting to be sealed when it was looked for the last time.
        is_broken: whether nobody vouches for where the chain stands, when it was looked for the last time.
    """

    def __init__(
        self,
        store: AuditStore,
        secrets: Iterable[str],
        *,
        keys: Sequence[SigningKey] = (),
        sinks: SinkStore | None = None,
    ) -> None:
        texts = list(secrets)
        self._store = store
        self._keys = TrailKeys(texts) if texts else None
        self._signing = CheckpointKeys(texts, keys) if texts else None
        self._sinks = sinks
        self._told: Checkpoint | None = None
        self.lag_ms = 0
        self.is_broken = False
        if self.seals:
            metrics.TRAIL_LAG.read_by(lambda: self.lag_ms / 1000)

    @property
    def seals(self) -> bool:
        """Whether there is a secret to seal under."""
        return self._keys is not None

    @property
    def is_behind(self) -> bool:
        """Whether records have been waiting for too long."""
        return self.lag_ms > BEHIND_MS

    async def seal(self) -> int:
        """Seal what was committed since; return how many records. Any number of processes may do so at once.

        Raises:
            Unavailable: the database does not answer; nothing is lost, and it is sealed later.
        """
        keys = self._needed()
        due = await self._store.due()
        is_current = self._look(keys, await self.head())
        sealed, lag = 0, due.lag_ms
        try:
            if not due.waits and is_current:
                return sealed
            for _ in range(MOST_BATCHES):
                count = await self._store.seal(self._after_head(), limit=BATCH)
                sealed += count
                if count < BATCH:
                    break
            # What waited before this process came is not held against it, unless it goes on waiting.
            lag = (await self._store.due()).lag_ms
        finally:
            self.lag_ms = lag
        if not self.is_broken:
            await self._tell_checkpoint(keys)
        return sealed

    async def checkpoint(self) -> Checkpoint:
        """Sign where the chain stands.

        Raises:
            ConfigurationError: there is no secret.
        """
        return checkpoint_of(self._needed(), self._signers(), await self.head())

    def public_keys(self) -> dict[str, list[dict[str, str]]]:
        """Return the public keys of those that sign checkpoints or did, as a JWK Set (RFC 7517).

        Raises:
            ConfigurationError: there is no secret.
        """
        return self._signers().known.public_jwks()

    async def head(self) -> TrailHead:
        """Return where the chain stands.

        Raises:
            Unavailable: the database does not answer, or the row that says so is gone.
        """
        head = await self._store.head()
        if head is None:
            raise Unavailable("The row that says where the audit trail stands is gone: limen audit verify.")
        return head

    async def verify(
        self,
        checkpoints: Sequence[Checkpoint] = (),
        *,
        signed_by: KeySet | None = None,
        on_part: Callable[[int, int], None] = _unheard,
    ) -> Verdict:
        """Hold every record against the chain, and the chain against checkpoints. Nothing is changed.

        Args:
            checkpoints: from before; without one, what was cut off the end is not missed.
            signed_by: the only keys whose checkpoints count; without any, this installation's own.
            on_part: is told how many records were verified, and how many there are.

        Raises:
            ConfigurationError: there is no secret.
            Unavailable: the database does not answer.
        """
        keys = self._needed()
        head = await self._store.head()
        known = self._signers().known if signed_by is None else signed_by
        verification = Verification(keys, head, checkpoints, known=known, only_signed=signed_by is not None)
        head = verification.head
        total = head.number - head.base.number
        done = 0
        async for part in self._parts(None):
            verification.take(part)
            done += len(part)
            on_part(done, max(done, total))
        records, seq = await self._store.unsealed(None, limit=_STRETCH)
        verification.take_unsealed(records)
        while seq is not None:
            records, seq = await self._store.unsealed(seq, limit=_STRETCH)
            verification.take_unsealed(records)
        return verification.verdict()

    async def export(self, after: int = 0) -> AsyncIterator[SealedRecord]:
        """Yield the sealed records that follow a place in the chain, in its order.

        Whoever goes on after the last place it was given misses no record: one that was committed late has a later
        place.
        """
        async for part in self._parts(after):
            for each in part:
                yield each

    async def erase(self, account_id: str, *, actor: str) -> int:
        """Erase where from, by what and with which data something was done by an account or to it; return how many.

        Who did what to whom, when and how it ended stays, and so does the chain. That it was done is recorded.

        Raises:
            ConfigurationError: there is no secret.
            InvalidInput: that is no account's id.
            Unavailable: the database does not answer; do it again.
        """
        self._needed()
        return await self.erase_details(account_id, actor=actor)

    async def erase_details(self, account_id: str, *, actor: str) -> int:
        """Do as `erase` does, also where nothing is sealed: a deleted account is erased wherever it left anything.

        Raises:
            InvalidInput: that is no account's id.
            Unavailable: the database does not answer; do it again.
        """
        if not is_uuid7(account_id):  # «system» is an actor, too, and an empty name most of all
            message = "An account is named by its id."
            raise InvalidInput(message, errors=[InputFault(("account",), "malformed", message)])
        event = Event(EventName.DETAILS_ERASED, actor=actor, target=account_id)
        sessions = await self._store.sessions_of(account_id)
        erased, seq = await self._store.erase(account_id, None, limit=_STRETCH, event=event, sessions=sessions)
        while seq is not None:
            count, seq = await self._store.erase(account_id, seq, limit=_STRETCH, event=event, sessions=sessions)
            erased += count
        return erased

    async def prune(self, before_ms: int, *, actor: str) -> int:
        """Remove records that were sealed before this time, the oldest first; return how many.

        Where the chain begins then is vouched for, so that what is left can be verified; each removal is recorded. What
        is to go is verified first: nobody's traces are removed with it. What a sink has not taken stays.

        Raises:
            ConfigurationError: there is no secret.
            Conflict: what is to go does not hold, or nobody vouches for where the chain begins: `verify`.
            Unavailable: the database does not answer; do it again.
        """
        keys = self._needed()
        event = Event(EventName.TRAIL_PRUNED, actor=actor, data={"before": before_ms})
        removed = 0
        while True:
            head = await self.head()
            until = await self._sound_until(keys, head, before_ms)
            if until is None:
                return removed
            count = await self._store.prune(head.base, vouched(keys, until.number, until.link), event=event)
            if not count:
                return removed
            removed += count

    async def retain(self, days: int) -> int:
        """Remove what was sealed more than so many days ago; return how many records. As `prune`, by ``system``."""
        return await self.prune((await self.head()).now - days * _DAY_MS, actor="system")

    async def _sound_until(self, keys: TrailKeys, head: TrailHead, before_ms: int) -> Seal | None:
        """Return the last seal of those that may go, at most a stretch of them, once all of these were verified."""
        kept_for = min((state.place for state in await self._sinks_known()), default=head.number)
        most = min(head.base.number + _STRETCH, head.number - 1, kept_for)
        verification = Verification(keys, head)
        last: Seal | None = None
        after: int | None = None
        while not verification.count:
            part = await self._store.sealed(after, limit=_PAGE)
            gone = [each for each in part if each.seal.number <= most and each.seal.sealed_at < before_ms]
            verification.take(gone)
            if gone:
                last = gone[-1].seal
            if not part or len(gone) < len(part):
                break
            after = part[-1].seal.number
        if verification.count:
            place = verification.findings[0].number
            _log.error("what was to be removed from the sealed trail does not hold", extra={"place": place})
            raise Conflict("What is to be removed does not hold, and nothing was removed: limen audit verify.")
        return last if last is not None and last.number > head.base.number else None

    async def recover(self, *, actor: str) -> TrailHead | None:
        """Let the chain go on at its last seal where the row that says where it stands is gone or is not vouched for.

        It is vouched for anew, which is a record, ``trail_recovered``: what was cut off before is found by a checkpoint
        as ever, and by nothing else. Records of meanwhile are sealed as they are.

        Returns:
            Where the chain stands; None where there was nothing to recover.

        Raises:
            ConfigurationError: there is no secret.
            Conflict: the row is gone, and where the chain begins cannot be made out: restore a backup.
            Unavailable: the database does not answer; do it again.
        """
        keys = self._needed()
        base = Base() if await self._store.head() is not None else await self._beginning(keys)
        event = Event(EventName.TRAIL_RECOVERED, actor=actor)
        head = await self._store.recover(base, KeyedSealing(keys), event=event)
        self._told = None
        return head

    async def _beginning(self, keys: TrailKeys) -> Base:
        """Make out where the chain begins from its first seal, and from the record of what was removed before it."""
        first = await self._store.sealed(0, limit=1)
        if not first or _follows(keys, first[0].seal, Base()):
            return Base()
        async for part in self._parts(0):
            for each in part:
                base = _removal(keys, each)
                if base is not None and _follows(keys, first[0].seal, base):
                    return base
        raise Conflict("Where the chain begins cannot be made out: restore a backup.")

    async def _sinks_known(self) -> Sequence[SinkState]:
        return () if self._sinks is None else await self._sinks.states()

    def _after_head(self) -> Sealing:
        return KeyedSealing(self._needed())

    def _look(self, keys: TrailKeys, head: TrailHead) -> bool:
        """Say it where nobody vouches for where the chain stands; return whether it is vouched for as it would be now.

        Whoever moves the floor keeps the sealer from records, unseen by all that is in the database.
        """
        sealing = KeyedSealing(keys)
        is_broken = not sealing.is_sound(head)
        if is_broken and not self.is_broken:
            told = {"place": head.number, "floor": head.floor, "kid": head.mark.kid}
            _log.error("nobody vouches for where the sealed trail stands: limen audit verify", extra=told)
        self.is_broken = is_broken
        return sealing.is_current(head)

    async def _parts(self, after: int | None) -> AsyncIterator[Sequence[SealedRecord]]:
        while True:
            part = await self._store.sealed(after, limit=_PAGE)
            if not part:
                return
            yield part
            after = part[-1].seal.number

    async def _tell_checkpoint(self, keys: TrailKeys) -> None:
        head = await self.head()
        told = self._told
        if told is not None and head.number < told.number:
            # What a process has seen was committed: it went back, or somebody cut it.
            _log.error("the sealed trail is shorter than it was", extra={"place": head.number, "seen": told.number})
        elif told is not None and head.now - told.time < CHECKPOINT_MS:
            return
        self._told = checkpoint_of(keys, self._signers(), head)
        _log.info("checkpoint of the trail", extra={"checkpoint": line_of(self._told)})

    def _signers(self) -> CheckpointKeys:
        if self._signing is None:
            raise ConfigurationError(_NO_SECRET)
        return self._signing

    def _needed(self) -> TrailKeys:
        if self._keys is None:
            raise ConfigurationError(_NO_SECRET)
        return self._keys


def _follows(keys: TrailKeys, seal: Seal, base: Base) -> bool:
    """Tell whether a seal is the first after a beginning."""
    if seal.number != base.number + 1 or not keys.knows(seal.kid):
        return False
    return compare_digest(link_of(keys, seal, base.link), seal.link)


def _removal(keys: TrailKeys, each: SealedRecord) -> Base | None:
    """Return the beginning that a record of a removal tells of; None where it is another record, or a forged one."""
    record = each.record
    if record is None or record.event != EventName.TRAIL_PRUNED:
        return None
    until = record.data.get("until")
    link, kid, mac = (record.data.get(name) for name in ("link", "kid", "mac"))
    if type(until) is not int or not 1 <= until < 2**63:
        return None
    if not isinstance(link, str) or not isinstance(kid, str) or not isinstance(mac, str):
        return None
    try:
        base = Base(until, bytes.fromhex(link), kid, bytes.fromhex(mac))
    except ValueError:
        return None
    return base if is_vouched(keys, base) else None
