"""Gates on a database that can be taken back to an earlier state while they run."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from limen import Limen
from tests.support.gates import gate_for
from tests.support.postgres import Databases


@dataclass(frozen=True)
class Past:
    """A database with a memory: ``keep`` makes a backup, ``restore`` brings it back under whoever is connected."""

    url: str
    keep: Callable[[], None]
    restore: Callable[[], None]


def _sqlite(folder: Path) -> Past:
    file, backup = folder / "limen.db", folder / "backup.db"

    def copy(source: Path, target: Path) -> None:
        with closing(sqlite3.connect(source)) as here, closing(sqlite3.connect(target)) as there:
            here.backup(there)

    return Past(f"sqlite:///{file}", lambda: copy(file, backup), lambda: copy(backup, file))


def _postgres(databases: Databases) -> Past:
    url = databases.create()
    name = urlsplit(url).path[1:]

    def cut_off() -> None:
        databases.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
        databases.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)

    def keep() -> None:
        cut_off()
        databases.execute(f'CREATE DATABASE "{name}_kept" TEMPLATE "{name}" OWNER limen')
        databases.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true')

    def restore() -> None:
        cut_off()
        databases.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        databases.execute(f'CREATE DATABASE "{name}" TEMPLATE "{name}_kept" OWNER limen')

    return Past(url, keep, restore)


@pytest.fixture(params=["sqlite", "postgres"])
def past(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Past]:
    """A database of the test's own, on each engine."""
    if request.param == "sqlite":
        yield _sqlite(tmp_path)
        return
    databases: Databases = request.getfixturevalue("postgres")
    made = _postgres(databases)
    yield made
    databases.drop(made.url)
    databases.drop(f"{made.url}_kept")


@pytest.fixture
async def running(past: Past, tmp_path: Path) -> AsyncIterator[Limen]:
    """A started gate on it."""
    async with gate_for(tmp_path, database_url=past.url).running() as gate:
        yield gate
