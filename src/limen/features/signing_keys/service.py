"""The use cases of signing keys: listed, made, replaced in good order, and taken out at once."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, cast

from limen.core.errors import ConfigurationError, Conflict, NotFound
from limen.core.events import Event, EventName
from limen.crypto.keys import AsymmetricAlgorithm, KeySet
from limen.features.signing_keys.store import KeyState, NewKey, Retired, SigningKeyStore, StoredKey
from limen.features.signing_keys.vault import Vault
from limen.features.signing_keys.watch import SigningKeyWatch, UseKeys

JWKS_MAX_AGE: Final = 300
"""Seconds for which others may keep the public keys (``Cache-Control`` of ``/.well-known/jwks.json``)."""

LEAD_MS: Final = (JWKS_MAX_AGE + 60) * 1000
"""How long a key is published before it signs: as long as somebody may keep the keys without it, and a minute for
whoever was slow to ask, limen's own processes included, which ask every second."""

_log = logging.getLogger(__name__)


class SigningKeyService:
    """The signing keys of one installation.

    Args:
        store: where they are.
        vault: seals and opens them.
        alg: what new keys are for, and what this process signs with.
        use: told the keys whenever they changed.
        keep_ms: how long tokens of a key that signs no more are accepted: the life of a token, and a margin.
        lead_ms: how long a key is published before it signs.

    Attributes:
        alg: as above.
    """

    def __init__(
        self,
        store: SigningKeyStore,
        vault: Vault,
        *,
        alg: AsymmetricAlgorithm,
        use: UseKeys,
        keep_ms: int,
        lead_ms: int = LEAD_MS,
    ) -> None:
        self.alg: AsymmetricAlgorithm = alg
        self._store = store
        self._vault = vault
        self._lead_ms = lead_ms
        self._watch = SigningKeyWatch(store, vault, alg=alg, use=use, keep_ms=keep_ms)
        self.catch_up = self._watch.catch_up
        self.learn = self._watch.learn
        self.require_usable = self._watch.require_usable

    @property
    def keys(self) -> KeySet:
        """The keys that tokens are verified with now."""
        return self._watch.keys

    async def start(self) -> None:
        """Read the keys; make the first one where there is none; seal anew what an older data secret sealed.

        Of several processes that start at once, one makes the key.

        Raises:
            ConfigurationError: the key that signs cannot be opened with the data secrets that are configured.
            Unavailable: the database does not answer.
        """
        rows = await self._store.live()
        if not any(key.state is KeyState.SIGNING and key.alg == self.alg for key in rows.keys):
            event = Event(EventName.SIGNING_KEY_SIGNS, actor="system", data={"alg": self.alg, "first": True})
            key = await self._new(self.alg)
            if await self._store.begin(key, _about(event, key)):
                _log.info("the first signing key was made", extra={"kid": key.kid, "alg": key.alg})
        await self._watch.catch_up()
        if self._watch.fault is not None:
            raise ConfigurationError(self._watch.fault[0].upper() + self._watch.fault[1:])
        for stored in rows.keys:
            anew = self._vault.sealed_anew(stored)
            if anew is not None:
                await self._store.reseal(stored.kid, seen=stored.proof, private=anew[0], proof=anew[1])

    async def all(self) -> Sequence[StoredKey]:
        """Return every key there is or was, oldest first."""
        return (await self._store.all()).keys

    async def generate(self, *, actor: str) -> StoredKey:
        """Make a key and publish it; it signs when `rotate` was asked for.

        Args:
            actor: who does it, for the audit trail.

        Raises:
            Conflict: one is published already.
            Unavailable: the database does not answer.
        """
        key = await self._new(self.alg)
        event = Event(EventName.SIGNING_KEY_PUBLISHED, actor=actor, data={"alg": key.alg})
        if not await self._store.publish(key, _about(event, key)):
            raise Conflict("A key is published already, and has not signed yet.")
        return await self._stored(key.kid)

    async def rotate(self, *, actor: str) -> StoredKey:
        """Let the published key sign as soon as everybody can know it; make one where none is published.

        Running servers do it by themselves when its time comes, `LEAD_MS` after it was published. Asking twice changes
        nothing.

        Args:
            actor: who does it, for the audit trail.

        Returns:
            the key, with the time in ``signs_at``.

        Raises:
            Unavailable: the database does not answer.
        """
        event = Event(EventName.SIGNING_KEY_SCHEDULED, actor=actor, data={"alg": self.alg})
        scheduled = await self._store.schedule(self.alg, lead_ms=self._lead_ms, event=event)
        if scheduled is None:
            key = await self._new(self.alg)
            published = Event(EventName.SIGNING_KEY_PUBLISHED, actor=actor, data={"alg": key.alg})
            await self._store.publish(key, _about(published, key))
            scheduled = await self._store.schedule(self.alg, lead_ms=self._lead_ms, event=event)
        if scheduled is None:
            raise Conflict("Somebody else changed the keys at the same time; look at them and ask again.")
        return scheduled

    async def retire(self, kid: str, *, actor: str) -> Retired:
        """Take a key out at once, in an emergency: its tokens are refused in every process within two seconds.

        Where it signed, the published key signs from now on, or else a new one, which verifiers elsewhere have not seen
        before: they ask for it when they meet it. Sessions go on: who held a token of it refreshes.

        Args:
            kid: the id of the key.
            actor: who does it, for the audit trail.

        Raises:
            NotFound: there is no such key, or it is retired already.
            Unavailable: the database does not answer.
        """
        stored = next((key for key in (await self._store.live()).keys if key.kid == kid), None)
        if stored is None:
            raise NotFound("There is no such key, or it is retired already.")
        replacement = await self._new(cast(AsymmetricAlgorithm, stored.alg))
        event = Event(EventName.SIGNING_KEY_RETIRED, actor=actor, target=kid, data={"alg": stored.alg})
        retired = await self._store.retire(kid, replacement, event)
        if retired is None:
            raise NotFound("There is no such key, or it is retired already.")
        return retired

    async def _new(self, alg: AsymmetricAlgorithm) -> NewKey:
        return await asyncio.to_thread(self._vault.new, alg)

    async def _stored(self, kid: str) -> StoredKey:
        found = next((key for key in await self.all() if key.kid == kid), None)
        if found is None:
            raise NotFound("There is no such key.")
        return found


def _about(event: Event, key: NewKey) -> Event:
    return Event(event.name, actor=event.actor, target=key.kid, data=event.data)
