"""What API keys ask of a database where they are issued or presented, and the rows that go in and come out.

Times are milliseconds since 1970 UTC, stamped by the database's clock.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from limen.core.events import Event


@dataclass(frozen=True, slots=True)
class NewKey:
    """An API key to be inserted, if its account still is as it was when the proof was made.

    Attributes:
        id: a UUIDv7.
        account_id: whose key it is to be.
        account_epoch: the account's ``session_epoch`` as read for the proof; another one by now refuses.
        name: what its owner calls it.
        kid: which data secret the hash was made under.
        secret_hash: what is stored of the key.
        scopes: the permissions it is limited to; None where it may whatever its owner may.
        networks: from where it may be used, in canonical CIDR notation; None from everywhere.
        lifetime_ms: how long it lives.
        created_by: who makes it: an account's id, or ``cli``.
        authority: what was judged by, where somebody makes it for another account; asked again in the transaction.
    """

    id: str
    account_id: str
    account_epoch: int
    name: str
    kid: str
    secret_hash: bytes = field(repr=False)
    scopes: tuple[str, ...] | None
    networks: tuple[str, ...] | None
    lifetime_ms: int
    created_by: str
    authority: Any = None


@dataclass(frozen=True, slots=True)
class KeyReplacement:
    """A key whose secret is to be replaced, and the one to take its place; see `NewKey`.

    Attributes:
        rotations: how often it had been rotated when it was read; another number by now refuses.
        overlap_ms: how long the secret before goes on being accepted.
    """

    id: str
    account_id: str
    account_epoch: int
    rotations: int
    kid: str
    secret_hash: bytes = field(repr=False)
    overlap_ms: int
    authority: Any = None


@dataclass(frozen=True, slots=True)
class IssuedRow:
    """The row of a key as it stands after it was inserted or rotated."""

    id: str
    name: str
    scopes: tuple[str, ...] | None
    expires_at: int


class KeyIssuingStore(Protocol):
    """The two statements that bring an API key into being. Nobody calls them but the door.

    Both raise `limen.authz.authority.AuthorityMoved`, with nothing written, where the authority holds no longer.
    """

    async def insert_key(self, key: NewKey, event: Event) -> IssuedRow | None:
        """Insert the key by one conditional INSERT … SELECT from its account, and the event with it.

        None, and nothing written, where the account is not active or its epoch is another one. Raises Conflict where it
        has as many living keys as it may.
        """
        ...

    async def replace_key_secret(self, replacement: KeyReplacement, event: Event) -> IssuedRow | None:
        """Put a new secret in the place of the present one by one conditional UPDATE that also asks the account.

        The present one becomes the one before, and is accepted for the overlap, but never longer than the key was to
        live; the key lives as long again as it did when it was made. None, and nothing written, where the key is not
        this account's, is over or revoked, was rotated meanwhile, or the account is not active or of another epoch.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeyState:
    """A key and its owner, as they are at the moment of one statement. Times are milliseconds since 1970 UTC.

    Attributes:
        id: the key.
        account_id: its owner.
        account_kind: ``person`` or ``service``.
        account_status: as in the account's row: plain text, since a status that is not known here is not «active».
        kid: which data secret ``secret_hash`` was made under.
        secret_hash: what is stored of the key.
        previous_kid: the same of the secret before; None where there is none, or its time is over.
        previous_hash: the same.
        scopes: the permissions it is limited to; None where it may whatever its owner may.
        networks: from where it may be used; None from everywhere.
        created_at: when it was made.
        expires_at: when it ends.
        last_used_at: when it was used, about; None before.
        in_time: not expired, by the database's clock.
        is_revoked: somebody ended it.
        rotations: how often it was rotated.
        roles: what the owner holds now.
        now: the database's clock at this read.
        is_unconfirmed: it came back with a restored database, and nobody has confirmed it since.
    """

    id: str
    account_id: str
    account_kind: str
    account_status: str
    kid: str
    secret_hash: bytes = field(repr=False)
    previous_kid: str | None
    previous_hash: bytes | None = field(repr=False)
    scopes: frozenset[str] | None
    networks: tuple[str, ...] | None
    created_at: int
    expires_at: int
    last_used_at: int | None
    in_time: bool
    is_revoked: bool
    rotations: int
    roles: frozenset[str]
    now: int
    is_unconfirmed: bool = False
