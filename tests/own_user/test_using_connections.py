"""What a borrowed connection must be, and what is the engine's own: isolation, durability, one writer."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession

from limen import Limen
from limen.core.errors import ConfigurationError, Unavailable
from limen.core.events import NOWHERE
from tests.own_user.conftest import Place, Undo, application_engine, migrate, named, profile, sqlalchemy_url
from tests.support.gates import PASSWORD, settings_for
from tests.support.postgres import Databases


class TestWhatIsRefused:
    async def test_another_database(self, place: Place, tmp_path: Any, request: pytest.FixtureRequest) -> None:
        """A connection of the same kind to another database with limen's tables in it is refused."""
        if place.is_postgres:
            postgres = request.getfixturevalue("postgres")
            other_url = postgres.create(template=postgres.template("limen", migrate))
            request.addfinalizer(lambda: postgres.drop(other_url))
        else:
            other_url = f"sqlite:///{tmp_path / 'other.db'}"
        other = Limen(settings_for(tmp_path, database_url=other_url))
        await other.start()
        try:
            with pytest.raises(ConfigurationError, match="another database"):
                async with place.engine.begin() as connection, other.using(connection):
                    raise AssertionError
        finally:
            await other.stop()

    async def test_another_driver(self, tmp_path: Path, place: Place, request: pytest.FixtureRequest) -> None:
        """A connection of another engine is refused with both named."""
        if place.is_postgres:
            engine = application_engine(f"sqlite+aiosqlite:///{tmp_path / 'application.db'}")
        else:
            postgres = request.getfixturevalue("postgres")
            url = postgres.create()
            request.addfinalizer(lambda: postgres.drop(url))
            engine = application_engine(sqlalchemy_url(url))
        async with engine.connect() as connection:
            with pytest.raises(ConfigurationError, match=r"sqlite\+aiosqlite") as raised:
                async with place.gate.using(connection):
                    raise AssertionError
            assert "postgresql+asyncpg" in str(raised.value)
        await engine.dispose()

    async def test_no_connection_at_all(self, place: Place) -> None:
        """An engine, say, is not one."""
        with pytest.raises(ConfigurationError, match="AsyncConnection or an AsyncSession"):
            async with place.gate.using(place.engine):  # type: ignore[arg-type]
                raise AssertionError

    async def test_autocommit(self, place: Place) -> None:
        """Where every statement commits by itself there is no transaction to be part of."""
        async with place.engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            with pytest.raises(ConfigurationError, match="AUTOCOMMIT"):
                async with place.gate.using(connection):
                    raise AssertionError

    async def test_a_transaction_that_is_over(self, place: Place) -> None:
        """After a commit in the block the next verb is refused: limen has not looked at that transaction."""
        async with AsyncSession(place.engine) as session, place.gate.using(session):
            await place.gate.accounts.create("ann", None)
            await session.commit()
            with pytest.raises(ConfigurationError, match="is over"):
                await place.gate.accounts.create("bob", None)
        assert await named(place, "ann") == 1
        assert await named(place, "bob") == 0


class TestPostgres:
    """What only PostgreSQL has."""

    @pytest.fixture
    def database_url(self, postgres: Databases) -> Iterator[str]:
        url = postgres.create(template=postgres.template("limen", migrate))
        yield url
        postgres.drop(url)

    @pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
    async def test_a_stricter_isolation(self, place: Place, level: str) -> None:
        """The verbs wait for locks and look again, which such a transaction does not: it is refused."""
        async with place.engine.connect() as plain:
            connection = await plain.execution_options(isolation_level=level)
            with pytest.raises(ConfigurationError, match=f"{level}; limen wants READ COMMITTED"):
                async with place.gate.using(connection):
                    raise AssertionError

    async def test_the_default_of_the_role_is_seen_too(self, place: Place) -> None:
        """An isolation that nobody named in Python is refused all the same."""
        options = {"server_settings": {"default_transaction_isolation": "serializable"}}
        engine = application_engine(place.url, connect_args=options)
        async with engine.begin() as connection:
            with pytest.raises(ConfigurationError, match="SERIALIZABLE"):
                async with place.gate.using(connection):
                    raise AssertionError
        await engine.dispose()

    @pytest.mark.parametrize(("given", "then"), [("off", "on"), ("local", "on"), ("remote_apply", "remote_apply")])
    async def test_the_commit_is_on_the_disk(self, place: Place, given: str, then: str) -> None:
        """What limen does in it makes the transaction durable, whatever the connection's default; only this one."""
        engine = application_engine(place.url, connect_args={"server_settings": {"synchronous_commit": given}})
        async with engine.connect() as connection:
            async with connection.begin():
                async with place.gate.using(connection):
                    await place.gate.accounts.create("ann", None)
                assert (await connection.execute(text("SHOW synchronous_commit"))).scalar() == then
            assert (await connection.execute(text("SHOW synchronous_commit"))).scalar() == given
        await engine.dispose()

    async def test_another_schema_of_the_same_database(self, place: Place) -> None:
        """Tables of the same names on another search_path are not limen's."""
        await place.execute("CREATE SCHEMA other")
        await place.execute("CREATE TABLE other.limen_schema_version (version_num text)")
        engine = application_engine(place.url, connect_args={"server_settings": {"search_path": "other"}})
        async with engine.begin() as connection:
            with pytest.raises(ConfigurationError, match="another database"):
                async with place.gate.using(connection):
                    raise AssertionError
        await engine.dispose()


class TestSQLite:
    """What only SQLite has: one writer for the whole file."""

    @pytest.fixture
    def database_url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'limen.db'}"

    async def test_limen_waits_for_the_application(self, place: Place) -> None:
        """A login that comes while the application's transaction holds the lock waits, and goes through after it."""
        await place.gate.accounts.create("bob", PASSWORD)
        async with place.engine.begin() as connection, place.gate.using(connection):
            await place.gate.accounts.create("ann", None)
            login = asyncio.create_task(place.gate.login.login("bob", PASSWORD, origin=NOWHERE))
            await asyncio.sleep(0.5)
            assert not login.done()
        assert (await login).access_token

    async def test_waiting_for_oneself_ends(self, place: Place) -> None:
        """A block that waits for a task that waits for the block's own lock is told no after five seconds."""
        began = time.monotonic()
        async with place.engine.begin() as connection, place.gate.using(connection):
            ann = await place.gate.accounts.create("ann", None)
            with pytest.raises(Unavailable):
                await asyncio.create_task(place.gate.accounts.create("bob", None))
            assert 4 < time.monotonic() - began < 60
            await profile(connection, ann.id)
        assert len(await place.rows("SELECT sub FROM profiles")) == 1
        # And limen's writer is as good as new.
        await place.gate.accounts.create("bob", None)

    async def test_the_lock_is_not_held_while_a_password_is_hashed(self, place: Place) -> None:
        """Where limen's verb comes first, nobody waits for its hash: the lock is taken with its first statement."""
        async with place.engine.begin() as connection, place.gate.using(connection):
            hashing = place.gate.accounts.create("ann", PASSWORD)
            assert not (await connection.get_raw_connection()).driver_connection.in_transaction  # type: ignore[union-attr]
            await hashing
            assert (await connection.get_raw_connection()).driver_connection.in_transaction  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("pragma", "value"), [("foreign_keys", "OFF"), ("synchronous", "NORMAL"), ("synchronous", "OFF")]
    )
    async def test_a_connection_that_is_less_than_limen_promises(self, place: Place, pragma: str, value: str) -> None:
        """Foreign keys that are not enforced, or a commit that a loss of power undoes, are refused with the way out."""
        async with place.engine.connect() as connection:
            await connection.exec_driver_sql(f"PRAGMA {pragma}={value}")
            with pytest.raises(ConfigurationError, match=rf"PRAGMA foreign_keys=ON.*{pragma} is \d"):
                async with place.gate.using(connection):
                    raise AssertionError
            await connection.invalidate()

    async def test_the_recipe_with_an_explicit_begin(self, place: Place) -> None:
        """An engine that begins its transactions by itself, as SQLAlchemy's manual has it, is as good."""
        engine = application_engine(place.url)

        @event.listens_for(engine.sync_engine, "connect")
        def _no_implicit_begin(raw: Any, record: Any) -> None:
            raw.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        with suppress(Undo):
            async with engine.begin() as connection, place.gate.using(connection):
                await place.gate.accounts.create("ann", None)
                raise Undo
        async with engine.begin() as connection, place.gate.using(connection):
            await place.gate.accounts.create("bob", None)
        await engine.dispose()
        assert (await named(place, "ann"), await named(place, "bob")) == (0, 1)

    async def test_a_snapshot_that_is_too_old(self, place: Place) -> None:
        """A transaction that has read, and was overtaken by a commit, cannot write: Unavailable, to be tried again."""
        engine = application_engine(place.url)

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

        async with engine.connect() as connection:
            await connection.execute(text("SELECT * FROM profiles"))
            await place.gate.accounts.create("ann", None)
            async with place.gate.using(connection):
                with pytest.raises(Unavailable):
                    await place.gate.accounts.create("bob", None)
        await engine.dispose()
