"""The one reader of JSON, held against the standard library's: what is accepted means the same to both."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from limen.crypto.strict_json import MAX_DEPTH, JsonError, read_object, read_struct

LIMIT = 4096


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    username: str
    password: str = ""
    remember: bool = False
    roles: list[str] = []
    number: int = 0


@contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """Return what takes any bytes."""
    yield check


def check(data: bytes) -> None:
    """Read the bytes as an object, and as the body of a request."""
    found: dict[str, object] | None = None
    with suppress(JsonError):
        found = read_object(data, limit=LIMIT)
    try:
        body = read_struct(data, _Body, limit=LIMIT)
    except JsonError as refused:
        _shown(refused, found)
    else:
        assert found is not None
        assert found["username"] == body.username
    if found is not None:
        assert len(data) <= LIMIT
        assert found == json.loads(data, object_pairs_hook=_once)
        assert read_object(json.dumps(found).encode(), limit=8 * LIMIT) == found
        assert _depth(found) <= MAX_DEPTH
        json.dumps(found, ensure_ascii=False).encode("utf-8")


_NAMES = {"body", *_Body.__struct_fields__}


def _shown(refused: JsonError, found: object) -> None:
    assert found is not None or refused.reason != "fields", "refused by one, read by the other"
    for fault in refused.faults:
        assert all(isinstance(part, int) or part in _NAMES for part in fault.loc), "what was sent comes back"


def _once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({name for name, _ in members}) == len(members), "a name twice was accepted"
    return dict(members)


def _depth(value: object) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if below is None else 1 + max(map(_depth, below), default=0)


def seeds() -> Iterator[bytes]:
    """Bodies, and what parsers are known to disagree about."""
    yield b'{"username":"a","password":"b"}'
    yield b'{"username":"a","roles":["a","b"],"remember":true,"number":12}'
    yield b' {"a": [1, -2.5e3, null, {"b": "\\u00e9\\ud83d\\ude00\\n"}]}\r\n'
    yield b'{"a":1,"a":2}'
    yield b'{"a":1,"\\u0061":2}'
    yield b'{"a":NaN}'
    yield b'{"a":-Infinity,"b":1e999}'
    yield b'{"a":"\\ud800"}'
    yield b'{"a":"\\u0000"}'
    yield b"\xef\xbb\xbf{}"
    yield '{"a":"é"}'.encode("utf-16")
    yield b'{"a":' * 16 + b"1" + b"}" * 16
    yield b'{"a":"' + b"[" * 40 + b'"}'
    yield b'{"a":123456789012345678901}'
    yield b"[]"
