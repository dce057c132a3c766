"""What every process does about signing keys: it follows them in the database, and lets what is due happen."""

import logging
from collections.abc import Callable
from typing import Final

from limen.core.errors import Unavailable
from limen.core.occasionally import Occasionally
from limen.crypto.keys import KeySet, SigningKey, VerificationKey
from limen.features.signing_keys.store import KeyRows, KeyState, SigningKeyStore, StoredKey
from limen.features.signing_keys.vault import UnusableKey, Vault

LEARN_SECONDS: Final = 1.0
"""How often tokens of keys that nobody knows may make a process look into the database."""

UseKeys = Callable[[SigningKey | None, KeySet], None]
"""Is told the key to sign with, and those to verify with, whenever they are others than before."""

_log = logging.getLogger(__name__)


class SigningKeyWatch:
    """Follows the keys in the database.

    Args:
        store: where they are.
        vault: opens them.
        alg: what this process signs with.
        use: as `UseKeys`.
        keep_ms: how long tokens of a key that signs no more are accepted.

    Attributes:
        keys: those that tokens are verified with now.
    """

    def __init__(self, store: SigningKeyStore, vault: Vault, *, alg: str, use: UseKeys, keep_ms: int) -> None:
        self._store = store
        self._vault = vault
        self._alg = alg
        self._use = use
        self._keep_ms = keep_ms
        self._known: list[tuple[str, KeyState]] | None = None
        self._begun = self._done = 0
        self._asking = Occasionally(self.catch_up, LEARN_SECONDS)
        self.keys = KeySet.empty()
        self.fault: str | None = None

    async def catch_up(self) -> None:
        """Read the keys, do what is due, and use them where they changed.

        Raises:
            Unavailable: the database does not answer; the keys of before stay in use.
        """
        self._begun += 1
        mine = self._begun
        rows = await self._store.live()
        if _something_is_due(rows):
            await self._store.advance(keep_ms=self._keep_ms)
            rows = await self._store.live()
        if mine < self._done:
            return  # one that began later has been read already: this is older
        self._done = mine
        alive = [key for key in rows.keys if key.keep_until is None or key.keep_until > rows.now]
        known = [(key.kid, key.state) for key in alive]
        if known != self._known:
            self._known = known
            self._load(alive)

    async def learn(self) -> None:
        """Look for a key that is not known here: at most once a second, however many ask.

        Raises:
            Unavailable: the database does not answer.
        """
        await self._asking.ask()

    def require_usable(self) -> None:
        """Return where there is a key to sign with.

        Raises:
            Unavailable: there is none, or it does not open.
        """
        if self.fault is not None:
            raise Unavailable("There is no key to sign tokens with.")

    def _load(self, alive: list[StoredKey]) -> None:
        """Use these keys. One that cannot be used is left out and told: it never keeps another from going."""
        halves: list[VerificationKey] = []
        signing: SigningKey | None = None
        self.fault = f"there is no key for {self._alg}"
        for stored in alive:
            try:
                halves.append(self._vault.public_half(stored))
                if stored.state is KeyState.SIGNING and stored.alg == self._alg:
                    self.fault = None
                    signing = self._vault.private_half(stored)
            except UnusableKey as error:
                _log.error("a signing key cannot be used", extra={"kid": stored.kid, "reason": str(error)})
                if stored.state is KeyState.SIGNING and stored.alg == self._alg:
                    self.fault = f"the signing key {stored.kid} cannot be used: {error}"
        self.keys = KeySet(halves) if halves else KeySet.empty()
        self._use(signing, self.keys)
        _log.info(
            "signing keys in use",
            extra={"signs": None if signing is None else signing.kid, "accepted": [key.kid for key in self.keys]},
        )


def _something_is_due(rows: KeyRows) -> bool:
    for key in rows.keys:
        at = key.signs_at if key.state is KeyState.PUBLISHED else key.keep_until
        if at is not None and at <= rows.now:
            return True
    return False
