"""The stores of one SQL database. Each is written once, and asks the engine, whichever it is, to run its operations."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

from limen.features.events.store import StoredEvent
from limen.features.throttling.store import ThrottleStore
from limen.storage.sql import events
from limen.storage.sql.account_imports import SQLAccountImports
from limen.storage.sql.accounts import SQLAccounts
from limen.storage.sql.api_keys import SQLApiKeys, SQLKeyIssuing
from limen.storage.sql.approvals import SQLApprovals
from limen.storage.sql.borrowed import ApplicationConnection, Borrowings, Committed, Host
from limen.storage.sql.client_certificates import SQLClientCertificates
from limen.storage.sql.cookies import SQLCookies
from limen.storage.sql.database import Database, Operation
from limen.storage.sql.erasures import SQLErasures
from limen.storage.sql.events import SQLEvents
from limen.storage.sql.housekeeping import Housekeeping
from limen.storage.sql.mails import SQLMails
from limen.storage.sql.maintenance import SQLMaintenance
from limen.storage.sql.messages import SQLMessages
from limen.storage.sql.personal_data import SQLPersonalData
from limen.storage.sql.recovery import SQLRecovery
from limen.storage.sql.roles import SQLRoles
from limen.storage.sql.signing_keys import SQLSigningKeys
from limen.storage.sql.sso import SQLSso
from limen.storage.sql.throttles import SQLThrottles
from limen.storage.sql.trail import SQLAudit
from limen.storage.sql.trail_sinks import SQLTrailSinks

T = TypeVar("T")


class SQLStores(Database):
    """All stores but those of sessions and of the door, which each engine has in a way of its own.

    Args:
        host: what differs between the engines where the application's own connection is borrowed.

    Attributes:
        calls: how many store verbs were called.
    """

    def __init__(self, host: Host) -> None:
        self.calls = 0
        self._host = host
        self._borrowings = Borrowings()
        self.accounts = SQLAccounts(self)
        self.cookies = SQLCookies(self)
        self.api_keys = SQLApiKeys(self)
        self.issuing_keys = SQLKeyIssuing(Committed(self, self._borrowings))
        self.client_certificates = SQLClientCertificates(self)
        self.roles = SQLRoles(self)
        self.trail = SQLEvents(self)
        self.audit = SQLAudit(self)
        self.sinks = SQLTrailSinks(self)
        self.imports = SQLAccountImports(self)
        self.erasures = SQLErasures(self)
        self.personal_data = SQLPersonalData(self)
        self.maintenance = SQLMaintenance(self)
        self.signing_keys = SQLSigningKeys(self)
        self.sso = SQLSso(self)
        self.approvals = SQLApprovals(self)
        self.mails = SQLMails(self)
        self.recovery = SQLRecovery(self)
        self.throttles: ThrottleStore = SQLThrottles(Committed(self, self._borrowings))
        self.messages = SQLMessages(self, borrowed=self._borrowings.here)
        self._housekeeping = Housekeeping(self)

    async def sweep(self, limit: int = 10_000) -> int:
        """Delete sessions expired for a day and entries of the ended list past their time, ``limit`` at most.

        Returns how many were deleted. Safe to call at any time, from several processes.
        """
        return await self._housekeeping.sweep(limit)

    async def events(self, *, limit: int = 100, after: int = 0) -> Sequence[StoredEvent]:
        """Return at most ``limit`` records of the audit trail that follow the one numbered ``after``, in order."""
        return await self.read(partial(events.page, limit=limit, after=after))

    async def read(self, operation: Operation[T]) -> T:
        """Run the operation where it can only read; each of its statements sees all that was committed before."""
        if (borrowed := self._borrowings.here()) is not None:
            self.calls += 1
            return await borrowed.run(operation)
        return await self.read_committed(operation)

    def using(self, connection: ApplicationConnection) -> AbstractAsyncContextManager[None]:
        """Run what this task asks on the application's own connection until the block ends; see `Limen.using`."""
        return self._borrowings.using(connection, self._host)

    def borrowed(self) -> "ApplicationConnection | None":
        """Return what this task has handed to `using`, in whose block it is; None outside of one."""
        borrowed = self._borrowings.here()
        return None if borrowed is None else borrowed.given

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Take back what is done in the block where it fails, in a block of `using`; ConfigurationError outside."""
        return self._borrowings.savepoint()
