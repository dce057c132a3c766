"""``/.well-known/jwks.json``: the public keys, kept by caches, and nothing of a secret."""

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt as pyjwt
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.events import NOWHERE
from tests.support.gates import PASSWORD, gate_for

PATH = "/.well-known/jwks.json"


def application(gate: Limen) -> Starlette:
    """Make an application with limen's routes under a prefix of its own."""
    app = Starlette()
    gate.protect(app, prefix="/api/auth")
    return app


@pytest.fixture
def gate(tmp_path: Path) -> Limen:
    """A gate whose keys are in the database."""
    return gate_for(tmp_path, signing_alg="ES256", data_secrets=[secrets.token_urlsafe(48)])


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of the application."""
    with TestClient(application(gate)) as client:
        yield client


def test_anybody_reads_the_public_keys(client: TestClient) -> None:
    """It stands at the root whatever the prefix, without a login, as a JWK Set with public members alone."""
    answer = client.get(PATH)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    (jwk,) = answer.json()["keys"]
    assert jwk.keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert client.get("/api/auth/.well-known/jwks.json").status_code == 404
    assert client.post(PATH).status_code == 405


def test_a_cache_may_keep_it_for_five_minutes(client: TestClient) -> None:
    """Cache-Control says so; whoever names the ETag gets 304 without a body, in each spelling of RFC 9110."""
    answer = client.get(PATH)
    assert answer.headers["cache-control"] == "public, max-age=300"
    etag = answer.headers["etag"]
    for named in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = client.get(PATH, headers={"If-None-Match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert again.headers["cache-control"] == "public, max-age=300"
    assert client.get(PATH, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_new_key_is_another_answer(client: TestClient, gate: Limen) -> None:
    """As soon as a key is published it is there, and the ETag is another."""
    before = client.get(PATH)
    assert gate.signing_keys is not None
    keys = gate.signing_keys

    async def publish() -> str:
        published = await keys.generate(actor="cli")
        await keys.catch_up()
        return published.kid

    assert client.portal is not None
    kid = client.portal.call(publish)
    after = client.get(PATH, headers={"If-None-Match": before.headers["etag"]})
    assert after.status_code == 200
    assert kid in {jwk["kid"] for jwk in after.json()["keys"]}
    assert after.headers["etag"] != before.headers["etag"]


def test_secrets_have_no_public_half(tmp_path: Path) -> None:
    """With HS256 the set is empty, and nothing of the secret is in the answer."""
    secret = secrets.token_urlsafe(48)
    with TestClient(application(gate_for(tmp_path, jwt_access_secret=secret))) as client:
        answer = client.get(PATH)
    assert answer.json() == {"keys": []}
    assert secret not in answer.text


async def test_another_library_verifies_with_it(gate: Limen) -> None:
    """PyJWT takes a token with what the route answered, and refuses it for another audience."""
    app = application(gate)
    async with gate.running():
        await gate.accounts.create("ann", PASSWORD)
        issued = (await gate.login.login("ann", PASSWORD, origin=NOWHERE)).access_token
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://limen.test") as client:
            keys = pyjwt.PyJWKSet.from_dict((await client.get(PATH)).json())
    key = keys[pyjwt.get_unverified_header(issued)["kid"]]
    assert pyjwt.decode(issued, key, algorithms=["ES256"], audience="limen", issuer="limen")["sub"]
    with pytest.raises(pyjwt.InvalidAudienceError):
        await asyncio.to_thread(pyjwt.decode, issued, key, algorithms=["ES256"], audience="other", issuer="limen")
