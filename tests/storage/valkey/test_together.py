"""What is asked together: fresh answers, one question for all who wait, and failures that reach everybody."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from limen.core.errors import Unavailable
from limen.storage.valkey.together import MOST_TOGETHER, Together


class Source:
    """Answers questions one after the other, each when it is told to."""

    def __init__(self) -> None:
        self.questions: list[list[str]] = []
        self.begun = asyncio.Semaphore(0)
        self.gate = asyncio.Semaphore(0)
        self.failure: Exception | None = None

    async def fetch(self, keys: Sequence[str]) -> Mapping[str, str]:
        self.questions.append(list(keys))
        self.begun.release()
        await self.gate.acquire()
        if self.failure is not None:
            raise self.failure
        return {key: f"{key} of {len(self.questions)}" for key in keys if key != "nothing"}


async def test_who_waits_shares_the_next_question() -> None:
    """One question is under way; all who come meanwhile are in the next one, each key once."""
    source = Source()
    together = Together(source.fetch)
    first = together.ask("a")
    await source.begun.acquire()
    later = [together.ask(key) for key in ("b", "c", "b", "nothing", "a")]
    source.gate.release()
    assert await first == "a of 1"
    source.gate.release()
    assert await asyncio.gather(*later) == ["b of 2", "c of 2", "b of 2", None, "a of 2"]
    assert source.questions == [["a"], ["b", "c", "nothing", "a"]]


async def test_no_answer_is_older_than_its_question() -> None:
    """Who asks while the same key is being asked for gets the answer to a question that began afterwards."""
    source = Source()
    together = Together(source.fetch)
    first = together.ask("a")
    await source.begun.acquire()
    second = together.ask("a")
    source.gate.release()
    source.gate.release()
    assert (await first, await second) == ("a of 1", "a of 2")


async def test_a_question_has_a_size() -> None:
    """Many who wait are asked for in several questions, and all are answered."""
    source = Source()
    together = Together(source.fetch)
    asked = [together.ask(f"key {number}") for number in range(2 * MOST_TOGETHER + 1)]
    for _ in range(3):
        source.gate.release()
    answers = await asyncio.gather(*asked)
    assert all(answer is not None for answer in answers)
    assert [len(question) for question in source.questions] == [MOST_TOGETHER, MOST_TOGETHER, 1]


async def test_a_failure_reaches_all_who_asked_or_wait() -> None:
    """Nobody waits for a second question to time out; who comes afterwards is asked for again."""
    source = Source()
    together = Together(source.fetch)
    first = together.ask("a")
    await source.begun.acquire()
    second = together.ask("b")
    source.failure = Unavailable()
    source.gate.release()
    for answer in (first, second):
        with pytest.raises(Unavailable):
            await answer
    assert source.questions == [["a"]]
    source.failure = None
    source.gate.release()
    assert await together.ask("b") == "b of 2"


async def test_who_gives_up_gives_up_alone() -> None:
    """One that is cancelled takes no answer from another who asked for the same key."""
    source = Source()
    together = Together(source.fetch)
    one, other = together.ask("a"), together.ask("a")
    await source.begun.acquire()
    one.cancel()
    source.gate.release()
    assert await other == "a of 1"


def test_each_loop_has_a_line_of_its_own() -> None:
    """A second event loop asks for itself, also after the first is gone."""
    asked: list[list[str]] = []

    async def fetch(keys: Sequence[str]) -> Mapping[str, str]:
        asked.append(list(keys))
        return {key: key for key in keys}

    together = Together(fetch)

    async def ask(key: str) -> str | None:
        return await together.ask(key)

    assert [asyncio.run(ask(key)) for key in ("a", "b")] == ["a", "b"]
    assert asked == [["a"], ["b"]]
