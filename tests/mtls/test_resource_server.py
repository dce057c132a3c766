"""Bound tokens where another service verifies them by public keys alone."""

import secrets
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import Limen
from limen.starlette import client_certificate
from tests.mtls.authority import Authority, Made, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.mtls.presenting import token_of
from tests.support.gates import gate_for

ISSUER = "https://limen.example"


@client_certificate
async def _who(request: Request) -> PlainTextResponse:
    return PlainTextResponse(request.user.sub)


def on(app: Starlette, made: Made | None) -> TestClient:
    """Return a client whose connection has this certificate."""

    async def told(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and made is not None:
            scope["extensions"] = {"tls": {"client_cert_chain": [made.pem], "client_cert_error": None}}
        await app(scope, receive, send)

    return TestClient(told)


async def test_a_bound_token_at_a_resource_server(tmp_path: Path, authorities: Path, authority: Authority) -> None:
    """It is refused there, too, but on a connection with its certificate; the certificate alone is nobody's there."""
    values: dict[str, Any] = {"signing_alg": "ES256", "data_secrets": [secrets.token_urlsafe(48)], "issuer": ISSUER}
    made = authority.client(uri(SPIFFE))
    async with gate_for(tmp_path, audience="orders", client_ca=authorities, **values).running() as gate:
        account = await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
        token = await token_of(gate, made)
        server = Limen.resource_server(issuer=ISSUER, audience="orders", jwks_url="http://127.0.0.1:9/none")
        server.bearer.use_keys(gate.bearer.keys)
        app = Starlette(routes=[Route("/who", _who)])
        server.protect(app)
        headers = {"Authorization": f"Bearer {token}"}
        for _ in range(2):
            assert on(app, made).get("/who", headers=headers).text == account.id
            for other in (None, authority.client(uri(SPIFFE))):
                for spelling in (f"Bearer {token}", f"bearer  {token}"):
                    refused = on(app, other).get("/who", headers={"Authorization": spelling})
                    assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
        assert on(app, made).get("/who").json()["code"] == "credential_missing"
