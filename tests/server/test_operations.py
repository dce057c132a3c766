"""The page for operators says the bounds and the numbers that the code has."""

import re

from limen.core import metrics
from limen.core.probe import KEEP_SECONDS, WAIT_SECONDS
from limen.crypto import hashing_pool
from limen.features.throttling import memory
from limen.server import bounds, exposition, supervisor
from limen.server.head_deadline import HeadLimits
from limen.settings import Settings
from limen.storage.sql import group_commit, postgres_pool
from limen.storage.valkey import client
from limen.web import body
from tests.docs.markdown import ROOT, code, rows

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")

BOUNDS: dict[str, float] = {
    "connections": bounds.MOST_CONNECTIONS,
    "connections that wait to be accepted": bounds.BACKLOG,
    "request head, size": bounds.MOST_HEAD_BYTES,
    "request head, fields": bounds.MOST_FIELDS,
    "request head, time": HeadLimits().seconds,
    "connections of one peer without a whole head": HeadLimits().patient,
    "connections of one peer without a whole head, at most": HeadLimits().most,
    "request body of limen's own routes, size": body.MAX_BYTES,
    "request body of limen's own routes, time": body.MAX_SECONDS,
    "idle connection": bounds.KEEP_ALIVE_SECONDS,
    "WebSocket message": bounds.MOST_WEBSOCKET_BYTES,
    "buckets of attempts in memory": memory.MOST_BUCKETS,
    "passwords that wait, for each core": hashing_pool.QUEUE_PER_THREAD,
    "PostgreSQL: requests that wait for a connection": postgres_pool.QUEUE_SIZE,
    "PostgreSQL: time that a request waits for a connection": postgres_pool.WAIT_SECONDS,
    "SQLite: calls that wait": group_commit.QUEUE_SIZE,
    "Valkey: connections": client.CONNECTIONS,
    "Valkey: time for a connection, and for an answer": client.WAIT_SECONDS,
    "probe of readiness": WAIT_SECONDS,
    "shutdown: requests under way": bounds.SHUTDOWN_SECONDS,
    "shutdown: idle connections": bounds.IDLE_SECONDS,
    "readers of the metrics": exposition.MOST_READERS,
}
IN_WORDS = {
    "passwords that are hashed at a time",
    "PostgreSQL: connections",
    "attempts",
    "request body of the application's routes, size and time",
}


def section(heading: str) -> str:
    """Return a section of the page."""
    return PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_bounds_are_those_of_the_code() -> None:
    """Each bound on the page has the value that the code has, and none is left out."""
    told = {cells[0]: cells[1] for cells in rows(section("Limits"), "bound")}
    assert set(told) - IN_WORDS == set(BOUNDS)
    for name, value in BOUNDS.items():
        assert float(told[name].split()[0]) == value, name
    hurried = next(cells[2] for cells in rows(section("Limits"), "bound") if cells[1] == str(HeadLimits().patient))
    assert hurried == f"further ones have {HeadLimits().hurried_seconds:.0f} s instead"


def test_numbers_in_sentences_are_those_of_the_code() -> None:
    """Seconds that stand in sentences are the code's as well."""
    shutdown, health, workers = section("Shutdown"), section("Health"), section("Workers")
    assert f"kept for {bounds.IDLE_SECONDS:.0f} second more" in shutdown
    assert f"longer than {bounds.SHUTDOWN_SECONDS} seconds" in shutdown
    given = re.search(r"`LIMEN_SHUTDOWN_DELAY` and (\d+) seconds before it is killed", shutdown)
    assert given
    assert int(given[1]) > bounds.SHUTDOWN_SECONDS + bounds.END_MARGIN
    assert f"within {WAIT_SECONDS:.0f} seconds" in health
    assert KEEP_SECONDS == 1
    assert f"after {supervisor.FIRST_PAUSE} seconds, and at most {supervisor.LONGEST_PAUSE:.0f}" in workers
    assert Settings.model_fields["shutdown_delay"].default == 0
    assert "`LIMEN_SHUTDOWN_DELAY` seconds (0)" in shutdown


def test_every_metric_is_told() -> None:
    """The page lists each metric with its labels, and no other."""
    told = {name: set(code(cells[1])) for cells in rows(section("Metrics"), "metric") for name in code(cells[0])}
    known = {
        family.name: set(family.labels)
        for family in metrics.families()
        if family.name.startswith(("limen_", "process_"))
    }
    workers = {"limen_workers", "limen_workers_replaced_total"}
    assert set(told) == set(known) | workers
    for name, labels in known.items():
        assert labels <= told[name], name
    for counter in (metrics.LOGINS, metrics.REFRESHES):
        values = {value for labels, _ in counter.read().samples for value in labels}
        assert values | set(counter.labels) == told[counter.name]
