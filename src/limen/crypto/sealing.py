"""Encrypts what the database keeps of a secret: AES-256-GCM, under a key for one purpose alone (NIST SP 800-38D).

What is sealed says which secret of ``LIMEN_DATA_SECRETS`` it was sealed under, and is bound to its purpose and its row:
copied to another row, or handed to another use, it does not open (ASVS 11.3.4).
"""

import os
import re
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from limen.core.errors import ConfigurationError
from limen.crypto.keys import hkdf_sha256, key_id, refuse_weak_secret

_FORM: Final = b"\x01"
_KID_BYTES: Final = 8
_NONCE_BYTES: Final = 12  # 96 bits at random: one key may seal 2^32 times (NIST SP 800-38D, section 8.3)
_TAG_BYTES: Final = 16
_BEGIN: Final = len(_FORM) + _KID_BYTES
_OVERHEAD: Final = _BEGIN + _NONCE_BYTES + _TAG_BYTES
_PURPOSE: Final = re.compile(r"[a-z][a-z0-9-]{0,63}\Z")


class CannotOpen(Exception):
    """What was sealed does not open here: another row, another purpose, another secret, or it was changed.

    Attributes:
        kid: the id of the secret that it names, where that is not among those configured; otherwise None.
    """

    def __init__(self, kid: str | None = None) -> None:
        super().__init__("it was not sealed for this" if kid is None else f"no data secret has the id {kid}")
        self.kid = kid


class Sealer:
    """Seals and opens for one purpose. Safe to share between threads.

    Args:
        secrets: the texts of ``LIMEN_DATA_SECRETS``: the first one seals, every one opens.
        purpose: what it is for, in lower case with hyphens, such as ``signing-key``. The key is
            ``HKDF-SHA256(secret, info="limen/seal/<purpose>/1")``: no two purposes share one.

    Attributes:
        kid: the id of the secret that seals.

    Raises:
        ConfigurationError: no secret, one of fewer than 32 bytes, or a purpose that is spelt otherwise.
    """

    __slots__ = ("_ciphers", "_purpose", "kid")

    def __init__(self, secrets: Iterable[str], purpose: str) -> None:
        if not _PURPOSE.match(purpose):
            raise ConfigurationError("What a sealer is for is named in lower case, with hyphens.")
        ciphers: dict[bytes, AESGCM] = {}
        for text in secrets:
            secret = text.encode("utf-8")
            refuse_weak_secret(secret)
            cipher = AESGCM(hkdf_sha256(secret, f"limen/seal/{purpose}/1".encode("ascii")))
            ciphers.setdefault(key_id(secret).encode("ascii"), cipher)
        if not ciphers:
            raise ConfigurationError("A sealer needs a secret.")
        self._ciphers = ciphers
        self._purpose = purpose.encode("ascii")
        self.kid = next(iter(ciphers)).decode("ascii")

    def seal(self, plain: bytes, row: str) -> bytes:
        """Return ``0x01 | kid | nonce | ciphertext and tag``, 37 bytes longer than what goes in.

        Args:
            plain: what nobody may read.
            row: the id of the row that will hold it; it opens with this one alone.
        """
        kid = self.kid.encode("ascii")
        nonce = os.urandom(_NONCE_BYTES)
        return _FORM + kid + nonce + self._ciphers[kid].encrypt(nonce, plain, self._context(row))

    def open(self, sealed: bytes, row: str) -> bytes:
        """Return what was sealed for this row.

        Raises:
            CannotOpen: it was not, or not for this purpose, or under a secret that is not configured any more.
        """
        if len(sealed) < _OVERHEAD or not sealed.startswith(_FORM):
            raise CannotOpen()
        kid = sealed[len(_FORM) : _BEGIN]
        cipher = self._ciphers.get(kid)
        if cipher is None:
            raise CannotOpen(kid.decode("ascii", "backslashreplace"))
        nonce, rest = sealed[_BEGIN : _BEGIN + _NONCE_BYTES], sealed[_BEGIN + _NONCE_BYTES :]
        try:
            return cipher.decrypt(nonce, rest, self._context(row))
        except InvalidTag:
            raise CannotOpen() from None

    def is_current(self, sealed: bytes) -> bool:
        """Tell whether it names the secret that seals now."""
        return sealed[len(_FORM) : _BEGIN] == self.kid.encode("ascii")

    def reseal(self, sealed: bytes, row: str) -> bytes:
        """Return the same, sealed under the secret that seals now; what is so already is returned as it is.

        Raises:
            CannotOpen: it does not open.
        """
        plain = self.open(sealed, row)
        return sealed if self.is_current(sealed) else self.seal(plain, row)

    def _context(self, row: str) -> bytes:
        # No purpose holds a zero byte, so no pair of purpose and row is spelt like another pair.
        return self._purpose + b"\x00" + row.encode("utf-8")

    def __repr__(self) -> str:
        return f"Sealer({self._purpose.decode('ascii')!r}, {self.kid!r})"
