"""API keys: inserted and rotated for the door, looked up, listed, revoked."""

import json
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final

from limen.authn.api_key_records import IssuedRow, KeyReplacement, KeyState, NewKey
from limen.authz.authority import Authority
from limen.core.errors import Conflict
from limen.core.events import Event
from limen.core.ids import is_uuid7
from limen.features.api_keys.store import StoredKey
from limen.features.sessions.store import EndReason
from limen.storage.sql.authority import locked
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.holdings import HELD, role_names
from limen.storage.sql.sessions import list_as_ended
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

MOST_KEYS: Final = 100
"""Keys that an account may have at once."""

# The conditions are part of the INSERT: the account may have been disabled since the proof, or its sessions ended. The
# account's row is locked by the statement before (`locked`), so what is asked here cannot change until the commit.
_INSERT = Statement("""
INSERT INTO limen_api_keys (
    id, account_id, name, kid, secret_hash, scopes, networks, created_at, rotated_at, expires_at, created_by)
SELECT :id, a.id, :name, :kid, :secret_hash, :scopes, :networks, n.t, n.t, n.t + :lifetime, :created_by
  FROM limen_accounts a CROSS JOIN (SELECT @now AS t) n
 WHERE a.id = :account_id AND a.status = 'active' AND a.session_epoch = :epoch
RETURNING id, name, scopes, expires_at
""")

_COUNT = Statement("""
SELECT count(*) FROM limen_api_keys WHERE account_id = :account_id AND revoked_at IS NULL AND expires_at > @now
""")

_ROTATE = Statement("""
UPDATE limen_api_keys
   SET previous_kid = kid, previous_hash = secret_hash, overlap_until = @least(expires_at, @now + :overlap),
       kid = :kid, secret_hash = :secret_hash, rotations = rotations + 1,
       expires_at = @now + (expires_at - rotated_at), rotated_at = @now
 WHERE id = :id AND account_id = :account_id AND rotations = :rotations AND revoked_at IS NULL AND expires_at > @now
   AND EXISTS (SELECT 1 FROM limen_accounts a
                WHERE a.id = limen_api_keys.account_id AND a.status = 'active' AND a.session_epoch = :epoch)
RETURNING id, name, scopes, expires_at
""")

# Whoever gives a key a new secret has it in hand, and asks for things by it as whoever made the key does.
_NOTE_HAND = Statement("""
INSERT INTO limen_credential_hands (credential_id, held_by, since) VALUES (:id, :held_by, @now)
ON CONFLICT (credential_id, held_by) DO UPDATE SET since = excluded.since
""")

_LOOK_UP = Statement(f"""
SELECT k.account_id, a.account_kind, a.status, k.kid, k.secret_hash,
       CASE WHEN k.overlap_until > @now THEN k.previous_kid END,
       CASE WHEN k.overlap_until > @now THEN k.previous_hash END,
       k.scopes, k.networks, k.created_at, k.expires_at, k.last_used_at, k.expires_at > @now,
       k.revoked_at IS NOT NULL, k.rotations, ({HELD.format(account="k.account_id")}), @now,
       k.unconfirmed_since IS NOT NULL
  FROM limen_api_keys k JOIN limen_accounts a ON a.id = k.account_id
 WHERE k.id = :id
""")  # noqa: S608

# The newest first: ids begin with the time.
_OF_ACCOUNT = Statement("""
SELECT id, name, scopes, networks, created_at, rotated_at, expires_at, last_used_at, rotations, created_by,
       unconfirmed_since IS NOT NULL
  FROM limen_api_keys
 WHERE account_id = :account_id AND id < :before AND revoked_at IS NULL
 ORDER BY id DESC LIMIT :limit
""")

_LAST = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""No key has an id beyond this one."""

# The secret before goes with it: whoever revokes a key means every text that opens by it.
_REVOKE = Statement("""
UPDATE limen_api_keys
   SET revoked_at = @now, previous_kid = NULL, previous_hash = NULL, overlap_until = NULL
 WHERE id = :id AND account_id = :account_id AND revoked_at IS NULL
""")

_CONFIRM = Statement("""
UPDATE limen_api_keys SET unconfirmed_since = NULL
 WHERE id = :id AND account_id = :account_id AND revoked_at IS NULL AND unconfirmed_since IS NOT NULL
""")

_IS_THERE = Statement("SELECT 1 FROM limen_api_keys WHERE id = :id AND account_id = :account_id AND revoked_at IS NULL")

_TOUCH = Statement("""
UPDATE limen_api_keys SET last_used_at = @now
 WHERE id = :id AND revoked_at IS NULL AND (last_used_at IS NULL OR last_used_at < @now - :every)
""")


class SQLApiKeys:
    """Implements `limen.features.api_keys.store.ApiKeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def look_up(self, key_id: str) -> KeyState | None:
        """Read the key, its owner and the owner's roles, in one statement; None where there is no such key."""
        return await self._database.read_committed(partial(_looked_up, key_id))

    async def of_account(self, account_id: str, *, limit: int, after: str | None) -> Sequence[StoredKey]:
        """List at most ``limit`` keys of the account that are not revoked, the newest first, that follow ``after``."""
        return await self._database.read(partial(_of_account, account_id, limit, after))

    async def revoke(
        self,
        key_id: str,
        *,
        account_id: str,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> bool:
        """End the key if it is this account's and not revoked, both of its secrets, and list it as ended."""
        return await self._database.write(partial(_revoked, key_id, account_id, event, keep_ended_ms, authority))

    async def confirm(self, key_id: str, *, account_id: str, event: Event, authority: Authority | None = None) -> bool:
        """Let a key that came back with a restored database be used again; see the Protocol."""
        return await self._database.write(partial(_confirmed, key_id, account_id, event, authority))

    async def touch(self, key_id: str, *, at_most_every_ms: int) -> bool:
        """Note that the key is used now, unless it was noted within this time; True where it was noted."""
        return bool(await self._database.write_one(partial(run, _TOUCH, id=key_id, every=at_most_every_ms)))


class SQLKeyIssuing:
    """Implements `limen.authn.api_key_records.KeyIssuingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert_key(self, key: NewKey, event: Event) -> IssuedRow | None:
        """Insert the key by one conditional INSERT … SELECT from its account, and the event with it."""
        return await self._database.write(partial(_inserted, key, event))

    async def replace_key_secret(self, replacement: KeyReplacement, event: Event) -> IssuedRow | None:
        """Put a new secret in the place of the present one by one conditional UPDATE that also asks the account."""
        return await self._database.write(partial(_replaced, replacement, event))


def _inserted(key: NewKey, event: Event) -> Steps[IssuedRow | None]:
    yield from locked(key.account_id, key.authority)
    # The account's row is locked: of two who make the last one, one does.
    held = yield from row(_COUNT, account_id=key.account_id)
    if held is not None and held[0] >= MOST_KEYS:
        raise Conflict(f"The account has {MOST_KEYS} keys; revoke one first.")
    found = yield from row(
        _INSERT,
        id=key.id,
        account_id=key.account_id,
        epoch=key.account_epoch,
        name=key.name,
        kid=key.kid,
        secret_hash=key.secret_hash,
        scopes=_written(key.scopes),
        networks=_written(key.networks),
        lifetime=key.lifetime_ms,
        created_by=key.created_by,
    )
    if found is None:
        return None
    yield from record(event)
    return _issued(found)


def _replaced(replacement: KeyReplacement, event: Event) -> Steps[IssuedRow | None]:
    yield from locked(replacement.account_id, replacement.authority)
    found = yield from row(
        _ROTATE,
        id=replacement.id,
        account_id=replacement.account_id,
        epoch=replacement.account_epoch,
        rotations=replacement.rotations,
        kid=replacement.kid,
        secret_hash=replacement.secret_hash,
        overlap=replacement.overlap_ms,
    )
    if found is None:
        return None
    yield from run(_NOTE_HAND, id=replacement.id, held_by=event.actor)
    yield from record(event)
    return _issued(found)


def _revoked(
    key_id: str, account_id: str, event: Event, keep_ended_ms: int, authority: Authority | None
) -> Steps[bool]:
    if not is_uuid7(key_id):
        return False
    yield from locked(account_id, authority)
    changed = yield from run(_REVOKE, id=key_id, account_id=account_id)
    if not changed:
        return False
    yield from list_as_ended([key_id], account_id=account_id, reason=EndReason.REVOKED, keep_ended_ms=keep_ended_ms)
    yield from record(event)
    return True


def _confirmed(key_id: str, account_id: str, event: Event, authority: Authority | None) -> Steps[bool]:
    if not is_uuid7(key_id):
        return False
    yield from locked(account_id, authority)
    changed = yield from run(_CONFIRM, id=key_id, account_id=account_id)
    if changed:
        yield from record(event)
        return True
    return (yield from row(_IS_THERE, id=key_id, account_id=account_id)) is not None


def _looked_up(key_id: str) -> Steps[KeyState | None]:
    # PostgreSQL would call it an error: what is no id names no key.
    found = (yield from row(_LOOK_UP, id=key_id)) if is_uuid7(key_id) else None
    if found is None:
        return None
    scopes = _read(found[7])
    return KeyState(
        id=key_id,
        account_id=str(found[0]),
        account_kind=found[1],
        account_status=found[2],
        kid=found[3],
        secret_hash=found[4],
        previous_kid=found[5],
        previous_hash=found[6],
        scopes=None if scopes is None else frozenset(scopes),
        networks=_read(found[8]),
        created_at=found[9],
        expires_at=found[10],
        last_used_at=found[11],
        in_time=bool(found[12]),
        is_revoked=bool(found[13]),
        rotations=found[14],
        roles=role_names(found[15]),
        now=found[16],
        is_unconfirmed=bool(found[17]),
    )


def _of_account(account_id: str, limit: int, after: str | None) -> Steps[Sequence[StoredKey]]:
    found = yield from rows(_OF_ACCOUNT, account_id=account_id, before=after or _LAST, limit=limit)
    return [
        StoredKey(str(key_id), name, _read(scopes), _read(networks), *[*columns, bool(unconfirmed)])
        for key_id, name, scopes, networks, *columns, unconfirmed in found
    ]


def _issued(found: Row) -> IssuedRow:
    return IssuedRow(id=str(found[0]), name=found[1], scopes=_read(found[2]), expires_at=found[3])


def _written(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else json.dumps(list(names), separators=(",", ":"))


@lru_cache(maxsize=1024)
def _read(array: str | None) -> tuple[str, ...] | None:
    return None if array is None else tuple(str(name) for name in json.loads(array))
