"""A tiny round of every benchmark brings numbers; how large they are is said by ``make bench``, never by a test."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import BENCHMARKS
from benchmarks.logins import rank_test
from benchmarks.rows import Row, Target, median_ratio, percentile
from benchmarks.servers import ROOT


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run the benchmarks as ``make bench`` does."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    uncounted = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return subprocess.run(command, cwd=ROOT, env=uncounted, capture_output=True, text=True, timeout=300)


@pytest.mark.serial
@pytest.mark.timeout(300)
def test_every_benchmark_brings_numbers(tmp_path: Path) -> None:
    """All of them run, and write what they measured, on what, and against which targets, as a table and as JSON."""
    done = run("--quick", "--json", str(tmp_path / "bench.json"))
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads((tmp_path / "bench.json").read_text())
    assert {row["bench"] for row in told["rows"]} == set(BENCHMARKS)
    for row in told["rows"]:
        for figure in (row["limen"], row["other"], row["ratio"]):
            assert figure is None or math.isfinite(figure), row
        assert (row["target"] is None) == (row["reached"] is None)
    assert told["cores"] >= 1
    assert {"python", "libraries", "load_average", "processor"} <= told.keys()
    assert "target" in done.stdout
    assert "Load average" in done.stdout


def test_an_unknown_benchmark_is_wrong_usage() -> None:
    """A name that is none is told, with exit code 2, before anything is measured."""
    done = run("no-such-benchmark")
    assert done.returncode == 2
    assert "no-such-benchmark" in done.stderr


def test_a_target_is_held_against_the_figure_or_the_ratio() -> None:
    """At most and at least, each of limen's own figure or of the ratio; without a target nothing is missed."""
    assert Row("b", "w", "µs", 9.0, target=Target("at most", 10)).reached is True
    assert Row("b", "w", "µs", 11.0, target=Target("at most", 10)).reached is False
    assert Row("b", "w", "/s", 1.0, 2.0, "bare", 0.5, Target("at least", 0.9, of="ratio")).reached is False
    assert Row("b", "w", "/s", 1.0, 1.0, "bare", 1.0, Target("at least", 0.9, of="ratio")).reached is True
    assert Row("b", "w", "µs", 9.0).reached is None


def test_the_statistics_are_what_their_names_say() -> None:
    """The ratio is the median of the rounds', a percentile is a sample, and equal samples have a high p."""
    assert median_ratio([1.0, 4.0, 9.0], [1.0, 2.0, 3.0]) == 2.0
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile([float(n) for n in range(101)], 0.99) == 99.0
    alike, other = [float(n % 10) for n in range(100)], [float(n % 10) + 8 for n in range(100)]
    assert rank_test(alike, list(alike)) > 0.5
    assert rank_test(alike, other) < 0.001
