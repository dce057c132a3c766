"""Tells the metrics where to look for what goes up and down: connections, and the database of a gate."""

from collections.abc import Sized

from limen.core import metrics
from limen.storage.sql.postgres import PostgresStorage
from limen.web.guard.protection import protections
from limen.wiring import Limen


def gate_of(app: object) -> Limen | None:
    """Return the gate that an application is protected by; None where there is none."""
    for protection in protections(app):
        if isinstance(protection.gate, Limen):
            return protection.gate
    return None


def observe(gate: Limen | None, connections: Sized) -> None:
    """Let the metrics of this process tell about a gate and the open connections of its server."""
    metrics.CONNECTIONS.read_by(lambda: len(connections))
    if gate is None:
        return
    storage = gate.storage
    metrics.DATABASE_CALLS.read_by(lambda: float(storage.calls))
    if isinstance(storage, PostgresStorage):
        metrics.DATABASE_CONNECTIONS.read_by(lambda: storage.in_use, "in_use")
        metrics.DATABASE_WAITING.read_by(lambda: storage.waiting)
    valkey = getattr(storage, "valkey", None)
    if valkey is not None:
        metrics.VALKEY_CALLS.read_by(lambda: float(valkey.calls))
