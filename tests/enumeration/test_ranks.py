"""The statistics themselves, against numbers that others have published or that can be counted."""

import random
from itertools import combinations

import pytest

from tests.enumeration.measuring import told_apart
from tests.enumeration.ranks import Compared, holm, mann_whitney


def test_the_effect_is_what_counting_gives() -> None:
    """The share of pairs of which the first is greater, ties counted half."""
    chance = random.Random(5)
    one, other = ([chance.randrange(12) for _ in range(number)] for number in (40, 25))
    counted = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in one for b in other) / (len(one) * len(other))
    assert mann_whitney(one, other).effect == pytest.approx(counted)
    assert mann_whitney(other, one).effect == pytest.approx(1 - counted)
    assert mann_whitney(other, one).p == pytest.approx(mann_whitney(one, other).p)


def test_the_probability_is_what_all_arrangements_give() -> None:
    """Of all ways to choose 8 of 16 ranks, so many lie as far from the middle: within the approximation's error."""
    ranks = range(1, 17)
    chosen = (1, 2, 3, 6, 8, 9, 12, 13)
    middle = 8 * 17 / 2
    as_far = [abs(sum(each) - middle) >= abs(sum(chosen) - middle) for each in combinations(ranks, 8)]
    exact = sum(as_far) / len(as_far)
    found = mann_whitney(chosen, [rank for rank in ranks if rank not in chosen])
    assert found.p == pytest.approx(exact, rel=0.1)


def test_equal_samples_do_not_differ() -> None:
    """All values the same: one half, and no doubt."""
    assert mann_whitney([3, 3, 3], [3, 3]) == Compared(0.5, 1.0)


def test_the_correction() -> None:
    """The example of Holm's procedure: 0.01, 0.02, 0.03 and 0.04 become 0.04, 0.06, 0.06 and 0.06."""
    given = {name: Compared(0.5, p) for name, p in zip("abcd", (0.01, 0.04, 0.03, 0.02), strict=True)}
    assert holm(given) == pytest.approx({"a": 0.04, "d": 0.06, "c": 0.06, "b": 0.06})


def test_noise_that_all_share_tells_nothing_apart_and_a_shift_does() -> None:
    """Times of a machine that is busy now and then: alike in turns; a tenth more work in one of them shows."""
    chance = random.Random(9)
    busy = [chance.choice([1_000, 1_000, 4_000]) for _ in range(400)]
    alike = {name: [load + chance.randrange(50) for load in busy] for name in "abcdef"}
    assert told_apart(alike) == {}
    shifted = {name: [load + chance.randrange(300) for load in [1_000] * 400] for name in "ab"}
    shifted["b"] = [value + 100 for value in shifted["b"]]
    assert list(told_apart(shifted)) == [("a", "b")]
