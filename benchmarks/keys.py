"""What a request with an API key costs over a bare one, and how many are checked in a second."""

import asyncio
import secrets
import statistics
import time
from collections.abc import Sequence

from benchmarks import applications as apps
from benchmarks.gates import gate_of, installation
from benchmarks.in_process import Application, Message, http_scope, median_difference, started
from benchmarks.rows import Effort, Row, Target
from limen.authn.api_key import ApiKeyStrategy
from limen.features.api_keys.service import Wanted
from limen.features.roles.service import OPERATOR
from tests.support.gates import PASSWORD


def keys(effort: Effort) -> Sequence[Row]:
    """Measure in process: the loop's processor time with a key that was seen within the second, and with one read anew.

    A key that was seen is asked of the store again after a second: these requests are among those that are counted.
    """
    return asyncio.run(_keys(effort))


async def _keys(effort: Effort) -> Sequence[Row]:
    rounds, requests = effort.rounds(21), effort.count(500, 10)
    with installation(data_secrets=secrets.token_urlsafe(48)) as environment:
        gate = gate_of(environment)
        bare, guarded = apps.starlette_bare(), apps.starlette_limen(gate)
        async with started({"guarded": guarded}):
            account = await gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
            if gate.api_keys is None:
                raise RuntimeError("there are no API keys without a data secret")
            key = (await gate.api_keys.service.create_for(OPERATOR, account.id, Wanted("bench"))).key.encode()
            spent: dict[str, list[float]] = {"bare": [], "seen": [], "read": []}
            rates: list[float] = []
            for number in range(rounds + 1):
                figures = {"bare": await _cost(bare, key, requests)}
                figures["seen"] = await _cost(guarded, key, requests)
                figures["read"] = await _cost(guarded, key, max(1, requests // 10), forget=gate.api_keys.strategy)
                if number:
                    rates.append(1_000_000 / figures["seen"])
                    for name, figure in figures.items():
                        spent[name].append(figure)
    most, at_least = Target("at most", 15), Target("at least", 10_000)
    return [
        _row("Starlette: CPU over bare, API key seen before", "seen", spent, most),
        _row("Starlette: CPU over bare, API key read on SQLite", "read", spent, None),
        Row(
            "keys",
            "Starlette: requests by an API key, in a second of one core",
            "/s",
            statistics.median(rates),
            target=at_least,
            rounds=len(rates),
            note="whole requests: the route is in it",
        ),
    ]


def _row(what: str, name: str, spent: dict[str, list[float]], target: Target | None) -> Row:
    cost = median_difference(spent[name], spent["bare"])
    note = f"bare {statistics.median(spent['bare']):.1f}, with the key {statistics.median(spent[name]):.1f}"
    return Row("keys", what, "µs", cost, None, "", None, target, len(spent[name]), note)


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _cost(app: Application, key: bytes, requests: int, forget: ApiKeyStrategy | None = None) -> float:
    statuses: set[int] = set()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.add(message["status"])

    spent = 0
    for _ in range(requests):
        if forget is not None:
            forget.forget()
        start = time.thread_time_ns()
        scope = http_scope(apps.PATH, None)
        scope["headers"].append((b"x-api-key", key))
        await app(scope, _receive, send)
        spent += time.thread_time_ns() - start
    if statuses != {200}:
        raise RuntimeError(f"expected only 200, got {statuses}")
    return spent / requests / 1000
