"""The sealed trail as lines of JSON: what is exported, and what sinks are handed."""

from datetime import UTC, datetime
from json import dumps
from typing import Any

from limen.features.audit.store import SealedRecord
from limen.features.events.service import RecordView


def record_as_json(record: RecordView) -> dict[str, Any]:
    """Return a record as plain JSON values, its time as RFC 3339 in UTC."""
    return {
        "seq": record.seq,
        "time": rfc3339(record.time),
        "event": record.event,
        "actor": record.actor,
        "source": record.source,
        "target": record.target,
        "outcome": record.outcome,
        "request_id": record.request_id,
        "data": record.data,
    }


def sealed_as_json(each: SealedRecord) -> dict[str, Any]:
    """Return a record with its seal as plain JSON values; of a record that is gone there is its number alone."""
    seal, record = each.seal, each.record
    told: dict[str, Any] = {"seq": seal.seq, "missing": True} if record is None else record_as_json(record)
    if record is not None:
        told["user_agent"] = record.user_agent
    told["seal"] = {
        "place": seal.number,
        "time": rfc3339(seal.sealed_at),
        "kid": seal.kid,
        "nonce": None if seal.nonce is None else seal.nonce.hex(),
        "details": seal.details.hex(),
        "digest": seal.digest.hex(),
        "link": seal.link.hex(),
    }
    return told


def as_line(told: dict[str, Any]) -> str:
    """Return it as one line of ASCII: nothing in it ends a line anywhere, or is a sign that a reader may not take."""
    return dumps(told, ensure_ascii=True, separators=(",", ":"))


def rfc3339(ms: int) -> str:
    """Return milliseconds since 1970 UTC as RFC 3339; a time that no year has is the first there is."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00.000Z"
