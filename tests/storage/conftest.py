"""A SQLite storage on a file of its own, and a clock to turn."""

import shutil
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from limen.storage import SQLiteStorage
from limen.storage.sql.sqlite_file import create_private, migrate


class TurnedClock:
    """The system's clock, moved; or one that stands still."""

    def __init__(self) -> None:
        self.shift_ms = 0
        self.stands_at_ms: int | None = None

    def __call__(self) -> float:
        now = time.time() if self.stands_at_ms is None else self.stands_at_ms / 1000
        return now + self.shift_ms / 1000

    def turn(self, milliseconds: int) -> None:
        self.shift_ms += milliseconds


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database of this version."""
    path = tmp_path_factory.mktemp("migrated") / "limen.db"
    create_private(path)
    migrate(path)
    return path


@pytest.fixture
def clock() -> TurnedClock:
    """The database's clock, to be turned."""
    return TurnedClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file in a folder that is not there yet."""
    return tmp_path / "data" / "limen.db"


@pytest.fixture
def prepared(path: Path, migrated: Path) -> Path:
    """The file, with the schema copied from one that was migrated once."""
    path.parent.mkdir(mode=0o700)
    shutil.copy(migrated, path)
    path.chmod(0o600)
    return path


@pytest.fixture
async def storage(prepared: Path, clock: TurnedClock) -> AsyncIterator[SQLiteStorage]:
    """A started storage."""
    storage = SQLiteStorage(prepared, clock=clock)
    await storage.start()
    yield storage
    await storage.stop()


@pytest.fixture
async def peer(storage: SQLiteStorage, clock: TurnedClock) -> AsyncIterator[SQLiteStorage]:
    """A second storage on the same file."""
    peer = SQLiteStorage(storage.path, clock=clock)
    await peer.start()
    yield peer
    await peer.stop()


@pytest.fixture
def turn_clock(clock: TurnedClock) -> Callable[[int], None]:
    """Moves the clock by so many milliseconds."""
    return clock.turn


def contents(path: Path) -> bytes:
    """What lies in the file."""
    return path.read_bytes()


def replace_contents(path: Path, content: bytes) -> None:
    """Write this into the file, whatever was in it."""
    path.write_bytes(content)


@contextmanager
def looking_into(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that knows nothing of limen."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


@pytest.fixture
def require_second_factor(storage: SQLiteStorage) -> Callable[[str], Awaitable[None]]:
    """Sets the flag by SQL: no verb does so yet."""

    async def require(account_id: str) -> None:
        with looking_into(storage.path) as connection:
            connection.execute("UPDATE limen_accounts SET second_factor_required = 1 WHERE id = ?", (account_id,))

    return require


@pytest.fixture
def by_hand(storage: SQLiteStorage) -> Callable[[str], None]:
    """Runs a statement past all verbs."""

    def run(statement: str) -> None:
        with looking_into(storage.path) as connection:
            connection.execute(statement)

    return run


@pytest.fixture
def set_status(storage: SQLiteStorage) -> Callable[[str, str], Awaitable[None]]:
    """Writes the status past all verbs."""

    async def write(account_id: str, status: str) -> None:
        with looking_into(storage.path) as connection:
            connection.execute("UPDATE limen_accounts SET status = ? WHERE id = ?", (status, account_id))

    return write


@pytest.fixture
def stored_bytes(storage: SQLiteStorage) -> Callable[[], bytes]:
    """Everything that lies on the disk: the database, its log, its shared memory."""

    def read() -> bytes:
        return b"".join(file.read_bytes() for file in sorted(storage.path.parent.iterdir()))

    return read
