"""The databases that limen's stores live in."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib.util import find_spec
from typing import Protocol

from limen.authn.api_key_records import KeyIssuingStore
from limen.authn.cookie import CookieStore
from limen.authn.message_records import MessageIssuingStore
from limen.authn.records import IssuingStore
from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError
from limen.features.accounts.erasing import ErasureStore
from limen.features.accounts.importing import ImportStore
from limen.features.accounts.store import AccountAdministrationStore, AccountStore
from limen.features.api_keys.store import ApiKeyStore
from limen.features.approvals.store import Approvals
from limen.features.audit.store import AuditStore, SinkStore
from limen.features.client_certificates.store import ClientCertificateStore
from limen.features.events.store import EventStore, StoredEvent
from limen.features.mail.store import MailStore
from limen.features.maintenance.store import MaintenanceStore
from limen.features.messages.store import MessageStore
from limen.features.personal_data.store import PersonalDataStore
from limen.features.recovery.store import RecoveryStore
from limen.features.roles.store import RoleStore
from limen.features.sessions.store import SessionStore
from limen.features.signing_keys.store import SigningKeyStore
from limen.features.sso.store import SsoStore
from limen.features.throttling.store import ThrottleStore
from limen.storage.sql.borrowed import ApplicationConnection
from limen.storage.sql.migrations import Schema, Standing
from limen.storage.sql.sqlite import SQLiteStorage, path_of

__all__ = [
    "Accounts",
    "ApplicationConnection",
    "SQLiteStorage",
    "Schema",
    "Standing",
    "Storage",
    "StoredEvent",
    "open_storage",
]


class Accounts(AccountStore, AccountAdministrationStore, Protocol):
    """The accounts, with what only an administrator does to them."""


class Messages(MessageStore, MessageIssuingStore, Protocol):
    """The messages, with what only the door asks before it issues a token for one."""


class Storage(Protocol):
    """All stores of one installation, on one database. Nothing is opened before `start`."""

    @property
    def accounts(self) -> Accounts:
        """The accounts."""
        ...

    @property
    def sessions(self) -> SessionStore:
        """The sessions."""
        ...

    @property
    def cookies(self) -> CookieStore:
        """What a request with a session cookie asks."""
        ...

    @property
    def issuing(self) -> IssuingStore:
        """The verbs of the one door."""
        ...

    @property
    def api_keys(self) -> ApiKeyStore:
        """The API keys."""
        ...

    @property
    def issuing_keys(self) -> KeyIssuingStore:
        """The two verbs by which the one door issues API keys."""
        ...

    @property
    def client_certificates(self) -> ClientCertificateStore:
        """The names of client certificates."""
        ...

    @property
    def roles(self) -> RoleStore:
        """The roles."""
        ...

    @property
    def trail(self) -> EventStore:
        """The audit trail."""
        ...

    @property
    def audit(self) -> AuditStore:
        """The chain over the audit trail."""
        ...

    @property
    def sinks(self) -> SinkStore:
        """How far the sinks of the audit trail have been handed it."""
        ...

    @property
    def imports(self) -> ImportStore:
        """Accounts that are brought in from elsewhere."""
        ...

    @property
    def personal_data(self) -> PersonalDataStore:
        """What lies in the tables about an account."""
        ...

    @property
    def erasures(self) -> ErasureStore:
        """What deleted accounts left in the audit trail."""
        ...

    @property
    def maintenance(self) -> MaintenanceStore:
        """Work on the data as a whole."""
        ...

    @property
    def signing_keys(self) -> SigningKeyStore:
        """The keys that access tokens are signed with, where they are kept in the database."""
        ...

    @property
    def messages(self) -> "Messages":
        """The messages that were seen, and the services that send them."""
        ...

    @property
    def approvals(self) -> Approvals:
        """Requests that take others' yes, and what is still to be executed."""
        ...

    @property
    def mails(self) -> MailStore:
        """The outbox of mails."""
        ...

    @property
    def recovery(self) -> RecoveryStore:
        """Proofs that a mail carries, and the addresses that they proved."""
        ...

    @property
    def sso(self) -> SsoStore:
        """Single sign-on: what is under way, identities, and the sessions of providers."""
        ...

    @property
    def throttles(self) -> ThrottleStore:
        """What counts how often something was tried."""
        ...

    @property
    def calls(self) -> int:
        """How many store verbs were called since the object was made."""
        ...

    async def start(self, *, migrate: bool = True) -> None:
        """Open the database and bring its schema up to date.

        Raises ConfigurationError where it cannot be used, or is behind and ``migrate`` is False; Unavailable where it
        does not answer.
        """
        ...

    async def schema(self) -> Schema:
        """Tell which schema the database bears; nothing is made or changed, and it need not be started.

        Raises ConfigurationError where it cannot be used, Unavailable where it does not answer.
        """
        ...

    async def stop(self) -> None:
        """Finish what is under way and close the database."""
        ...

    def using(self, connection: ApplicationConnection) -> AbstractAsyncContextManager[None]:
        """Run the verbs that this task calls in the block on the application's own connection, in its transaction.

        Verbs that issue tokens are refused there. Raises ConfigurationError for a connection that does not fit.
        """
        ...

    def borrowed(self) -> "ApplicationConnection | None":
        """Return what this task has handed to `using`, in whose block it is; None outside of one."""
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """Take back what is done in the block where it fails, in a block of `using`; ConfigurationError outside."""
        ...

    async def ping(self) -> None:
        """Read from the database and check its schema; raise Unavailable where it cannot serve."""
        ...

    async def sweep(self, limit: int = 10_000) -> int:
        """Delete what nobody can use any more, ``limit`` rows at most; return how many."""
        ...

    async def events(self, *, limit: int = 100, after: int = 0) -> Sequence[StoredEvent]:
        """Return at most ``limit`` records of the audit trail that follow the one numbered ``after``, in order."""
        ...


def open_storage(
    database_url: str, *, clock: Clock = system_clock, pool_size: int = 10, valkey_url: str | None = None
) -> Storage:
    """Return the storage that the URL of ``LIMEN_DATABASE_URL`` names; `Storage.start` opens it.

    ``pool_size`` is how many connections a process has to PostgreSQL at most; SQLite has no use for it. Where a
    ``valkey_url`` is given, sessions are used there.

    Raises ConfigurationError for an engine that this version does not know. The URL itself, which may hold a password,
    is not part of the message.
    """
    scheme = database_url.partition(":")[0]
    if valkey_url is not None and find_spec("redis") is None:
        raise ConfigurationError("LIMEN_SESSION_STORE is valkey: install limen[valkey], which brings redis-py.")
    if scheme == "sqlite":
        if valkey_url is None:
            return SQLiteStorage(path_of(database_url), clock=clock)
        from limen.storage.valkey.on_sqlite import ValkeySQLiteStorage

        return ValkeySQLiteStorage(path_of(database_url), valkey_url, clock=clock)
    if scheme not in {"postgresql", "postgres"}:
        raise ConfigurationError(
            "LIMEN_DATABASE_URL names a database that this version does not support. Write sqlite:///path/to/file or"
            " postgresql://role@host/database, without the name of a driver."
        )
    if find_spec("asyncpg") is None:
        raise ConfigurationError("LIMEN_DATABASE_URL names PostgreSQL: install limen[postgres], which brings asyncpg.")
    if valkey_url is not None:
        from limen.storage.valkey.on_postgres import ValkeyPostgresStorage

        return ValkeyPostgresStorage(database_url, valkey_url, clock=clock, pool_size=pool_size)
    from limen.storage.sql.postgres import PostgresStorage

    return PostgresStorage(database_url, clock=clock, pool_size=pool_size)
