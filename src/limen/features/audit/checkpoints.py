"""Checkpoints: where the chain stood, signed, to be kept where whoever may write to the database may not.

A chain tells what was changed in it, and not what was cut off its end together with the row that says where it stands.
A checkpoint from before the cut does. It is one line of JSON, so that it may lie in a log, and is signed twice: under
HMAC-SHA-256 with a key that the database does not hold, and, as ``jws``, with a private key, so that it can be verified
by somebody who could not have made it.
"""

import hmac
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import msgspec

from limen.core.errors import ConfigurationError
from limen.crypto.keys import KeySet, SigningKey, VerificationKey
from limen.crypto.notes import key_of_secret, note_signed_by, signed_note
from limen.features.audit.chain import TrailKeys
from limen.features.audit.store import TrailHead

TYP: Final = "limen-checkpoint+note"
"""What the signed part says that it is."""

_LABEL: Final = b"limen/trail/checkpoint/1\x00"
_KEY: Final = b"limen/trail/checkpoint-key/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where the chain stood.

    Attributes:
        number: that of the last seal.
        link: its link, in hexadecimal.
        base: the number of the last seal that had been removed by then.
        time: milliseconds since 1970 UTC by the database's clock.
        kid: the id of the secret under which it is signed.
        mac: vouches for all of this, in hexadecimal.
        jws: number, link, base and time once more, signed with a private key; empty in those of older versions.
    """

    number: int
    link: str
    base: int
    time: int
    kid: str
    mac: str = ""
    jws: str = ""


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a file of checkpoints."""

    number: int
    link: str
    base: int
    time: int
    kid: str
    mac: str
    jws: str = ""


class _Keys(msgspec.Struct):
    """A JWK Set."""

    keys: list[dict[str, Any]]


class CheckpointKeys:
    """The private key that signs checkpoints, and the public ones that verify them.

    Args:
        secrets: the texts of ``LIMEN_DATA_SECRETS``; of each a key is derived.
        keys: the first of them signs instead, every one verifies.

    Attributes:
        signing: signs.
        known: every key that verifies: what an old one has signed stays signed.
    """

    __slots__ = ("known", "signing")

    def __init__(self, secrets: Iterable[str], keys: Iterable[SigningKey] = ()) -> None:
        each = [*keys, *(key_of_secret(text.encode(), _KEY) for text in secrets)]
        self.signing = each[0]
        self.known = KeySet(list({key.kid: key for key in each}.values()))


def checkpoint_of(keys: TrailKeys, signing: CheckpointKeys, head: TrailHead) -> Checkpoint:
    """Sign where the chain stands."""
    point = Checkpoint(head.number, head.link.hex(), head.base.number, head.now, keys.kid)
    return replace(point, mac=_mac(keys, point).hex(), jws=signed_note(signing.signing, TYP, _told(point)))


def is_genuine(keys: TrailKeys, known: KeySet, point: Checkpoint, *, only_signed: bool = False) -> bool:
    """Tell whether a checkpoint was made by somebody who may.

    Args:
        keys: verify the HMAC of one that bears no signature.
        known: verify signatures.
        point: the checkpoint.
        only_signed: whether one without a signature is none.
    """
    is_signed = note_signed_by(known, TYP, point.jws) == _told(point)
    if only_signed or (point.jws and not is_signed) or not keys.knows(point.kid):
        return is_signed
    return hmac.compare_digest(_mac(keys, point).hex().encode(), point.mac.encode())


def keys_in(text: str) -> KeySet:
    """Read a JWK Set (RFC 7517, section 5) as `public_jwks` prints it.

    Raises:
        ConfigurationError: it is none, or holds what is no public key.
    """
    try:
        return KeySet([VerificationKey.from_jwk(jwk) for jwk in msgspec.json.decode(text, type=_Keys).keys])
    except (msgspec.DecodeError, UnicodeEncodeError):
        raise ConfigurationError('This is no set of public keys: {"keys": [...]}') from None


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
        found.append(Checkpoint(one.number, one.link, one.base, one.time, one.kid, one.mac, one.jws))
    return found


def _told(point: Checkpoint) -> dict[str, object]:
    return {"number": point.number, "link": point.link, "base": point.base, "time": point.time}


def _mac(keys: TrailKeys, point: Checkpoint) -> bytes:
    fields = [point.number, point.link, point.base, point.time, point.kid]
    return keys.mac(point.kid, _LABEL + msgspec.json.encode(fields))
