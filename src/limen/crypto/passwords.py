"""Hash and verify passwords: bcrypt and Argon2id, each verified by what the stored string says of itself.

Stored strings, all of them understood by other tools:

- ``$2b$12$…``: bcrypt of the password itself;
- ``$bcrypt-sha256$v=2,t=2b,r=12$salt$checksum``: bcrypt of base64(HMAC-SHA-256(key = bcrypt's own salt, password)), for
  what bcrypt cannot take whole; the form is passlib's. Keyed by the salt, so that lists of plain SHA-256 digests that
  leaked elsewhere cannot be tried against it (password shucking);
- ``$argon2id$v=19$m=…,t=…,p=…$salt$tag``: Argon2id (RFC 9106);
- ``imported:…``: what other software made, until the first login (`limen.crypto.foreign_hashes`).

Every answer of `PasswordHasher.verify` costs one hash at least, whatever is stored and whatever is presented.
"""

from __future__ import annotations

import base64
import hmac
import logging
import os
import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal, Self

import argon2
import bcrypt

from limen.core.errors import ConfigurationError, InputFault, InvalidInput, Unavailable
from limen.crypto.foreign_hashes import ForeignHash, argon2_microseconds, bcrypt_microseconds, foreign_hash

logger = logging.getLogger(__name__)

Scheme = Literal["bcrypt", "argon2id"]

MAX_BYTES: Final = 1024
"""The longest password, in bytes of UTF-8 after NFC (NIST 800-63B-4, section 3.1.1.2, asks for 64 characters)."""

# A code point of n bytes decomposes to at most 1.5 n code points, and composing never gives more than decomposing: what
# is longer than this cannot become short enough. Asked first, since NFC of hostile text takes time.
_MAX_CODE_POINTS: Final = 2 * MAX_BYTES

_BCRYPT_MAX_BYTES: Final = 72
_BCRYPT_COSTS: Final = range(4, 17)  # 4 is bcrypt's own least; 16 takes seconds, and a damaged row must not take days
_ARGON2_MEMORY: Final = 46 * 1024  # KiB; with t=2 and p=1 above OWASP's least (Password Storage Cheat Sheet)
_ARGON2_PASSES: Final = 2
_ARGON2_LANES: Final = 1
_ARGON2_SALT_BYTES: Final = 16
_ARGON2_TAG_BYTES: Final = 32
_ARGON2_MOST_MEMORY: Final = 1024 * 1024  # KiB; the same care for a damaged Argon2id row
_ARGON2_MOST_PASSES: Final = 32
_ARGON2_MOST_LANES: Final = 32

_PLAIN = re.compile(r"\$(2[aby])\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})", re.ASCII)
_PREHASHED = re.compile(r"\$bcrypt-sha256\$v=2,t=(2b),r=(\d{1,2})\$([./A-Za-z0-9]{22})\$([./A-Za-z0-9]{31})", re.ASCII)
# At least 8 bytes of salt (RFC 9106, section 3.1) and 16 of tag: a shorter tag would be matched by chance.
_ARGON2 = re.compile(
    r"\$argon2id\$v=19\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,3})\$([+/A-Za-z0-9]{11,86})\$([+/A-Za-z0-9]{22,86})", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Verification:
    """What came out of holding a password against a stored string.

    Attributes:
        matches: the password is the one that was hashed.
        outdated: it matches, and the stored string differs in scheme or cost from the setting: hash it anew now,
            while the password is at hand. Always false where it does not match.
    """

    matches: bool
    outdated: bool


_NO: Final = Verification(matches=False, outdated=False)


def normalise(password: str) -> str:
    """Return the password in NFC, as it is hashed and as it is checked (RFC 8265, section 4.2; NIST 800-63B-4).

    Nothing else is changed: no trimming, no case folding, no truncation. Takes under 50 ms, however long the input is.

    Raises:
        InvalidInput: ``too_long`` for more than `MAX_BYTES` bytes of UTF-8, ``not_text`` for lone surrogates.
    """
    if len(password) > _MAX_CODE_POINTS:
        raise _too_long()
    normalised = unicodedata.normalize("NFC", password)
    try:
        encoded = normalised.encode()
    except UnicodeEncodeError:
        # A lone surrogate is no character of any text (Unicode, D75), and has no UTF-8. The cause would quote it.
        fault = InputFault(("password",), "not_text", "The password holds something that is no character.")
        raise InvalidInput(errors=[fault]) from None
    if len(encoded) > MAX_BYTES:
        raise _too_long()
    return normalised


def _too_long() -> InvalidInput:
    message = f"The password has more than {MAX_BYTES} bytes."
    return InvalidInput(errors=[InputFault(("password",), "too_long", message)])


class PasswordHasher:
    """Hashes new passwords by one scheme, and verifies stored ones by the scheme that they name.

    Both take as long as they are meant to: call them in a `limen.crypto.hashing_pool.HashingPool`. Safe to share
    between threads.

    Args:
        scheme: how new passwords are hashed.
        bcrypt_cost: the binary logarithm of bcrypt's rounds, 4 to 16. That an installation does not go below 10 is for
            the settings to see to.

    Raises:
        ConfigurationError: there is no such scheme, or the cost is out of range.
    """

    __slots__ = ("_cost", "_scheme")

    def __init__(self, scheme: Scheme = "bcrypt", *, bcrypt_cost: int = 12) -> None:
        if scheme not in ("bcrypt", "argon2id"):
            raise ConfigurationError("LIMEN_PASSWORD_HASHER must be bcrypt or argon2id.")
        if bcrypt_cost not in _BCRYPT_COSTS:
            raise ConfigurationError(f"LIMEN_BCRYPT_COST must be {_BCRYPT_COSTS[0]} to {_BCRYPT_COSTS[-1]}.")
        self._scheme = scheme
        self._cost = bcrypt_cost

    def hash(self, password: str) -> str:
        """Return the string to store for a new password, with a fresh salt of 128 bits.

        Raises:
            InvalidInput: as `normalise`.
            Unavailable: there is no memory for Argon2id.
        """
        encoded = normalise(password).encode()
        if self._scheme == "argon2id":
            return _Argon2.fresh().of(encoded)
        return _Bcrypt.fresh(self._cost, prehashed=not _fits_bcrypt(encoded)).of(encoded)

    def verify(self, password: str, stored: str | None) -> Verification:
        """Hold a password against a stored string, by the scheme and cost that the string names.

        With None (no such account, or one without a password) and with a string that cannot be read, one hash of the
        configured scheme and cost is computed all the same and the answer is no: time tells nobody which accounts
        exist. A row of another scheme or cost takes the time of that one until its next login.

        `Verification.outdated` is told for every difference from the setting, a higher cost included: rows that kept a
        former setting would stand out by their time for ever. Lowering the setting is therefore a decision that
        reaches the stored hashes.

        What was imported is tried as it was typed, too: other software does not normalise. It is always outdated. Where
        it takes less than a hash of limen's own, one of these is computed beside it: no answer comes sooner than that
        for a name that nobody has.

        Raises:
            InvalidInput: as `normalise`; it depends on the presented password only.
            Unavailable: there is no memory for Argon2id or scrypt.
        """
        encoded = normalise(password).encode()
        imported = None if stored is None else foreign_hash(stored)
        if imported is not None:
            return self._verify_imported(imported, encoded, password.encode())
        row = None if stored is None else _read(stored)
        if row is None:
            if stored is not None:
                logger.error("password_hash_unreadable")  # never the string itself: it may be somebody's password
            self._spend(encoded)
            return _NO
        if not row.matches(encoded):
            return _NO
        return Verification(matches=True, outdated=not self._is_current(row))

    def _verify_imported(self, row: ForeignHash, normalised: bytes, typed: bytes) -> Verification:
        matches = row.matches(normalised) or (typed != normalised and row.matches(typed))
        if row.microseconds < self._microseconds():
            self._spend(normalised)
        return Verification(matches=matches, outdated=matches)

    def _microseconds(self) -> float:
        """Estimate what a hash of the configured scheme and cost takes."""
        if self._scheme == "argon2id":
            return argon2_microseconds(_ARGON2_MEMORY, _ARGON2_PASSES)
        return bcrypt_microseconds(self._cost)

    def _spend(self, password: bytes) -> None:
        """Do the work of one verification and throw its result away."""
        if self._scheme == "argon2id":
            _Argon2.fresh().of(password)
        else:
            _Bcrypt.fresh(self._cost, prehashed=not _fits_bcrypt(password)).of(password)

    def _is_current(self, row: _Bcrypt | _Argon2) -> bool:
        if isinstance(row, _Bcrypt):
            return self._scheme == "bcrypt" and row.variant == "2b" and row.cost == self._cost
        return self._scheme == "argon2id" and row.has_current_parameters()


def _read(stored: str) -> _Bcrypt | _Argon2 | None:
    """Read a stored string by its marker; None where it is none of ours, or damaged."""
    return _Bcrypt.parse(stored) or _Argon2.parse(stored)


def _fits_bcrypt(password: bytes) -> bool:
    """Say whether bcrypt takes this whole and tells it from all others.

    It reads the password, a NUL, the password again and so on, up to 72 bytes: what comes later does not count, and
    «a» is the same to it as «a», NUL, «a».
    """
    return len(password) <= _BCRYPT_MAX_BYTES and b"\0" not in password


@dataclass(frozen=True, slots=True, repr=False)
class _Bcrypt:
    """A bcrypt hash, or with an empty checksum the parameters of one to make."""

    variant: str
    cost: int
    salt: str
    checksum: str
    prehashed: bool

    @classmethod
    def fresh(cls, cost: int, *, prehashed: bool) -> Self:
        return cls("2b", cost, bcrypt.gensalt(cost).decode()[-22:], "", prehashed)

    @classmethod
    def parse(cls, stored: str) -> Self | None:
        plain, prehashed = _PLAIN.fullmatch(stored), _PREHASHED.fullmatch(stored)
        found = plain or prehashed
        if found is None:
            return None
        variant, cost, salt, checksum = found.groups()
        # 22 characters hold 132 bits, a salt has 128: bcrypt refuses one whose last four are not zero.
        if int(cost) not in _BCRYPT_COSTS or salt[-1] not in ".Oeu":
            return None
        return cls(variant, int(cost), salt, checksum, prehashed is not None)

    def of(self, password: bytes) -> str:
        """Return what is stored for this password under these parameters; the caller chose a form that it fits."""
        checksum = self._compute(password)
        if self.prehashed:
            return f"$bcrypt-sha256$v=2,t=2b,r={self.cost}${self.salt}${checksum}"
        return f"${self.variant}${self.cost:02}${self.salt}{checksum}"

    def matches(self, password: bytes) -> bool:
        """Compute one hash of this row's cost; no password is cut to fit.

        bcrypt raises for more than 72 bytes: without the other branch a long guess would be answered at once, or by a
        500, where the account exists, and late where it does not.
        """
        if not self.prehashed and not _fits_bcrypt(password):
            self._bcrypt(self._prehash(password))
            return False
        return hmac.compare_digest(self._compute(password), self.checksum)

    def _compute(self, password: bytes) -> str:
        return self._bcrypt(self._prehash(password) if self.prehashed else password)

    def _prehash(self, password: bytes) -> bytes:
        # base64, since a bare digest may hold a NUL.
        return base64.b64encode(hmac.digest(self.salt.encode(), password, "sha256"))

    def _bcrypt(self, password: bytes) -> str:
        parameters = f"${self.variant}${self.cost:02}${self.salt}"
        return bcrypt.hashpw(password, parameters.encode()).decode()[-31:]


@dataclass(frozen=True, slots=True, repr=False)
class _Argon2:
    """An Argon2id hash, or with an empty tag the parameters of one to make."""

    memory: int
    passes: int
    lanes: int
    salt: bytes
    tag: bytes
    tag_bytes: int

    @classmethod
    def fresh(cls) -> Self:
        salt = os.urandom(_ARGON2_SALT_BYTES)
        return cls(_ARGON2_MEMORY, _ARGON2_PASSES, _ARGON2_LANES, salt, b"", _ARGON2_TAG_BYTES)

    @classmethod
    def parse(cls, stored: str) -> Self | None:
        found = _ARGON2.fullmatch(stored)
        if found is None:
            return None
        memory, passes, lanes = (int(number) for number in found.groups()[:3])
        try:
            salt, tag = (_unpadded(text) for text in found.groups()[3:])
        except ValueError:
            return None
        # RFC 9106, section 3.1: at least 8 KiB a lane.
        bounded = 8 * lanes <= memory <= _ARGON2_MOST_MEMORY and 1 <= passes <= _ARGON2_MOST_PASSES
        if not (bounded and 1 <= lanes <= _ARGON2_MOST_LANES):
            return None
        return cls(memory, passes, lanes, salt, tag, len(tag))

    def has_current_parameters(self) -> bool:
        """Say whether a new hash would have these parameters."""
        now = (_ARGON2_MEMORY, _ARGON2_PASSES, _ARGON2_LANES, _ARGON2_SALT_BYTES, _ARGON2_TAG_BYTES)
        return (self.memory, self.passes, self.lanes, len(self.salt), self.tag_bytes) == now

    def of(self, password: bytes) -> str:
        """Return what is stored for this password under these parameters."""
        salt, tag = (base64.b64encode(part).rstrip(b"=").decode() for part in (self.salt, self._compute(password)))
        return f"$argon2id$v=19$m={self.memory},t={self.passes},p={self.lanes}${salt}${tag}"

    def matches(self, password: bytes) -> bool:
        """Compute one hash of this row's parameters and compare."""
        return hmac.compare_digest(self._compute(password), self.tag)

    def _compute(self, password: bytes) -> bytes:
        try:
            return argon2.low_level.hash_secret_raw(
                password,
                self.salt,
                time_cost=self.passes,
                memory_cost=self.memory,
                parallelism=self.lanes,
                hash_len=self.tag_bytes,
                type=argon2.Type.ID,
            )
        except argon2.exceptions.HashingError as error:
            # The parameters are within what Argon2 takes, so what is left is memory. A no would be a wrong answer.
            logger.error("password_hash_without_memory", extra={"memory_kib": self.memory})  # noqa: TRY400
            raise Unavailable from error


def _unpadded(text: str) -> bytes:
    """Decode the base64 of the stored form, which has no padding; raise ValueError where it is no whole bytes."""
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
