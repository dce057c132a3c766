"""What this process counts, for whoever watches over it: plain numbers that cost next to nothing to keep.

They are written in the places where something happens anyway, an event or a refusal, and for each request of an
application no more than one number is raised (`Tally`). They are read only when somebody asks (`families`). Labels are
words of this code: no path, no name, no address that a caller chose may become one, or strangers decide how much memory
the numbers take.

There is no lock, which a thread at the lowest priority could hold while the event loop waits. Each thread writes cells
of its own, and reading adds them up, so no count is lost either.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from threading import get_ident
from typing import Literal, NamedTuple

Labels = tuple[str, ...]

_STARTED = time.time()


class Family(NamedTuple):
    """What is known under one name at one moment; plain JSON values, so that it can be handed to another process.

    Attributes:
        name: as Prometheus knows it, with the unit in it.
        kind: ``counter`` only grows, ``gauge`` goes up and down, ``histogram`` counts by size.
        text: one sentence for the operator.
        labels: the names of the labels.
        bounds: the upper ends of a histogram's buckets, ascending; the last bucket has none.
        samples: the values of the labels with a number, or with the sum and the count of each bucket of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    labels: Sequence[str]
    bounds: Sequence[float]
    samples: Sequence[tuple[Sequence[str], float | Sequence[float]]]


class Tally:
    """A number that is raised in place, ``tally.number += 1``, where calling a function would cost too much.

    No thread comes in between: an interpreter with a lock hands over at calls and at jumps back, and neither is here.
    """

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class Counter:
    """Counts what happened.

    Args:
        name: ends in ``_total``.
        text: one sentence for the operator.
        labels: the names of the labels.
        known: values of the labels that are told from the start, as 0.
    """

    def __init__(self, name: str, text: str, labels: Labels = (), known: Iterable[Labels] = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._cells: dict[tuple[int, Labels], float] = {(0, each): 0 for each in known}
        self._elsewhere: Callable[[], float] | None = None
        self._tallies: dict[Labels, Tally] = {}
        _all.append(self)

    def tally(self, *labels: str) -> Tally:
        """Return a number that counts with these labels, for what happens at each request of an application."""
        return self._tallies.setdefault(labels, Tally())

    def add(self, *labels: str, times: int = 1) -> None:
        """Count one more, or several at once."""
        key = (get_ident(), labels)
        self._cells[key] = self._cells.get(key, 0) + times

    def forget(self) -> None:
        """Begin again at 0: what was counted so far did not come from a client."""
        for key in list(self._cells):
            self._cells[key] = 0
        for tally in self._tallies.values():
            tally.number = 0

    def read_by(self, function: Callable[[], float]) -> None:
        """Take the number from somebody who counts anyway."""
        self._elsewhere = function

    def read(self) -> Family:
        """Return the numbers of now."""
        sums: dict[Labels, float] = {}
        for (_, labels), value in list(self._cells.items()):
            sums[labels] = sums.get(labels, 0) + value
        for labels, tally in self._tallies.items():
            sums[labels] = sums.get(labels, 0) + tally.number
        if self._elsewhere is not None:
            sums[()] = self._elsewhere()
        return Family(self.name, "counter", self.text, self.labels, (), sorted(sums.items()))


class Histogram:
    """Counts durations by their length.

    Args:
        name: ends in ``_seconds``.
        text: one sentence for the operator.
        bounds: the upper ends of the buckets, in seconds, ascending.
        labels: the names of the labels.
    """

    def __init__(self, name: str, text: str, bounds: Sequence[float], labels: Labels = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.bounds = tuple(bounds)
        self._cells: dict[tuple[int, Labels], list[float]] = {}
        _all.append(self)

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one of this length."""
        key = (get_ident(), labels)
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells[key] = [0.0] * (len(self.bounds) + 2)
        cell[0] += seconds
        cell[1 + bisect_left(self.bounds, seconds)] += 1

    def read(self) -> Family:
        """Return the numbers of now."""
        sums: dict[Labels, list[float]] = {}
        for (_, labels), cell in list(self._cells.items()):
            before = sums.get(labels)
            sums[labels] = list(cell) if before is None else [a + b for a, b in zip(before, cell, strict=True)]
        return Family(self.name, "histogram", self.text, self.labels, self.bounds, sorted(sums.items()))


class Gauge:
    """Something that goes up and down, looked at only when somebody reads.

    Args:
        name: as Prometheus knows it.
        text: one sentence for the operator.
        labels: the names of the labels.
    """

    def __init__(self, name: str, text: str, labels: Labels = ()) -> None:
        self.name, self.text, self.labels = name, text, labels
        self._sources: dict[Labels, Callable[[], float]] = {}
        _all.append(self)

    def read_by(self, function: Callable[[], float], *labels: str) -> None:
        """Name the function that tells the number; it takes the place of one that was named before."""
        self._sources[labels] = function

    def read(self) -> Family:
        """Return the numbers of now; none where nobody was named who knows."""
        samples = [(labels, source()) for labels, source in sorted(self._sources.items())]
        return Family(self.name, "gauge", self.text, self.labels, (), samples)


class Age:
    """How long ago something was done for the last time, in seconds; nothing is told before the first time.

    Args:
        name: ends in ``_seconds``.
        text: one sentence for the operator.
    """

    def __init__(self, name: str, text: str) -> None:
        self.name, self.text = name, text
        self._last: float | None = None
        _all.append(self)

    def done(self) -> None:
        """Note that it was done just now."""
        self._last = time.monotonic()

    def read(self) -> Family:
        """Return the age of now."""
        samples = [] if self._last is None else [((), time.monotonic() - self._last)]
        return Family(self.name, "gauge", self.text, (), (), samples)


_all: list[Counter | Histogram | Gauge | Age] = []

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

LOGINS = Counter(
    "limen_logins_total",
    "Logins by how they were tried and how they ended.",
    ("method", "outcome"),
    [(method, outcome) for method in ("password", "sso") for outcome in ("success", "failure")],
)
SESSIONS_OPENED = Counter("limen_sessions_opened_total", "Sessions that were opened, by what was proved.", ("grant",))
REVOCATIONS = Counter(
    "limen_revocations_total", "Sessions, keys and bound tokens that were ended before their time, by why.", ("reason",)
)
THROTTLED = Counter("limen_throttled_total", "Attempts that were refused unseen, by the limit reached.", ("limit",))
MAILS = Counter(
    "limen_mails_total",
    "Mails by what became of them.",
    ("outcome",),
    [(word,) for word in ("queued", "sent", "put_off", "given_up")],
)
REFRESHES = Counter(
    "limen_refreshes_total",
    "Refresh tokens by what became of them.",
    ("outcome",),
    [(word,) for word in ("rotated", "restated", "refused", "reused", "rolled_back")],
)
REFUSALS = Counter("limen_refusals_total", "Answers that refuse, by the code of the error.", ("code",))
GUARD_DECISIONS = Counter(
    "limen_guard_decisions_total",
    "Decisions of the guard on leaves of the application and of limen, and why it refused.",
    ("outcome", "code"),
)
POLICY_DECISIONS = Counter(
    "limen_policy_decisions_total",
    "Decisions of policies on requests and messages.",
    ("outcome",),
    [("allowed",), ("denied",)],
)
POLICY_FAILURES = Counter(
    "limen_policy_failures_total", "Decisions that were a no because something failed while deciding.", (), [()]
)
POLICY_DIFFERENCES = Counter(
    "limen_policy_differences_total",
    "Decisions that policies in the shadow would have made otherwise, by what they would have made.",
    ("shadow",),
    [("allowed",), ("denied",)],
)
REQUESTS = Counter(
    "limen_requests_total", "Requests that a route of limen's own answered.", ("method", "route", "status")
)
REQUEST_SECONDS = Histogram(
    "limen_request_seconds", "How long a route of limen's own took to answer.", _FAST, ("method", "route")
)
HASH_SECONDS = Histogram("limen_password_hash_seconds", "How long a password took to hash, waiting not counted.", _SLOW)
HASH_QUEUE = Gauge("limen_password_hash_queue", "Passwords that wait to be hashed.")
DATABASE_CALLS = Counter("limen_database_calls_total", "Calls of the database.")
DATABASE_CONNECTIONS = Gauge("limen_database_connections", "Connections to the database.", ("state",))
DATABASE_WAITING = Gauge("limen_database_waiting", "Calls that wait for their turn at the database.")
VALKEY_CALLS = Counter("limen_valkey_calls_total", "Calls of Valkey.")
VALKEY_FAILURES = Counter("limen_valkey_failures_total", "Calls of Valkey that failed.", (), [()])
ROLLBACKS = Counter("limen_store_rollbacks_total", "How often the database was found to have gone back.", (), [()])
TRAIL_LAG = Gauge("limen_trail_lag_seconds", "How long the oldest record of the trail has waited to be sealed.")
TRAIL_SINK_LAG = Gauge(
    "limen_trail_sink_lag_seconds",
    "How long the first record that a sink of the trail has not taken has been sealed.",
    ("sink",),
)
ENDED_LIST_AGE = Age("limen_ended_list_age_seconds", "How long ago the list of ended sessions was read.")
CONNECTIONS = Gauge("limen_connections", "Open connections of clients.")
_STARTED_AT = Gauge("process_start_time_seconds", "When the process started, in seconds since 1970 UTC.")
_STARTED_AT.read_by(lambda: _STARTED)


def families() -> list[Family]:
    """Return everything that this process counts, as it is now."""
    return [each.read() for each in _all]
