"""Access tokens of issuers that are not limen: what counts, what it gives, and where it does not count."""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest

from limen import ADMINISTRATION, ClaimRule, Principal
from limen.authn.external import external_sub
from limen.core.events import NOWHERE
from limen.core.ids import is_uuid7
from limen.features.roles.service import OPERATOR
from limen.web.guard.dispatch import instrument
from limen.web.guard.marks import read_marks
from tests.authn.external_issuer import AUDIENCE, KEYS, STRANGER, Issuer, service, trusted
from tests.support.gates import PASSWORD


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


async def test_no_route_of_limens_is_for_them(tmp_path: Path, issuer: Issuer) -> None:
    """Nor where the application says that the account is active: each route but the public ones, and the gateway's."""
    rules = [ClaimRule("level", "root", roles=["admin"], permissions=sorted(ADMINISTRATION))]

    async def still_active(principal: Principal) -> bool:
        return principal.subject == "auth0|123"

    async with service(tmp_path, trusted(issuer, rules=rules, still_active=still_active)) as orders:
        api_keys = orders.gate.api_keys
        assert api_keys is not None
        account = await orders.gate.accounts.create("ann", PASSWORD, roles=frozenset({"maker"}))
        billing = await api_keys.services.create(OPERATOR, "billing", roles=frozenset())
        token = issuer.token(level="root", amr=["pwd"], auth_time=int(time.time()))
        assert await orders.status("/live", token) == 200
        own = instrument(orders.gate._protections[0].app.router).own
        assert own is not None
        told = {}
        for path, methods, endpoint in own.listed():
            if "GET" in methods and not read_marks(endpoint).public:
                for name, value in (("id", billing.id if "/services" in path else account.id), ("name", "maker")):
                    path = path.replace(f"{{{name}}}", value)  # noqa: PLW2901
                told[path] = await orders.status(path, token)
        assert len(told) > 15
        assert told.pop("/auth/verify") == 200
        # A session is a cookie's.
        assert told.pop("/auth/session") == 401
        assert set(told.values()) == {403}, told


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
