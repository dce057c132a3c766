"""Keeps what verified tokens say, so that a token seen before need not be verified again.

It keeps claims, never verdicts: on every hit the caller asks again what may have changed (the time, the keys, the list
of ended sessions: `limen.authn.bearer`), or a revocation would be outlived (RFC 7009). The key is the SHA-256 of the
whole token: keyed by anything less, one token could borrow another's claims (CVE-2026-35039).
"""

from collections.abc import Callable
from hashlib import sha256
from threading import Lock
from typing import Final, Generic, TypeVar

from limen.core.errors import ConfigurationError

C = TypeVar("C")
"""The claims, or what the caller made of them."""

DEFAULT_CAPACITY: Final = 10_000


def digest_of(token: bytes) -> bytes:
    """Return what a token is kept under: the SHA-256 of all of it, 32 bytes."""
    return sha256(token).digest()


class ClaimsCache(Generic[C]):
    """The claims of the tokens verified last, first in, first out. Safe to share between threads.

    One cache belongs to one verifier. Only tokens that verified may be put in, so strangers cannot push others out.

    Args:
        capacity: the most tokens that are kept; each takes about a kilobyte.

    Attributes:
        get_by_digest: does what `get` does, for the `digest_of` a token; it is the dict's own, since nearly every
            request asks.

    Raises:
        ConfigurationError: the capacity is not above zero.
    """

    __slots__ = ("_entries", "_lock", "_next", "_ring", "get_by_digest")

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        if capacity <= 0:
            raise ConfigurationError("A cache of claims keeps at least one token.")
        self._entries: dict[bytes, tuple[C, str]] = {}
        self.get_by_digest: Callable[[bytes], tuple[C, str] | None] = self._entries.get
        # The digests in the order they came, written round and round: eviction looks at one place and never searches.
        self._ring: list[bytes | None] = [None] * capacity
        self._next = 0
        self._lock = Lock()

    def get(self, token: bytes) -> tuple[C, str] | None:
        """Return the claims of exactly this token and the id of the key that it was verified with, or None.

        The caller has to ask what may have changed since, before believing them.
        """
        return self._entries.get(digest_of(token))

    def put(self, token: bytes, claims: C, kid: str) -> None:
        """Keep what `TokenVerifier.verify_with_kid` said about this token."""
        self.put_by_digest(digest_of(token), claims, kid)

    def put_by_digest(self, digest: bytes, claims: C, kid: str) -> None:
        """Do what `put` does, for the `digest_of` the token that was verified."""
        with self._lock:
            if digest not in self._entries:
                oldest = self._ring[self._next]
                if oldest is not None:
                    self._entries.pop(oldest, None)
                self._ring[self._next] = digest
                self._next = (self._next + 1) % len(self._ring)
            self._entries[digest] = (claims, kid)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._ring = [None] * len(self._ring)
            self._next = 0

    def __len__(self) -> int:
        return len(self._entries)
