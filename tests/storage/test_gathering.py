"""Acts that wait go together; what fails for one of them is told to whom it concerns, and to nobody else."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from limen.core.errors import Busy, Unavailable
from limen.storage.sql import gathering
from limen.storage.sql.gathering import ALONE, Alone, Gathering


class Database:
    """Stands where the database would: keeps what it was asked, and answers when it is told to."""

    def __init__(self) -> None:
        self.alone: list[int] = []
        self.together: list[list[int]] = []
        self.open = asyncio.Event()
        self.failure: Exception | None = None
        self.left_out: set[int] = set()

    async def _answers(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await self.open.wait()

    async def one(self, act: int) -> str:
        self.alone.append(act)
        await self._answers()
        return f"alone {act}"

    async def several(self, acts: Sequence[int]) -> list[str | Alone]:
        self.together.append(list(acts))
        await self._answers()
        if self.failure is not None:
            raise self.failure
        return [ALONE if act in self.left_out else f"together {act}" for act in acts]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that stands still for a second makes nothing hang here: what hangs says so."""
    monkeypatch.setattr(gathering, "STUCK_SECONDS", 1_000.0)
    monkeypatch.setattr(gathering, "PATIENCE_SECONDS", 1_000.0)


@pytest.fixture
async def database() -> Database:
    """A database that answers nothing yet."""
    return Database()


def _begun(
    database: Database, acts: Sequence[int], *, of: "Gathering[int, str] | None" = None
) -> list["asyncio.Task[str]"]:
    gathering = of or Gathering(database.several, database.one)
    return [asyncio.ensure_future(gathering.run(act, act)) for act in acts]


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_first_goes_at_once_and_the_others_together(database: Database) -> None:
    """Nobody waits for company; who comes while one is under way shares the next."""
    tasks = _begun(database, range(4))
    await _settled()
    assert (database.alone, database.together) == ([0], [])
    database.open.set()
    assert await asyncio.gather(*tasks) == ["alone 0", "together 1", "together 2", "together 3"]
    assert database.together == [[1, 2, 3]]


async def test_a_statement_has_an_end(database: Database) -> None:
    """Two hundred that wait are several statements, and each is answered once."""
    tasks = _begun(database, range(201))
    database.open.set()
    assert len(set(await asyncio.gather(*tasks))) == 201
    assert [len(batch) for batch in database.together] == [16] * 12 + [8]


async def test_it_is_at_rest_after_its_work(database: Database) -> None:
    """What comes after all has been answered goes alone again."""
    gathering = Gathering(database.several, database.one)
    database.open.set()
    await asyncio.gather(*_begun(database, range(3), of=gathering))
    assert await gathering.run(7, 7) == "alone 7"


async def test_what_is_left_out_is_done_alone(database: Database) -> None:
    """An act that the shared statement passed over is tried by itself, not refused."""
    database.left_out = {2}
    database.open.set()
    assert await asyncio.gather(*_begun(database, range(4))) == ["alone 0", "together 1", "alone 2", "together 3"]


async def test_a_refused_statement_is_done_one_by_one(database: Database) -> None:
    """The database refused it and did nothing: each act shows by itself whether it is the bad one."""
    database.failure = Unavailable()
    database.failure.__cause__ = asyncpg.StringDataRightTruncationError("too long")
    database.open.set()
    assert await asyncio.gather(*_begun(database, range(3))) == ["alone 0", "alone 1", "alone 2"]


async def test_a_lost_statement_is_not_done_again(database: Database) -> None:
    """Whether it was done is not known: nobody in it is tried again, and each is told to come back."""
    database.failure = Unavailable()
    database.failure.__cause__ = ConnectionResetError()
    database.open.set()
    first, *found = await asyncio.gather(*_begun(database, range(4)), return_exceptions=True)
    assert first == "alone 0"
    assert all(isinstance(each, Unavailable) for each in found)
    assert len({id(each) for each in found}) == 3
    assert database.alone == [0]


async def test_a_failure_before_the_statement_is_not_tried_again(database: Database) -> None:
    """No connection can be had: a crowd does not ask for one each."""
    database.failure = Unavailable("The database does not answer.")
    database.open.set()
    found = await asyncio.gather(*_begun(database, range(4)), return_exceptions=True)
    assert all(isinstance(each, Unavailable) for each in found[1:])
    assert database.alone == [0]


async def test_one_that_is_cancelled_takes_nobody_with_it(database: Database) -> None:
    """A client that hangs up while it waits leaves the others where they are."""
    tasks = _begun(database, range(4))
    await _settled()
    tasks[2].cancel()
    database.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(each) for each in found] == ["alone 0", "together 1", "", "together 3"]


async def test_the_first_that_is_cancelled_lets_the_others_go_on(database: Database) -> None:
    """They waited for it, and would otherwise wait for ever."""
    tasks = _begun(database, range(3))
    await _settled()
    tasks[0].cancel()
    await _settled()
    database.open.set()
    async with asyncio.timeout(60):
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found[1:] == ["together 1", "together 2"]


async def test_two_acts_on_one_thing_never_go_together(database: Database) -> None:
    """The second goes alone at once, and the database orders the two."""
    gathering = Gathering(database.several, database.one)
    tasks = [asyncio.ensure_future(gathering.run(key, act)) for act, key in enumerate(["a", "b", "b", "c"])]
    await _settled()
    assert database.alone == [0, 2]
    database.open.set()
    assert await asyncio.gather(*tasks) == ["alone 0", "together 1", "alone 2", "together 3"]


async def test_nobody_queues_behind_what_hangs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes while a statement hangs goes alone, under the pool's own bounds; who waits is told with it."""
    monkeypatch.setattr(gathering, "STUCK_SECONDS", 0.01)
    gathered = Gathering(database.several, database.one)
    tasks = _begun(database, range(2), of=gathered)
    await _settled()
    await asyncio.sleep(0.02)
    late = _begun(database, [5], of=gathered)
    await _settled()
    assert database.alone == [0, 5]
    database.open.set()
    assert await asyncio.gather(*tasks, *late) == ["alone 0", "together 1", "alone 5"]


async def test_who_waits_behind_what_hung_and_was_lost_is_told_with_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the next statement they would wait as long again."""
    gathered = Gathering(database.several, database.one)
    first, *batch = _begun(database, range(2), of=gathered)
    await _settled()
    database.open.set()
    await first
    database.open.clear()
    await _settled()
    assert database.together == [[1]]
    behind = _begun(database, [8, 9], of=gathered)
    await _settled()
    monkeypatch.setattr(gathering, "STUCK_SECONDS", 0.0)
    database.failure = Unavailable()
    database.failure.__cause__ = TimeoutError()
    database.open.set()
    found = await asyncio.gather(*batch, *behind, return_exceptions=True)
    assert [type(each) for each in found] == [Unavailable] * 3
    assert database.together == [[1]]


async def test_who_has_waited_long_in_vain_is_sent_away(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is slow, and the act was passed over: it is told to come back, and does not queue once more."""
    monkeypatch.setattr(gathering, "PATIENCE_SECONDS", 0.01)
    database.left_out = {1}
    tasks = _begun(database, range(3))
    await _settled()
    await asyncio.sleep(0.02)
    database.open.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [found[0], type(found[1]), found[2]] == ["alone 0", Busy, "together 2"]
    assert database.alone == [0]
