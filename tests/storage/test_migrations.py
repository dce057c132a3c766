"""The schema: what the migrations build, who may start, and two processes that start at once."""

import ast
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine.interfaces import ReflectedCheckConstraint

from limen.core.errors import ConfigurationError, Unavailable
from limen.storage import SQLiteStorage
from limen.storage.sql import migrations, sqlite_migration
from limen.storage.sql.migrations import Standing
from limen.storage.sql.migrations import upgrade as upgrading
from limen.storage.sql.tables import METADATA
from tests.storage.conftest import contents, looking_into

START = """
import asyncio, logging, pathlib, sys, time
from limen.storage import SQLiteStorage

logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
path, go = sys.argv[1:]
print("waiting", flush=True)
while not pathlib.Path(go).exists():
    time.sleep(0.001)

async def main():
    storage = SQLiteStorage(path)
    await storage.start()
    await storage.ping()
    await storage.stop()

asyncio.run(main())
print("started; alembic" if "alembic" in sys.modules else "started", flush=True)
"""


def _schema(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Everything SQLite tells about the tables of limen, in an order that does not depend on how they were made."""
    described: dict[str, list[tuple[object, ...]]] = {}
    with looking_into(path) as connection:
        tables = connection.execute(
            "SELECT name, sql LIKE '%WITHOUT ROWID%', sql LIKE '%AUTOINCREMENT%' FROM sqlite_master"
            " WHERE type = 'table' AND name LIKE 'limen%' AND name <> ? ORDER BY name",
            (migrations.VERSION_TABLE,),
        ).fetchall()
        for table, *kind in tables:
            described[table] = [
                tuple(kind),
                *sorted(connection.execute(f"PRAGMA table_info({table})").fetchall()),
                *sorted(row[2:] for row in connection.execute(f"PRAGMA foreign_key_list({table})")),
                *sorted(row[1:] for row in connection.execute(f"PRAGMA index_list({table})")),
            ]
    return described


def _checks(path: Path) -> dict[str, list[ReflectedCheckConstraint]]:
    engine = create_engine(f"sqlite:///{path}")
    inspector = inspect(engine)
    checks = {
        table: sorted(inspector.get_check_constraints(table), key=lambda check: str(check["name"]))
        for table in METADATA.tables
    }
    engine.dispose()
    return checks


def test_the_migrations_build_what_the_code_declares(migrated: Path, tmp_path: Path) -> None:
    """Columns, types, defaults, keys, indexes and checks are those of the tables: nothing drifts apart."""
    declared = tmp_path / "declared.db"
    engine = create_engine(f"sqlite:///{declared}")
    METADATA.create_all(engine)
    engine.dispose()
    assert len(_schema(migrated)) == len(METADATA.tables) == 34
    assert _schema(migrated) == _schema(declared)
    assert _checks(migrated) == _checks(declared)
    assert sum(len(checks) for checks in _checks(migrated).values()) == 20


def test_alembic_finds_no_difference(migrated: Path) -> None:
    """Alembic itself, comparing types and defaults too, would write no further migration."""
    engine = create_engine(f"sqlite:///{migrated}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={"compare_type": True, "compare_server_default": True, "version_table": migrations.VERSION_TABLE},
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_the_revisions_named_are_the_files() -> None:
    """The list that tells a newer database from an older one names every revision, oldest first."""
    scripts = ScriptDirectory.from_config(upgrading.configuration())
    files = [script.revision for script in scripts.walk_revisions()]
    assert tuple(reversed(files)) == migrations.REVISIONS
    assert scripts.get_current_head() == migrations.REVISIONS[-1]


def test_the_first_migration_is_never_changed() -> None:
    """Databases were made by it: its names, lengths, conditions and defaults are fixed."""
    source = Path(migrations.__file__).parent / "versions" / "r0001_initial.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    constants = [repr(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert hashlib.sha256("\n".join(constants).encode()).hexdigest()[:16] == "2effa4357c4862a8"


def test_it_imports_nothing_of_the_code_that_changes() -> None:
    """A migration states the schema as it was then, so it reads nothing that a later version changes."""
    folder = Path(migrations.__file__).parent / "versions"
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("limen") for name in names), file.name


async def test_a_newer_database_is_refused(prepared: Path) -> None:
    """A version that is not known to the code is a newer one: no start, and the file stays as it is."""
    with looking_into(prepared) as connection:
        connection.execute("UPDATE limen_schema_version SET version_num = '9999'")
        connection.execute("DELETE FROM limen_schema_compatible")
    before = contents(prepared)
    storage = SQLiteStorage(prepared)
    with pytest.raises(ConfigurationError, match=rf"newer limen.*'9999'.*'{migrations.REVISIONS[-1]}'"):
        await storage.start()
    assert contents(prepared) == before
    with pytest.raises(Unavailable):
        await storage.accounts.by_username("ada")


async def test_a_newer_database_that_says_it_suits_is_started_on(prepared: Path) -> None:
    """Where the later migration lists this version, a process of it starts, and leaves the schema as it is."""
    with looking_into(prepared) as connection:
        connection.execute("UPDATE limen_schema_version SET version_num = '9999'")
        listed = connection.execute("SELECT revision FROM limen_schema_compatible").fetchall()
        assert (migrations.REVISIONS[-1],) in listed
        storage = SQLiteStorage(prepared)
        await storage.start()
        await storage.ping()
        await storage.stop()
        assert connection.execute(migrations.READ_VERSION.sqlite).fetchall() == [("9999",)]


async def test_readiness_reads_the_version(storage: SQLiteStorage) -> None:
    """A database whose schema is gone is not ready; one that a newer version migrated meanwhile still serves."""
    with looking_into(storage.path) as connection:
        connection.execute("UPDATE limen_schema_version SET version_num = '9999'")
        await storage.ping()
        connection.execute("DELETE FROM limen_schema_version")
        with pytest.raises(Unavailable):
            await storage.ping()
        connection.execute("DROP TABLE limen_schema_version")
        with pytest.raises(Unavailable):
            await storage.ping()


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, Standing.BEHIND),
        (migrations.REVISIONS[-1], Standing.CURRENT),
        ("", Standing.NEWER),
        ("z", Standing.NEWER),
    ],
)
def test_standing(version: str | None, expected: Standing) -> None:
    """No version is one that lacks everything; an unknown one is newer."""
    assert migrations.standing(version) is expected


async def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What breaks off half way is rolled back as a whole, and the next start makes it good."""
    whole = upgrading.upgrade

    def broken(connection: object) -> None:
        whole(connection)  # type: ignore[arg-type]
        raise OSError("broken off")

    monkeypatch.setattr(sqlite_migration, "upgrade", broken)
    with pytest.raises(OSError, match="broken off"):
        await SQLiteStorage(path).start()
    with looking_into(path) as connection:
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    monkeypatch.undo()
    storage = SQLiteStorage(path)
    await storage.start()
    await storage.ping()
    await storage.stop()


def test_processes_that_start_at_once(tmp_path: Path) -> None:
    """Three real processes on a file that is not there yet: all start, one of them migrated."""
    path, go = tmp_path / "fresh" / "limen.db", tmp_path / "go"
    processes = [
        subprocess.Popen([sys.executable, "-c", START, str(path), str(go)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
    go.touch()
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3
    assert sum("database_migrated" in answer for answer in answers) == 1
    with looking_into(path) as connection:
        assert connection.execute(migrations.READ_VERSION.sqlite).fetchall() == [(migrations.REVISIONS[-1],)]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_an_up_to_date_start_imports_no_alembic(prepared: Path, tmp_path: Path) -> None:
    """Where there is nothing to migrate, nobody pays for the import; it is a matter of milliseconds."""
    go = tmp_path / "go"
    go.touch()
    answer = subprocess.run(
        [sys.executable, "-c", START + "print('sqlalchemy' in sys.modules)", str(prepared), str(go)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert answer.stdout.split("\n")[1:3] == ["started", "False"]
