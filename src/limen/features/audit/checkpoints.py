"""Checkpoints: where the chain stood, signed, to be kept where whoever may write to the database may not.

A chain tells what was changed in it, and not what was cut off its end together with the row that says where it stands.
A checkpoint from before the cut does. It is one line of JSON, under HMAC-SHA-256 with a key that the database does not
hold, so that it may lie in a log.
"""

import hmac
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

import msgspec

from limen.features.audit.chain import TrailKeys
from limen.features.audit.store import TrailHead

_LABEL: Final = b"limen/trail/checkpoint/1\x00"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the chain stood.

    Attributes:
        number: that of the last seal.
        link: its link, in hexadecimal.
        base: the number of the last seal that had been removed by then.
        time: milliseconds since 1970 UTC by the database's clock.
        kid: the id of the secret under which it is signed.
        mac: signs all of this, in hexadecimal.
    """

    number: int
    link: str
    base: int
    time: int
    kid: str
    mac: str = ""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a file of checkpoints."""

    number: int
    link: str
    base: int
    time: int
    kid: str
    mac: str


def checkpoint_of(keys: TrailKeys, head: TrailHead) -> Checkpoint:
    """Sign where the chain stands."""
    point = Checkpoint(head.number, head.link.hex(), head.base.number, head.now, keys.kid)
    return Checkpoint(point.number, point.link, point.base, point.time, point.kid, _mac(keys, point).hex())


def is_genuine(keys: TrailKeys, point: Checkpoint) -> bool:
    """Tell whether a checkpoint was signed under a secret that is known."""
    return keys.knows(point.kid) and hmac.compare_digest(_mac(keys, point).hex(), point.mac)


def line_of(point: Checkpoint) -> str:
    """Return the checkpoint as one line."""
    return msgspec.json.encode(asdict(point)).decode()


def checkpoints_in(lines: Iterable[str]) -> list[Checkpoint]:
    """Read the checkpoints of lines; empty lines are passed over.

    Raises:
        ValueError: a line that is none; its number is told.
    """
    found: list[Checkpoint] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            one = msgspec.json.decode(line, type=_Line)
        except (msgspec.DecodeError, UnicodeEncodeError):
            message = f"Line {number} is no checkpoint."
            raise ValueError(message) from None
        found.append(Checkpoint(one.number, one.link, one.base, one.time, one.kid, one.mac))
    return found


def _mac(keys: TrailKeys, point: Checkpoint) -> bytes:
    fields = [point.number, point.link, point.base, point.time, point.kid]
    return keys.mac(point.kid, _LABEL + msgspec.json.encode(fields))
