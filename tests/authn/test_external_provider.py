"""Tokens of a provider that others made, the certified oidc-provider: of a person, of a service, and ID tokens."""

import hashlib
import secrets
import shutil
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from limen import ClaimRule, ExternalIssuer, Limen
from limen.authn.external import external_sub
from limen.starlette import roles
from tests.sso import real
from tests.support.gates import ROLES, settings_for
from tests.support.postgres import Lacking

RESOURCE = "https://orders.example"
REDIRECT = "http://127.0.0.1:1/callback"
"""Nobody is there: the test reads the code from the address that the browser cannot reach."""


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The provider; its address."""
    try:
        program, npm = real.node()
        folder = real.installed(program, npm)
    except Lacking as lacking:
        pytest.skip(str(lacking))
    shutil.copy(Path(__file__).with_name("access_tokens.mjs"), folder)
    variables = {
        "REDIRECT_URI": REDIRECT,
        "CLIENT_ID": real.CLIENT["client_id"],
        "CLIENT_SECRET": real.CLIENT["client_secret"],
        "RESOURCE": RESOURCE,
    }
    with real.started([str(program), "access_tokens.mjs"], folder, variables) as told:
        yield told["issuer"]


def tokens(issuer: str, **form: str) -> dict[str, Any]:
    """Ask the token endpoint."""
    client = (real.CLIENT["client_id"], real.CLIENT["client_secret"])
    answer = httpx.post(f"{issuer}/token", data=form, auth=client, timeout=20)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def log_in(issuer: str, name: str) -> dict[str, Any]:
    """Log a person in with a browser, and return the tokens of the client."""
    verifier = secrets.token_urlsafe(32)
    challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    asked = urlencode({
        "client_id": real.CLIENT["client_id"], "response_type": "code", "redirect_uri": REDIRECT, "state": "s",
        "scope": "openid orders:read orders:write", "code_challenge": challenge, "code_challenge_method": "S256",
        "nonce": "n", "resource": RESOURCE,
    })  # fmt: skip
    with (
        httpx.Client(headers={"Accept": "text/html"}, timeout=20) as browser,
        pytest.raises(httpx.ConnectError) as reached,
    ):
        real.browse(browser, f"{issuer}/auth?{asked}", REDIRECT, login=name, password="any")
    (code,) = parse_qs(urlsplit(str(reached.value.request.url)).query)["code"]
    return tokens(
        issuer, grant_type="authorization_code", code=code, redirect_uri=REDIRECT, code_verifier=verifier,
        resource=RESOURCE,
    )  # fmt: skip


async def test_tokens_of_a_certified_provider(issuer: str, tmp_path: Path) -> None:
    """A person's by their group, a service's by its scope; an ID token opens nothing, whatever audience is named."""
    told, machine = log_in(issuer, "ann"), tokens(
        issuer, grant_type="client_credentials", scope="orders:write", resource=RESOURCE
    )  # fmt: skip
    rules = [
        ClaimRule("groups", "makers", roles=["maker"], scope="orders:write"),
        ClaimRule("scope", "orders:write", roles=["checker"]),
    ]
    # The client is named as an audience as well, as somebody might who has not read the guide.
    declared = ExternalIssuer(issuer=issuer, audience=[RESOURCE, real.CLIENT["client_id"]], rules=rules)
    gate = Limen(settings_for(tmp_path, outbound_allow=["127.0.0.0/8"]), roles=ROLES, issuers=[declared])
    app = Starlette()
    gate.protect(app)

    @roles("maker", "checker")
    async def who(request: Request) -> JSONResponse:
        return JSONResponse([request.user.sub, request.user.kind.value, sorted(request.user.roles)])

    app.add_route("/who", who)
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://orders.test") as client,
    ):

        async def ask(token: str) -> httpx.Response:
            return await client.get("/who", headers={"Authorization": f"Bearer {token}"})

        assert (await ask(told["access_token"])).json() == [external_sub(issuer, "ann"), "person", ["maker"]]
        service = external_sub(issuer, real.CLIENT["client_id"])
        assert (await ask(machine["access_token"])).json() == [service, "service", ["checker"]]
        refused = await ask(told["id_token"])
        assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
        assert (await ask(log_in(issuer, "bob")["access_token"])).status_code == 403
        for protection in gate._protections:
            protection.ready = False
