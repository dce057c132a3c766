"""Identifiers: UUIDv7 (RFC 9562, section 5.7), sortable by the time they were made."""

import re
import secrets
import time
from uuid import UUID

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical form: 36 characters, lower case.

    The first 48 bits are milliseconds since 1970 UTC, the other 74 are random, so an id is not a secret but cannot be
    guessed either.
    """
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80
    value |= 0x7 << 76
    value |= secrets.randbits(12) << 64
    value |= 0b10 << 62
    value |= secrets.randbits(62)
    return str(UUID(int=value))


def is_uuid7(text: str) -> bool:
    """Tell whether the text is a UUIDv7 in its canonical form."""
    return _CANONICAL.match(text) is not None
