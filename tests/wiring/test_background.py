"""What goes on beside the requests is begun as often as is promised, however long it takes."""

import logging
from types import SimpleNamespace

import pytest

from limen.core.errors import Unavailable
from limen.wiring.running import RunningGate


class Stopped(Exception):
    """Ends what would go on for ever."""


async def pauses(monkeypatch: pytest.MonkeyPatch, takes: list[float | Exception], seconds: float) -> list[float]:
    """Return how long is paused before each beginning of work that takes so long, or fails after a second."""
    now, told, rest = 1_000.0, list[float](), list(takes)

    async def sleep(pause: float) -> None:
        nonlocal now
        told.append(round(pause, 6))
        now += pause
        if not rest:
            raise Stopped

    async def work() -> None:
        nonlocal now
        took = rest.pop(0)
        now += took if isinstance(took, float) else 1.0
        if isinstance(took, Exception):
            raise took

    monkeypatch.setattr("limen.wiring.running.asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("limen.wiring.running.time", SimpleNamespace(monotonic=lambda: now))
    with pytest.raises(Stopped):
        await RunningGate._repeat(work, seconds, "mails")
    return told


async def test_work_is_begun_as_often_however_long_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that it took is taken from the pause, of which a fifth is left to others."""
    assert await pauses(monkeypatch, [0.0, 0.2, 0.39, 0.5, 7.0], 0.5) == [0.5, 0.5, 0.3, 0.11, 0.1, 0.1]


async def test_after_a_failure_the_pause_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is down is not asked more often for it."""
    failures: list[float | Exception] = [Unavailable("down"), ValueError("a bug"), 0.25]
    assert await pauses(monkeypatch, failures, 1.0) == [1.0, 1.0, 1.0, 0.75]


async def test_a_night_without_a_database_is_told_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each line says which work it is, and how often it has failed; the end of it is told too."""
    down: list[float | Exception] = [Unavailable("down") for _ in range(61)]
    with caplog.at_level(logging.INFO, logger="limen"):
        await pauses(monkeypatch, [*down, 0.5, Unavailable("down")], 1.0)
    told = [each.__dict__ for each in caplog.records if each.name == "limen.wiring.running"]
    assert [(each["levelname"], each["work"], each["failures"]) for each in told] == [
        ("WARNING", "mails", 1),
        ("WARNING", "mails", 31),
        ("WARNING", "mails", 61),
        ("INFO", "mails", 61),
        ("WARNING", "mails", 1),
    ]
