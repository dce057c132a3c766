"""Access tokens of issuers that are not limen: what counts, what it gives, and where it does not count."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse

from limen import ADMINISTRATION, ClaimRule, ExternalIssuer, Limen, Principal
from limen.authn.external import external_sub
from limen.authn.external_tokens import ExternalCredential, ExternalTokens
from limen.authn.strategy import PresentedCredential, Rejected
from limen.authz.roles import RoleCatalogue
from limen.core.events import NOWHERE
from limen.core.ids import is_uuid7
from limen.core.occasionally import Occasionally
from limen.crypto.keys import SigningKey
from limen.starlette import interactive, live, permissions, roles
from tests.features.conftest import Turned
from tests.support.gates import PASSWORD, ROLES, settings_for

AUDIENCE = "https://orders.example"
KEYS = {"RS256": SigningKey.generate("RS256"), "ES256": SigningKey.generate("ES256")}
NEW = SigningKey.generate("RS256")
STRANGER = SigningKey.generate("RS256")

RULES = (
    ClaimRule(("realm_access", "roles"), "makers", roles=["maker"]),
    ClaimRule("https://orders.example/groups", "readers", permissions=["order:read"]),
    ClaimRule("permissions", "approve", permissions=["order:approve"], scope="orders:approve"),
    ClaimRule("scope", "orders:machine", permissions=["order:create"]),
    ClaimRule("level", "gold", roles=["admin"]),
    ClaimRule("level", "ghost", roles=["no-such-role"]),
)


class Issuer:
    """An issuer on the loopback: its metadata and keys over HTTP, and tokens of its own."""

    def __init__(self) -> None:
        self.head = "200 OK"
        self.asked: list[str] = []
        self.url = ""
        self.metadata: dict[str, Any] = {}
        self.keys = list(KEYS.values())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            self.asked.append(path)
            document: Any = {"keys": [key.verification_key.public_jwk() for key in self.keys]}
            if path.endswith("openid-configuration"):
                document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", **self.metadata}
            body = json.dumps(document).encode()
            writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def claims(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good access token, changed; None takes one away."""
        now = int(time.time())
        good = {
            "iss": self.url, "sub": "auth0|123", "aud": [AUDIENCE, f"{self.url}/userinfo"], "iat": now,
            "exp": now + 300, "azp": "spa", "scope": "openid orders", "realm_access": {"roles": ["makers", "other"]},
        }  # fmt: skip
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def token(self, key: SigningKey = KEYS["RS256"], header: dict[str, Any] | None = None, **changes: Any) -> str:
        """Sign them with PyJWT."""
        members = {"kid": key.kid, "typ": "at+jwt", **(header or {})}
        return jwt.PyJWS().encode(json.dumps(self.claims(**changes)).encode(), key.material, key.alg, members)


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that listens."""
    made = Issuer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


def trusted(place: Issuer, /, **changes: Any) -> ExternalIssuer:
    """Declare it."""
    values: dict[str, Any] = {"issuer": place.url, "audience": AUDIENCE, "rules": RULES, **changes}
    return ExternalIssuer(**values)


class Service:
    """A protected application that takes tokens of external issuers beside limen's."""

    def __init__(self, gate: Limen, client: httpx.AsyncClient) -> None:
        self.gate = gate
        self.client = client

    @property
    def external(self) -> ExternalTokens:
        """The strategy."""
        assert self.gate.external is not None
        return self.gate.external

    async def get(self, path: str, token: str) -> httpx.Response:
        """Ask with a token."""
        return await self.client.get(path, headers={"Authorization": f"Bearer {token}"})

    async def status(self, path: str, token: str) -> int:
        """Return the status of a request with a token."""
        return (await self.get(path, token)).status_code


@asynccontextmanager
async def service(
    folder: Path, *issuers: ExternalIssuer, clock: Callable[[], float] = time.time
) -> AsyncIterator[Service]:
    """Serve an application."""
    settings = settings_for(folder, outbound_allow=["127.0.0.0/8"], issuer="https://limen.example")
    gate = Limen(settings, roles=ROLES, issuers=issuers, clock=clock)
    app = Starlette()
    gate.protect(app, administration=True)

    async def who(request: Request) -> JSONResponse:
        principal: Principal = request.user
        return JSONResponse(
            {"sub": principal.sub, "issuer": principal.issuer, "subject": principal.subject,
             "kind": principal.kind.value, "roles": sorted(principal.roles),
             "permissions": sorted(principal.permissions), "sid": principal.sid,
             "client_id": principal.client_id}
        )  # fmt: skip

    marks: dict[str, Callable[[Any], Any]] = {
        "maker": roles("maker"), "approve": permissions("order:approve"), "live": live, "interactive": interactive,
    }  # fmt: skip
    app.add_route("/who", who)
    for name, mark in marks.items():

        async def handler(request: Request) -> JSONResponse:
            return JSONResponse("done")

        app.add_route(f"/{name}", mark(handler))
    async with (
        gate.running(),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://orders.test") as client,
    ):
        yield Service(gate, client)
        for protection in gate._protections:
            protection.ready = False


async def test_it_counts_beside_limens_own(tmp_path: Path, issuer: Issuer) -> None:
    """A token of the issuer, and one of limen's own, each under its own rules; the rules say what it gives."""
    async with service(tmp_path, trusted(issuer)) as orders:
        told = (await orders.get("/who", issuer.token())).json()
        assert told == {
            "sub": external_sub(issuer.url, "auth0|123"), "issuer": issuer.url, "subject": "auth0|123",
            "kind": "person", "roles": ["maker"],
            "permissions": ["order:create", "order:read"], "sid": None, "client_id": "spa",
        }  # fmt: skip
        assert await orders.status("/maker", issuer.token()) == 200
        await orders.gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
        own = (await orders.gate.login.login("ann", PASSWORD, origin=NOWHERE)).access_token
        mine = (await orders.get("/who", own)).json()
        assert (mine["issuer"], mine["roles"]) == (None, ["maker"])
        assert orders.gate.chain.challenges == ("Bearer",)


async def test_the_account_is_issuer_and_subject(tmp_path: Path, issuer: Issuer) -> None:
    """The same subject at another issuer is somebody else; the id of a local account is nobody's subject."""
    async with service(tmp_path, trusted(issuer)) as orders:
        local = await orders.gate.accounts.create("ann", PASSWORD, roles=frozenset({"admin"}))
        told = (await orders.get("/who", issuer.token(sub=local.id))).json()
        assert told["subject"] == local.id
        assert told["sub"] != local.id
        assert not is_uuid7(told["sub"])
        assert told["roles"] == ["maker"]
    subs = {external_sub(*pair) for pair in [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("a", "B"), ("A", "b")]}
    assert len(subs) == 6
    # Written down: what an application has stored must mean the same account in every version to come.
    assert external_sub("https://op.example", "alice") == "7d2f2245-6b00-8ca8-9618-7c0291e041df"


async def test_a_scope_alone_is_no_right_and_a_right_without_the_scope_neither(tmp_path: Path, issuer: Issuer) -> None:
    """Both are asked: what the person may do, and what the client may do for them."""
    async with service(tmp_path, trusted(issuer)) as orders:
        right: dict[str, Any] = {"permissions": ["approve"]}
        assert await orders.status("/approve", issuer.token(scope="orders:approve")) == 403
        assert await orders.status("/approve", issuer.token(scope="orders", **right)) == 403
        assert await orders.status("/approve", issuer.token(scope="x orders:approve", **right)) == 200
        assert await orders.status("/approve", issuer.token(scope=None, scp=["orders:approve"], **right)) == 200
    async with service(tmp_path, trusted(issuer, scopes=["orders"])) as orders:
        assert await orders.status("/maker", issuer.token(scope="openid")) == 403
        assert await orders.status("/maker", issuer.token(scope="orders")) == 200


async def test_a_service_has_its_scopes(tmp_path: Path, issuer: Issuer) -> None:
    """Where the subject is the client, the scope is the right; of a person the same scope gives nothing."""
    declared = trusted(issuer, service_if=("gty", "client-credentials"))
    async with service(tmp_path, declared) as orders:
        machines: list[dict[str, Any]] = [{"sub": "spa"}, {"gty": "client-credentials"}]
        for machine in machines:
            told = (await orders.get("/who", issuer.token(scope="orders:machine", realm_access=None, **machine))).json()
            assert (told["kind"], told["permissions"]) == ("service", ["order:create"])
        told = (await orders.get("/who", issuer.token(scope="orders:machine", realm_access=None))).json()
        assert (told["kind"], told["permissions"]) == ("person", [])


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, []), ({"realm_access": {"roles": "makers"}}, ["maker"]), ({"realm_access": {"roles": ["Makers"]}}, []),
        ({"realm_access": {"roles": ["makers2"]}}, []), ({"realm_access": "makers"}, []),
        ({"realm_access": ["roles"]}, []),
        ({"realm_access": {"roles": {"makers": 1}}}, []), ({"realm_access": {"roles": [["makers"]]}}, []),
        ({"roles": ["maker", "admin"]}, []), ({"level": "gold"}, ["admin"]), ({"level": ["gold"]}, ["admin"]),
        ({"level": "gold silver"}, []), ({"level": "ghost"}, []), ({"level": True}, []),
    ],
    ids=str,
)  # fmt: skip
async def test_only_rules_give_roles(
    tmp_path: Path, issuer: Issuer, claims: dict[str, Any], expected: list[str]
) -> None:
    """A value gives what a rule says, to the letter; the names of roles in a token mean nothing by themselves."""
    async with service(tmp_path, trusted(issuer)) as orders:
        told = (await orders.get("/who", issuer.token(**{"realm_access": None, **claims}))).json()
        assert told["roles"] == expected


def hostile(issuer: Issuer) -> dict[str, str]:
    """Make tokens that do not count."""
    now = int(time.time())
    key = KEYS["RS256"]
    good = issuer.token().split(".")

    def framed(header: dict[str, Any], tag: str = good[2]) -> str:
        text = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        return f"{text}.{good[1]}.{tag}"

    return {
        "another key": issuer.token(STRANGER, {"kid": key.kid}),
        "an unknown key": issuer.token(STRANGER),
        "another algorithm": issuer.token(KEYS["ES256"]),
        "alg none": framed({"alg": "none", "kid": key.kid}, "x"),
        "hs256": framed({"alg": "HS256", "kid": key.kid}),
        "crit": framed({"alg": "RS256", "kid": key.kid, "crit": ["x"], "x": 1}),
        "another audience": issuer.token(aud="https://billing.example"),
        "no audience": issuer.token(aud=None),
        "the audience as part": issuer.token(aud=AUDIENCE + "/x"),
        "expired": issuer.token(iat=now - 400, exp=now - 31),
        "no end": issuer.token(exp=None),
        "an end far away": issuer.token(exp=now + 90_000),
        "from the future": issuer.token(iat=now + 60),
        "not yet": issuer.token(nbf=now + 60),
        "no subject": issuer.token(sub=None),
        "an empty subject": issuer.token(sub=""),
        "a number as subject": issuer.token(sub=5),
        "a logout token": issuer.token(header={"typ": "logout+jwt"}),
        "an unknown kind": issuer.token(header={"typ": "secevent+jwt"}),
        "bound to a key": issuer.token(cnf={"jkt": "x"}),
        "bound to nothing": issuer.token(cnf={}),
        "bound to a certificate": issuer.token(cnf={"x5t#S256": "A" * 43}),
        "an id token": issuer.token(header={"typ": "JWT"}, nonce="n"),
        "an id token with a hash": issuer.token(header={"typ": "JWT"}, at_hash="x"),
        "an id token of cognito": issuer.token(header={"typ": "JWT"}, token_use="id"),
        "an id token of keycloak": issuer.token(header={"typ": "JWT"}, typ="ID"),
        "an id token for the client": issuer.token(header={"typ": "JWT"}, aud="spa"),
    }


async def test_tokens_that_do_not_count(tmp_path: Path, issuer: Issuer) -> None:
    """Each is 401, whatever it says of roles; ID tokens above all, which tell a client who has logged in."""
    async with service(tmp_path, trusted(issuer)) as orders:
        assert await orders.status("/maker", issuer.token()) == 200
        for name, token in hostile(issuer).items():
            answer = await orders.get("/who", token)
            assert (answer.status_code, name) == (401, name)
            assert answer.json()["code"] == ("token_expired" if name == "expired" else "token_invalid")
        assert await orders.status("/who", issuer.token(header={"typ": "JWT"}, nonce="n", typ="Bearer")) == 200


async def test_the_issuer_in_a_token_only_chooses(tmp_path: Path, issuer: Issuer) -> None:
    """Another issuer, a prefix of one, and limen's own name in a token of a stranger are limen's to refuse."""
    async with service(tmp_path, trusted(issuer)) as orders:
        names = ("https://evil.example", issuer.url + "/", issuer.url[:-1], "https://limen.example", 5, [issuer.url])
        for name in names:
            assert await orders.status("/who", issuer.token(iss=name)) == 401
        assert issuer.asked.count("/keys") <= 1


async def test_two_issuers_do_not_vouch_for_each_other(tmp_path: Path, issuer: Issuer) -> None:
    """A token that names one and is signed by the other's key is refused."""
    other = Issuer()
    other.keys = [STRANGER]
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    other.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with service(tmp_path, trusted(issuer), trusted(other, rules=())) as orders:
        assert await orders.status("/maker", issuer.token()) == 200
        assert await orders.status("/who", other.token(STRANGER)) == 200
        assert await orders.status("/maker", other.token(STRANGER)) == 403
        assert await orders.status("/who", issuer.token(iss=other.url)) == 401
        assert await orders.status("/who", other.token(STRANGER, iss=issuer.url)) == 401
    server.close()


async def test_routes_about_accounts_are_not_for_them(tmp_path: Path, issuer: Issuer) -> None:
    """There is no account here: limen's own routes refuse them, whatever permissions the rules give."""
    rules = [ClaimRule("level", "root", permissions=sorted(ADMINISTRATION))]
    async with service(tmp_path, trusted(issuer, rules=rules)) as orders:
        token = issuer.token(level="root", amr=["pwd"], auth_time=int(time.time()))
        for path in ("/auth/me", "/auth/sessions", "/auth/ended", "/auth/api-keys", "/admin/api/accounts",
                     "/admin/api/roles", "/admin/api/events", "/admin/api/permissions"):  # fmt: skip
            assert (await orders.status(path, token), path) == (403, path)
        for path in ("/auth/logout-all", "/auth/password", "/auth/api-keys"):
            headers = {"Authorization": f"Bearer {token}"}
            assert (await orders.client.post(path, headers=headers, json={})).status_code in {401, 403}
        told = await orders.get("/auth/verify", token)
        assert (told.status_code, told.headers["x-limen-subject"]) == (200, external_sub(issuer.url, "auth0|123"))


async def test_live_is_a_no_unless_somebody_can_tell(tmp_path: Path, issuer: Issuer) -> None:
    """What the account is now, only its issuer knows; the application may say how it is asked."""
    async with service(tmp_path, trusted(issuer)) as orders:
        assert await orders.status("/live", issuer.token()) == 403
    answers: list[Any] = [True, False, None, ValueError("down")]

    async def still_active(principal: Principal) -> bool:
        assert principal.subject == "auth0|123"
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    async with service(tmp_path, trusted(issuer, still_active=still_active)) as orders:
        assert [await orders.status("/live", issuer.token()) for _ in range(4)] == [200, 401, 401, 503]


async def test_a_recent_proof_is_not_had_by_silence(tmp_path: Path, issuer: Issuer) -> None:
    """Methods count as the issuer says them; those that only limen may say of a credential are not taken over."""
    async with service(tmp_path, trusted(issuer)) as orders:
        assert await orders.status("/interactive", issuer.token()) == 401
        assert await orders.status("/interactive", issuer.token(amr=["api_key", "mtls", "sso", "message"])) == 401
        assert await orders.status("/interactive", issuer.token(amr=["pwd"])) == 200


async def test_keys_rotate_and_are_kept(tmp_path: Path, issuer: Issuer) -> None:
    """A new key is found by its first token; an issuer that is down changes nothing; a retired key's tokens end."""
    async with service(tmp_path, trusted(issuer)) as orders:
        keys = orders.external._keys[0]
        keys._asking = Occasionally(keys.refresh, 0.0)
        old = issuer.token()
        assert await orders.status("/maker", old) == 200
        issuer.keys = [KEYS["RS256"], NEW]
        assert await orders.status("/maker", issuer.token(NEW)) == 200
        issuer.head = "500 No"
        assert await orders.status("/maker", old) == 200
        assert await orders.status("/maker", issuer.token(sub="bob")) == 200
        assert await orders.status("/maker", issuer.token(STRANGER)) == 503
        issuer.head, issuer.keys = "200 OK", [NEW]
        await keys.refresh()
        assert await orders.status("/maker", old) == 401
        assert await orders.status("/maker", issuer.token(NEW)) == 200


async def test_an_issuer_that_never_answered(tmp_path: Path, issuer: Issuer) -> None:
    """Its tokens are 503, since nobody can tell; limen's own and anonymous requests are served as ever."""
    issuer.head = "503 No"
    async with service(tmp_path, trusted(issuer)) as orders:
        assert await orders.status("/maker", issuer.token()) == 503
        assert (await orders.client.get("/who")).status_code == 401
        assert (await orders.client.get("/.well-known/jwks.json")).status_code == 200


async def test_metadata_of_another_issuer_are_not_believed(tmp_path: Path, issuer: Issuer) -> None:
    """Whoever answers under another name could vouch for everybody; stated keys need no metadata."""
    odd: list[dict[str, Any]] = [
        {"issuer": "https://evil.example"}, {"jwks_uri": None}, {"jwks_uri": "http://10.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
    ]  # fmt: skip
    for metadata in odd:
        issuer.metadata = metadata
        async with service(tmp_path, trusted(issuer)) as orders:
            assert await orders.status("/maker", issuer.token()) == 503
        async with service(tmp_path, trusted(issuer, jwks_uri=f"{issuer.url}/keys")) as orders:
            assert await orders.status("/maker", issuer.token()) == 200


async def test_what_cognito_and_entra_send(tmp_path: Path, issuer: Issuer) -> None:
    """The client stands for the audience, and token_use must be access; the tenant is put into the issuer."""
    cognito = trusted(
        issuer, audience="app-1", audience_claim="client_id", require={"token_use": "access"},
        rules=[ClaimRule("cognito:groups", "makers", roles=["maker"])], types=["jwt"],
    )  # fmt: skip
    sent: dict[str, Any] = {
        "aud": None,
        "client_id": "app-1",
        "token_use": "access",
        "cognito:groups": ["makers"],
        "azp": None,
    }
    async with service(tmp_path, cognito) as orders:
        assert await orders.status("/maker", issuer.token(header={"typ": None}, **sent)) == 200
        other = {**sent, "client_id": "app-2"}
        assert await orders.status("/maker", issuer.token(header={"typ": None}, **other)) == 401
        login = {**sent, "aud": "app-1", "token_use": "id"}
        assert await orders.status("/maker", issuer.token(header={"typ": None}, **login)) == 401
        assert await orders.status("/maker", issuer.token(header={"typ": "at+jwt"}, **sent)) == 401
    tid = "9188040d-6c67-4c5b-b112-36a304b66dad"
    template = issuer.url + "/{tenantid}/v2.0"
    issuer.metadata = {"issuer": template}
    entra = trusted(
        issuer, issuer=template, metadata_url=f"{issuer.url}/common/.well-known/openid-configuration",
        require={"tid": [tid]}, rules=[ClaimRule("roles", "Orders.Maker", roles=["maker"])],
    )  # fmt: skip
    async with service(tmp_path, entra) as orders:
        good: dict[str, Any] = {"iss": template.replace("{tenantid}", tid), "tid": tid, "roles": ["Orders.Maker"]}
        assert await orders.status("/maker", issuer.token(**good)) == 200
        stranger = "00000000-0000-0000-0000-000000000001"
        bad: list[dict[str, Any]] = [
            {"tid": stranger}, {"iss": template}, {"tid": None},
            {"tid": stranger, "iss": template.replace("{tenantid}", stranger)},
        ]  # fmt: skip
        for wrong in bad:
            assert await orders.status("/maker", issuer.token(**{**good, **wrong})) == 401


async def test_open_sockets_and_memory_ask_again(tmp_path: Path, issuer: Issuer) -> None:
    """What was verified once ends with its time and its key; changed roles are seen by the next request."""
    clock = Turned()
    async with service(tmp_path, trusted(issuer), clock=clock) as orders:
        token = issuer.token()
        assert await orders.status("/maker", token) == 200
        (known,) = (entry[0] for entry in orders.gate._seen._entries.values())
        assert isinstance(known, ExternalCredential)
        assert orders.external.fault_of(known) is None
        assert await orders.status("/maker", token) == 200
        clock.ahead = 331
        assert await orders.status("/maker", token) == 401
        assert orders.external.fault_of(known) is not None
        clock.ahead = 0
        assert await orders.status("/maker", token) == 200
        orders.gate._use(RoleCatalogue({"maker": []}))
        told = (await orders.get("/who", token)).json()
        assert (told["roles"], told["permissions"]) == (["maker"], [])


async def test_a_token_that_is_bound_to_a_certificate(tmp_path: Path, issuer: Issuer) -> None:
    """It counts beside that certificate alone, the first time and from memory."""
    mine, other = "A" * 43, "B" * 43
    async with service(tmp_path, trusted(issuer)) as orders:
        token = issuer.token(cnf={"x5t#S256": mine}).encode()
        for _ in range(2):
            right = await orders.external.authenticate(PresentedCredential("bearer", token, mine))
            assert isinstance(right, ExternalCredential)
            for wrong in (other, None):
                refused = await orders.external.authenticate(PresentedCredential("bearer", token, wrong))
                assert isinstance(refused, Rejected)
        assert await orders.status("/who", token.decode()) == 401
