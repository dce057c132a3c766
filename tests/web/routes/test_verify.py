"""``/auth/verify``: who may pass a gateway, by which credential, and what the service behind it is told."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jwt
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from limen import Limen
from limen.core.errors import PolicyDenied
from limen.core.events import NOWHERE
from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from limen.features.api_keys.service import Wanted
from limen.features.forwarding.service import MOST_BYTES
from limen.features.roles.service import OPERATOR
from limen.testing.clock import TurnableClock
from tests.support.gates import PASSWORD, gate_for
from tests.web.routes.test_own_routes import bearer, code_of, register, tokens

HOST = "https://app.example"
PROXY = "10.0.0.5"
OWN = {"Sec-Fetch-Site": "same-origin", "Origin": HOST}
FORWARDED = ("x-limen-subject", "x-limen-kind", "x-limen-roles", "x-limen-permissions", "x-limen-token")


@pytest.fixture
def clock() -> TurnableClock:
    """The clock of gate and database."""
    return TurnableClock()


@pytest.fixture
def gate(tmp_path: Path, clock: TurnableClock) -> Limen:
    """A gate behind a trusted proxy, whose tokens others can verify."""
    return gate_for(tmp_path, clock=clock, trusted_proxies=[PROXY], signing_alg="ES256", public_url=HOST)


@pytest.fixture
def app(gate: Limen) -> Starlette:
    """An application with limen's routes."""
    app = Starlette()
    gate.protect(app)
    return app


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    """The gateway, which is trusted."""
    with TestClient(app, base_url=HOST, client=(PROXY, 4711)) as client:
        yield client


@pytest.fixture
def stranger(app: Starlette, client: TestClient) -> TestClient:
    """Anybody else."""
    return TestClient(app, base_url=HOST, client=("203.0.113.9", 4711))


def give(gate: Limen, client: TestClient, username: str, *roles: str) -> str:
    """Give roles to an account; return its access token."""

    async def work() -> None:
        account = await gate.accounts.by_username(username)
        for role in roles:
            await gate.roles.grant(OPERATOR, account.id, [role])

    assert client.portal is not None
    client.portal.call(work)
    answer = client.post("/auth/login", json={"username": username, "password": PASSWORD})
    token: str = answer.json()["access_token"]
    return token


def ask(client: TestClient, query: str = "", method: str | None = "GET", **headers: str) -> Any:
    """Ask as a gateway does, about a request of this method."""
    told = {} if method is None else {"X-Forwarded-Method": method, "X-Forwarded-Uri": "/orders/7?secret=1"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(f"/auth/verify{query}", headers={**told, **named})


def passed(answer: Any) -> bool:
    """Tell whether a request may pass, and check that nothing is told of whoever may not."""
    assert answer.status_code == 200 or not set(FORWARDED) & set(answer.headers)
    return bool(answer.status_code == 200)


def test_who_it_is(gate: Limen, client: TestClient) -> None:
    """The five headers say who passes; the body is empty and no cache keeps anything."""
    sub = register(client, "ann").json()["id"]
    token = give(gate, client, "ann", "maker", "checker")
    answer = ask(client, "?roles=maker&permissions=order:read,order:approve", **bearer(token))
    assert (answer.status_code, answer.content, answer.headers["cache-control"]) == (200, b"", "no-store")
    told = [answer.headers[name] for name in FORWARDED]
    assert told[:4] == [sub, "person", "checker,maker", "order:approve,order:create,order:read"]
    assert all(len(answer.headers.get_list(name)) == 1 for name in FORWARDED)


@pytest.mark.parametrize(
    ("query", "refusal"),
    [
        ("", None),
        ("?roles=maker", None),
        ("?roles=admin,maker", None),
        ("?roles=maker&permissions=order:create", None),
        ("?roles=admin", "role_required"),
        ("?roles=nobody-has-it", "role_required"),
        ("?roles=maker&permissions=order:approve", "permission_required"),
        ("?permissions=order:create,order:approve", "permission_required"),
    ],
)
def test_requirements(gate: Limen, client: TestClient, query: str, refusal: str | None) -> None:
    """One of the roles and all of the permissions; a role that does not exist is held by nobody."""
    register(client, "ann")
    answer = ask(client, query, **bearer(give(gate, client, "ann", "maker")))
    assert passed(answer) is (refusal is None)
    assert refusal is None or code_of(answer) == (403, refusal)
    assert code_of(ask(client, query)) == (401, "credential_missing")


@pytest.mark.parametrize(
    "query",
    [
        "?role=admin",
        "?permission=order:read", "?Roles=admin", "?roles=", "?permissions=", "?roles", "?roles=,", "?roles=maker,",
        "?roles=maker&roles=admin", "?roles=maker&x=1", "?permissions=order", "?roles=ma%0d%0aker", "?roles=ma ker",
        "?roles=%ff", "?&", "?roles=" + "a," * 2000 + "a",
    ],
)  # fmt: skip
def test_misspelt_question_opens_nothing(gate: Limen, client: TestClient, query: str) -> None:
    """What a configuration got wrong is an error, also for whoever would hold everything."""
    register(client, "ann")
    answer = ask(client, query, **bearer(give(gate, client, "ann", "admin", "maker")))
    assert code_of(answer) == (422, "invalid_input")
    assert not passed(answer)


def test_every_credential(gate: Limen, client: TestClient) -> None:
    """An access token, a session cookie and an API key of a service each pass, and each is told as what it is."""
    sub = register(client, "ann").json()["id"]
    token = give(gate, client, "ann", "maker")

    async def key() -> tuple[str, str]:
        assert gate.api_keys is not None
        service = await gate.api_keys.services.create(OPERATOR, "billing", roles=frozenset({"maker"}))
        wanted = Wanted("k", scopes=("order:read",))
        return service.id, (await gate.api_keys.service.create_for(OPERATOR, service.id, wanted)).key

    assert client.portal is not None
    service, secret = client.portal.call(key)
    client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    cookie = ask(client, "?roles=maker")
    client.cookies.clear()
    by_token, by_key = ask(client, "?roles=maker", **bearer(token)), ask(client, X_API_Key=secret)
    assert [answer.headers["x-limen-subject"] for answer in (cookie, by_token, by_key)] == [sub, sub, service]
    assert [by_key.headers[name] for name in FORWARDED[1:4]] == ["service", "", "order:read"]
    assert code_of(ask(client, "?roles=maker", X_API_Key=secret)) == (403, "role_required")


def test_refused_credentials(gate: Limen, client: TestClient, clock: TurnableClock) -> None:
    """A malformed, an unknown, an expired and an ended credential are 401 with a challenge, and nobody is named."""
    held = tokens(client)
    for value in ("Bearer x", "Basic eDp5", "Bearer", "Bearer " + held["refresh_token"]):
        answer = ask(client, Authorization=value)
        assert answer.status_code == 401
        assert "www-authenticate" in answer.headers
        assert not passed(answer)
    assert passed(ask(client, **bearer(held["access_token"])))
    client.post("/auth/logout", json={"refresh_token": held["refresh_token"]})
    assert code_of(ask(client, **bearer(held["access_token"]))) == (401, "session_ended")
    other = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()["access_token"]
    clock.turn(901)
    assert code_of(ask(client, **bearer(other))) == (401, "token_expired")


# --- the original request, and forged ones


def test_cookie_needs_the_proof_of_the_original_method(client: TestClient) -> None:
    """The gateway asks by GET; a cookie passes for what changes nothing, and for a change only with its proof."""
    register(client, "ann")
    opened = client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    proof = {**OWN, "X-CSRF-Token": opened.json()["csrf_token"]}
    for method in ("GET", "HEAD", "OPTIONS"):
        assert passed(ask(client, method=method))
    for method in ("POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "post", "get", "GET, POST", ""):
        assert code_of(ask(client, method=method)) == (403, "csrf_failed")
        assert code_of(ask(client, method=method, **OWN)) == (403, "csrf_failed")
        assert code_of(ask(client, method=method, **{**proof, "Sec-Fetch-Site": "same-site"})) == (403, "csrf_failed")
        assert passed(ask(client, method=method, **proof))
    assert code_of(ask(client, method=None)) == (403, "csrf_failed")
    twice = [("X-Forwarded-Method", "POST"), ("X-Forwarded-Method", "GET")]
    assert code_of(client.get("/auth/verify", headers=twice)) == (403, "csrf_failed")


def test_strangers_do_not_say_what_they_ask_for(client: TestClient, stranger: TestClient) -> None:
    """X-Forwarded-Method of a peer that is not trusted counts for nothing: a cookie then always needs its proof."""
    register(client, "ann")
    opened = client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    stranger.cookies = client.cookies
    assert code_of(ask(stranger)) == (403, "csrf_failed")
    assert passed(ask(stranger, **OWN, X_CSRF_Token=opened.json()["csrf_token"]))
    stranger.cookies.clear()
    token = client.post("/auth/login", json={"username": "ann", "password": PASSWORD}).json()["access_token"]
    assert passed(ask(stranger, **bearer(token)))


@pytest.mark.parametrize("header", [{"Upgrade": "websocket"}, {"Sec_WebSocket_Version": "13"}])
@pytest.mark.parametrize("method", ["GET", "CONNECT"])
def test_socket_of_a_foreign_page(client: TestClient, header: dict[str, str], method: str) -> None:
    """A handshake is a GET, and still passes by cookie only from a page of this origin."""
    register(client, "ann")
    client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    foreign = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    assert code_of(ask(client, method=method, **header, **foreign)) == (403, "csrf_failed")
    assert code_of(ask(client, method=method, **header)) == (403, "csrf_failed")
    assert passed(ask(client, method=method, **header, Origin=HOST))


def test_gateway_that_asks_by_the_original_method(client: TestClient) -> None:
    """Envoy asks by the client's own method: a cookie needs its proof then, whatever X-Forwarded-Method says."""
    register(client, "ann")
    opened = client.post("/auth/session", json={"username": "ann", "password": PASSWORD}, headers=OWN)
    proof = {**OWN, "X-CSRF-Token": opened.json()["csrf_token"]}
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        for told in ({}, {"X-Forwarded-Method": "GET"}, {"X-Forwarded-Method": method}):
            assert code_of(client.request(method, "/auth/verify", headers=told)) == (403, "csrf_failed")
            assert passed(client.request(method, "/auth/verify", headers={**told, **proof}))


def test_refusals_are_told_by_path_and_without_the_query(
    gate: Limen, client: TestClient, stranger: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the request of a trusted gateway, without its query; of strangers nothing."""
    register(client, "ann")
    held = bearer(give(gate, client, "ann"))
    with caplog.at_level(logging.INFO, logger="limen.web.routes.verify"):
        ask(client, "?roles=admin", **held)
        ask(stranger, "?roles=admin", **held)
    told = [
        (r.__dict__["path"], r.__dict__["method"], r.__dict__["code"]) for r in caplog.records if hasattr(r, "path")
    ]
    assert told == [("/orders/7", "GET", "role_required"), ("", "UNKNOWN", "role_required")]


@pytest.mark.parametrize(
    ("peer", "told", "is_let_in"),
    [
        (PROXY, {"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}, True),
        (PROXY, {"X-Forwarded-For": "::ffff:203.0.113.9"}, True),
        (PROXY, {"X-Forwarded-For": "203.0.113.9, 6.6.6.6"}, False),
        (PROXY, {"X-Forwarded-For": "203.0.113.9, a"}, False),
        (PROXY, {"X-Forwarded-For": "203.0.113.9,"}, False),
        (PROXY, {"Forwarded": "for=203.0.113.9", "X-Real-IP": "203.0.113.9"}, False),
        (PROXY, {}, False),
        ("203.0.113.9", {}, True),
        ("203.0.113.9", {"X-Forwarded-For": "6.6.6.6"}, True),
        ("6.6.6.6", {"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"}, False),
        ("testclient", {"X-Forwarded-For": "203.0.113.9"}, False),
    ],
)
def test_networks_of_a_key_are_held_against_the_client(
    gate: Limen, app: Starlette, client: TestClient, peer: str, told: dict[str, str], is_let_in: bool
) -> None:
    """The networks of an API key are asked of the client whom a trusted proxy names, and of nobody's word besides."""

    async def key() -> str:
        assert gate.api_keys is not None
        service = await gate.api_keys.services.create(OPERATOR, "billing", roles=frozenset({"maker"}))
        wanted = Wanted("k", networks=("203.0.113.0/24",))
        return (await gate.api_keys.service.create_for(OPERATOR, service.id, wanted)).key

    assert client.portal is not None
    held = {"X-API-Key": client.portal.call(key)}
    caller = TestClient(app, base_url=HOST, client=(peer, 4711))
    answer = caller.get("/auth/verify", headers={**held, **told})
    assert passed(answer) is is_let_in
    assert is_let_in or code_of(answer) == (403, "policy_denied")


# --- the token


def verified(client: TestClient, token: str) -> dict[str, Any]:
    """Verify a token by the public keys alone, with another library."""
    keys = {key["kid"]: jwt.PyJWK(key) for key in client.get("/.well-known/jwks.json").json()["keys"]}
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "limen-fwd+jwt"
    options: Any = {"verify_exp": False, "verify_iat": False, "require": ["exp", "iat", "iss", "aud", "sub"]}
    found: dict[str, Any] = jwt.decode(
        token, keys[header["kid"]], algorithms=["ES256"], audience=f"{HOST}/forwarded", issuer=HOST, options=options
    )
    return found


def test_token_is_for_the_services_behind(gate: Limen, client: TestClient, clock: TurnableClock) -> None:
    """Any JWT library verifies it by the JWKS; it says what the headers say, and lives for thirty seconds."""
    register(client, "ann")
    answer = ask(client, **bearer(give(gate, client, "ann", "maker")))
    claims = verified(client, answer.headers["x-limen-token"])
    assert (claims["sub"], claims["kind"], claims["roles"]) == (answer.headers["x-limen-subject"], "person", ["maker"])
    assert claims["permissions"] == ["order:create", "order:read"]
    assert (claims["exp"] - claims["iat"], claims["iat"]) == (30, int(clock()))
    assert claims["amr"] == ["pwd"]


def test_token_opens_nothing_here(gate: Limen, client: TestClient) -> None:
    """It is no access token, no refresh token and no question to another gateway, in whatever header it comes back."""
    register(client, "ann")
    token = ask(client, **bearer(give(gate, client, "ann", "maker"))).headers["x-limen-token"]
    assert code_of(client.get("/auth/me", headers=bearer(token))) == (401, "token_invalid")
    assert code_of(ask(client, **bearer(token))) == (401, "token_invalid")
    assert code_of(ask(client, X_Limen_Token=token)) == (401, "credential_missing")
    assert code_of(client.post("/auth/refresh", json={"refresh_token": token})) == (401, "invalid_refresh_token")


def test_token_ends_with_its_credential(gate: Limen, client: TestClient, clock: TurnableClock) -> None:
    """A token from the last seconds of a credential does not outlive it."""
    register(client, "ann")
    held = bearer(give(gate, client, "ann"))
    begun = int(clock())
    clock.turn(890)
    claims = verified(client, ask(client, **held).headers["x-limen-token"])
    assert claims["exp"] == claims["until"] == begun + 900


def test_token_is_said_again_for_seconds(gate: Limen, client: TestClient, clock: TurnableClock) -> None:
    """Within five seconds the same token is handed out, to the same session with the same roles only."""
    register(client, "ann")
    first, second = bearer(give(gate, client, "ann", "maker")), bearer(give(gate, client, "ann", "maker"))
    token = ask(client, **first).headers["x-limen-token"]
    assert ask(client, **first).headers["x-limen-token"] == token
    assert ask(client, **second).headers["x-limen-token"] != token
    clock.turn(5)
    assert ask(client, **first).headers["x-limen-token"] != token
    changed = bearer(give(gate, client, "ann", "checker"))
    assert ask(client, **changed).headers["x-limen-roles"] == "checker,maker"


def test_more_than_fits_is_refused(gate: Limen, client: TestClient) -> None:
    """Headers that no proxy would take are not sent: it is a no, with the reason, and not half of the truth."""
    few, many = (frozenset(f"resource-{number}:read" for number in range(count)) for count in (200, 400))
    who = Principal("01920000-0000-7000-8000-000000000001", PrincipalKind.PERSON, permissions=few)
    told = gate.forwarding.told_of(who, expires_at=None)
    assert sum(len(name) + len(value) for name, value in told) < MOST_BYTES
    with pytest.raises(PolicyDenied, match="more roles and permissions"):
        gate.forwarding.told_of(replace(who, permissions=many), expires_at=None)


@pytest.mark.parametrize("sub", ["", "a b", "a\r\nX-Limen-Roles: admin", "é", "x" * 256])
def test_no_text_breaks_out_of_a_header(gate: Limen, client: TestClient, sub: str) -> None:
    """An account that fits into no header is refused; names of roles are encoded where they would break a list."""
    who = Principal(sub, PrincipalKind.PERSON)
    with pytest.raises(PolicyDenied):
        gate.forwarding.told_of(who, expires_at=None)
    odd = replace(who, sub="a", roles=frozenset({"a,admin", "b é", "c%2C"}))
    told = dict(gate.forwarding.told_of(odd, expires_at=None))
    assert told[b"x-limen-roles"] == b"a%2Cadmin,b%20%C3%A9,c%252C"
    with pytest.raises(PolicyDenied):
        gate.forwarding.told_of(replace(odd, roles=frozenset({"a\r\nb"})), expires_at=None)
    with pytest.raises(PolicyDenied):
        gate.forwarding.told_of(ANONYMOUS, expires_at=None)


def test_nobody_needs_a_database_for_a_token(gate: Limen, client: TestClient) -> None:
    """The answer to a token that was seen is computed; ending every session ends it at the next look."""
    register(client, "ann")
    held = bearer(give(gate, client, "ann"))
    assert passed(ask(client, **held))

    async def end() -> None:
        account = await gate.accounts.by_username("ann")
        await gate.sessions.logout_everywhere(account.id, actor="test", origin=NOWHERE)

    assert client.portal is not None
    client.portal.call(end)
    assert code_of(ask(client, **held)) == (401, "session_ended")
