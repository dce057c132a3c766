"""Times as people and JSON write them."""

from datetime import UTC, datetime


def seconds_of(text: str) -> int | None:
    """Return a time of RFC 3339, such as ``2026-12-31T00:00:00Z``, in whole seconds since 1970 UTC.

    None where it is no such time: a time without its offset from UTC would be another moment on each machine.
    """
    if len(text) > 40 or not text.isascii():
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None or "T" not in text.upper():
        return None
    try:
        return int(moment.timestamp())
    except (OverflowError, ValueError):
        return None


def rfc3339_of(seconds: int) -> str:
    """Write a time, in seconds since 1970 UTC, as RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
