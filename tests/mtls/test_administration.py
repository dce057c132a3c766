"""Names of certificates administered over HTTP, and ``@client_certificate`` on routes."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import ADMINISTRATION, Limen
from limen.core.principal import ANONYMOUS, Authentication, Principal, PrincipalKind
from limen.fastapi import CurrentPrincipal, client_certificate, roles
from limen.features.roles.service import OPERATOR
from limen.guard.decisions import decide
from limen.guard.requirements import Requirement
from limen.starlette import client_certificate as starlette_client_certificate
from tests.mtls.authority import Authority, uri
from tests.mtls.conftest import SPIFFE
from tests.support.gates import PASSWORD, settings_for

SERVICES = "/admin/api/services"


@pytest.fixture
async def administered(tmp_path: Path, authorities: Path) -> Limen:
    """A gate with an administrator and somebody else."""
    every_role = {"admin": ADMINISTRATION, "maker": ["order:create"]}
    gate = Limen(settings_for(tmp_path, client_ca=authorities), roles=every_role)
    async with gate.running():
        for name, held in (("boss", {"admin"}), ("ann", {"maker"})):
            account = await gate.accounts.create(name, PASSWORD)
            await gate.roles.grant(OPERATOR, account.id, held)
    return gate


def login(client: TestClient, name: str) -> dict[str, str]:
    """Log in, and return the header with the token."""
    answer = client.post("/auth/login", json={"username": name, "password": PASSWORD})
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def test_over_http(administered: Limen) -> None:
    """Registered, listed, taken away by an administrator who logged in; refused to everybody else."""
    app = Starlette()
    administered.protect(app, administration=True)
    with TestClient(app) as client:
        boss, ann = login(client, "boss"), login(client, "ann")
        service = client.post(SERVICES, json={"name": "billing"}, headers=boss).json()["id"]
        path = f"{SERVICES}/{service}/certificates"
        made = client.post(path, json={"kind": "uri", "value": SPIFFE}, headers=boss)
        assert made.status_code == 201
        body = made.json()
        assert (body["kind"], body["value"]) == ("uri", SPIFFE)
        assert made.headers["location"] == f"{path}/{body['id']}"
        assert client.get(path, headers=boss).json() == {"items": [body], "next": None}
        again = client.post(path, json={"kind": "uri", "value": SPIFFE}, headers=boss)
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
        for wrong in ({"kind": "dns", "value": "*.example"}, {"kind": "subject", "value": "a"}, {"kind": "uri"}, {}):
            refused = client.post(path, json=wrong, headers=boss)
            assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input")
        for headers, status in ((ann, 403), ({}, 401)):
            assert client.get(path, headers=headers).status_code == status
            assert client.post(path, json={"kind": "dns", "value": "a"}, headers=headers).status_code == status
            assert client.delete(f"{path}/{body['id']}", headers=headers).status_code == status
        assert client.delete(f"{path}/{body['id']}", headers=boss).status_code == 204
        assert client.delete(f"{path}/{body['id']}", headers=boss).status_code == 404
        assert client.get(f"{SERVICES}/nothing/certificates", headers=boss).status_code == 404


def test_refusals_are_recorded(administered: Limen) -> None:
    """Who may administer services, but not what this one may, registers nothing and takes nothing away, on record."""
    app = Starlette()
    administered.protect(app, administration=True)
    with TestClient(app) as client:
        boss = login(client, "boss")
        role = client.put("/admin/api/roles/helpdesk", json={"permissions": ["services:write"]}, headers=boss)
        assert role.status_code in (200, 201)
        ann = client.get("/auth/me", headers=login(client, "ann")).json()["sub"]
        answer = client.patch(f"/admin/api/accounts/{ann}", json={"roles": ["maker", "helpdesk"]}, headers=boss)
        assert answer.status_code == 200, answer.text
        clerk = login(client, "ann")
        service = client.post(SERVICES, json={"name": "billing", "roles": ["admin"]}, headers=boss).json()["id"]
        path = f"{SERVICES}/{service}/certificates"
        wanted = {"kind": "uri", "value": SPIFFE}
        made = client.post(path, json=wanted, headers=boss).json()["id"]
        assert client.post(path, json={"kind": "dns", "value": "a.example"}, headers=clerk).status_code == 403
        assert client.delete(f"{path}/{made}", headers=clerk).status_code == 403
        assert client.post(path, json=wanted, headers=boss).status_code == 409
        events = client.portal.call(administered.storage.events)  # type: ignore[union-attr]
    told = [(each.event, each.target, each.data) for each in events if each.outcome == "failure"]
    about, refused = {"account": service}, {"reason": "permission_required"}
    assert told == [
        ("client_certificate_added", "", {**about, "name": "dns:a.example", **refused}),
        ("client_certificate_removed", made, {**about, **refused}),
        ("client_certificate_added", "", {**about, "name": f"uri:{SPIFFE}", "reason": "conflict"}),
    ]
    assert {each.actor for each in events if each.outcome == "failure"} >= {ann}


def test_a_key_registers_nothing(administered: Limen) -> None:
    """It takes a person: a leaked key, or a certificate, must not make itself permanent."""
    app = Starlette()
    administered.protect(app, administration=True)
    with TestClient(app) as client:
        boss = login(client, "boss")
        service = client.post(SERVICES, json={"name": "robot", "roles": ["admin"]}, headers=boss).json()["id"]
        key = client.post(f"{SERVICES}/{service}/api-keys", json={"name": "k"}, headers=boss).json()["key"]
        path = f"{SERVICES}/{service}/certificates"
        refused = client.post(path, json={"kind": "dns", "value": "a.example"}, headers={"X-API-Key": key})
        assert (refused.status_code, refused.json()["code"]) == (401, "step_up_required")


# --- the requirement


SERVICE = Principal("s", PrincipalKind.SERVICE, frozenset({"maker"}), authentication=Authentication(("mtls",), 0))
BY_KEY = Principal("s", PrincipalKind.SERVICE, frozenset({"maker"}), authentication=Authentication(("api_key",), 0))
PERSON = Principal("p", PrincipalKind.PERSON, frozenset({"maker"}), authentication=Authentication(("pwd",), 0))


@pytest.mark.parametrize(
    ("principal", "code"),
    [
        (SERVICE, "allowed"),
        (BY_KEY, "certificate_required"),
        (PERSON, "certificate_required"),
        (ANONYMOUS, "credential_missing"),
    ],
    ids=["certificate", "key", "person", "anonymous"],
)
def test_what_the_requirement_asks(principal: Principal, code: str) -> None:
    """A service that is proved by its certificate, alone or with a token that is bound to it; nobody else."""
    decision = decide(Requirement(client_certificate=True), principal)
    assert decision.allowed is (code == "allowed")
    assert decision.allowed or decision.code == code
    joined = Requirement(client_certificate=True) & Requirement.of_roles(["checker"])
    assert joined.client_certificate
    assert not decide(joined, principal).allowed


def _connection(made: Any) -> Any:
    """Wrap an application so that each request comes on a connection with this certificate."""

    def around(app: Any) -> Any:
        async def told(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                chain = [] if made is None else [made.pem]
                scope["extensions"] = {"tls": {"client_cert_chain": chain, "client_cert_error": None}}
            await app(scope, receive, send)

        return told

    return around


def test_on_routes_in_every_spelling(administered: Limen, authority: Authority) -> None:
    """As decorator, dependency and annotation; with roles beside it; in OpenAPI as mutualTLS."""
    app = FastAPI()

    @app.get("/decorated")
    @client_certificate
    async def decorated(me: CurrentPrincipal) -> str:
        return me.sub

    @app.get("/dependency", dependencies=[client_certificate])
    async def dependency() -> str:
        return "in"

    @app.get("/annotated")
    async def annotated(me: Annotated[Principal, client_certificate]) -> str:
        return me.sub

    @app.get("/depends")
    async def depends(me: Annotated[Principal, Depends(client_certificate)]) -> str:
        return me.sub

    @app.get("/stacked")
    @client_certificate
    @roles("admin")
    async def stacked() -> str:
        return "in"

    administered.protect(app)
    made = authority.client(uri(SPIFFE))
    paths = ["/decorated", "/dependency", "/annotated", "/depends"]
    with TestClient(app) as client:
        ann = login(client, "ann")
        account = client.portal.call(_registered, administered)  # type: ignore[union-attr]
        service = TestClient(_connection(made)(app))
        for path in paths:
            assert service.get(path).status_code == 200, path
            assert client.get(path).json()["code"] == "credential_missing"
            refused = client.get(path, headers=ann)
            assert (refused.status_code, refused.json()["code"]) == (401, "certificate_required")
        assert service.get("/decorated").json() == account
        assert service.get("/stacked").json()["code"] == "role_required"
        document = app.openapi()
    assert document["components"]["securitySchemes"]["limenClientCertificate"]["type"] == "mutualTLS"
    security = document["paths"]["/decorated"]["get"]["security"]
    assert security == [{"limenClientCertificate": []}, {"limen": [], "limenClientCertificate": []}]
    assert document["paths"]["/decorated"]["get"]["x-limen"]["client_certificate"] is True
    assert "client certificate" in document["paths"]["/stacked"]["get"]["description"]
    assert document["paths"]["/auth/certificate/token"]["post"]["security"] == [{"limenClientCertificate": []}]


async def _registered(gate: Limen) -> str:
    assert gate.api_keys is not None
    account = await gate.api_keys.services.create(OPERATOR, "billing")
    await gate.client_certificates.service.add(OPERATOR, account.id, "uri", SPIFFE)
    return account.id


async def test_without_a_guard_it_refuses() -> None:
    """In an application that was never protected the decorated endpoint runs for nobody."""

    @starlette_client_certificate
    async def endpoint(request: Request) -> JSONResponse:
        return JSONResponse("in")

    client = TestClient(Starlette(routes=[Route("/", endpoint)]), raise_server_exceptions=False)
    assert client.get("/").status_code == 500


def test_without_an_authority_there_is_no_route(tmp_path: Path) -> None:
    """Where no certificate counts, nobody is told of tokens for them."""
    gate = Limen(settings_for(tmp_path), roles={"maker": ["order:create"]})
    app = FastAPI()
    gate.protect(app)
    assert "/auth/certificate/token" not in app.openapi()["paths"]
    with TestClient(app) as client:
        assert client.post("/auth/certificate/token").status_code in {401, 404}
