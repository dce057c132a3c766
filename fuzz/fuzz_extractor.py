"""Who is calling, by the headers of a request: a whole gate is asked, and nobody here holds a credential."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from limen import Limen, Settings
from limen.authn.chain import AuthenticationChain
from limen.authn.extractor import read_authorization
from limen.authn.strategy import PresentedCredential, Rejected
from limen.core.errors import CredentialMalformed, LimenError
from limen.core.events import NOWHERE, Origin
from limen.core.principal import ANONYMOUS, Principal
from limen.crypto.api_keys import ApiKey
from limen.crypto.encoding import b64url_encode
from tests.crypto import hostile_tokens as made

SECRET: Final = "a-secret-of-the-fuzz-targets-that-opens-nothing-and-has-enough-bytes"
_BARE: Final = AuthenticationChain([])


@dataclass
class _State:
    """Where the outcome of a request is noted."""

    principal: Principal = ANONYMOUS
    rejection: LimenError | None = None
    credential: object = None
    safe_only: bool = False
    origin: Origin = NOWHERE


@contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """Run a gate with an empty database, and return what takes any bytes."""
    log = logging.getLogger("limen")
    level = log.level
    log.setLevel(logging.CRITICAL)
    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        gate = Limen(
            Settings.load(
                database_url=f"sqlite:///{Path(folder) / 'limen.db'}",
                jwt_access_secret=SECRET + "1",
                jwt_refresh_secret=SECRET + "2",
                data_secrets=SECRET + "3",
                issuer=made.ISSUER,
                audience=made.AUDIENCE,
            )
        )
        running = gate.running()
        runner.run(running.__aenter__())
        try:
            yield lambda data: check(data, gate, runner)
        finally:
            runner.run(running.__aexit__(None, None, None))
    log.setLevel(level)


def check(data: bytes, gate: Limen, runner: asyncio.Runner) -> None:
    """Make a request of the bytes: its first line is the method's, every other one a header."""
    first, *lines = data.split(b"\n")
    pairs = [line.partition(b":") for line in lines]
    headers = [(name.lower(), value.strip(b" \t")) for name, _, value in pairs]
    _extracted(headers)
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST" if first[:1] == b"P" else "GET",
        "scheme": "http" if first[1:2] == b"h" else "https",
        "path": "/",
        "client": ("192.0.2.1", 1),
        "headers": headers,
    }
    state = _State()
    waiting = gate.authenticate(scope, state)
    if waiting is not None:
        runner.run(_awaited(waiting))
    assert state.principal is ANONYMOUS, "somebody without a credential was taken for somebody"
    assert state.credential is None
    names = {name for name, _ in headers}
    if names & {b"authorization", b"x-api-key"}:
        assert state.rejection is not None, "a credential that counts for nothing was taken for none"


async def _awaited(waiting: Any) -> None:
    await waiting


def _extracted(headers: list[tuple[bytes, bytes]]) -> None:
    """Hold what the extractor says of one header against what it says of the request."""
    values = [value for name, value in headers if name == b"authorization"]
    found = _BARE.recall(headers)
    if len(values) != 1:
        assert found is None if not values else isinstance(found, Rejected)
        return
    alone = read_authorization(values[0])
    if isinstance(alone, CredentialMalformed):
        assert isinstance(found, Rejected)
        return
    assert isinstance(found, PresentedCredential)
    assert found == alone
    assert alone.scheme == alone.scheme.lower()
    assert alone.scheme
    assert alone.value
    assert values[0].lower().startswith(alone.scheme.encode("ascii") + b" ")
    assert values[0].endswith(alone.value)
    assert alone.value.decode("latin-1") not in repr(alone) or len(alone.value) < len("PresentedCredential(scheme=)")


def seeds() -> Iterator[bytes]:
    """A credential of each kind, none of which is anybody's, and some mixtures."""
    token = made.token().encode()
    key = ApiKey("live", made.SUB, bytes(range(32))).text().encode()
    cookie = b64url_encode(bytes(range(48)))
    bearer = b"Authorization: Bearer " + token
    yield b"G"
    yield b"G\n" + bearer
    yield b"P\n" + bearer + b"\n" + bearer
    yield b"G\nauthorization: bearer  abc=="
    yield b"G\nauthorization: Basic dXNlcjpwYXNz"
    yield b"G\nauthorization:"
    yield b"P\nX-API-Key: " + key
    yield b"G\nauthorization: Bearer " + key
    yield b"G\nX-API-Key: " + key + b"\n" + bearer
    yield b"G\ncookie: __Host-limen=" + cookie
    yield b"P\ncookie: a=b; __Host-limen=" + cookie + b"; c=d\norigin: https://a.example\nx-csrf-token: abc"
    yield b"Ph\nhost: localhost:8000\ncookie: limen=" + cookie + b"\nsec-fetch-site: same-origin"
    yield b"G\ncookie: __Host-limen=" + cookie + b"\ncookie: __Host-limen=" + cookie
    yield b"G\ncookie: __Host-limen=" + cookie + b"\n" + bearer
    yield b"G\nclient-cert: ::\nx-forwarded-client-cert: By=a;Hash=b"
