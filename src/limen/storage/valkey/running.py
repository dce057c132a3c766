"""Runs scripts together that are to be run at the same time: one round trip for all who wait."""

import asyncio
from collections.abc import Sequence
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from limen.core.errors import Unavailable
from limen.storage.valkey.faults import FAILURES, translated
from limen.storage.valkey.state import Script

MOST_TOGETHER: Final = 64
"""Scripts in one round trip at most."""

Answer = bytes | None


class _Run(NamedTuple):
    script: Script
    key: str
    arguments: Sequence[str | int]
    answer: "asyncio.Future[Answer]"


class Running:
    """The scripts of all event loops; each loop has a line of its own.

    Each script is an act by itself, whatever else is in its round trip.
    """

    def __init__(self) -> None:
        self._waiting: WeakKeyDictionary[asyncio.AbstractEventLoop, list[_Run]] = WeakKeyDictionary()
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    def run(self, client: Redis, script: Script, key: str, arguments: Sequence[str | int]) -> "asyncio.Future[Answer]":
        """Return what is to be awaited: what the script answers. It fails with Unavailable where Valkey does."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        waiting = self._waiting.setdefault(loop, [])
        waiting.append(_Run(script, key, arguments, answer))
        task = self._tasks.get(loop)
        if task is None or task.done():
            self._tasks[loop] = loop.create_task(self._go(client, waiting))
        return answer

    async def _go(self, client: Redis, waiting: list[_Run]) -> None:
        while waiting:
            batch, waiting[:] = waiting[:MOST_TOGETHER], waiting[MOST_TOGETHER:]
            try:
                answers = await _run(client, batch)
            except BaseException as error:
                # Who still waits has waited long enough: for the next round trip it would be as long again.
                rest, waiting[:] = list(waiting), []
                failure = translated(error) if isinstance(error, FAILURES) else Unavailable()
                for each in [*batch, *rest]:
                    if not each.answer.done():
                        each.answer.set_exception(failure)
                if not isinstance(error, FAILURES):
                    raise
                return
            for each, answer in zip(batch, answers, strict=True):
                if each.answer.done():
                    continue
                if isinstance(answer, Exception):
                    each.answer.set_exception(translated(answer))
                else:
                    each.answer.set_result(answer)


async def _run(client: Redis, batch: Sequence[_Run]) -> "list[Answer | Exception]":
    if len(batch) == 1:
        return [await _alone(client, batch[0])]
    pipeline = client.pipeline(transaction=False)
    # What they return is the pipeline, whatever their type says: they are sent with it.
    _ = [pipeline.evalsha(each.script.sha, 1, each.key, *each.arguments) for each in batch]
    answers: list[Answer | Exception] = await pipeline.execute(raise_on_error=False)
    for number, answer in enumerate(answers):
        if isinstance(answer, NoScriptError):
            try:
                answers[number] = await _alone(client, batch[number])
            except ResponseError as error:
                answers[number] = error
    return answers


async def _alone(client: Redis, run: _Run) -> Answer:
    script, key, arguments, _ = run
    answer: Answer
    try:
        answer = await client.evalsha(script.sha, 1, key, *arguments)
    except NoScriptError:
        # After a restart, or SCRIPT FLUSH. It did not run, and from now on is known again.
        answer = await client.eval(script.text, 1, key, *arguments)
    return answer
