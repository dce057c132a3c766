"""What a message costs beyond its handler: its token made, and judged; and recorded, under ``@once``."""

import asyncio
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from benchmarks.gates import gate_of, installation
from benchmarks.in_process import median_difference
from benchmarks.rows import Effort, Row
from limen import Limen
from limen.consumers import Consumer, GuardedMessage, Message, once, permissions
from limen.features.roles.service import OPERATOR

AUDIENCE = "orders"
BODY = b"x" * 1000

Handle = Callable[[Message], Awaitable[object]]


def messages(effort: Effort) -> Sequence[Row]:
    """Measure in process: the loop's processor time for each message of 1 000 bytes; each token is new."""
    return asyncio.run(_messages(effort))


async def _work(message: Message) -> None:
    """Do nothing."""


@permissions("order:create")
async def _guarded(message: GuardedMessage) -> None:
    """Do nothing."""


async def _messages(effort: Effort) -> Sequence[Row]:
    rounds, count = effort.rounds(21), effort.count(500, 10)
    figures: dict[str, list[float]] = {"making": [], "bare": [], "judged": [], "once": []}
    with installation(data_secrets=secrets.token_urlsafe(48)) as environment:
        async with gate_of(environment).running() as gate:
            if gate.api_keys is None:
                raise RuntimeError("there are no services")
            await gate.api_keys.services.create(OPERATOR, "shop", roles=frozenset({"maker"}))
            handlers: dict[str, Handle] = {
                "bare": _work,
                "judged": Consumer(gate, _guarded, audience=AUDIENCE).handle,
                "once": Consumer(gate, once(_guarded), audience=AUDIENCE).handle,
            }
            for number in range(rounds + 1):
                spent, made = await _made(gate, count)
                if number:
                    figures["making"].append(spent)
                for name, handle in handlers.items():
                    spent = await _microseconds(handle, made)
                    if number:
                        figures[name].append(spent)
    bare = statistics.median(figures["bare"])
    making = statistics.median(figures["making"])
    return [
        Row("messages", "a token made, one read on SQLite", "µs", making, None, "", None, None, rounds, ""),
        *(
            Row("messages", what, "µs", cost, None, "", None, None, rounds, f"bare {bare:.1f}")
            for what, cost in (
                ("CPU over the bare handler, a new token", median_difference(figures["judged"], figures["bare"])),
                ("the same under @once on SQLite", median_difference(figures["once"], figures["bare"])),
            )
        ),
    ]


async def _made(gate: Limen, count: int) -> tuple[float, list[Message]]:
    start = time.thread_time_ns()
    told = [await gate.messages.attributes(service="shop", audience=AUDIENCE, body=BODY) for _ in range(count)]
    spent = (time.thread_time_ns() - start) / count / 1000
    return spent, [Message(BODY, attributes, "message") for attributes in told]


async def _microseconds(handle: Handle, made: Sequence[Message]) -> float:
    start = time.thread_time_ns()
    for message in made:
        await handle(message)
    return (time.thread_time_ns() - start) / len(made) / 1000
