"""What a benchmark brings home: rows, each with its target and whether it was reached."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Target:
    """What a row must reach.

    Attributes:
        bound: ``at most`` or ``at least``.
        value: the bound.
        of: whether limen's own figure is asked, or its ratio to the other one.
    """

    bound: Literal["at most", "at least"]
    value: float
    of: Literal["limen", "ratio"] = "limen"

    def holds(self, figure: float) -> bool:
        """Tell whether a figure reaches it."""
        return figure <= self.value if self.bound == "at most" else figure >= self.value

    def __str__(self) -> str:
        sign = "<=" if self.bound == "at most" else ">="
        return f"{'ratio ' if self.of == 'ratio' else ''}{sign} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        bench: the benchmark that made it, by the name that selects it.
        what: what was measured.
        unit: of both figures.
        limen: limen's figure: the median of the rounds.
        other: the figure of what it is held against; None where there is nothing.
        other_is: what that is: a floor, or a peer.
        ratio: limen's figure divided by the other one, the median of each round's; None without another.
        target: what must be reached; None for a row that only informs.
        rounds: how many rounds the medians are of.
        note: how to read it.
    """

    bench: str
    what: str
    unit: str
    limen: float
    other: float | None = None
    other_is: str = ""
    ratio: float | None = None
    target: Target | None = None
    rounds: int = 1
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """Tell whether the target is reached; None where there is none."""
        if self.target is None:
            return None
        figure = self.limen if self.target.of == "limen" else self.ratio
        return figure is not None and self.target.holds(figure)


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure.

    Attributes:
        quick: one tiny round of everything: shows that it works, and measures nothing.
        installs: whether a benchmark may install the peers that it names; only where it was asked for by name.
    """

    quick: bool = False
    installs: bool = False

    def rounds(self, number: int) -> int:
        """Return the number of rounds: as many as asked for, or one."""
        return 1 if self.quick else number

    def count(self, number: int, quick: int) -> int:
        """Return how often something is done in a round."""
        return quick if self.quick else number

    def seconds(self, number: float) -> float:
        """Return how long a round lasts."""
        return min(number, 0.15) if self.quick else number


Benchmark = Callable[[Effort], Sequence[Row]]


def median_ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of the ratios of rounds that ran next to each other."""
    return statistics.median(mine / other for mine, other in zip(ours, others, strict=True))


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which the share of them lies (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]
