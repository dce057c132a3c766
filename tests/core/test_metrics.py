import json
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from limen.core import metrics
from limen.core.metrics import Age, Counter, Family, Gauge, Histogram

THREADS = 8
TIMES = 20_000


@pytest.fixture(autouse=True)
def own_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test makes is not told by the process."""
    monkeypatch.setattr(metrics, "_all", [])


def in_threads(work: Callable[[], None]) -> None:
    """Do something in several threads at once."""
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_no_count_is_lost_between_threads() -> None:
    """Threads that count at once, without a lock, lose nothing, neither of a counter nor of a histogram."""
    counter = Counter("limen_things_total", "Things.", ("kind",))
    histogram = Histogram("limen_things_seconds", "Things.", (0.1, 1))

    def count() -> None:
        for _ in range(TIMES):
            counter.add("one")
            histogram.observe(0.5)

    in_threads(count)
    assert counter.read().samples == [(("one",), THREADS * TIMES)]
    ((_, cell),) = histogram.read().samples
    assert cell == [THREADS * TIMES * 0.5, 0, THREADS * TIMES, 0]


def test_known_labels_are_told_as_zero() -> None:
    """A counter tells the labels it knows from the start, so that a rate can be had of the first one."""
    counter = Counter("limen_things_total", "Things.", ("kind",), [("one",), ("two",)])
    counter.add("two")
    assert counter.read().samples == [(("one",), 0), (("two",), 1)]
    counter.forget()
    assert counter.read().samples == [(("one",), 0), (("two",), 0)]


def test_buckets_are_closed_at_their_upper_end() -> None:
    """A duration that is just as long as a bound is in that bound's bucket, and the longest are in the last one."""
    histogram = Histogram("limen_things_seconds", "Things.", (0.1, 1))
    for seconds in (0.05, 0.1, 1.0, 1.1, 60.0):
        histogram.observe(seconds)
    ((_, cell),) = histogram.read().samples
    assert isinstance(cell, list)
    assert cell[0] == pytest.approx(62.25)
    assert cell[1:] == [2, 1, 2]


def test_gauges_are_looked_at_when_read() -> None:
    """A gauge tells what its source says at that moment, and nothing before it has one."""
    gauge = Gauge("limen_things", "Things.", ("state",))
    assert gauge.read().samples == []
    things = [1, 2]
    gauge.read_by(lambda: len(things), "open")
    things.append(3)
    assert gauge.read().samples == [(("open",), 3)]


def test_ages_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An age tells nothing before the first time, and then how long ago the last time was."""
    age = Age("limen_age_seconds", "Age.")
    assert age.read().samples == []
    begun = 100.0
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: begun))
    age.done()
    monkeypatch.setattr(metrics, "time", SimpleNamespace(monotonic=lambda: begun + 7.5))
    assert age.read().samples == [((), 7.5)]


def test_families_survive_json() -> None:
    """What one process tells another as JSON is the same afterwards: a supervisor gets it so."""
    Counter("limen_a_total", "A.", ("kind",)).add("one")
    Histogram("limen_b_seconds", "B.", (0.1,)).observe(0.05)
    told = metrics.families()
    again = [Family(*each) for each in json.loads(json.dumps(told))]
    assert json.dumps(again) == json.dumps(told)
    assert [each.name for each in again] == ["limen_a_total", "limen_b_seconds"]
