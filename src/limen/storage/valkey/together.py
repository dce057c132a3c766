"""Asks together what is asked at the same time: one round trip for all who wait."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Generic, TypeVar
from weakref import WeakKeyDictionary

Found = TypeVar("Found")

MOST_TOGETHER: Final = 256
"""Keys in one question at most."""


class Together(Generic[Found]):
    """Answers one key at a time, and asks for all keys that came while another question was under way.

    No question that was begun before a key was asked for ever answers it, so every answer is fresh. Any number of event
    loops may use it; each has a line of its own.

    Args:
        fetch: answers several keys; those of which there is nothing are left out.
    """

    def __init__(self, fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, Found]]]) -> None:
        self._fetch = fetch
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, _Line[Found]] = WeakKeyDictionary()

    def ask(self, key: str) -> "asyncio.Future[Found | None]":
        """Return what is to be awaited: what there is of this key, or None.

        Where the question fails, everybody who asked or waits is told so: who waited for an answer that did not come
        would wait as long again for the next one.
        """
        loop = asyncio.get_running_loop()
        line = self._lines.get(loop)
        if line is None:
            line = self._lines[loop] = _Line(self._fetch)
        return line.ask(loop, key)


class _Line(Generic[Found]):
    def __init__(self, fetch: Callable[[Sequence[str]], Awaitable[Mapping[str, Found]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[str, list[asyncio.Future[Found | None]]] = {}
        # The loop itself keeps no task alive.
        self._asking: asyncio.Task[None] | None = None

    def ask(self, loop: asyncio.AbstractEventLoop, key: str) -> "asyncio.Future[Found | None]":
        answer: asyncio.Future[Found | None] = loop.create_future()
        self._waiting.setdefault(key, []).append(answer)
        if self._asking is None or self._asking.done():
            self._asking = loop.create_task(self._go())
        return answer

    async def _go(self) -> None:
        while self._waiting:
            batch = self._next()
            try:
                found = await self._fetch(list(batch))
            except BaseException as error:
                rest, self._waiting = self._waiting, {}
                failure = error if isinstance(error, Exception) else None
                for answers in [*batch.values(), *rest.values()]:
                    _fail(answers, failure)
                if failure is None:
                    raise
                return
            for key, answers in batch.items():
                answer = found.get(key)
                for each in answers:
                    if not each.done():
                        each.set_result(answer)

    def _next(self) -> "dict[str, list[asyncio.Future[Found | None]]]":
        if len(self._waiting) <= MOST_TOGETHER:
            batch, self._waiting = self._waiting, {}
            return batch
        return {key: self._waiting.pop(key) for key in list(self._waiting)[:MOST_TOGETHER]}


def _fail(answers: "list[asyncio.Future[Found | None]]", error: Exception | None) -> None:
    for each in answers:
        if each.done():
            continue
        if error is None:
            each.cancel()
        else:
            each.set_exception(error)
