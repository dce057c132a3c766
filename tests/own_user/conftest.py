"""A gate and the application's own engine on one database: a SQLite file, and a PostgreSQL database."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from limen import Limen
from limen.storage.sql.postgres import PostgresStorage
from tests.support.gates import ROLES, settings_for
from tests.support.postgres import Databases, run_apart

PROFILES = "CREATE TABLE profiles (sub {id} PRIMARY KEY REFERENCES limen_accounts (id), city TEXT NOT NULL)"


@dataclass
class Place:
    """One database, with limen and an application in it."""

    gate: Limen
    engine: AsyncEngine
    limen_url: str
    url: str

    @property
    def is_postgres(self) -> bool:
        return self.engine.dialect.name == "postgresql"

    async def execute(self, statement: str, **parameters: Any) -> None:
        """Run a statement in a transaction of its own."""
        async with self.engine.begin() as connection:
            await connection.execute(text(statement), parameters)

    async def rows(self, statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return what others see, in a transaction of its own."""
        async with self.engine.connect() as connection:
            return [tuple(found) for found in await connection.execute(text(statement), parameters)]

    def ended(self, sid: str) -> bool:
        """Tell whether this process knows the session to be ended."""
        return sid in self.gate.ended

    async def events(self) -> list[str]:
        """Return the names of the audit trail."""
        return [name for (name,) in await self.rows("SELECT event FROM limen_events ORDER BY seq")]


class Undo(Exception):
    """What an application raises to have its transaction rolled back."""


async def profile(connection: AsyncConnection | AsyncSession, sub: str) -> None:
    """Write the application's row."""
    await connection.execute(text("INSERT INTO profiles (sub, city) VALUES (:sub, 'Turin')"), {"sub": sub})


async def named(place: Place, name: str) -> int:
    """Count what others see of an account."""
    return len(await place.rows("SELECT id FROM limen_accounts WHERE username = :name", name=name))


def application_engine(url: str, **options: Any) -> AsyncEngine:
    """Make an engine as an application would, with what limen asks of SQLite."""
    engine = create_async_engine(url, **options)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine.sync_engine, "connect")
        def _durable(raw: Any, record: Any) -> None:
            raw.execute("PRAGMA foreign_keys=ON")
            raw.execute("PRAGMA synchronous=FULL")

    return engine


def migrate(url: str) -> None:
    """Bring a database to this version's schema, by starting on it."""

    async def start() -> None:
        storage = PostgresStorage(url)
        await storage.start()
        await storage.stop()

    run_apart(start)


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


def sqlalchemy_url(url: str) -> str:
    """Return the same database as SQLAlchemy names it."""
    driver = "sqlite+aiosqlite" if url.startswith("sqlite") else "postgresql+asyncpg"
    return make_url(url).set(drivername=driver).render_as_string(hide_password=False)


@pytest.fixture
async def place(database_url: str, tmp_path: Path) -> AsyncIterator[Place]:
    """A started gate, and an application's table beside limen's."""
    gate = Limen(settings_for(tmp_path, database_url=database_url), roles=ROLES)
    await gate.start()
    url = sqlalchemy_url(database_url)
    engine = application_engine(url)
    place = Place(gate, engine, database_url, url)
    await place.execute(PROFILES.format(id="UUID" if place.is_postgres else "TEXT"))
    yield place
    await engine.dispose()
    await gate.stop()
    await asyncio.sleep(0)
