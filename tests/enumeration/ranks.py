"""Whether two samples come from one distribution: Mann and Whitney's test, and Holm's correction."""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Compared:
    """How two samples differ.

    Attributes:
        effect: the probability that a value of the first is greater than one of the second, ties counted half
            (Vargha and Delaney's A): 0.5 where they are alike.
        p: the probability of a rank sum as far from the middle, were they alike; two-sided.
    """

    effect: float
    p: float


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> Compared:
    """Compare two samples by ranks, with the normal approximation and its corrections for ties and continuity.

    Mann and Whitney (1947); for samples of 20 and more the approximation is close enough.
    """
    n, m = len(first), len(second)
    marked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    rank_sum, ties, at = 0.0, 0, 0
    while at < len(marked):
        end = at
        while end < len(marked) and marked[end][0] == marked[at][0]:
            end += 1
        rank_sum += (at + 1 + end) / 2 * sum(1 for _, which in marked[at:end] if which == 0)
        ties += (end - at) ** 3 - (end - at)
        at = end
    greater = rank_sum - n * (n + 1) / 2
    middle = n * m / 2
    variance = n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1)))
    if variance <= 0:
        return Compared(0.5, 1.0)
    z = max(0.0, abs(greater - middle) - 0.5) / math.sqrt(variance)
    return Compared(greater / (n * m), 2 * NormalDist().cdf(-z))


def holm(found: Mapping[K, Compared]) -> dict[K, float]:
    """Return the p of each comparison, corrected for their number (Holm, 1979)."""
    corrected: dict[K, float] = {}
    least = 0.0
    for number, (key, compared) in enumerate(sorted(found.items(), key=lambda pair: pair[1].p)):
        least = min(1.0, max(least, compared.p * (len(found) - number)))
        corrected[key] = least
    return corrected
