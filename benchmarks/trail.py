"""Acts a second while their records are sealed, how long one waits for its seal, and how fast a chain is verified."""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from benchmarks.postgres import durable_server, where
from benchmarks.rows import Effort, Row, Target, median_ratio
from limen.core.events import Event, EventName, Origin
from limen.core.ids import uuid7
from limen.features.audit.service import SEAL_SECONDS, AuditService
from limen.storage import Storage, open_storage

WRITERS = 64
TARGET = 2_000


def trail(effort: Effort) -> Sequence[Row]:
    """Measure on both engines; the acts are records alone, each of them durable when it is answered."""
    with tempfile.TemporaryDirectory() as folder:
        rows = asyncio.run(_measured(f"sqlite:///{Path(folder) / 'limen.db'}", "SQLite", "", effort))
    with durable_server() as cluster:
        return [*rows, *asyncio.run(_measured(cluster.create(), "PostgreSQL", where(cluster), effort))]


async def _measured(url: str, engine: str, note: str, effort: Effort) -> Sequence[Row]:
    storage = open_storage(url)
    await storage.start()
    try:
        audit = AuditService(storage.audit, [os.urandom(32).hex()])
        sealed: list[float] = []
        alone: list[float] = []
        lags: list[float] = []
        for _ in range(effort.rounds(5)):
            alone.append(await _acts(storage, effort.seconds(3)))
            while await audit.seal():
                pass
            sealing = asyncio.create_task(_sealing(storage, audit, lags))
            sealed.append(await _acts(storage, effort.seconds(3)))
            sealing.cancel()
            with suppress(asyncio.CancelledError):
                await sealing
        while await audit.seal():
            pass
        start = time.perf_counter()
        verdict = await audit.verify()
        spent = time.perf_counter() - start
    finally:
        await storage.stop()
    if verdict.count or verdict.waiting:
        raise RuntimeError("the chain does not hold")
    acts = Row(
        "trail",
        f"Acts on {engine}, durable, sealed beside",
        "acts/s",
        statistics.median(sealed),
        statistics.median(alone),
        "without a sealer",
        median_ratio(sealed, alone),
        Target("at least", TARGET),
        len(sealed),
        f"{WRITERS} at once in one process, sealing included; {note}".removesuffix("; "),
    )
    waited = max(lags, default=0.0)
    longest = Row("trail", f"The longest that a record waited for its seal on {engine}", "ms", waited, rounds=len(lags))
    speed = verdict.sealed / spent
    verified = Row("trail", f"Verifying on {engine}", "records/s", speed, note=f"{verdict.sealed} records, one process")
    return [acts, longest, verified]


async def _acts(storage: Storage, seconds: float) -> float:
    end = time.monotonic() + seconds
    done = 0

    async def act() -> None:
        nonlocal done
        origin = Origin("bench", "192.0.2.7", "limen-bench")
        account = uuid7()
        while time.monotonic() < end:
            event = Event(EventName.REFRESHED, actor=account, target=account, origin=origin, data={"generation": done})
            await storage.sessions.record(event)
            done += 1

    start = time.monotonic()
    await asyncio.gather(*(act() for _ in range(WRITERS)))
    return done / (time.monotonic() - start)


async def _sealing(storage: Storage, audit: AuditService, lags: list[float]) -> None:
    """Seal as a gate does; note how long the oldest record had waited when it was looked for."""
    while True:
        await asyncio.sleep(SEAL_SECONDS)
        start = time.monotonic()
        due = await storage.audit.due()
        await audit.seal()
        lags.append(due.lag_ms + (time.monotonic() - start) * 1000)
