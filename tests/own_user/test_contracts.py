"""The contract of the stores, with every verb on a connection of the application's: what is borrowed is as good."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from limen.core.clock import Clock
from limen.storage import SQLiteStorage, Storage
from limen.storage.sql.database import Operation
from limen.storage.sql.postgres import PostgresStorage
from limen.testing.contracts.account_administration import (
    AuthorityContract,
    DeleteContract,
    LastAdministratorContract,
    SetEmailContract,
    SetTemporaryPasswordContract,
)
from limen.testing.contracts.accounts import ChangePasswordContract, ChangeStatusContract, CreateContract, PageContract
from limen.testing.contracts.contract import an_account
from limen.testing.contracts.events import EventsContract
from limen.testing.contracts.grants import GrantsContract, SeparationContract
from limen.testing.contracts.role_assignment import AssignRolesContract
from limen.testing.contracts.roles import ROLES, RoleDefinitionsContract, RolesContract, assign, sync
from limen.testing.contracts.sessions import SessionsContract
from tests.own_user.conftest import application_engine, sqlalchemy_url
from tests.storage.conftest import TurnedClock

T = TypeVar("T")


class _Borrowing:
    """Runs each operation in a transaction of the application's own. The base class does the rest."""

    engine: AsyncEngine

    async def write(self, operation: Operation[T]) -> T:
        async with self.engine.begin() as connection, self.using(connection):  # type: ignore[attr-defined]
            found: T = await super().write(operation)  # type: ignore[misc]
            return found

    async def write_one(self, operation: Operation[T]) -> T:
        async with self.engine.begin() as connection, self.using(connection):  # type: ignore[attr-defined]
            found: T = await super().write_one(operation)  # type: ignore[misc]
            return found

    async def read(self, operation: Operation[T]) -> T:
        async with self.engine.begin() as connection, self.using(connection):  # type: ignore[attr-defined]
            found: T = await super().read(operation)  # type: ignore[misc]
            return found


class BorrowingSQLite(_Borrowing, SQLiteStorage):
    pass


class BorrowingPostgres(_Borrowing, PostgresStorage):
    pass


async def _storage(url: str, clock: Clock) -> Any:
    storage: BorrowingSQLite | BorrowingPostgres
    if url.startswith("sqlite"):
        storage = BorrowingSQLite(Path(url.removeprefix("sqlite:///")), clock=clock)
    else:
        storage = BorrowingPostgres(url, clock=clock)
    storage.engine = application_engine(sqlalchemy_url(url))
    await storage.start()
    return storage


@pytest.fixture
def clock() -> TurnedClock:
    """The database's clock, to be turned."""
    return TurnedClock()


@pytest.fixture
def turn_clock(clock: TurnedClock) -> Callable[[int], None]:
    """Moves the clock by so many milliseconds."""
    return clock.turn


@pytest.fixture
async def storage(database_url: str, clock: TurnedClock) -> AsyncIterator[Any]:
    """A started storage that borrows."""
    storage = await _storage(database_url, clock)
    yield storage
    await storage.stop()
    await storage.engine.dispose()


@pytest.fixture
async def peer(storage: Any, database_url: str, clock: TurnedClock) -> AsyncIterator[Any]:
    """A second one on the same database."""
    peer = await _storage(database_url, clock)
    yield peer
    await peer.stop()
    await peer.engine.dispose()


@pytest.fixture
def run(storage: Any) -> Callable[..., Awaitable[None]]:
    """Runs a statement past all verbs."""

    async def execute(statement: str, **parameters: Any) -> None:
        async with storage.engine.begin() as connection:
            await connection.execute(text(statement), parameters)

    return execute


@pytest.fixture
def require_second_factor(run: Callable[..., Awaitable[None]]) -> Callable[[str], Awaitable[None]]:
    """Sets the flag by SQL: no verb does so yet."""

    async def require(account_id: str) -> None:
        await run("UPDATE limen_accounts SET second_factor_required = true WHERE id = :id", id=account_id)

    return require


@pytest.fixture
def set_status(run: Callable[..., Awaitable[None]]) -> Callable[[str, str], Awaitable[None]]:
    """Writes the status past all verbs."""

    async def write(account_id: str, status: str) -> None:
        await run("UPDATE limen_accounts SET status = :status WHERE id = :id", id=account_id, status=status)

    return write


class TestSessions(SessionsContract):
    pass


class TestCreate(CreateContract):
    pass


class TestPage(PageContract):
    pass


class TestChangeStatus(ChangeStatusContract):
    pass


class TestChangePassword(ChangePasswordContract):
    pass


class TestDelete(DeleteContract):
    pass


class TestSetEmail(SetEmailContract):
    pass


class TestSetTemporaryPassword(SetTemporaryPasswordContract):
    pass


class TestAuthority(AuthorityContract):
    pass


class TestLastAdministrator(LastAdministratorContract):
    pass


class TestRoles(RolesContract):
    pass


class TestRoleDefinitions(RoleDefinitionsContract):
    pass


class TestAssignRoles(AssignRolesContract):
    async def test_a_change_is_kept_for_the_longer_time(
        self, storage: Storage, turn_clock: Callable[[int], None]
    ) -> None:
        """A clock that went back between two changes ends nothing early; until the commit it is kept for longer."""
        await sync(storage, ROLES)
        account = await an_account(storage)
        await assign(storage, account, grant=["maker"])
        (before,) = (await storage.roles.changed_since(0)).accounts
        turn_clock(-300_000)
        await assign(storage, account, revoke=["maker"])
        (after,) = (await storage.roles.changed_since(0)).accounts
        assert before.keep_until <= after.keep_until < before.keep_until + 60_000


class TestGrants(GrantsContract):
    pass


class TestSeparation(SeparationContract):
    pass


class TestEvents(EventsContract):
    pass
