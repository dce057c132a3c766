"""Messages: whom their tokens stand for, and which were seen."""

from collections.abc import Callable
from functools import partial
from typing import Final

from limen.authn.message_records import ServiceState
from limen.core.errors import ConfigurationError
from limen.core.ids import is_uuid7
from limen.features.messages.store import Claimed
from limen.storage.sql.database import Database
from limen.storage.sql.holdings import HELD_BY_ACCOUNT, role_names
from limen.storage.sql.statement import Statement, Steps, row, run

_ATTEST = Statement("""
SELECT @now FROM limen_accounts
 WHERE id = :account_id AND account_kind = 'service' AND status = 'active' AND session_epoch = :epoch
""")

_STATE = Statement(f"""
SELECT account_kind, status, session_epoch, ({HELD_BY_ACCOUNT}) FROM limen_accounts WHERE id = :account_id
""")  # noqa: S608

# The one statement that says who is first. On PostgreSQL it waits for a transaction that has inserted the same and is
# not over: where that is rolled back, this one inserts; SQLite lets one write at a time.
_CLAIM: Final = """
INSERT INTO limen_seen_messages (jti, consumer, begun_at, done_at, keep_until)
VALUES (:jti, :consumer, @now, {done_at}, :keep_until) ON CONFLICT (jti, consumer) DO NOTHING
"""
_CLAIM_ALONE = Statement(_CLAIM.format(done_at="NULL"))
_CLAIM_WITH_WORK = Statement(_CLAIM.format(done_at="@now"))

_IS_DONE = Statement("""
SELECT done_at IS NOT NULL FROM limen_seen_messages WHERE jti = :jti AND consumer = :consumer
""")

_FINISH = Statement("""
UPDATE limen_seen_messages SET done_at = @now WHERE jti = :jti AND consumer = :consumer AND done_at IS NULL
""")


class SQLMessages:
    """Implements `limen.features.messages.store.MessageStore` and `limen.authn.message_records.MessageIssuingStore`.

    Args:
        database: where it is done.
        borrowed: answers the application's transaction that this task works in; None outside of one.
    """

    def __init__(self, database: Database, *, borrowed: Callable[[], object | None]) -> None:
        self._database = database
        self._borrowed = borrowed

    async def attest(self, account_id: str, *, epoch: int) -> int | None:
        """Return the time, if this is an active service of this epoch; None otherwise."""
        return await self._database.read_committed(partial(_attested, account_id, epoch))

    async def service_state(self, account_id: str) -> ServiceState | None:
        """Read the account and its roles in one statement; None where there is no such account."""
        return await self._database.read_committed(partial(_state, account_id))

    async def claim(self, jti: str, *, consumer: str, keep_until_ms: int) -> Claimed:
        """Record by one INSERT that the work on a message begins, in a transaction of its own."""
        if self._borrowed() is not None:
            # It would be gone with a rollback, and the work would not: then it is no record of anything.
            raise ConfigurationError("@once records in a transaction of its own; in gate.using call message.claim().")
        return await self._database.write(partial(_claimed, _CLAIM_ALONE, jti, consumer, keep_until_ms))

    async def claim_with_work(self, jti: str, *, consumer: str, keep_until_ms: int) -> Claimed:
        """Record by one INSERT, in the application's transaction, that the message is done when that is committed."""
        if self._borrowed() is None:
            # A crash between this record and the work would lose the message.
            raise ConfigurationError("message.claim() belongs into a block of gate.using, with the work itself.")
        return await self._database.write(partial(_claimed, _CLAIM_WITH_WORK, jti, consumer, keep_until_ms))

    async def finish(self, jti: str, *, consumer: str) -> None:
        """Note that the work on a message that was claimed is done."""
        await self._database.write_one(partial(run, _FINISH, jti=jti, consumer=consumer))


def _attested(account_id: str, epoch: int) -> Steps[int | None]:
    found = (yield from row(_ATTEST, account_id=account_id, epoch=epoch)) if is_uuid7(account_id) else None
    return None if found is None else int(found[0])


def _state(account_id: str) -> Steps[ServiceState | None]:
    # PostgreSQL would call it an error: what is no id names no account.
    found = (yield from row(_STATE, account_id=account_id)) if is_uuid7(account_id) else None
    if found is None:
        return None
    kind, status, epoch, roles = found
    return ServiceState(kind, status, epoch, role_names(roles))


def _claimed(statement: Statement, jti: str, consumer: str, keep_until_ms: int) -> Steps[Claimed]:
    if (yield from run(statement, jti=jti, consumer=consumer, keep_until=keep_until_ms)):
        return Claimed.NEW
    found = yield from row(_IS_DONE, jti=jti, consumer=consumer)
    return Claimed.DONE if found is not None and found[0] else Claimed.BEGUN
