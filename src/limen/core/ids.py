"""Identifiers: UUIDv7 (RFC 9562, section 5.7), sortable by the time they were made."""

import os
import re
import time

_CANONICAL = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical form: 36 characters, lower case.

    The first 48 bits are milliseconds since 1970 UTC, the other 74 are random, so an id is not a secret but cannot be
    guessed either.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0b11 << 62) | 0b10 << 62  # variant
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_uuid7(text: str) -> bool:
    """Tell whether the text is a UUIDv7 in its canonical form."""
    return _CANONICAL.match(text) is not None
