"""The list of common passwords, as a Bloom filter that ships with limen (NIST 800-63B-4, section 3.1.1.2).

It holds what `tools/build_common_passwords.py` put in: passwords of at least 15 bytes from published collections, and
the most common ones of 8 to 14 characters. What is on the list is always found; about one other password in 15 000 is
taken for common as well. Passwords are compared in NFC and case folded, and only as a whole.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import struct
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Final, Self

from limen.core.errors import ConfigurationError

_MAGIC: Final = b"LIMENBF1"
_VERSION: Final = 1
_HEADER: Final = struct.Struct("<8sHHQQ32s")
"""Magic, version, k (positions an entry), n (entries), m (bits), SHA-256 of the fields before it and of the bits."""

_MOST_POSITIONS: Final = 64


def folded(password: str) -> str:
    """Return the form in which passwords are compared: NFC, case folded, and NFC again since folding may undo it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", password).casefold())


@dataclass(frozen=True, slots=True, repr=False)
class BloomFilter:
    """A set that answers «certainly not» or «most probably» (Bloom, 1970), in O(k) however many entries it has.

    Attributes:
        positions: how many bits each entry sets (k).
        entries: how many entries were put in (n).
        size: how many bits there are (m), a multiple of 8.
        bits: the bits, the lowest of a byte first.
    """

    positions: int
    entries: int
    size: int
    bits: bytes

    @classmethod
    def build(cls, entries: Iterable[str], *, size: int, positions: int) -> Self:
        """Make a filter of ``size`` bits, a multiple of 8, from folded entries."""
        bits = bytearray(size // 8)
        count = 0
        for entry in entries:
            count += 1
            for position in _positions(entry, positions, size):
                bits[position >> 3] |= 1 << (position & 7)
        return cls(positions, count, size, bytes(bits))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ConfigurationError: it is not such a file, is of another version, or is torn.
        """
        if len(data) < _HEADER.size:
            raise ConfigurationError("The list of common passwords is no such file: install limen again.")
        magic, version, positions, entries, size, digest = _HEADER.unpack_from(data)
        bits = data[_HEADER.size :]
        if (magic, version) != (_MAGIC, _VERSION):
            raise ConfigurationError("The list of common passwords is of another version: install limen again.")
        sound = len(bits) * 8 == size > 0 and 1 <= positions <= _MOST_POSITIONS
        if not sound or not hmac.compare_digest(digest, _digest(positions, entries, size, bits)):
            raise ConfigurationError("The list of common passwords is damaged: install limen again.")
        return cls(positions, entries, size, bits)

    def to_bytes(self) -> bytes:
        """Return the file: a header with magic, version, k, n, m and a digest, then the bits."""
        digest = _digest(self.positions, self.entries, self.size, self.bits)
        return _HEADER.pack(_MAGIC, _VERSION, self.positions, self.entries, self.size, digest) + self.bits

    def false_positive_rate(self) -> float:
        """Return the share of other strings that are taken for entries, as the bits that are set tell it."""
        return (int.from_bytes(self.bits).bit_count() / self.size) ** self.positions

    def __contains__(self, entry: str) -> bool:
        """Say whether the folded entry is, most probably, in here."""
        return all(
            self.bits[position >> 3] >> (position & 7) & 1 for position in _positions(entry, self.positions, self.size)
        )


def _positions(entry: str, count: int, size: int) -> Iterable[int]:
    """Derive the bits of an entry from two hashes (Kirsch and Mitzenmacher, 2006).

    With the cubic term (Dillinger and Manolios, 2004) they are never all the same, even where the second hash is 0.
    """
    digest = hashlib.blake2b(entry.encode("utf-8", "surrogatepass"), digest_size=32, person=b"limen/common/1").digest()
    first, second = int.from_bytes(digest[:16], "little"), int.from_bytes(digest[16:], "little")
    for index in range(count):
        yield (first + index * second + (index**3 - index) // 6) % size


def _digest(positions: int, entries: int, size: int, bits: bytes) -> bytes:
    fields = struct.pack("<8sHHQQ", _MAGIC, _VERSION, positions, entries, size)
    return hashlib.sha256(fields + bits).digest()


@functools.cache
def load() -> BloomFilter:
    """Read the list that ships with limen; once, then it stays in memory (less than 1 MB).

    Raises:
        ConfigurationError: the file is missing or damaged. No password can be set then, rather than any.
    """
    try:
        data = resources.files("limen.crypto").joinpath("data", "common_passwords.bloom").read_bytes()
    except OSError as error:
        raise ConfigurationError("The list of common passwords is missing: install limen again.") from error
    return BloomFilter.from_bytes(data)


def is_common(password: str) -> bool:
    """Say whether the password, in whatever case and normal form, is on the list.

    Raises:
        ConfigurationError: as `load`.
    """
    return folded(password) in load()
