"""Identifiers: UUIDv7 (RFC 9562, section 5.7), sortable by the time they were made."""

import os
import re
import time
from typing import Final

UUID7: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
"""The pattern of a UUIDv7 in its canonical form."""

_CANONICAL = re.compile(rf"{UUID7}\Z")


_RANDOM_BYTES: Final = 16
_BLOCK: Final = 4096
_ready: list[bytes] = []


def random_id_bytes() -> bytes:
    """Return 16 random bytes for an id: unpredictable to strangers, but no secret. Secrets come from `os.urandom`.

    The bytes are the operating system's, taken by the block: each call into it lets go of the interpreter lock, and a
    request that makes ids would lose it to another thread each time. Taking one from a list is a single step, so no two
    threads get the same; a forked process begins with an empty list, so no two processes do.
    """
    try:
        return _ready.pop()
    except IndexError:
        block = os.urandom(_BLOCK)
    fresh = [block[at : at + _RANDOM_BYTES] for at in range(0, _BLOCK, _RANDOM_BYTES)]
    taken = fresh.pop()
    _ready.extend(fresh)
    return taken


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ready.clear)


def uuid7() -> str:
    """Return a new UUIDv7 in its canonical form: 36 characters, lower case.

    The first 48 bits are milliseconds since 1970 UTC, the other 74 are random, so an id is not a secret but cannot be
    guessed either.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(random_id_bytes()[:10], "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    value = value & ~(0b11 << 62) | 0b10 << 62  # variant
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_uuid7(text: str) -> bool:
    """Tell whether the text is a UUIDv7 in its canonical form."""
    return _CANONICAL.match(text) is not None
