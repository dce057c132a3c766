"""`limen check` of a large application: from the command to its report, beside the bare import of the application."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Effort, Row, Target, median_ratio
from benchmarks.shop import AREAS, write_shop
from benchmarks.tutorial import THINGS, write_tutorial
from tests.support.processes import uncounted

TARGET_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Taken:
    seconds: float
    processor: float


def checks(effort: Effort) -> Sequence[Row]:
    """Measure two applications, one as FastAPI's tutorial has it and one that does much at its import."""
    things, areas = effort.count(THINGS, 2), effort.count(AREAS, 2)
    return [
        *_checks("tutorial", 5 * things, lambda folder: write_tutorial(folder, things), effort),
        *_checks("shop", 25 * areas, lambda folder: write_shop(folder, areas), effort),
    ]


def _checks(name: str, routes: int, write: Callable[[Path], int], effort: Effort) -> Sequence[Row]:
    """Measure check and import in turn, each in fresh processes without bytecode; one of each before is not counted."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = write(folder)
        commands = {
            "import": [sys.executable, "-c", f"import {name}.main"],
            "check": [sys.executable, "-m", "limen.cli", "check", f"{name}.main:app", "--fail-on", "high"],
        }
        for command in commands.values():
            _run(command, folder)
        rounds = [{each: _run(command, folder) for each, command in commands.items()} for _ in range(effort.rounds(7))]
    checked, imported = [each["check"] for each in rounds], [each["import"] for each in rounds]
    size = f"{name}: {routes} routes in {files} files"
    return [
        Row(
            "check",
            f"limen check of {size}",
            "s",
            statistics.median(each.seconds for each in checked),
            statistics.median(each.seconds for each in imported),
            "import by plain Python",
            median_ratio([each.seconds for each in checked], [each.seconds for each in imported]),
            Target("at most", TARGET_SECONDS),
            len(rounds),
            note=f"{statistics.median(c.seconds - i.seconds for c, i in zip(checked, imported, strict=True)):+.2f} s"
            " over the import",
        ),
        Row(
            "check",
            f"processor time of the same, all of its processes: {size}",
            "s",
            statistics.median(each.processor for each in checked),
            statistics.median(each.processor for each in imported),
            "import by plain Python",
            median_ratio([each.processor for each in checked], [each.processor for each in imported]),
            rounds=len(rounds),
        ),
    ]


def _run(command: Sequence[str], folder: Path) -> _Taken:
    before, start = os.times(), time.perf_counter()
    ended = subprocess.run(
        command,
        cwd=folder,
        env={**uncounted(), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=300,
        check=False,
    )
    seconds, after = time.perf_counter() - start, os.times()
    if ended.returncode != 0:
        raise RuntimeError(ended.stderr.decode(errors="replace"))
    processor = after.children_user + after.children_system - before.children_user - before.children_system
    return _Taken(seconds, processor)
