"""The chain over the audit trail: what a record's digest covers, and the keyed link that holds it to the one before.

``details = SHA-256(nonce | canonical details)`` covers what may be personal: where the request came from, what the
client calls itself, and the data. ``digest = SHA-256(label | canonical record with the digest of its details)``.
``link = HMAC-SHA-256(K, label | kid | number | time | link before | digest)`` (RFC 2104, FIPS 180-4). K is derived by
HKDF-SHA-256 (RFC 5869) from a secret of ``LIMEN_DATA_SECRETS``, which the database does not hold: who may write to the
database can change a record, and cannot make a link that fits.

Once the nonce of a record and its details are gone, its digest of the details tells nothing of them, and still is what
the chain was made over.
"""

import hmac
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

import msgspec

from limen.core.errors import ConfigurationError
from limen.crypto.keys import hkdf_sha256, key_id, refuse_weak_secret
from limen.features.audit.store import Base, Mark, Seal, TrailHead
from limen.features.events.service import RecordView

NONCE_BYTES: Final = 16
"""128 bits at random: the details of a record, an address say, cannot be guessed from their digest without it."""
BEGINNING: Final = bytes(32)
"""The link before the first."""

_KEY: Final = b"limen/trail/1"
_ROW: Final = b"limen/trail/row/1\x00"
_LINK: Final = b"limen/trail/link/1\x00"
_BASE: Final = b"limen/trail/base/1\x00"
_HEAD: Final = b"limen/trail/head/1\x00"
_encode = msgspec.json.Encoder(order="sorted").encode


class TrailKeys:
    """The keys that link and vouch, one for each data secret. What a message is for stands at its beginning.

    Args:
        secrets: the texts of ``LIMEN_DATA_SECRETS``: the first one links, every one verifies.

    Attributes:
        kid: the id of the secret that links.

    Raises:
        ConfigurationError: no secret, or one that is weak.
    """

    __slots__ = ("_keys", "kid")

    def __init__(self, secrets: Iterable[str]) -> None:
        self._keys: dict[str, bytes] = {}
        for text in secrets:
            secret = text.encode("utf-8")
            refuse_weak_secret(secret)
            self._keys.setdefault(key_id(secret), hkdf_sha256(secret, _KEY))
        if not self._keys:
            raise ConfigurationError("The audit trail is sealed under a secret of LIMEN_DATA_SECRETS.")
        self.kid = next(iter(self._keys))

    def knows(self, kid: str) -> bool:
        """Tell whether a secret with this id is among those configured."""
        return kid in self._keys

    def mac(self, kid: str, message: bytes) -> bytes:
        """Return the HMAC-SHA-256 of a message under the key with this id, 32 bytes; KeyError: it is not known."""
        return hmac.digest(self._keys[kid], message, "sha256")

    def __repr__(self) -> str:
        return f"TrailKeys({self.kid!r})"


def details_of(nonce: bytes, record: RecordView) -> bytes:
    """Return the salted digest of what may be personal in a record, 32 bytes."""
    return sha256(nonce + _encode([record.source, record.user_agent, record.data])).digest()


def digest_of(record: RecordView, details: bytes) -> bytes:
    """Return the digest of a record, 32 bytes, by the digest of its details."""
    kept = [record.seq, record.time, record.event, record.outcome, record.actor, record.target, record.request_id]
    if record.is_damaged:  # never the digest of a record that says the same and can be read
        kept.append("damaged")
    return sha256(_ROW + _encode([*kept, details.hex()])).digest()


def link_of(keys: TrailKeys, seal: Seal, before: bytes) -> bytes:
    """Return the link that a seal has to bear after the one before it, 32 bytes; KeyError: its secret is not known."""
    place = seal.number.to_bytes(8, "big", signed=True) + seal.sealed_at.to_bytes(8, "big", signed=True)
    return keys.mac(seal.kid, _LINK + seal.kid.encode() + b"\x00" + place + before + seal.digest)


def seal_all(
    keys: TrailKeys, records: Sequence[RecordView], *, number: int, before: bytes, sealed_at: int
) -> list[Seal]:
    """Chain records in this order.

    Args:
        keys: the first of them links.
        records: not sealed before.
        number: that of the last seal; the first of these gets the next one.
        before: the link of the last seal.
        sealed_at: milliseconds since 1970 UTC.
    """
    made: list[Seal] = []
    for record in records:
        number += 1
        nonce = os.urandom(NONCE_BYTES)
        details = details_of(nonce, record)
        seal = Seal(number, record.seq, sealed_at, keys.kid, nonce, details, digest_of(record, details), b"")
        before = link_of(keys, seal, before)
        made.append(seal._replace(link=before))
    return made


def vouched(keys: TrailKeys, number: int, link: bytes) -> Base:
    """Vouch for a seal as the last of those that were removed: the chain begins after it."""
    return Base(number, link, keys.kid, keys.mac(keys.kid, _base_of(keys.kid, number, link)))


def is_vouched(keys: TrailKeys, base: Base) -> bool:
    """Tell whether a beginning was vouched for; that of a chain from which nothing was removed needs nobody."""
    if base.number == 0:
        return base.link == BEGINNING
    return keys.knows(base.kid) and hmac.compare_digest(
        keys.mac(base.kid, _base_of(base.kid, base.number, base.link)), base.mac
    )


class KeyedSealing:
    """Implements `limen.features.audit.store.Sealing`.

    Args:
        keys: the first of them links and vouches, every one verifies.
    """

    __slots__ = ("_keys",)

    def __init__(self, keys: TrailKeys) -> None:
        self._keys = keys

    def seals(self, records: Sequence[RecordView], head: TrailHead) -> Sequence[Seal]:
        """Make the seals of records, after the head."""
        return seal_all(self._keys, records, number=head.number, before=head.link, sealed_at=head.now)

    def vouches(self, number: int, link: bytes, floor: int) -> Mark:
        """Vouch for where the chain stands."""
        return Mark(self._keys.kid, self._keys.mac(self._keys.kid, _head_of(self._keys.kid, number, link, floor)))

    def is_sound(self, head: TrailHead) -> bool:
        """Tell whether it was vouched for; before the first seal there was nobody to do so."""
        if head.number == 0 and head.floor == 0:
            return head.link == BEGINNING
        kid, mac = head.mark
        return self._keys.knows(kid) and hmac.compare_digest(
            self._keys.mac(kid, _head_of(kid, head.number, head.link, head.floor)), mac
        )

    def is_current(self, head: TrailHead) -> bool:
        """Tell whether it was vouched for under the secret that is used now."""
        return self.is_sound(head) and (head.number == 0 or head.mark.kid == self._keys.kid)


def _head_of(kid: str, number: int, link: bytes, floor: int) -> bytes:
    place = number.to_bytes(8, "big", signed=True) + floor.to_bytes(8, "big", signed=True)
    return _HEAD + kid.encode() + b"\x00" + place + link


def _base_of(kid: str, number: int, link: bytes) -> bytes:
    return _BASE + kid.encode() + b"\x00" + number.to_bytes(8, "big", signed=True) + link
