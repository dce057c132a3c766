"""The door for API keys: the only way to a new key or a new secret; see `limen.authn.issuing`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from limen.authn.api_key_records import IssuedRow, KeyIssuingStore, KeyReplacement, NewKey
from limen.authn.issuing import GRANTS, Grant, Proof
from limen.core.events import Event, Origin
from limen.core.ids import uuid7
from limen.crypto.api_keys import ApiKey, KeyHasher, new_secret


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """What the door hands out. The key is shown this once; nothing can show it again.

    Attributes:
        id: of the row.
        key: the key itself.
        name: what its owner calls it.
        scopes: the permissions it is limited to; None where it may whatever its owner may.
        expires_at: milliseconds since 1970 UTC.
    """

    id: str
    key: str = field(repr=False)
    name: str
    scopes: tuple[str, ...] | None
    expires_at: int


@dataclass(frozen=True, slots=True)
class KeyTerms:
    """What a new key is to be.

    Attributes:
        name: what its owner calls it.
        scopes: the permissions it is limited to; None where it may whatever its owner may.
        networks: from where it may be used, in canonical CIDR notation; None from everywhere.
        lifetime_ms: how long it lives.
    """

    name: str
    scopes: tuple[str, ...] | None
    networks: tuple[str, ...] | None
    lifetime_ms: int


class KeyDoor:
    """Issues API keys.

    Args:
        store: the two conditional statements.
        hasher: makes what is stored of a key.
        environment: names the installation in each key.
        overlap_ms: how long the secret before a rotation goes on being accepted.
    """

    def __init__(self, store: KeyIssuingStore, *, hasher: KeyHasher, environment: str, overlap_ms: int) -> None:
        self._store = store
        self._hasher = hasher
        self._environment = environment
        self._overlap_ms = overlap_ms

    async def issue_key(
        self, proof: Proof, terms: KeyTerms, *, created_by: str, authority: Any = None
    ) -> IssuedKey | None:
        """Make a key for the account that the proof is about; None where it, as it is now, must not have one.

        Args:
            proof: of the grant ``api_key``: whose key, and the account's epoch as it was read when it was allowed.
            terms: what it is to be.
            created_by: who makes it.
            authority: what was judged by, where it is somebody else's account.
        """
        _require(proof, Grant.API_KEY)
        key = ApiKey(self._environment, uuid7(), new_secret())
        new = NewKey(
            id=key.id,
            account_id=proof.account_id,
            account_epoch=proof.account_epoch,
            name=terms.name,
            kid=self._hasher.kid,
            secret_hash=self._hasher.hash(key),
            scopes=terms.scopes,
            networks=terms.networks,
            lifetime_ms=terms.lifetime_ms,
            created_by=created_by,
            authority=authority,
        )
        data = {"account": proof.account_id, "scopes": _listed(terms.scopes), "networks": _listed(terms.networks)}
        row = await self._store.insert_key(new, _event(proof, created_by, key.id, proof.origin, data))
        return None if row is None else _issued(row, key)

    async def rotate_key(
        self, proof: Proof, key_id: str, *, rotations: int, rotated_by: str, authority: Any = None
    ) -> IssuedKey | None:
        """Give a key a new secret; the one before is accepted for the overlap.

        Args:
            proof: of the grant ``api_key_rotation``, as for `issue_key`.
            key_id: which key.
            rotations: how often it had been rotated when it was read; of two who rotate at once, one does.
            rotated_by: who does it.
            authority: what was judged by, where it is somebody else's account.

        Returns:
            None where the key is not the account's, is over, revoked or rotated meanwhile, or the account must not
            have one.
        """
        _require(proof, Grant.API_KEY_ROTATION)
        key = ApiKey(self._environment, key_id, new_secret())
        replacement = KeyReplacement(
            id=key_id,
            account_id=proof.account_id,
            account_epoch=proof.account_epoch,
            rotations=rotations,
            kid=self._hasher.kid,
            secret_hash=self._hasher.hash(key),
            overlap_ms=self._overlap_ms,
            authority=authority,
        )
        event = _event(proof, rotated_by, key_id, proof.origin, {"account": proof.account_id})
        row = await self._store.replace_key_secret(replacement, event)
        return None if row is None else _issued(row, key)


def _require(proof: Proof, grant: Grant) -> None:
    if proof.grant is not grant:
        raise ValueError(f"the grant {proof.grant} is not {grant}")


def _event(proof: Proof, actor: str, key_id: str, origin: Origin, data: Mapping[str, object]) -> Event:
    record = GRANTS[proof.grant].record
    return Event(record, actor=actor, target=key_id, origin=origin, data=data, notice=proof.notice)


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _issued(row: IssuedRow, key: ApiKey) -> IssuedKey:
    return IssuedKey(row.id, key.text(), row.name, row.scopes, row.expires_at)
