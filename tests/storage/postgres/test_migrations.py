"""The schema on PostgreSQL: what the migrations build, who may start, and processes that start at once."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import create_async_engine

from limen.core.errors import ConfigurationError, Unavailable
from limen.storage.sql import migrations, postgres_migration
from limen.storage.sql.migrations import upgrade as upgrading
from limen.storage.sql.migrations.upgrade import configuration
from limen.storage.sql.postgres import PostgresStorage
from limen.storage.sql.tables import METADATA
from tests.support.postgres import Databases, rows

START = """
import asyncio, logging, sys
from limen.storage.sql.postgres import PostgresStorage

logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
print("waiting", flush=True)
sys.stdin.readline()

async def main():
    storage = PostgresStorage(sys.argv[1])
    await storage.start()
    await storage.ping()
    await storage.stop()

asyncio.run(main())
print("started; alembic" if "alembic" in sys.modules else "started", flush=True)
"""


async def on(url: str, work: Callable[[Connection], object]) -> object:
    """Run something with SQLAlchemy's connection to a database, and commit."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        found = await connection.run_sync(work)
    await engine.dispose()
    return found


async def test_alembic_finds_no_difference(storage: PostgresStorage, url: str) -> None:
    """What the migrations build on PostgreSQL is what the tables say, types and defaults included."""

    def compare(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "compare_server_default": True, "version_table": migrations.VERSION_TABLE},
        )
        return list(compare_metadata(context, METADATA))

    assert await on(url, compare) == []


async def test_each_migration_leaves_the_version_before_it_working(postgres_url: str) -> None:
    """Every column of one revision is still there in the next, of the same type; new ones need no value."""

    def columns(connection: Connection) -> dict[tuple[str, str], tuple[str, bool]]:
        inspector = inspect(connection)
        return {
            (table, column["name"]): (
                str(column["type"]).partition(" COLLATE")[0],
                column["nullable"] or column["default"] is not None,
            )
            for table in inspector.get_table_names()
            if table in METADATA.tables
            for column in inspector.get_columns(table)
        }

    def upgraded(revision: str) -> Callable[[Connection], dict[tuple[str, str], tuple[str, bool]]]:
        def work(connection: Connection) -> dict[tuple[str, str], tuple[str, bool]]:
            config = configuration()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            return columns(connection)

        return work

    before: dict[tuple[str, str], tuple[str, bool]] = {}
    for revision in migrations.REVISIONS:
        after = await on(postgres_url, upgraded(revision))
        assert isinstance(after, dict)
        assert before.items() <= after.items()
        tables_before = {table for table, _ in before}
        for (table, column), (_, needs_no_value) in after.items():
            if table in tables_before and (table, column) not in before:
                assert needs_no_value, f"{table}.{column}"
        before = after
    assert len(before) > 50


async def test_a_newer_database_is_refused(storage: PostgresStorage, url: str) -> None:
    """A version that is not known to the code is a newer one: no start; where it says it suits, there is one."""
    rows(url, "UPDATE limen_schema_version SET version_num = '9999'")
    await storage.ping()
    peer = PostgresStorage(url)
    await peer.start()
    await peer.stop()
    rows(url, "DELETE FROM limen_schema_compatible")
    with pytest.raises(ConfigurationError, match="newer limen"):
        await peer.start()
    with pytest.raises(Unavailable):
        await peer.accounts.by_username("ada")


async def test_readiness_reads_the_version(storage: PostgresStorage, url: str) -> None:
    """A database whose schema is gone, or behind, is not ready."""
    await storage.ping()
    rows(url, "UPDATE limen_schema_version SET version_num = '0001'")
    with pytest.raises(Unavailable):
        await storage.ping()
    rows(url, "DROP TABLE limen_schema_version")
    with pytest.raises(Unavailable):
        await storage.ping()


def test_processes_that_start_at_once(postgres_url: str) -> None:
    """Four real processes on an empty database: all start, one of them migrated, and the others waited for it."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START, postgres_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sum("database_migrated" in answer for answer in answers) == 1
    assert rows(postgres_url, migrations.READ_VERSION.postgres) == [(migrations.REVISIONS[-1],)]


async def test_an_up_to_date_start_imports_no_alembic(storage: PostgresStorage, url: str) -> None:
    """Where there is nothing to migrate, neither Alembic nor SQLAlchemy is imported."""
    program = START + "print('sqlalchemy' in sys.modules)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, url, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    answer, _ = await asyncio.wait_for(process.communicate(b"go\n"), 60)
    assert answer.decode().splitlines()[1:] == ["started", "False"]


async def test_a_role_without_rights_is_told(postgres: Databases, postgres_url: str) -> None:
    """A role that may not make tables is a fault of the configuration, told without the URL or a password."""
    rows(postgres.url(postgres_url.rsplit("/", 1)[1], admin=True), "REVOKE ALL ON SCHEMA public FROM PUBLIC")
    rows(postgres.url(postgres_url.rsplit("/", 1)[1], admin=True), "ALTER SCHEMA public OWNER TO postgres")
    with pytest.raises(ConfigurationError, match="LIMEN_DATABASE_URL") as refused:
        await PostgresStorage(postgres_url).start()
    assert "127.0.0.1" not in str(refused.value)


async def test_a_database_that_is_not_there_is_told(postgres: Databases) -> None:
    """A wrong name or role is a fault of the configuration; a server that does not answer is not."""
    with pytest.raises(ConfigurationError, match="InvalidCatalogNameError 3D000"):
        await PostgresStorage(postgres.url("no_such_database")).start()
    with pytest.raises(Unavailable):
        await PostgresStorage("postgresql://limen@127.0.0.1:1/limen").start()


async def test_a_migration_that_fails_leaves_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks off half way is rolled back as a whole, and the next start makes it good."""

    def broken(connection: Connection) -> None:
        upgrading.upgrade(connection)
        raise OSError("broken off")

    monkeypatch.setattr(postgres_migration, "upgrade", broken)
    with pytest.raises(Unavailable):
        await PostgresStorage(postgres_url).start()
    assert rows(postgres_url, "SELECT tablename FROM pg_tables WHERE tablename LIKE 'limen%'") == []
    monkeypatch.undo()
    storage = PostgresStorage(postgres_url)
    await storage.start()
    await storage.ping()
    await storage.stop()
