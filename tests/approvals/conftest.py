"""A gate with actions that take others' yes, beside an application's tables, on SQLite and on PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker

from limen import ADMINISTRATION, Limen, Principal, PrincipalKind
from limen.core.principal import Authentication
from limen.features.approvals.service import ApprovalView, Approved
from limen.testing.contracts.contract import a_session, an_account
from tests.own_user.conftest import application_engine, migrate, sqlalchemy_url
from tests.support.gates import settings_for
from tests.support.postgres import Databases

ROLES = {
    "maker": ["payout:create", "api-keys:own"],
    "checker": ["payout:release:approve", "payout:create", "api-keys:own"],
    "clerk": ["payout:create"],
    "admin": [*ADMINISTRATION],
}
RELEASE = "payout:release"
QUEUED = "mail:send"
DONE = "CREATE TABLE done (id INTEGER PRIMARY KEY {auto}, request TEXT NOT NULL, payload TEXT NOT NULL)"


class Turned:
    """The time, as far as it was turned."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


class Broken(Exception):
    """What an executor fails with."""


@dataclass
class Place:
    """One database, with limen and an application in it, and what its executors are to do."""

    gate: Limen
    engine: AsyncEngine
    clock: Turned
    url: str
    fails: Callable[[], None]
    sent: list[Approved]

    @property
    def sessions(self) -> Any:
        """Opens the application's sessions."""
        return async_sessionmaker(self.engine)

    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return what others see, in a transaction of its own."""
        async with self.engine.connect() as connection:
            return [tuple(found) for found in await connection.execute(text(statement), parameters)]

    async def done(self) -> list[str]:
        """Return the ids of the requests that were executed, as others see them."""
        return [request for (request,) in await self.rows("SELECT request FROM done ORDER BY id")]

    async def events(self, approval: ApprovalView | str) -> list[tuple[str, str]]:
        """Return name and outcome of a request's records, in their order."""
        target = approval if isinstance(approval, str) else approval.id
        found = await self.gate.storage.events(limit=100_000)
        return [(each.event, each.outcome) for each in found if each.target == target]

    async def somebody(self, *roles: str) -> Principal:
        """Make an account and a session of it; return whom its requests are attributed to."""
        account = await an_account(self.gate.storage, roles=frozenset(roles))
        return await self.at_home(account.id, *roles)

    async def at_home(self, account_id: str, *roles: str) -> Principal:
        """Open one more session of an account."""
        account = await self.gate.storage.accounts.by_id(account_id)
        assert account is not None
        session = await a_session(self.gate.storage, account)
        held = frozenset(roles)
        return Principal(
            account_id,
            PrincipalKind.PERSON,
            held,
            self.gate.catalogue.permissions_of(held),
            session.sid,
            authentication=Authentication(("pwd",), int(self.clock())),
        )

    async def ask(self, me: Principal, action: str = RELEASE, **changes: Any) -> ApprovalView:
        """Ask for something."""
        wanted: dict[str, Any] = {"payload": {"amount": 10}, **changes}
        return await self.gate.approvals.request(me, action, **wanted)


def declare(place: Place) -> None:
    """Declare an action that is executed with the decision, and one from the outbox."""
    approvals = place.gate.approvals

    @approvals.action(RELEASE, session=place.sessions, timeout=20)
    async def release(approved: Approved, session: Any) -> None:
        await session.execute(
            text("INSERT INTO done (request, payload) VALUES (:id, :payload)"),
            {"id": approved.id, "payload": str(approved.payload)},
        )
        place.fails()

    @approvals.action(QUEUED, permission="payout:release:approve", timeout=20, attempts=3)
    async def send(approved: Approved) -> None:
        place.sent.append(approved)
        place.fails()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """What LIMEN_DATABASE_URL is."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'limen.db'}"
    else:
        postgres: Databases = request.getfixturevalue("postgres")
        url = postgres.create(template=postgres.template("limen", migrate))
        yield url
        postgres.drop(url)


@pytest.fixture
def clock() -> Turned:
    """A clock to turn."""
    return Turned()


@pytest.fixture
async def place(database_url: str, tmp_path: Path, clock: Turned) -> AsyncIterator[Place]:
    """A started gate with its actions, and an application's table beside limen's.

    Its background work stands still: a test calls `work` when it is time.
    """
    gate = Limen(settings_for(tmp_path, database_url=database_url), roles=ROLES, clock=clock)
    engine = application_engine(sqlalchemy_url(database_url))
    place = Place(gate, engine, clock, database_url, lambda: None, [])
    declare(place)
    await gate.start()
    for task in gate._background:
        task.cancel()
    async with engine.begin() as connection:
        auto = "GENERATED BY DEFAULT AS IDENTITY" if engine.dialect.name == "postgresql" else "AUTOINCREMENT"
        await connection.execute(text(DONE.format(auto=auto)))
    yield place
    await engine.dispose()
    await gate.stop()
    await asyncio.sleep(0)


@pytest.fixture
async def maker(place: Place) -> Principal:
    """Somebody who asks, and may approve what others ask."""
    return await place.somebody("checker")


@pytest.fixture
async def checker(place: Place) -> Principal:
    """Somebody who may approve."""
    return await place.somebody("checker")


@pytest.fixture
async def other(place: Place) -> Principal:
    """Somebody else who may approve."""
    return await place.somebody("checker")
