"""Holds the audit trail against its chain, and says what was changed, removed, inserted, reordered or cut off."""

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from limen.core.events import EventName
from limen.crypto.keys import KeySet
from limen.features.audit.chain import BEGINNING, KeyedSealing, TrailKeys, details_of, digest_of, is_vouched, link_of
from limen.features.audit.checkpoints import Checkpoint, is_genuine
from limen.features.audit.store import Base, Mark, Seal, SealedRecord, TrailHead
from limen.features.events.service import RecordView

MOST_FINDINGS: Final = 1_000
"""Findings that are kept; all are counted."""


class Fault(StrEnum):
    """What was found."""

    CHANGED = "changed"
    REMOVED = "removed"
    INSERTED = "inserted"
    BROKEN = "broken"
    CUT_OFF = "cut_off"
    REWRITTEN = "rewritten"
    ERASED = "erased"
    UNKNOWN_KEY = "unknown_key"
    NO_CHECKPOINT = "no_checkpoint"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit.

    Attributes:
        fault: what it is.
        number: the place in the chain; None where it has none.
        seq: the number of the record; None where it is about none.
        text: one sentence.
    """

    fault: Fault
    number: int | None
    seq: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verification came to.

    Attributes:
        sealed: records that were held against the chain.
        waiting: records that are not sealed yet.
        oldest_ms: how long the oldest of those has been waiting; 0 where none does.
        removed: records that were removed by retention, vouched for.
        checkpoints: checkpoints that were compared.
        findings: what does not fit, at most `MOST_FINDINGS`.
        count: how many there are in all.
    """

    sealed: int
    waiting: int
    oldest_ms: int
    removed: int
    checkpoints: int
    findings: Sequence[Finding]
    count: int


class Verification:
    """Takes the chain in its order, in parts, and remembers little of it.

    Args:
        keys: every secret that linked.
        head: where the chain stands, read before the first part; None where the row that says so is gone.
        checkpoints: from before, to compare with.
        known: the public keys that sign checkpoints.
        only_signed: whether a checkpoint without a signature is none.

    Attributes:
        head: what it goes by.
    """

    def __init__(
        self,
        keys: TrailKeys,
        head: TrailHead | None,
        checkpoints: Iterable[Checkpoint] = (),
        *,
        known: KeySet | None = None,
        only_signed: bool = False,
    ) -> None:
        self._keys = keys
        self._known = KeySet.empty() if known is None else known
        self._only_signed = only_signed
        is_gone = head is None
        head = self.head = TrailHead(0, BEGINNING, 0, Base(), 0, Mark()) if head is None else head
        self._number = max(head.base.number, 0)
        self._before: bytes | None = head.base.link
        self._sealed = self._waiting = self._oldest_ms = self._count = self._compared = 0
        self._findings: list[Finding] = []
        # Whose details are erased, and the first place where; until the record that says so comes.
        self._erased: dict[tuple[str, str], tuple[int, int]] = {}
        self._foreign: set[str] = set()
        self._points: dict[int, list[Checkpoint]] = {}
        self._newest_removed = 0
        for point in checkpoints:
            self._expect(point)
        if is_gone:
            text = "The row that says where the chain stands is gone, and nothing is sealed any more."
            self._find(Fault.REMOVED, None, None, text)
        if not KeyedSealing(keys).is_sound(head) and (not head.mark.kid or keys.knows(head.mark.kid)):
            text = f"Nobody vouches for where the chain stands, place {head.number} and floor {head.floor}: changed."
            self._find(Fault.BROKEN, None, None, text)
        if not is_vouched(keys, head.base):
            text = f"Nobody vouches for the removal of the records up to place {head.base.number}."
            self._find(Fault.REMOVED, None, None, text)

    def take(self, part: Sequence[SealedRecord]) -> None:
        """Verify the next part of the chain."""
        for seal, record in part:
            if seal.number <= self.head.base.number:
                text = f"The seal at place {seal.number} is before the beginning of the chain: it was inserted."
                self._find(Fault.INSERTED, seal.number, seal.seq, text)
                continue
            self._sealed += 1
            self._place(seal)
            self._link(seal)
            self._content(seal, record)

    def take_unsealed(self, records: Sequence[RecordView]) -> None:
        """Verify records that bear no seal; after the last part of the chain."""
        for record in records:
            if record.seq < 1:
                self._forged(None, record.seq)
                continue
            if record.seq <= self.head.floor:
                text = f"Record {record.seq} bears no seal, and the sealer has been past it: it was inserted."
                self._find(Fault.INSERTED, None, record.seq, text)
                continue
            self._waiting += 1
            if record.is_damaged:
                self._unreadable(None, record.seq)
                continue
            self._oldest_ms = max(self._oldest_ms, self.head.now - record.time)
            self._cover(record)

    @property
    def count(self) -> int:
        """How many findings there are so far; details that may be covered by a later record are not among them."""
        return self._count

    @property
    def findings(self) -> Sequence[Finding]:
        """What was found so far."""
        return self._findings

    def verdict(self) -> Verdict:
        """Say what it came to; at the end."""
        if self._number < self.head.number:
            text = f"The chain ends at place {self._number}, and it had reached {self.head.number}."
            self._find(Fault.CUT_OFF, self._number, None, text)
        for number in sorted(number for number in self._points if number > self._number):
            text = f"The chain ends at place {self._number}; a checkpoint says that it had reached {number}."
            self._find(Fault.CUT_OFF, self._number, None, text)
            self._compared += len(self._points[number])
        if self._newest_removed and not self._compared:
            # Who has the secret can make another chain that begins behind whatever was signed.
            text = (
                f"No checkpoint is of what is left: the chain begins after place {self.head.base.number},"
                f" and the newest is of place {self._newest_removed}."
            )
            self._find(Fault.NO_CHECKPOINT, self._newest_removed, None, text)
        kid = self.head.mark.kid
        if kid and not self._keys.knows(kid) and kid not in self._foreign:
            text = f"Where the chain stands is vouched for under the secret {kid}, which is not known here."
            self._find(Fault.UNKNOWN_KEY, None, None, text)
        for number, seq in self._erased.values():
            text = f"The details of record {seq} are gone, and no record after it says that they were erased."
            self._find(Fault.ERASED, number, seq, text)
        return Verdict(
            self._sealed,
            self._waiting,
            self._oldest_ms,
            self.head.base.number,
            self._compared,
            self._findings,
            self._count,
        )

    def _expect(self, point: Checkpoint) -> None:
        if not is_genuine(self._keys, self._known, point, only_signed=self._only_signed):
            text = f"The checkpoint of place {point.number} was not signed under a key that is known here."
            self._find(Fault.NO_CHECKPOINT, point.number, None, text)
        elif point.number == self.head.base.number and point.number:
            self._compare(point, self.head.base.link)
        elif point.number > self.head.base.number:
            self._points.setdefault(point.number, []).append(point)
        else:
            self._newest_removed = max(self._newest_removed, point.number)

    def _compare(self, point: Checkpoint, link: bytes) -> None:
        self._compared += 1
        if point.link != link.hex():
            text = f"The chain is another one at place {point.number} than when the checkpoint was made."
            self._find(Fault.REWRITTEN, point.number, None, text)

    def _place(self, seal: Seal) -> None:
        expected = self._number + 1
        if seal.number != expected:
            gone = f"{expected}" if seal.number == expected + 1 else f"{expected} to {seal.number - 1}"
            self._find(Fault.REMOVED, expected, None, f"The chain has a gap: place {gone} is gone.")
            self._before = None
        self._number = seal.number

    def _link(self, seal: Seal) -> None:
        if not self._keys.knows(seal.kid):
            if seal.kid not in self._foreign:
                self._foreign.add(seal.kid)
                text = f"From place {seal.number} on it is sealed under the secret {seal.kid}, which is not known here."
                self._find(Fault.UNKNOWN_KEY, seal.number, seal.seq, text)
        elif self._before is not None and link_of(self._keys, seal, self._before) != seal.link:
            text = f"The seal at place {seal.number} does not follow the one before: reordered, inserted or forged."
            self._find(Fault.BROKEN, seal.number, seal.seq, text)
        self._before = seal.link
        if seal.number == self.head.number and seal.link != self.head.link:
            text = f"What says where the chain stands does not have the link of place {seal.number}."
            self._find(Fault.BROKEN, seal.number, None, text)
        for point in self._points.pop(seal.number, ()):
            self._compare(point, seal.link)

    def _content(self, seal: Seal, record: RecordView | None) -> None:
        if record is None:
            self._find(Fault.REMOVED, seal.number, seal.seq, f"Record {seal.seq} is gone.")
            return
        if record.seq < 1:
            self._forged(seal.number, record.seq)
            return
        if record.is_damaged:
            self._unreadable(seal.number, record.seq)
            return
        is_erased = seal.nonce is None
        details = seal.details if seal.nonce is None else details_of(seal.nonce, record)
        if is_erased and (record.source or record.user_agent or record.data):
            self._find(Fault.CHANGED, seal.number, seal.seq, f"Record {seal.seq} was erased, and has details again.")
            return
        if not hmac.compare_digest(digest_of(record, details), seal.digest):
            self._find(Fault.CHANGED, seal.number, seal.seq, f"Record {seal.seq} is not what was sealed.")
            return
        if is_erased:
            self._erased.setdefault((record.actor, record.target), (seal.number, seal.seq))
        self._cover(record)

    def _unreadable(self, number: int | None, seq: int) -> None:
        self._find(Fault.CHANGED, number, seq, f"Record {seq} cannot be read: limen did not write what is there.")

    def _forged(self, number: int | None, seq: int) -> None:
        """Tell of a record that the database never numbered: it counts from 1."""
        self._find(Fault.INSERTED, number, seq, f"Record {seq} has a number that is never given: it was inserted.")

    def _cover(self, record: RecordView) -> None:
        """Take the record's word for what was erased before it."""
        if record.event == EventName.DETAILS_ERASED and record.target:
            for pair in [pair for pair in self._erased if record.target in pair]:
                del self._erased[pair]

    def _find(self, fault: Fault, number: int | None, seq: int | None, text: str) -> None:
        self._count += 1
        if len(self._findings) < MOST_FINDINGS:
            self._findings.append(Finding(fault, number, seq, text))
