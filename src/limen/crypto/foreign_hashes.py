"""Hashes that other software made: brought here once, by an import, and replaced at the account's first login.

What is stored is ``imported:`` and one of these:

- ``$2b$10$…``: bcrypt, which reads 72 bytes and no more, as it was used elsewhere;
- ``bcrypt_sha256$$2b$12$…``: bcrypt of the hexadecimal SHA-256, as Django makes it;
- ``$bcrypt-sha256$v=2,…``: as passlib and limen make it;
- ``$pbkdf2-sha256$i=600000$salt$key``, with SHA-1, SHA-256 or SHA-512 (RFC 8018);
- ``$scrypt$ln=17,r=8,p=1$salt$key`` (RFC 7914);
- ``$argon2id$v=19$m=…,t=…,p=…$salt$tag``, and Argon2i and Argon2d (RFC 9106).

A hash that anybody can reverse, and one that takes too long, is refused when it is brought. The marker says that what
limen never does with its own hashes is right for these: to cut a password to 72 bytes, and to try it as it was typed,
not in NFC.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import argon2
import bcrypt

from limen.core.errors import Unavailable

logger = logging.getLogger(__name__)

MARK: Final = "imported:"
"""Before each stored string that another software made."""

MOST_TEXT: Final = 512
"""The longest text that is read as a hash, in characters."""
MOST_BCRYPT_COST: Final = 14
MOST_ITERATIONS: Final = 5_000_000
"""Of PBKDF2."""
MOST_MEMORY: Final = 1024 * 1024
"""Of Argon2 and scrypt, in KiB."""
MOST_MICROSECONDS: Final = 4_000_000
"""What one verification may take, as `ForeignHash.microseconds` estimates it."""
LEAST_ITERATIONS: Final = 1_000
"""Of PBKDF2 (RFC 8018, section 4.2): less is as good as a bare digest."""

_BCRYPT_BYTES: Final = 72
_LEAST_SALT: Final = 8  # bytes (RFC 8018, section 4.1)
_LEAST_KEY: Final = 16  # bytes: a shorter one would be matched by chance
_MOST_KEY: Final = 128

# Microseconds of one core, measured on one machine: to compare schemes, not to promise times.
_BCRYPT_ROUND: Final = 71.6
_PBKDF2_ITERATION: Final = {"sha1": 0.32, "sha256": 0.4, "sha512": 1.45}
_SCRYPT_BLOCK: Final = 0.45
_ARGON2_KIB: Final = 0.96
_ARGON2_THREAD: Final = 50.0

_BCRYPT = re.compile(r"(bcrypt_sha256\$)?(\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{22})([./A-Za-z0-9]{31})", re.ASCII)
_PASSLIB_BCRYPT = re.compile(
    r"\$bcrypt-sha256\$v=2,t=2b,r=(\d{1,2})\$([./A-Za-z0-9]{22})\$([./A-Za-z0-9]{31})", re.ASCII
)
_PBKDF2 = re.compile(r"\$pbkdf2-(sha1|sha256|sha512)\$i=(\d{1,9})\$([+/A-Za-z0-9]+)\$([+/A-Za-z0-9]+)", re.ASCII)
_SCRYPT = re.compile(r"\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([+/A-Za-z0-9]+)\$([+/A-Za-z0-9]+)", re.ASCII)
_ARGON2 = re.compile(
    r"\$argon2(id|i|d)\$v=(19|16)\$m=(\d{1,8}),t=(\d{1,5}),p=(\d{1,3})\$([+/A-Za-z0-9]+)\$([+/A-Za-z0-9]+)", re.ASCII
)

# As others write what is written above.
_DJANGO_PBKDF2 = re.compile(r"pbkdf2_(sha1|sha256|sha512)\$(\d{1,9})\$([^$]+)\$([+/A-Za-z0-9]+)={0,2}")
_DJANGO_SCRYPT = re.compile(r"scrypt\$(\d{1,9})\$([^$]+)\$(\d{1,3})\$(\d{1,3})\$([+/A-Za-z0-9]+)={0,2}")
_PASSLIB_PBKDF2 = re.compile(
    r"\$pbkdf2(?:-(sha256|sha512))?\$(\d{1,9})\$([./+A-Za-z0-9]+)\$([./+A-Za-z0-9]+)", re.ASCII
)
_WERKZEUG = re.compile(r"scrypt:(\d{1,9}):(\d{1,3}):(\d{1,3})\$([^$]+)\$([0-9a-f]+)")

# Made in a moment for each password on a list, with a salt or without.
_REVERSIBLE = re.compile(
    r"\$1\$.*|\$apr1\$.*|\$md5[$,].*|(?:unsalted_)?(?:md5|sha1|sha256|sha512)\$.*|crypt\$.*"
    r"|\{(?:SHA|SSHA|SHA256|SSHA256|SHA512|SSHA512|MD5|SMD5|CRYPT|CLEARTEXT|PLAIN|NTLM)[^}]*\}.*"
    r"|(?:[0-9a-fA-F]{16}|[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128})"
    r"|\*[0-9A-F]{40}|[./A-Za-z0-9]{13}",
    re.DOTALL,
)


class RefusedHash(Exception):
    """A hash that is not brought along.

    Attributes:
        code: ``hash_unknown``: none of the schemes; ``hash_weak``: one that anybody can reverse; ``hash_too_costly``:
            its verification would take too long, or too much memory; ``hash_malformed``: one of the schemes, damaged.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def as_imported(text: str) -> str:
    """Return what is stored for a hash that another software made; never quotes it.

    Args:
        text: as Django, fastapi-users, passlib, pwdlib, Node's bcrypt or Werkzeug store it, or in one of the forms of
            this module.

    Raises:
        RefusedHash: it is not to be brought along, with the reason.
    """
    if len(text) > MOST_TEXT:
        raise RefusedHash("hash_unknown")
    if _REVERSIBLE.fullmatch(text):
        raise RefusedHash("hash_weak")
    form = _own_form(text)
    _read(form)
    return MARK + form


def pbkdf2(digest: str, iterations: int, salt: bytes, key: bytes) -> str:
    """Return PBKDF2 in the form of this module; the digest is ``sha1``, ``sha256`` or ``sha512``."""
    return f"$pbkdf2-{digest}$i={iterations}${_base64(salt)}${_base64(key)}"


def argon2_of(variant: str, version: int, cost: tuple[int, int, int], salt: bytes, tag: bytes) -> str:
    """Return Argon2 in the form of this module; ``cost`` is memory (KiB), passes and lanes."""
    memory, passes, lanes = cost
    return f"$argon2{variant}$v={version}$m={memory},t={passes},p={lanes}${_base64(salt)}${_base64(tag)}"


def foreign_hash(stored: str) -> ForeignHash | None:
    """Read a stored string; None where it has no marker, or is damaged."""
    if not stored.startswith(MARK) or len(stored) > 2 * MOST_TEXT:
        return None
    try:
        return _read(stored.removeprefix(MARK))
    except RefusedHash:
        return None


def bcrypt_microseconds(cost: int) -> float:
    """Estimate what one bcrypt takes."""
    return _BCRYPT_ROUND * 2.0**cost


def argon2_microseconds(memory: int, passes: int) -> float:
    """Estimate what one Argon2 takes of so many KiB."""
    return _ARGON2_KIB * memory * passes


class ForeignHash(ABC):
    """A hash that another software made.

    Attributes:
        microseconds: an estimate of what one verification takes.
    """

    microseconds: float

    @abstractmethod
    def matches(self, password: bytes) -> bool:
        """Compute one hash and compare.

        Raises:
            Unavailable: there is no memory for it.
        """


def _own_form(text: str) -> str:
    """Return a text in the form of this module."""
    if found := _DJANGO_PBKDF2.fullmatch(text):
        return pbkdf2(found[1], int(found[2]), found[3].encode("utf-8", "replace"), _bytes(found[4]))
    if found := _DJANGO_SCRYPT.fullmatch(text):
        return _scrypt(int(found[1]), found[3], found[4], found[2].encode("utf-8", "replace"), _bytes(found[5]))
    if found := _WERKZEUG.fullmatch(text):
        key = bytes.fromhex(found[5]) if len(found[5]) % 2 == 0 else b""
        return _scrypt(int(found[1]), found[2], found[3], found[4].encode("utf-8", "replace"), key)
    if found := _PASSLIB_PBKDF2.fullmatch(text):
        salt, key = (_bytes(part.replace(".", "+")) for part in found.groups()[2:])
        return pbkdf2(found[1] or "sha1", int(found[2]), salt, key)
    # Django names the scheme before what the scheme itself writes.
    for name in ("bcrypt$", "argon2$"):
        if text.startswith((name + "$", name + "argon2")):
            rest = text.removeprefix(name)
            return rest if rest.startswith("$") else "$" + rest
    return text


def _scrypt(n: int, r: str, p: str, salt: bytes, key: bytes) -> str:
    if n < 2 or n & (n - 1):
        raise RefusedHash("hash_malformed")
    return f"$scrypt$ln={n.bit_length() - 1},r={int(r)},p={int(p)}${_base64(salt)}${_base64(key)}"


def _read(form: str) -> ForeignHash:
    for pattern, kind in _KINDS:
        if found := pattern.fullmatch(form):
            return kind(found)
    known = form.startswith(
        ("$2", "bcrypt", "$bcrypt-sha256", "$pbkdf2", "pbkdf2", "$scrypt", "scrypt", "$argon2", "argon2")
    )
    raise RefusedHash("hash_malformed" if known else "hash_unknown")


@dataclass(frozen=True, slots=True, repr=False)
class _Bcrypt(ForeignHash):
    parameters: bytes
    checksum: str
    microseconds: float
    hexadecimal: bool = False
    keyed: bytes = b""

    def matches(self, password: bytes) -> bool:
        if self.hexadecimal:
            password = hashlib.sha256(password).hexdigest().encode()
        elif self.keyed:
            password = base64.b64encode(hmac.digest(self.keyed, password, "sha256"))
        computed = bcrypt.hashpw(password[:_BCRYPT_BYTES], self.parameters).decode()[-31:]
        return hmac.compare_digest(computed, self.checksum)


@dataclass(frozen=True, slots=True, repr=False)
class _Pbkdf2(ForeignHash):
    digest: str
    iterations: int
    salt: bytes
    key: bytes
    microseconds: float

    def matches(self, password: bytes) -> bool:
        # Each block of the key is computed alone: the first is enough, and costs what a hash is to cost.
        length = min(len(self.key), hashlib.new(self.digest, usedforsecurity=True).digest_size)
        computed = hashlib.pbkdf2_hmac(self.digest, password, self.salt, self.iterations, length)
        return hmac.compare_digest(computed, self.key[:length])


@dataclass(frozen=True, slots=True, repr=False)
class _Scrypt(ForeignHash):
    n: int
    r: int
    p: int
    salt: bytes
    key: bytes
    microseconds: float

    def matches(self, password: bytes) -> bool:
        needed = 128 * self.r * (self.n + self.p + 2) + 65_536
        try:
            computed = hashlib.scrypt(
                password, salt=self.salt, n=self.n, r=self.r, p=self.p, maxmem=needed, dklen=len(self.key)
            )
        except (MemoryError, ValueError) as error:
            # The parameters are within what scrypt takes, so what is left is memory.
            logger.error("password_hash_without_memory", extra={"memory_kib": needed // 1024})  # noqa: TRY400
            raise Unavailable from error
        return hmac.compare_digest(computed, self.key)


@dataclass(frozen=True, slots=True, repr=False)
class _Argon2(ForeignHash):
    variant: argon2.Type
    version: int
    cost: tuple[int, int, int]
    salt: bytes
    tag: bytes
    microseconds: float

    def matches(self, password: bytes) -> bool:
        memory, passes, lanes = self.cost
        try:
            computed = argon2.low_level.hash_secret_raw(
                password, self.salt, passes, memory, lanes, len(self.tag), self.variant, self.version
            )
        except argon2.exceptions.HashingError as error:
            logger.error("password_hash_without_memory", extra={"memory_kib": memory})  # noqa: TRY400
            raise Unavailable from error
        return hmac.compare_digest(computed, self.tag)


def _bcrypt_of(found: re.Match[str]) -> ForeignHash:
    return _bcrypt(int(found[3]), found[2], found[4], hexadecimal=found[1] is not None)


def _passlib_bcrypt_of(found: re.Match[str]) -> ForeignHash:
    cost, salt = int(found[1]), found[2]
    return _bcrypt(cost, f"$2b${cost:02}${salt}", found[3], keyed=salt.encode())


def _bcrypt(cost: int, parameters: str, checksum: str, *, hexadecimal: bool = False, keyed: bytes = b"") -> _Bcrypt:
    # 22 characters hold 132 bits, a salt has 128: bcrypt refuses one whose last four are not zero.
    if cost < 4 or parameters[-1] not in ".Oeu":
        raise RefusedHash("hash_malformed")
    if cost > MOST_BCRYPT_COST:
        raise RefusedHash("hash_too_costly")
    return _Bcrypt(parameters.encode(), checksum, bcrypt_microseconds(cost), hexadecimal, keyed)


def _pbkdf2_of(found: re.Match[str]) -> ForeignHash:
    digest, iterations = found[1], int(found[2])
    salt, key = _salt_and_key(found[3], found[4])
    if iterations < LEAST_ITERATIONS:
        raise RefusedHash("hash_weak")
    work = _bounded(_PBKDF2_ITERATION[digest] * iterations, is_over=iterations > MOST_ITERATIONS)
    return _Pbkdf2(digest, iterations, salt, key, work)


def _scrypt_of(found: re.Match[str]) -> ForeignHash:
    ln, r, p = (int(number) for number in found.groups()[:3])
    salt, key = _salt_and_key(found[4], found[5])
    # RFC 7914, section 2: N is less than 2^(128 r / 8), and p at most (2^32 - 1) * 32 / (128 r).
    if not (1 <= ln < 16 * r and p >= 1):
        raise RefusedHash("hash_malformed")
    if 2**ln * r < 2**13:
        raise RefusedHash("hash_weak")
    memory = (2**ln + p) * r // 8
    work = _bounded(_SCRYPT_BLOCK * 2.0**ln * r * p, is_over=memory > MOST_MEMORY)
    return _Scrypt(2**ln, r, p, salt, key, work)


def _argon2_of(found: re.Match[str]) -> ForeignHash:
    variant = {"id": argon2.Type.ID, "i": argon2.Type.I, "d": argon2.Type.D}[found[1]]
    memory, passes, lanes = (int(number) for number in found.groups()[2:5])
    salt, tag = _salt_and_key(found[6], found[7])
    if not (1 <= lanes <= 255 and memory >= 8 * lanes and passes >= 1):
        raise RefusedHash("hash_malformed")
    # Each lane is a thread, begun anew for each quarter of a pass: many lanes of little memory cost nothing else.
    threads = 4 * passes * lanes if lanes > 1 else 0
    work = _bounded(argon2_microseconds(memory, passes) + _ARGON2_THREAD * threads, is_over=memory > MOST_MEMORY)
    return _Argon2(variant, int(found[2]), (memory, passes, lanes), salt, tag, work)


_KINDS: Final = (
    (_BCRYPT, _bcrypt_of),
    (_PASSLIB_BCRYPT, _passlib_bcrypt_of),
    (_PBKDF2, _pbkdf2_of),
    (_SCRYPT, _scrypt_of),
    (_ARGON2, _argon2_of),
)


def _bounded(microseconds: float, *, is_over: bool) -> float:
    if is_over or microseconds > MOST_MICROSECONDS:
        raise RefusedHash("hash_too_costly")
    return microseconds


def _salt_and_key(salt: str, key: str) -> tuple[bytes, bytes]:
    octets = _bytes(salt), _bytes(key)
    if len(octets[0]) < _LEAST_SALT or not _LEAST_KEY <= len(octets[1]) <= _MOST_KEY:
        raise RefusedHash("hash_weak" if len(octets[0]) < _LEAST_SALT else "hash_malformed")
    return octets


def _base64(octets: bytes) -> str:
    return base64.b64encode(octets).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Decode base64 with or without its padding."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedHash("hash_malformed") from None
