"""What a request is about, as one text that means the same to everybody, and its hash."""

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

from limen.core.errors import InputFault, InvalidInput

MAX_BYTES: Final = 16_384
"""Bytes of a payload at most."""
DEEPEST: Final = 16
"""How many objects and lists may lie in one another, as in every body that limen reads."""


class Canonical(NamedTuple):
    """A payload as it is kept: JSON with sorted names and no white space, and the SHA-256 of it in UTF-8."""

    text: str
    digest: bytes


def canonical(payload: object) -> Canonical:
    """Return the one text of a payload: the same content has the same text, in whichever order it came.

    Raises:
        InvalidInput: it is no object of plain JSON values, or larger than 16 KiB.
    """
    if not isinstance(payload, Mapping) or not _is_plain(payload, DEEPEST):
        raise _unusable(
            "A payload is an object of plain JSON values: texts, numbers, lists, objects, true, false, null."
        )
    try:
        text = json.dumps(_plain(payload), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        encoded = text.encode()
    except (ValueError, TypeError):
        encoded = b""
        text = ""
    # Outside the handler: the chain of exceptions would carry the encoder's, which quotes the input.
    if not encoded:
        raise _unusable("The payload has a number or a text that JSON in UTF-8 has no form for.")
    if len(encoded) > MAX_BYTES:
        raise InvalidInput(
            f"A payload has at most {MAX_BYTES} bytes.",
            errors=[InputFault(("body",), "too_long", f"At most {MAX_BYTES} bytes.")],
        )
    return Canonical(text, sha256(encoded).digest())


def is_whole(text: str, digest: bytes) -> bool:
    """Tell whether a kept payload is the one that was hashed."""
    return sha256(text.encode()).digest() == digest


def payload_of(text: str) -> dict[str, Any]:
    """Return a kept payload as a value."""
    found: dict[str, Any] = json.loads(text)
    return found


def _is_plain(value: object, depth: int) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    if value is None or isinstance(value, (float, str)):
        return True
    if not depth:
        return False
    if isinstance(value, Mapping):
        # A name that is no text would become one, and could then stand there twice.
        return all(isinstance(name, str) and _is_plain(each, depth - 1) for name, each in value.items())
    return isinstance(value, (list, tuple)) and all(_is_plain(each, depth - 1) for each in value)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _unusable(message: str) -> InvalidInput:
    return InvalidInput(message, errors=[InputFault(("body",), "invalid_value", message)])
