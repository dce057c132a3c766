"""Counting in the memory of one process: the contract of the stores, and a bound."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

import pytest

from limen.features.throttling.memory import MemoryThrottles
from limen.features.throttling.store import Back, Take
from limen.testing.clock import TurnableClock

TAKE = Take("bucket", 10, 60_000)


def test_of_many_threads_as_many_are_counted_as_there_is_room_for() -> None:
    """Two hundred, at a limit of ten: ten."""
    throttles = MemoryThrottles()
    with ThreadPoolExecutor(16) as pool:
        verdicts = list(pool.map(lambda _: throttles.take_now([TAKE]).admitted, range(200)))
    assert verdicts.count(True) == 10


def test_after_its_window_a_bucket_is_empty() -> None:
    """Not a moment before."""
    clock = TurnableClock(1_000_000)
    throttles = MemoryThrottles(clock)
    for _ in range(10):
        assert throttles.take_now([TAKE]).admitted
    clock.turn(59)
    refused = throttles.take_now([TAKE])
    assert not refused.admitted
    assert refused.full["bucket"].ends_in == 1_000
    clock.turn(1)
    assert throttles.take_now([TAKE]).held["bucket"].taken == 1


def test_where_one_is_full_none_is_counted() -> None:
    """What is refused costs the others nothing."""
    throttles = MemoryThrottles()
    full, other = Take("full", 1, 60_000), Take("other", 2, 60_000)
    assert throttles.take_now([full]).admitted
    assert set(throttles.take_now([other, full]).full) == {"full"}
    assert throttles.take_now([other]).held["other"].taken == 1


def test_what_is_renewed_lasts_from_the_last_one() -> None:
    """A count of what came in a row is not forgotten in its middle."""
    clock = TurnableClock(1_000_000)
    throttles = MemoryThrottles(clock)
    take = Take("row", 3, 60_000, renewed=True)
    for _ in range(3):
        assert throttles.take_now([take]).admitted
        clock.turn(50)
    assert not throttles.take_now([take]).admitted
    clock.turn(10)
    assert throttles.take_now([take]).admitted


def test_an_end_that_a_wrong_clock_wrote_does_not_last() -> None:
    """A clock that was a day ahead for a moment locks nobody out for the day; ten seconds are no new window."""
    clock = TurnableClock(1_000_000)
    throttles = MemoryThrottles(clock)
    take = Take("one", 1, 60_000)
    clock.turn(86_400)
    assert throttles.take_now([take]).admitted
    clock.turn(-86_400)
    assert throttles.take_now([take]).admitted
    clock.turn(-10)
    assert not throttles.take_now([take]).admitted


def test_what_is_given_back_is_there_again_once() -> None:
    """To the window it is of, and never below nothing; what is emptied is empty."""
    clock = TurnableClock(1_000_000)
    throttles = MemoryThrottles(clock)
    take = Take("two", 2, 60_000)
    held = throttles.take_now([take]).held["two"]
    for _ in range(3):
        asyncio.run(throttles.give_back([Back("two", held.ends_at), Back("none")]))
    assert [throttles.take_now([take]).admitted for _ in range(3)] == [True, True, False]
    asyncio.run(throttles.give_back([Back("two", held.ends_at + 1)]))
    assert not throttles.take_now([take]).admitted
    asyncio.run(throttles.give_back([Back("two", 0, emptied=True)]))
    assert throttles.take_now([take]).held["two"].taken == 1


def test_there_are_so_many_buckets_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever makes buckets without end fills no memory: the oldest go, which is told, and the latest stay."""
    throttles = MemoryThrottles(TurnableClock(), most_buckets=100)
    with caplog.at_level(logging.WARNING, logger="limen"):
        for number in range(150):
            throttles.take_now([Take(f"bucket-{number}", 1, 60_000)])
    assert "throttle_buckets_forgotten" in caplog.text
    assert throttles.take_now([Take("bucket-0", 1, 60_000)]).admitted
    assert not throttles.take_now([Take("bucket-149", 1, 60_000)]).admitted


def test_what_is_over_makes_room_first(caplog: pytest.LogCaptureFixture) -> None:
    """No bucket that counts is forgotten while there are some that do not."""
    clock = TurnableClock(1_000_000)
    throttles = MemoryThrottles(clock, most_buckets=100)
    with caplog.at_level(logging.WARNING, logger="limen"):
        throttles.take_now([Take("long", 1, 600_000)])
        for number in range(99):
            throttles.take_now([Take(f"short-{number}", 1, 60_000)])
        clock.turn(61)
        throttles.take_now([Take("new", 1, 60_000)])
    assert not throttles.take_now([Take("long", 1, 600_000)]).admitted
    assert "throttle_buckets_forgotten" not in caplog.text
