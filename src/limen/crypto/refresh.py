"""The secret parts of refresh tokens: how the first is made, and how each next one is derived.

A successor is derived from the row's nonce (database), the secret (environment) and the direct parent's secret part
(client). A lost answer can so be stated again without storing it, and nothing less than all three can make a token: a
dump of the database with the secret makes none.
"""

import os
from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives import hashes, hmac

from limen.crypto.encoding import b64url_decode, b64url_encode
from limen.crypto.keys import KeySet, SigningKey, hkdf_sha256

SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 16

_DERIVE_INFO: Final = b"limen/rt/derive/1"
_SUCCESSOR_LABEL: Final = b"limen/rt/succ/1"
_MAX_GENERATION: Final = 2**64 - 1


def new_secret() -> bytes:
    """Return the secret part of a login's first refresh token: 32 random bytes; there is nothing to restate."""
    return os.urandom(SECRET_BYTES)


def new_nonce() -> bytes:
    """Return 16 random bytes, needed anew at every rotation: with one nonce for a session, one dump would tell all."""
    return os.urandom(NONCE_BYTES)


def secret_hash(secret: bytes) -> bytes:
    """Return what the row keeps of a secret part: its SHA-256, 32 bytes. Of 256 random bits, no salt is needed."""
    return sha256(secret).digest()


def secret_text(secret: bytes) -> str:
    """Return the secret part as the ``jti`` has it: base64url, 43 characters.

    Raises:
        ValueError: it has not 32 bytes.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError("a secret part has 32 bytes")
    return b64url_encode(secret).decode("ascii")


def secret_of_text(text: str) -> bytes:
    """Return the 32 bytes that a ``jti`` spells.

    Raises:
        ValueError: not the one canonical spelling of 32 bytes.
    """
    if not text.isascii():
        raise ValueError("not base64url")
    secret = b64url_decode(text.encode("ascii"))
    if len(secret) != SECRET_BYTES:
        raise ValueError("a secret part has 32 bytes")
    return secret


class RefreshKeys:
    """The secret that refresh tokens are signed under, and those that are still or already accepted.

    Attributes:
        current_kid: the id of the secret that new tokens are derived and signed under.
        signing_key: that secret as an HS256 key.
        key_set: every accepted secret, to verify with.

    Args:
        current: ``LIMEN_JWT_REFRESH_SECRET``.
        accepted: ``LIMEN_JWT_REFRESH_SECRETS_ACCEPTED``, the next and the previous ones; the current one may be
            among them.

    Raises:
        ConfigurationError: a secret that is too short, or two that have the same id.
    """

    __slots__ = ("_keyed", "current_kid", "key_set", "signing_key")

    def __init__(self, current: str | bytes, accepted: Iterable[str | bytes] = ()) -> None:
        others = tuple(accepted)
        self.signing_key = SigningKey.from_secret(current)
        self.current_kid = self.signing_key.kid
        self.key_set = KeySet.of_secrets(current, others)
        self._keyed = {key_id_and_mac[0]: key_id_and_mac[1] for key_id_and_mac in map(_derivation, (current, *others))}

    def derive(self, kid: str, *, issuer: str, sid: str, generation: int, nonce: bytes, parent: bytes) -> bytes | None:
        """Return the secret part of a successor, 32 bytes, or None where the secret with this id is not known.

        ``HMAC-SHA256(K_derive(kid), LP("limen/rt/succ/1") LP(iss) LP(sid) LP(u64 generation) LP(nonce) LP(parent))``
        with ``K_derive(kid) = HKDF-SHA256(secret, salt="", info="limen/rt/derive/1", 32)`` and ``LP(x)`` the length of
        x as four bytes, then x. Numbers are big-endian, texts UTF-8.

        Args:
            kid: which secret: the current one when rotating, the row's when restating.
            issuer: the ``iss``.
            sid: the session's id, a UUIDv7 in its canonical form of 36 characters.
            generation: the successor's.
            nonce: the 16 bytes of the row that holds the successor.
            parent: the 32 bytes of the presented secret part.

        Raises:
            ValueError: a nonce, a parent or a generation of another size.
        """
        keyed = self._keyed.get(kid)
        if keyed is None:
            return None
        if len(nonce) != NONCE_BYTES or len(parent) != SECRET_BYTES or not 0 < generation <= _MAX_GENERATION:
            raise ValueError("a successor needs a nonce of 16 bytes, a parent of 32 bytes and a generation from 1")
        mac = keyed.copy()
        fields = (
            _SUCCESSOR_LABEL,
            issuer.encode("utf-8"),
            sid.encode("utf-8"),
            generation.to_bytes(8, "big"),
            nonce,
            parent,
        )
        # Each field after its length: no two different lists of fields are the same message.
        mac.update(b"".join([len(field).to_bytes(4, "big") + field for field in fields]))
        return mac.finalize()

    def __repr__(self) -> str:
        return f"RefreshKeys(current_kid={self.current_kid!r}, accepted={sorted(self._keyed)})"


def _derivation(secret: str | bytes) -> tuple[str, hmac.HMAC]:
    """Return a secret's id and its keyed derivation state: a sub-key, so the JWT's signature says nothing about it."""
    key = SigningKey.from_secret(secret)
    assert isinstance(key.material, bytes)
    return key.kid, hmac.HMAC(hkdf_sha256(key.material, _DERIVE_INFO), hashes.SHA256())
