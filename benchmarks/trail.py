"""Acts and refreshes a second while they are sealed, how long a record waits, and how fast a chain is verified."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.postgres import durable_server, where
from benchmarks.rows import Effort, Row, Target, median_ratio
from limen.core.events import Event, EventName, Origin
from limen.core.ids import uuid7
from limen.features.audit.service import SEAL_SECONDS, AuditService
from limen.storage import Storage, open_storage
from limen.testing.contracts.contract import Opened, a_session, an_account, rotate

WRITERS = 64
TARGET = 2_000
MOST_MS = 1_000
"""How long a record may wait for its seal at that rate (milliseconds)."""


def trail(effort: Effort) -> Sequence[Row]:
    """Measure records alone, and refreshes, which write one, on both engines; each is on disk when it is answered."""
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(_measured(f"sqlite:///{Path(folder) / 'limen.db'}", "SQLite", "", effort))
    with durable_server() as cluster:
        return [*rows, *asyncio.run(_measured(cluster.create(), "PostgreSQL", where(cluster), effort))]


@dataclass(frozen=True, slots=True)
class _Rates:
    """Acts a second of each round, with a sealer beside and without one."""

    sealed: list[float]
    alone: list[float]


async def _measured(url: str, engine: str, note: str, effort: Effort) -> Sequence[Row]:
    storage = open_storage(url)
    await storage.start()
    try:
        audit = AuditService(storage.audit, [os.urandom(32).hex()])
        lags: list[float] = []
        sessions = [await a_session(storage, await an_account(storage)) for _ in range(WRITERS)]
        acts = await _rounds(storage, audit, lags, partial(_acts, storage), effort)
        refreshes = await _rounds(storage, audit, lags, partial(_refreshes, storage, sessions), effort)
        paced: list[float] = []
        reached = await _at_the_rate(storage, audit, paced, effort)
        start = time.perf_counter()
        verdict = await audit.verify()
        spent = time.perf_counter() - start
    finally:
        await storage.stop()
    if verdict.count or verdict.waiting:
        raise RuntimeError(f"the chain does not hold: {verdict.waiting} wait, {verdict.findings[:3]}")
    told = f"{WRITERS} at once in one process, sealing included; {note}".removesuffix("; ")
    waited = max(lags, default=0.0)
    longest = Row("trail", f"The longest that a record waited for its seal on {engine}", "ms", waited, rounds=len(lags))
    at_the_rate = Row(
        "trail",
        f"The same at {TARGET} acts a second",
        "ms",
        max(paced, default=0.0),
        target=Target("at most", MOST_MS),
        rounds=len(paced),
        note=f"{reached:.0f} acts a second came; median {statistics.median(paced or [0.0]):.0f} ms",
    )
    speed = verdict.sealed / spent
    verified = Row("trail", f"Verifying on {engine}", "records/s", speed, note=f"{verdict.sealed} records, one process")
    return [
        _row(f"Acts on {engine}, durable, sealed beside", "acts/s", acts, told),
        _row(f"Refreshes on {engine}, durable, sealed beside", "refreshes/s", refreshes, told),
        longest,
        at_the_rate,
        verified,
    ]


def _row(what: str, unit: str, rates: _Rates, note: str) -> Row:
    return Row(
        "trail",
        what,
        unit,
        statistics.median(rates.sealed),
        statistics.median(rates.alone),
        "without a sealer",
        median_ratio(rates.sealed, rates.alone),
        Target("at least", TARGET),
        len(rates.sealed),
        note,
    )


async def _rounds(
    storage: Storage,
    audit: AuditService,
    lags: list[float],
    work: Callable[[float], Awaitable[float]],
    effort: Effort,
) -> _Rates:
    rates = _Rates([], [])
    for _ in range(effort.rounds(5)):
        rates.alone.append(await work(effort.seconds(3)))
        await _all_sealed(storage, audit)
        sealing = asyncio.create_task(_sealing(storage, audit, lags))
        rates.sealed.append(await work(effort.seconds(3)))
        sealing.cancel()
        with suppress(asyncio.CancelledError):
            await sealing
        await _all_sealed(storage, audit)
    return rates


async def _at_the_rate(storage: Storage, audit: AuditService, lags: list[float], effort: Effort) -> float:
    """Act as often as is promised, and no more, while a sealer works; return how often it was in a second."""
    sealing = asyncio.create_task(_sealing(storage, audit, lags))
    rate = await _acts(storage, effort.seconds(20), rate=TARGET)
    sealing.cancel()
    with suppress(asyncio.CancelledError):
        await sealing
    await _all_sealed(storage, audit)
    return rate


async def _all_sealed(storage: Storage, audit: AuditService) -> None:
    """Seal what waits; a sealer that was stopped may still hold the chain for a moment."""
    while (await storage.audit.due()).waits:
        if not await audit.seal():
            await asyncio.sleep(0.05)


async def _refreshes(storage: Storage, sessions: list[Opened], seconds: float) -> float:
    end = time.monotonic() + seconds
    done = 0

    async def refresh(number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            secret = os.urandom(32)
            if await rotate(storage, sessions[number], secret) is None:
                raise RuntimeError("a refresh was refused")
            sessions[number] = sessions[number].after(secret)
            done += 1

    start = time.monotonic()
    await asyncio.gather(*(refresh(number) for number in range(len(sessions))))
    return done / (time.monotonic() - start)


async def _acts(storage: Storage, seconds: float, rate: float = 0) -> float:
    """Act for so long, as often as it goes, or at a rate; return how often it was in a second."""
    start = time.monotonic()
    done = taken = 0

    async def act() -> None:
        nonlocal done, taken
        origin = Origin("bench", "192.0.2.7", "limen-bench")
        account = uuid7()
        while time.monotonic() < start + seconds:
            if rate:
                due, taken = start + taken / rate, taken + 1
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            event = Event(EventName.REFRESHED, actor=account, target=account, origin=origin, data={"generation": done})
            await storage.sessions.record(event)
            done += 1

    await asyncio.gather(*(act() for _ in range(WRITERS)))
    return done / (time.monotonic() - start)


async def _sealing(storage: Storage, audit: AuditService, lags: list[float]) -> None:
    """Seal as a gate does; note how long the oldest record had waited when it was looked for."""
    pause = SEAL_SECONDS
    while True:
        await asyncio.sleep(pause)
        start = time.monotonic()
        due = await storage.audit.due()
        await audit.seal()
        spent = time.monotonic() - start
        lags.append(due.lag_ms + spent * 1000)
        pause = max(SEAL_SECONDS / 5, SEAL_SECONDS - spent)
