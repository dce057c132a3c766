"""A process with a clock of its own sees the shifted time, and a step while it runs."""

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.clock_shift import LACKING, ShiftedClock, library

TELLS = """
import sys, time, threading, uuid_utils
def tell():
    print(time.time(), uuid_utils.uuid7().timestamp / 1000, time.monotonic(), flush=True)
for _ in sys.stdin:
    thread = threading.Thread(target=tell)
    thread.start()
    thread.join()
"""
MOST_SECONDS_OFF = 2.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the shift is kept; the test needs the library."""
    if library() is None:
        pytest.skip(LACKING)
    return tmp_path / "shift"


@pytest.mark.parametrize("seconds", [-300, -60, 60, 300])
def test_a_process_sees_the_shifted_time_and_the_steps(file: Path, seconds: int) -> None:
    """Its time of day and the time in its ids are off by that much; a step is seen; its monotonic clock goes on."""
    clock = ShiftedClock(file, seconds)
    with subprocess.Popen(
        [sys.executable, "-c", TELLS],
        env=clock.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def shifts() -> tuple[float, float, float]:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            now, in_uuid, monotonic = map(float, process.stdout.readline().split())
            return now - time.time(), in_uuid - time.time(), monotonic - time.monotonic()

        now, in_uuid, monotonic = shifts()
        assert abs(now - seconds) < MOST_SECONDS_OFF
        assert abs(in_uuid - seconds) < MOST_SECONDS_OFF
        assert abs(monotonic) < MOST_SECONDS_OFF
        for expected in (-seconds, 0, seconds):
            clock.step_to(expected)
            now, _, monotonic = shifts()
            assert abs(now - expected) < MOST_SECONDS_OFF
            assert abs(monotonic) < MOST_SECONDS_OFF
        process.stdin.close()
        assert process.wait(60) == 0


def test_timers_are_not_moved_by_a_step(file: Path) -> None:
    """A wait of 0.5 s lasts 0.5 s although the clock steps by five minutes in the middle of it."""
    clock = ShiftedClock(file)
    waits = "import asyncio; print(flush=True); asyncio.run(asyncio.sleep(0.5))"

    async def measure() -> float:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", waits, env=clock.environment(), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        began = time.monotonic()
        await asyncio.sleep(0.2)
        clock.step_to(-300)
        assert await asyncio.wait_for(process.wait(), 60) == 0
        return time.monotonic() - began

    assert 0.4 < asyncio.run(measure()) < 60
