"""A service that verifies by the public keys alone: what it believes, how it follows them, and what it does without."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from limen import Limen
from limen.authn.issuer_keys import MOST_BYTES
from limen.authn.strategy import Authenticated, PresentedCredential, Rejected
from limen.core.errors import ConfigurationError, Unavailable
from limen.core.events import NOWHERE
from limen.core.occasionally import Occasionally
from limen.crypto.keys import SigningKey
from limen.starlette import live, permissions, roles
from limen.web.resource_server import ResourceServer
from tests.support.gates import PASSWORD, gate_for

ISSUER = "https://auth.example"


class Issuer:
    """An issuer's address on the loopback: answers with what it was given, and counts."""

    def __init__(self) -> None:
        self.body = b""
        self.head = "200 OK"
        self.asked = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        head = f"HTTP/1.1 {self.head}\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n\r\n"
        try:
            writer.write(head.encode() + self.body)
            await writer.drain()
        except ConnectionError:
            pass
        writer.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that listens."""
    made = Issuer()
    server = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/.well-known/jwks.json"
    yield made
    server.close()


@pytest.fixture
async def gate(tmp_path: Path, issuer: Issuer) -> AsyncIterator[Limen]:
    """A limen that issues, with an account; its public keys are at the issuer's address."""
    values: dict[str, Any] = {"signing_alg": "ES256", "data_secrets": [secrets.token_urlsafe(48)], "issuer": ISSUER}
    async with gate_for(tmp_path, audience="orders", **values).running() as started:
        await started.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
        publish(issuer, started)
        yield started


def publish(issuer: Issuer, gate: Limen) -> None:
    """Let the issuer answer with the public keys of a gate."""
    issuer.body = json.dumps(gate.bearer.keys.public_jwks()).encode()


async def token(gate: Limen) -> str:
    """Log ann in."""
    return (await gate.login.login("ann", PASSWORD, origin=NOWHERE)).access_token


@asynccontextmanager
async def service(place: Issuer, **more: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Serve an application that verifies by the public keys, and yield its client."""
    values = {"issuer": ISSUER, "audience": "orders", "roles": {"maker": ["order:create"]}, **more}
    server = Limen.resource_server(jwks_url=place.url, **values)
    app = Starlette()
    server.protect(app)

    @roles("maker")
    async def plain(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.sub)

    @permissions("order:create")
    async def allowed(request: Request) -> PlainTextResponse:
        return PlainTextResponse("allowed")

    @live
    async def asked(request: Request) -> PlainTextResponse:
        return PlainTextResponse("asked")

    for handler in (plain, allowed, asked):
        app.add_route(f"/{handler.__name__}", handler)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://orders.test") as client:
        try:
            yield client
        finally:
            for protection in server._protections:
                protection.ready = False
            await server.stop()


async def get(client: httpx.AsyncClient, path: str, bearer: str) -> int:
    """Return the status of a request with a token."""
    return (await client.get(path, headers={"Authorization": f"Bearer {bearer}"})).status_code


async def test_it_verifies_without_the_database(gate: Limen, issuer: Issuer) -> None:
    """Roles and permissions count as where the token was issued; nobody, a forged one and another audience do not."""
    issued = await token(gate)
    async with service(issuer) as client:
        assert await get(client, "/plain", issued) == 200
        assert await get(client, "/allowed", issued) == 200
        assert await get(client, "/plain", issued[:-4] + "AAAA") == 401
        assert (await client.get("/plain")).status_code == 401
        assert await get(client, "/asked", issued) == 503
        assert issuer.asked == 1
    for wrong in ({"audience": "others"}, {"issuer": "https://other.example"}):
        async with service(issuer, **wrong) as client:
            assert await get(client, "/plain", issued) == 401


async def test_a_key_that_is_not_known_is_fetched(gate: Limen, issuer: Issuer) -> None:
    """After an emergency the first token of the new key fetches it, but not within the cool-down of the last fetch."""
    assert gate.signing_keys is not None
    server = Limen.resource_server(issuer=ISSUER, audience="orders", jwks_url=issuer.url)
    now = 100.0
    server.keys._asking = Occasionally(server.keys.refresh, 30.0, monotonic=lambda: now)
    old = PresentedCredential("bearer", (await token(gate)).encode())
    assert isinstance(await server.bearer.authenticate(old), Authenticated)
    await gate.signing_keys.retire(next(iter(gate.bearer.keys)).kid, actor="cli")
    await gate.signing_keys.catch_up()
    publish(issuer, gate)
    fresh = PresentedCredential("bearer", (await token(gate)).encode())
    now += 29.9
    assert isinstance(await server.bearer.authenticate(fresh), Rejected)
    assert issuer.asked == 1
    now += 0.1
    assert isinstance(await server.bearer.authenticate(fresh), Authenticated)
    assert isinstance(await server.bearer.authenticate(old), Rejected)
    assert issuer.asked == 2


async def test_many_share_one_fetch(gate: Limen, issuer: Issuer) -> None:
    """Fifty who come with a key that is not known wait for one answer, and later ones for none."""
    server = Limen.resource_server(issuer=ISSUER, audience="orders", jwks_url=issuer.url)
    await asyncio.gather(*(server.keys.learn() for _ in range(50)))
    await server.keys.learn()
    assert issuer.asked == 1
    assert server.bearer.keys.has_all_of(gate.bearer.keys)


async def test_a_retired_key_is_dropped(gate: Limen, issuer: Issuer) -> None:
    """Once the keys are fetched anew, a token of a key that is gone is refused, though it was seen before."""
    server = Limen.resource_server(issuer=ISSUER, audience="orders", jwks_url=issuer.url)
    credential = PresentedCredential("bearer", (await token(gate)).encode())
    seen = await server.bearer.authenticate(credential)
    assert isinstance(seen, Authenticated)
    assert server.bearer.recall(credential) is seen
    issuer.body = json.dumps({"keys": [_jwk()]}).encode()
    await server.keys.refresh()
    assert isinstance(await server.bearer.authenticate(credential), Rejected)
    assert server.bearer.fault_of(seen) is not None


async def test_what_was_fetched_is_kept_where_a_fetch_fails(gate: Limen, issuer: Issuer) -> None:
    """An error, a redirect, an answer that is too long and one that is no set change nothing."""
    server = Limen.resource_server(issuer=ISSUER, audience="orders", jwks_url=issuer.url)
    await server.keys.refresh()
    before = server.bearer.keys
    good = issuer.body
    for head, body in (
        ("500 No", good),
        ("302 Found\r\nLocation: http://127.0.0.1:1/", b""),
        ("200 OK", b"x" * (MOST_BYTES + 1)),
        ("200 OK", b"[]"),
        ("200 OK", b'{"keys": []}'),
        ("200 OK\r\nContent-Encoding: gzip", b"not unpacked"),
    ):
        issuer.head, issuer.body = head, body
        with pytest.raises(Unavailable):
            await server.keys.refresh()
        assert server.bearer.keys is before


async def test_without_keys_nobody_can_tell(gate: Limen, issuer: Issuer) -> None:
    """Where the issuer has never answered, a token is answered 503 and an anonymous request 401."""
    issuer.head = "503 No"
    async with service(issuer) as client:
        assert await get(client, "/plain", await token(gate)) == 503
        assert (await client.get("/plain")).status_code == 401


def _jwk(**changes: object) -> dict[str, object]:
    return {**(SigningKey.generate("ES256").verification_key.public_jwk() or {}), **changes}


@pytest.mark.parametrize(
    "url", ["http://auth.example/jwks", "ftp://auth.example/", "https://", "https://user@auth.example/", "limen"]
)
def test_keys_come_over_tls(url: str) -> None:
    """Plain http is taken at a loopback address only; an issuer that is no address needs one for its keys."""
    with pytest.raises(ConfigurationError, match="https"):
        ResourceServer(issuer=ISSUER, audience="orders", jwks_url=url)
    with pytest.raises(ConfigurationError, match="https"):
        ResourceServer(issuer=url.partition("/jwks")[0], audience="orders")
