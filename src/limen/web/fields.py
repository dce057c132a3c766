"""The header fields of a request, by their names."""

from collections.abc import Mapping
from typing import Any


def values_of(scope: Mapping[str, Any], name: bytes) -> list[bytes]:
    """Return the value of every field of a name, in their order: how many there are is for whoever asks to judge.

    Args:
        scope: the request, or the handshake of a WebSocket.
        name: in lower case, as ASGI has it.
    """
    return [value for each, value in scope["headers"] if each == name]
