"""What signing keys ask of a database."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from limen.core.events import Event


class KeyState(StrEnum):
    """What a key is for, in the order in which it goes through them."""

    PUBLISHED = "published"
    """Verifiers may learn of it; nothing is signed with it yet."""
    SIGNING = "signing"
    """The one of its algorithm that tokens are signed with."""
    RETIRING = "retiring"
    """It signs no more; tokens of it are accepted until the last one has expired. Its private half is gone."""
    RETIRED = "retired"
    """It counts for nothing."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to be kept.

    Attributes:
        kid: the thumbprint of its public half (RFC 7638).
        alg: ``ES256``, ``RS256`` or ``EdDSA``.
        public_jwk: its public half, as JSON.
        private: its private half, sealed.
        proof: nothing, sealed for this key: that it came from somebody who holds the data secrets.
    """

    kid: str
    alg: str
    public_jwk: str
    private: bytes = field(repr=False)
    proof: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key as it is kept. Times are milliseconds since 1970 UTC by the database's clock.

    Attributes:
        kid: its id.
        alg: its algorithm.
        state: what it is for.
        public_jwk: its public half, as JSON.
        private: its private half, sealed; None once it signs no more.
        proof: as in `NewKey`.
        published_at: when it came.
        signs_at: when it is to sign, or began to; None where nobody has asked for it.
        stopped_at: when it signed no more.
        keep_until: when the last token of it has expired.
    """

    kid: str
    alg: str
    state: KeyState
    public_jwk: str
    private: bytes | None = field(repr=False)
    proof: bytes = field(repr=False)
    published_at: int
    signs_at: int | None
    stopped_at: int | None
    keep_until: int | None


@dataclass(frozen=True, slots=True)
class KeyRows:
    """The keys, as they were at one moment.

    Attributes:
        now: that moment, by the database's clock; 0 where there is no key.
        keys: them, oldest first.
    """

    now: int
    keys: Sequence[StoredKey]


@dataclass(frozen=True, slots=True)
class Retired:
    """What retiring a key did.

    Attributes:
        was: what the key was for.
        successor: the id of the key that signs instead, where it was the one that signed.
    """

    was: KeyState
    successor: str | None


class SigningKeyStore(Protocol):
    """The keys. Every verb is one transaction; of each algorithm one key signs and one is published, at most."""

    async def live(self) -> KeyRows:
        """Return every key but the retired ones, past a transaction of the application's."""
        ...

    async def all(self) -> KeyRows:
        """Return every key, the retired ones included."""
        ...

    async def begin(self, key: NewKey, event: Event) -> bool:
        """Let a key sign at once; False, and nothing done, where one of its algorithm signs already."""
        ...

    async def publish(self, key: NewKey, event: Event) -> bool:
        """Publish a key; False, and nothing done, where one of its algorithm is published already."""
        ...

    async def schedule(self, alg: str, *, lead_ms: int, event: Event) -> StoredKey | None:
        """Let the published key of an algorithm sign from so long after its publication on, if not asked before.

        Returns:
            it, with its time; None where no key is published.
        """
        ...

    async def advance(self, *, keep_ms: int) -> int:
        """Do what is due: scheduled keys sign, those before them retire, and those whose last token expired are gone.

        It may be called by any process at any time; whoever did it writes the event.

        Args:
            keep_ms: how long tokens of a key that signs no more are accepted.

        Returns:
            how many keys changed.
        """
        ...

    async def retire(self, kid: str, replacement: NewKey, event: Event) -> Retired | None:
        """Take a key out at once. Where it signed, the published one signs instead, or else the replacement.

        Returns:
            what it was; None where there is no such key, or it is retired already.
        """
        ...

    async def reseal(self, kid: str, *, seen: bytes, private: bytes | None, proof: bytes) -> bool:
        """Keep a key's halves as they were sealed anew; False where its proof is no longer the one that was seen."""
        ...
