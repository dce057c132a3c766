"""API keys: how they are written, read and stored.

A key is ``lim_<environment>_<id>_<secret><checksum>``: id (a UUID), secret (256 bits) and checksum in base 62. The
checksum is the CRC-32 of all that stands before it: it tells a typing error, or a text that only looks like a key,
before anything is looked up. It protects nothing.

Stored is ``HMAC-SHA-256(HKDF(data secret, "limen/api-key/1"), id | secret)``, and which data secret it was. A dump of
the database alone makes no key; and keys outlive the replacement of the data secret (ASVS 11.5.1).
"""

import os
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final
from uuid import UUID

from limen.core.errors import ConfigurationError
from limen.core.ids import is_uuid7
from limen.crypto.keys import hkdf_sha256, key_id, refuse_weak_secret

PREFIX: Final = b"lim_"
"""What every key begins with; scanners for leaked secrets look for it."""

ENVIRONMENT: Final = r"[a-z0-9]{1,16}"
"""The pattern of the name that says which installation a key belongs to."""

_LABEL: Final = b"limen/api-key/1"
_DIGITS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUES: Final = {digit: value for value, digit in enumerate(_DIGITS)}
_SECRET_BYTES: Final = 32
_ID_DIGITS: Final = 22  # 62^22 > 2^128
_SECRET_DIGITS: Final = 43  # 62^43 > 2^256
_CHECKSUM_DIGITS: Final = 6  # 62^6 > 2^32
_FORM: Final = re.compile(
    rb"lim_(%s)_([0-9A-Za-z]{%d})_([0-9A-Za-z]{%d})([0-9A-Za-z]{%d})\Z"
    % (ENVIRONMENT.encode("ascii"), _ID_DIGITS, _SECRET_DIGITS, _CHECKSUM_DIGITS)
)
MAX_KEY: Final = len(PREFIX) + 16 + 1 + _ID_DIGITS + 1 + _SECRET_DIGITS + _CHECKSUM_DIGITS
"""Characters of the longest key."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What a key says.

    Attributes:
        environment: the name of the installation that it belongs to.
        id: the UUIDv7 under which it is stored; no secret.
        secret: 32 random bytes.
    """

    environment: str
    id: str
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """Return the key as its holder keeps it."""
        begin = f"lim_{self.environment}_{_in_base62(UUID(self.id).int, _ID_DIGITS)}_"
        begin += _in_base62(int.from_bytes(self.secret), _SECRET_DIGITS)
        return begin + _checksum(begin.encode("ascii"))


def new_secret() -> bytes:
    """Return a new secret part: 32 bytes from the operating system."""
    return os.urandom(_SECRET_BYTES)


def read_key(presented: bytes, environment: str) -> ApiKey | None:
    """Read a key of this environment; None for whatever is none, or has a wrong checksum. Nothing is looked up."""
    if len(presented) > MAX_KEY:
        return None
    match = _FORM.match(presented)
    if match is None or match[1].decode("ascii") != environment:
        return None
    if not compare_digest(_checksum(presented[:-_CHECKSUM_DIGITS]), match[4].decode("ascii")):
        return None
    number, secret = _number(match[2]), _number(match[3])
    if number >= 1 << 128 or secret >= 1 << 256:
        return None
    identifier = str(UUID(int=number))
    return ApiKey(environment, identifier, secret.to_bytes(_SECRET_BYTES)) if is_uuid7(identifier) else None


class KeyHasher:
    """Makes and compares what is stored of a key. Safe to share between threads.

    Args:
        secrets: the texts of ``LIMEN_DATA_SECRETS``: the first one makes, every one compares.

    Attributes:
        kid: the id of the secret that makes.

    Raises:
        ConfigurationError: no secret, or one of fewer than 32 bytes.
    """

    __slots__ = ("_absent", "_keys", "kid")

    def __init__(self, secrets: Iterable[str]) -> None:
        keys: dict[str, bytes] = {}
        for text in secrets:
            secret = text.encode("utf-8")
            refuse_weak_secret(secret)
            keys.setdefault(key_id(secret), hkdf_sha256(secret, _LABEL))
        if not keys:
            raise ConfigurationError("API keys need a secret of LIMEN_DATA_SECRETS.")
        self._keys = keys
        self.kid = next(iter(keys))
        self._absent = os.urandom(32)

    def hash(self, key: ApiKey) -> bytes:
        """Return what is stored of a key, 32 bytes, made under the secret `kid`."""
        return self._hash(self._keys[self.kid], key)

    def matches(self, key: ApiKey, kid: str | None, stored: bytes | None) -> bool:
        """Tell whether this is the key of which that was stored.

        It computes and compares the same for a key of which nothing is stored (None), or whose data secret is not
        configured any more, and answers no: known and unknown ids take the same time (ASVS 11.2.4).
        """
        secret = self._keys.get(kid or "")
        fits = compare_digest(self._hash(secret or self._absent, key), stored or self._absent)
        return fits and secret is not None and stored is not None

    @staticmethod
    def _hash(secret: bytes, key: ApiKey) -> bytes:
        # Of a fixed length each, so that no two keys are written alike. The id binds it to its row.
        return hmac_digest(secret, UUID(key.id).bytes + key.secret, "sha256")

    def __repr__(self) -> str:
        return f"KeyHasher({self.kid!r})"


def digest_of(presented: bytes) -> bytes:
    """Return what a presented key is remembered under: the SHA-256 of all of it."""
    return sha256(presented).digest()


def _checksum(begin: bytes) -> str:
    return _in_base62(zlib.crc32(begin), _CHECKSUM_DIGITS)


def _in_base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, value = divmod(number, 62)
        digits.append(_DIGITS[value])
    return "".join(reversed(digits))


def _number(digits: bytes) -> int:
    number = 0
    for digit in digits.decode("ascii"):
        number = number * 62 + _VALUES[digit]
    return number
