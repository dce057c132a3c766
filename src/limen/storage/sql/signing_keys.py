"""The signing keys: one that signs and one that is published, of each algorithm, at most. Two unique indexes say so."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from limen.core.events import Event, EventName
from limen.features.signing_keys.store import KeyRows, KeyState, NewKey, Retired, StoredKey
from limen.storage.sql.database import Database
from limen.storage.sql.events import record
from limen.storage.sql.statement import Row, Statement, Steps, row, rows, run

_COLUMNS = "kid, alg, state, public_jwk, private_key, proof, published_at, signs_at, stopped_at, keep_until"

_LIVE = Statement(f"""
SELECT {_COLUMNS}, @now FROM limen_signing_keys WHERE state <> 'retired' ORDER BY published_at, kid
""")  # noqa: S608

_ALL = Statement(f"SELECT {_COLUMNS}, @now FROM limen_signing_keys ORDER BY published_at, kid")  # noqa: S608

# Whoever comes second waits for the first one, finds the index taken, and inserts nothing.
_INSERT = Statement("""
INSERT INTO limen_signing_keys (kid, alg, state, public_jwk, private_key, proof, published_at)
VALUES (:kid, :alg, 'published', :public_jwk, :private, :proof, @now)
    ON CONFLICT DO NOTHING
""")

_INSERT_SIGNING = Statement("""
INSERT INTO limen_signing_keys (kid, alg, state, public_jwk, private_key, proof, published_at, signs_at)
VALUES (:kid, :alg, 'signing', :public_jwk, :private, :proof, @now, @now)
    ON CONFLICT DO NOTHING
""")

_SCHEDULE = Statement("""
UPDATE limen_signing_keys SET signs_at = published_at + :lead
 WHERE alg = :alg AND state = 'published' AND signs_at IS NULL
""")

_PUBLISHED = Statement(f"""
SELECT {_COLUMNS} FROM limen_signing_keys WHERE alg = :alg AND state = 'published'
""")  # noqa: S608

# Whoever changes the state of a key locks them all, in one order. What is due is asked after the lock was got.
_LOCK = Statement("SELECT kid FROM limen_signing_keys WHERE state <> 'retired' ORDER BY kid @for_update")

_DUE = Statement("""
SELECT kid, alg FROM limen_signing_keys WHERE state = 'published' AND signs_at <= @now ORDER BY kid
""")

# The private half goes with the right to sign: what is not there cannot be stolen.
_STOP = Statement("""
UPDATE limen_signing_keys
   SET state = 'retiring', private_key = NULL, stopped_at = @now, keep_until = @now + :keep
 WHERE alg = :alg AND state = 'signing'
""")

_SIGN = Statement("UPDATE limen_signing_keys SET state = 'signing' WHERE kid = :kid AND state = 'published'")

_FORGET = Statement("UPDATE limen_signing_keys SET state = 'retired' WHERE state = 'retiring' AND keep_until <= @now")

_STATE = Statement("SELECT alg, state FROM limen_signing_keys WHERE kid = :kid AND state <> 'retired'")

_RETIRE = Statement("""
UPDATE limen_signing_keys
   SET state = 'retired', private_key = NULL, stopped_at = COALESCE(stopped_at, @now), keep_until = @now
 WHERE kid = :kid
""")

_SIGN_AT_ONCE = Statement("""
UPDATE limen_signing_keys SET state = 'signing', signs_at = @now WHERE alg = :alg AND state = 'published' RETURNING kid
""")

_RESEAL = Statement("""
UPDATE limen_signing_keys SET private_key = :private, proof = :proof WHERE kid = :kid AND proof = :seen
""")

_RESEAL_PROOF = Statement("UPDATE limen_signing_keys SET proof = :proof WHERE kid = :kid AND proof = :seen")


class SQLSigningKeys:
    """Implements `limen.features.signing_keys.store.SigningKeyStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def live(self) -> KeyRows:
        """Return every key but the retired ones."""
        return await self._database.read_committed(partial(_read, _LIVE))

    async def all(self) -> KeyRows:
        """Return every key."""
        return await self._database.read(partial(_read, _ALL))

    async def begin(self, key: NewKey, event: Event) -> bool:
        """Let a key sign at once, where none of its algorithm does."""
        return await self._database.write(partial(_inserted, _INSERT_SIGNING, key, event))

    async def publish(self, key: NewKey, event: Event) -> bool:
        """Publish a key, where none of its algorithm is."""
        return await self._database.write(partial(_inserted, _INSERT, key, event))

    async def schedule(self, alg: str, *, lead_ms: int, event: Event) -> StoredKey | None:
        """Let the published key sign from so long after its publication on."""
        return await self._database.write(partial(_scheduled, alg, lead_ms, event))

    async def advance(self, *, keep_ms: int) -> int:
        """Do what is due; see the Protocol."""
        return await self._database.write(partial(_advanced, keep_ms))

    async def retire(self, kid: str, replacement: NewKey, event: Event) -> Retired | None:
        """Take a key out at once; see the Protocol."""
        return await self._database.write(partial(_retired, kid, replacement, event))

    async def reseal(self, kid: str, *, seen: bytes, private: bytes | None, proof: bytes) -> bool:
        """Keep a key's halves as they were sealed anew."""
        return await self._database.write(partial(_resealed, kid, seen, private, proof))


def _read(statement: Statement) -> Steps[KeyRows]:
    found = yield from rows(statement)
    return KeyRows(int(found[0][-1]) if found else 0, [_key(each) for each in found])


def _key(columns: Row) -> StoredKey:
    kid, alg, state, public_jwk, private, proof, *times = columns[:10]
    halves = None if private is None else bytes(private), bytes(proof)
    return StoredKey(kid, alg, KeyState(state), public_jwk, *halves, *times)


def _inserted(statement: Statement, key: NewKey, event: Event) -> Steps[bool]:
    done = yield from _insert(statement, key)
    if done:
        yield from record(event)
    return done


def _insert(statement: Statement, key: NewKey) -> Steps[bool]:
    changed = yield from run(
        statement, kid=key.kid, alg=key.alg, public_jwk=key.public_jwk, private=key.private, proof=key.proof
    )
    return changed == 1


def _scheduled(alg: str, lead_ms: int, event: Event) -> Steps[StoredKey | None]:
    changed = yield from run(_SCHEDULE, alg=alg, lead=lead_ms)
    found = yield from row(_PUBLISHED, alg=alg)
    if found is None:
        return None
    key = _key(found)
    if changed:
        yield from record(replace(event, target=key.kid, data={**event.data, "signs_at": key.signs_at}))
    return key


def _advanced(keep_ms: int) -> Steps[int]:
    yield from rows(_LOCK)
    due: Iterable[Row] = yield from rows(_DUE)
    changed = 0
    for kid, alg in due:
        changed += yield from run(_STOP, alg=alg, keep=keep_ms)
        changed += yield from run(_SIGN, kid=kid)
        yield from record(Event(EventName.SIGNING_KEY_SIGNS, actor="system", target=kid, data={"alg": alg}))
    return changed + (yield from run(_FORGET))


def _retired(kid: str, replacement: NewKey, event: Event) -> Steps[Retired | None]:
    yield from rows(_LOCK)
    found = yield from row(_STATE, kid=kid)
    if found is None:
        return None
    alg, was = found[0], KeyState(found[1])
    yield from run(_RETIRE, kid=kid)
    successor: str | None = None
    if was is KeyState.SIGNING:
        promoted = yield from row(_SIGN_AT_ONCE, alg=alg)
        if promoted is not None:
            successor = str(promoted[0])
        elif replacement.alg == alg and (yield from _insert(_INSERT_SIGNING, replacement)):
            successor = replacement.kid
    yield from record(replace(event, data={**event.data, "was": was.value, "successor": successor}))
    return Retired(was, successor)


def _resealed(kid: str, seen: bytes, private: bytes | None, proof: bytes) -> Steps[bool]:
    if private is None:
        return (yield from run(_RESEAL_PROOF, kid=kid, seen=seen, proof=proof)) == 1
    return (yield from run(_RESEAL, kid=kid, seen=seen, private=private, proof=proof)) == 1
