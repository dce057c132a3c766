"""The certificate of a client as a proxy passes it on: three spellings, believed from trusted peers alone (R123)."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import Limen
from limen.core.errors import ConfigurationError, CredentialMalformed
from limen.crypto.certificates import ClientCertificate, TrustAnchors
from limen.features.accounts.service import AccountView
from limen.starlette import client_certificate, public
from limen.testing.clock import TurnableClock
from limen.web.certificates import ProxiedCertificates
from limen.web.peers import TrustedProxies
from tests.mtls.authority import DAY, SERVER, Authority, Made, dns, uri
from tests.mtls.conftest import SPIFFE, a_service
from tests.mtls.presenting import attribute
from tests.support.gates import gate_for, settings_for

PROXY = "192.0.2.9"
STRANGER = "198.51.100.7"
Headers = list[tuple[str, str]]


def byte_sequence(der: bytes) -> str:
    """Spell bytes as RFC 9440 does."""
    return f":{base64.b64encode(der).decode()}:"


def rfc9440(made: Made, *chain: Made) -> Headers:
    """The headers of a proxy that follows RFC 9440."""
    found = [("client-cert", byte_sequence(made.der))]
    return found + ([("client-cert-chain", ", ".join(byte_sequence(each.der) for each in chain))] if chain else [])


def nginx(made: Made, *_: Made) -> Headers:
    """The header that nginx makes of ``$ssl_client_escaped_cert``."""
    return [("x-ssl-client-cert", quote(made.pem, safe=""))]


def xfcc(made: Made, *chain: Made) -> Headers:
    """The header of Envoy with ``cert: true``, and ``chain: true`` where there is a chain."""
    value = f'By=spiffe://example.org/limen;Hash={"ab" * 32};Cert="{quote(made.pem, safe="")}"'
    if chain:
        value += f';Chain="{quote("".join(each.pem for each in (made, *chain)), safe="")}"'
    return [
        ("x-forwarded-client-cert", value + f';Subject="CN=a, O=\\"b\\"";URI={SPIFFE};URI=spiffe://x/y;DNS=a.example')
    ]


SPELLINGS: dict[str, Callable[..., Headers]] = {"client-cert": rfc9440, "nginx": nginx, "xfcc": xfcc}


def source_of(kind: str, authority: Authority, clock: Callable[[], float] = time.time) -> ProxiedCertificates:
    """Make what finds certificates."""
    return ProxiedCertificates(kind, TrustedProxies([PROXY]), TrustAnchors(authority.root.pem.encode()), clock)


def scope_of(headers: Headers, peer: str = PROXY, tls: Made | None = None) -> dict[str, Any]:
    """Return the scope of a request from a peer."""
    extension = {"client_cert_chain": [] if tls is None else [tls.pem], "client_cert_error": None}
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    return {"type": "http", "headers": encoded, "client": (peer, 1), "extensions": {"tls": extension}}


@pytest.mark.parametrize("kind", SPELLINGS)
def test_each_spelling(kind: str, authority: Authority) -> None:
    """The certificate, and its way to the authority where the proxy tells it; once more from memory."""
    source = source_of(kind, authority)
    made = authority.client(uri(SPIFFE))
    for _ in range(2):
        found = source(scope_of(SPELLINGS[kind](made)))
        assert isinstance(found, ClientCertificate)
        assert (found.fault, found.names[1]) == (None, f"uri:{SPIFFE}")
    between = authority.make(authority.root, "between", ca=True, usages=None)
    below = authority.make(between, "client", [uri(SPIFFE)])
    found = source(scope_of(SPELLINGS[kind](below, between)))
    assert isinstance(found, ClientCertificate)
    # nginx passes the client's own certificate alone: its file of authorities has to hold those between.
    assert found.fault == ("chain" if kind == "nginx" else None)


@pytest.mark.parametrize("kind", SPELLINGS)
def test_the_proxy_is_not_believed_about_the_certificate(kind: str, authority: Authority, stranger: Authority) -> None:
    """Made by somebody else, by itself, for servers, over, not yet: held against the authority here."""
    source = source_of(kind, authority)
    for made, fault in (
        (stranger.client(uri(SPIFFE)), "chain"),
        (authority.make(None, "client", [uri(SPIFFE)]), "chain"),
        (authority.client(uri(SPIFFE), usages=(SERVER,)), "usage"),
        (authority.client(uri(SPIFFE), begins=-2 * DAY, ends=-DAY), "expired"),
        (authority.client(uri(SPIFFE), begins=DAY, ends=2 * DAY), "not_yet_valid"),
        (authority.root, "authority"),
    ):
        for _ in range(2):
            found = source(scope_of(SPELLINGS[kind](made)))
            assert isinstance(found, ClientCertificate)
            assert found.fault_at(time.time()) == fault


@pytest.mark.parametrize("kind", SPELLINGS)
def test_what_was_held_is_not_held_for_ever(kind: str, authority: Authority) -> None:
    """The memory ends with the certificate, and what was too early is looked at again."""
    clock = TurnableClock()
    source = source_of(kind, authority, clock)
    headers = SPELLINGS[kind](authority.client(uri(SPIFFE), begins=DAY, ends=3 * DAY))
    faults = []
    for _ in range(3):
        found = source(scope_of(headers))
        assert isinstance(found, ClientCertificate)
        faults.append(found.fault_at(clock()))
        clock.turn(2 * DAY.total_seconds())
    assert faults == ["not_yet_valid", None, "expired"]


@pytest.mark.parametrize("kind", SPELLINGS)
def test_from_everybody_else_it_is_nothing(kind: str, authority: Authority) -> None:
    """A header that a stranger sends is not read, whatever is in it; their own TLS connection counts."""
    source = source_of(kind, authority)
    admin, own = authority.client(uri("spiffe://example.org/admin")), authority.client(uri(SPIFFE))
    forged = SPELLINGS[kind](admin)
    assert source(scope_of(forged, STRANGER)) is None
    assert source(scope_of([(name, "nonsense") for name, _ in forged], STRANGER)) is None
    found = source(scope_of(forged, STRANGER, tls=own))
    assert isinstance(found, ClientCertificate)
    assert found.names[1] == f"uri:{SPIFFE}"


@pytest.mark.parametrize("kind", SPELLINGS)
def test_the_proxys_own_certificate_is_nobodys(kind: str, authority: Authority) -> None:
    """Between proxy and limen the proxy may prove itself: it does not stand for clients without a certificate."""
    source = source_of(kind, authority)
    assert source(scope_of([], tls=authority.client(uri(SPIFFE)))) is None


async def test_nor_is_it_where_no_header_is_read(tmp_path: Path, authorities: Path, authority: Authority) -> None:
    """A proxy whose own certificate is a service's lends it to nobody: only clients' own connections count."""
    gate = gate_for(tmp_path, client_ca=authorities, trusted_proxies=PROXY)
    async with gate.running():
        account = await a_service(gate, "gateway", ("uri", SPIFFE), roles=frozenset())
        made = authority.client(uri(SPIFFE))
        for peer, sub in ((PROXY, ""), (STRANGER, account.id)):
            state = await attribute(gate, {**scope_of([], peer, tls=made), "method": "GET"})
            assert (state.principal.sub, state.rejection) == (sub, None)


@pytest.mark.parametrize("kind", SPELLINGS)
def test_the_spellings_of_other_proxies_are_nothing(kind: str, authority: Authority) -> None:
    """A proxy lets headers through that it does not write: only the one that was named is read."""
    source = source_of(kind, authority)
    made = authority.client(uri(SPIFFE))
    for other, spell in SPELLINGS.items():
        if other != kind:
            assert source(scope_of(spell(made))) is None


def test_the_memory_goes_by_names_as_well(authority: Authority) -> None:
    """A certificate that was let in as the client's is nobody's in the header of its chain, nor the other way round."""
    source = source_of("client-cert", authority)
    made, other = authority.client(uri(SPIFFE)), authority.client(uri("spiffe://example.org/other"))
    for sent in (rfc9440(made), rfc9440(made, other)):
        assert isinstance(source(scope_of(sent)), ClientCertificate)
    assert isinstance(source(scope_of([("client-cert-chain", byte_sequence(made.der))])), CredentialMalformed)
    swapped = [("client-cert-chain", byte_sequence(made.der)), ("client-cert", byte_sequence(other.der))]
    found = source(scope_of(swapped))
    assert isinstance(found, ClientCertificate)
    assert found.names[1] == "uri:spiffe://example.org/other"


def hostile(authority: Authority) -> dict[str, list[Headers]]:
    """Headers that name no one certificate, by the proxy that is configured."""
    made, admin = authority.client(uri(SPIFFE)), authority.client(uri("spiffe://example.org/admin"))
    good, pem = byte_sequence(made.der), quote(made.pem, safe="")
    two = quote(made.pem + admin.pem, safe="")
    return {
        "client-cert": [
            [("client-cert", good), ("client-cert", byte_sequence(admin.der))],
            [("client-cert", good), ("client-cert", good)],
            [("client-cert", f"{good}, {byte_sequence(admin.der)}")],
            [("client-cert", good.strip(":"))],
            [("client-cert", f"{good};a=1")],
            [("client-cert", good.replace("M", "*", 1))],
            [("client-cert", f'"{good}"')],
            [("client-cert", pem)],
            [("client-cert", byte_sequence(b"nonsense"))],
            [("client-cert", byte_sequence(made.der + admin.der))],
            [("client-cert", byte_sequence(b"x" * 20_000))],
            [("client-cert", byte_sequence(b"x" * 100_000))],
            [("client-cert", good), ("client-cert-chain", "nonsense")],
            [("client-cert", good), ("client-cert-chain", "")],
            [("client-cert", good), ("client-cert-chain", ", ".join([good] * 20))],
            [("client-cert-chain", good)],
        ],
        "nginx": [
            [("x-ssl-client-cert", pem), ("x-ssl-client-cert", pem)],
            [("x-ssl-client-cert", two)],
            [("x-ssl-client-cert", made.pem.replace("\n", " "))],
            [("x-ssl-client-cert", made.pem.replace("\n", "\t"))],
            [("x-ssl-client-cert", pem.replace("%0A", "%0", 1))],
            [("x-ssl-client-cert", pem.replace("%0A", "%zz", 1))],
            [("x-ssl-client-cert", pem + "%00")],
            [("x-ssl-client-cert", quote(made.key_pem, safe=""))],
            [("x-ssl-client-cert", "SUCCESS")],
            [("x-ssl-client-cert", good)],
            [("x-ssl-client-cert", quote("-----BEGIN CERTIFICATE-----\n" + "A" * 60_000, safe=""))],
        ],
        "xfcc": [
            [("x-forwarded-client-cert", f'Cert="{pem}"'), ("x-forwarded-client-cert", f'Cert="{pem}"')],
            [("x-forwarded-client-cert", f'Cert="{pem}",Cert="{quote(admin.pem, safe="")}"')],
            [("x-forwarded-client-cert", f'Cert="{pem}";Cert="{quote(admin.pem, safe="")}"')],
            [("x-forwarded-client-cert", f'cert="{pem}";CERT="{pem}"')],
            [("x-forwarded-client-cert", f'Cert="{two}"')],
            [("x-forwarded-client-cert", f"Hash={'ab' * 32};URI={SPIFFE}")],
            [("x-forwarded-client-cert", f'Cert="{pem}')],
            [("x-forwarded-client-cert", f'Cert="{pem}"junk')],
            [("x-forwarded-client-cert", f'Cert="{pem}";Chain="nonsense%zz"')],
            [("x-forwarded-client-cert", f'Cert="{pem}";Chain="{quote(made.pem * 20, safe="")}"')],
            [("x-forwarded-client-cert", f'Subject="a\\";Cert="{pem}"')],
            [("x-forwarded-client-cert", "Cert=")],
            [("x-forwarded-client-cert", ";;;")],
            [("x-forwarded-client-cert", "=" * 1000)],
        ],
    }


@pytest.mark.parametrize("kind", SPELLINGS)
def test_hostile_headers(kind: str, authority: Authority) -> None:
    """Twice, two certificates, cut off, over-long, another spelling: malformed, and nothing is raised."""
    source = source_of(kind, authority)
    for number, headers in enumerate(hostile(authority)[kind]):
        assert isinstance(source(scope_of(headers)), CredentialMalformed), number


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("client-cert", ("client-cert", "::")),
        ("client-cert", ("client-cert", "")),
        ("nginx", ("x-ssl-client-cert", "")),
    ],
)
def test_a_template_without_a_certificate(kind: str, header: tuple[str, str], authority: Authority) -> None:
    """What a proxy writes that fills in nothing, for a client that has none."""
    assert source_of(kind, authority)(scope_of([header])) is None


def test_an_empty_xfcc(authority: Authority) -> None:
    """An Envoy that has nothing to say of the client."""
    assert source_of("xfcc", authority)(scope_of([("x-forwarded-client-cert", "")])) is None


def test_a_long_hostile_header_takes_no_time(authority: Authority) -> None:
    """No text makes the reader walk it again and again."""
    source = source_of("xfcc", authority)
    for text in ('Cert="' + "\\" * 40_000, "a=;" * 13_000, 'a="' + 'b"c' * 13_000, "Cert=" + "%41" * 13_000):
        began = time.process_time()
        source(scope_of([("x-forwarded-client-cert", text)]))
        assert time.process_time() - began < 1


# --- through an application


@client_certificate
async def _who(request: Request) -> JSONResponse:
    return JSONResponse({"sub": request.user.sub, "seen": sorted(set(request.headers) & SEEN)})


@public
async def _open(request: Request) -> JSONResponse:
    return JSONResponse({"seen": sorted(set(request.headers) & SEEN)})


SEEN = {"client-cert", "client-cert-chain", "x-ssl-client-cert", "x-forwarded-client-cert"}


def application(gate: Limen) -> Starlette:
    """An application that a gate guards."""
    app = Starlette(routes=[Route("/who", _who, methods=["GET", "POST"]), Route("/open", _open)])
    gate.protect(app)
    return app


@pytest.fixture(params=list(SPELLINGS))
def kind(request: pytest.FixtureRequest) -> str:
    """How the proxy writes it."""
    return str(request.param)


@pytest.fixture
async def proxied(tmp_path: Path, authorities: Path, kind: str) -> tuple[Limen, AccountView]:
    """A gate behind a proxy, and a service."""
    gate = gate_for(tmp_path, client_ca=authorities, client_cert_header=kind, trusted_proxies=PROXY)
    async with gate.running():
        account = await a_service(gate, "billing", ("uri", SPIFFE), roles=frozenset())
    return gate, account


async def test_a_request_through_the_proxy(proxied: tuple[Limen, AccountView], kind: str, authority: Authority) -> None:
    """The service of the certificate; without one, and from a stranger who forges one: 401 with a code."""
    gate, account = proxied
    headers = dict(SPELLINGS[kind](authority.client(uri(SPIFFE))))
    app = application(gate)
    with TestClient(app, client=(PROXY, 1)) as client:
        assert client.get("/who", headers=headers).json()["sub"] == account.id
        assert client.get("/who").json()["code"] == "credential_missing"
        nobody = dict(SPELLINGS[kind](authority.client(dns("nobody.example"))))
        assert client.get("/who", headers=nobody).json()["code"] == "certificate_invalid"
        broken = client.get("/who", headers=dict.fromkeys(headers, "nonsense"))
        assert (broken.status_code, broken.json()["code"]) == (401, "credential_malformed")
        stranger = TestClient(app, client=(STRANGER, 1))
        assert stranger.get("/who", headers=headers).json()["code"] == "credential_missing"
        assert stranger.get("/open", headers=headers).json() == {"seen": []}


async def test_a_bound_token_through_the_proxy(
    proxied: tuple[Limen, AccountView], kind: str, authority: Authority
) -> None:
    """It takes the certificate of the connection behind the proxy; a stranger who forges the header has none (R121)."""
    gate, account = proxied
    made = authority.client(uri(SPIFFE))
    headers, other = dict(SPELLINGS[kind](made)), dict(SPELLINGS[kind](authority.client(uri(SPIFFE))))
    app = application(gate)
    with TestClient(app, client=(PROXY, 1)) as client:
        answer = client.post("/auth/certificate/token", headers=headers)
        assert answer.status_code == 200
        token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        for _ in range(2):
            assert client.get("/who", headers={**headers, **token}).json()["sub"] == account.id
            for sent in (token, {**other, **token}):
                assert client.get("/who", headers=sent).json()["code"] == "token_invalid"
            forged = TestClient(app, client=(STRANGER, 1)).get("/who", headers={**headers, **token})
            assert (forged.status_code, forged.json()["code"]) == (401, "token_invalid")


POST, SOCKET = {"X-Forwarded-Method": "POST"}, {"X-Forwarded-Method": "GET", "Upgrade": "websocket"}
ASKED = [
    (POST, {"Sec-Fetch-Site": "cross-site"}, False),
    (POST, {"Origin": "https://evil.example"}, False),
    ({}, {"Sec-Fetch-Site": "same-site"}, False),
    (SOCKET, {"Origin": "https://evil.example"}, False),
    (SOCKET, {"Origin": "http://testserver"}, True),
    (SOCKET, {}, True),
    ({"X-Forwarded-Method": "GET"}, {"Sec-Fetch-Site": "cross-site"}, True),
    (POST, {"Sec-Fetch-Site": "same-origin"}, True),
    (POST, {}, True),
]


async def test_a_gateway_asks_for_a_page(proxied: tuple[Limen, AccountView], kind: str, authority: Authority) -> None:
    """What counts is the request that a gateway asks about: its GET carries no foreign page's POST, nor a socket."""
    gate, account = proxied
    headers = dict(SPELLINGS[kind](authority.client(uri(SPIFFE))))
    with TestClient(application(gate), client=(PROXY, 1)) as client:
        for asked, page, passes in ASKED:
            answer = client.get("/auth/verify", headers={**headers, **asked, **page})
            assert answer.headers.get("x-limen-subject") == (account.id if passes else None), (asked, page)
            assert passes or (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")


async def test_what_nobody_vouches_for_reaches_no_handler(
    proxied: tuple[Limen, AccountView], kind: str, authority: Authority
) -> None:
    """The application sees the header that its proxy writes, and none that a stranger wrote (R123)."""
    gate, _ = proxied
    made = authority.client(uri(SPIFFE))
    everything = {name: value for spell in SPELLINGS.values() for name, value in spell(made)}
    everything["client-cert-chain"] = byte_sequence(made.der)
    app = application(gate)
    with TestClient(app, client=(PROXY, 1)) as client:
        seen = client.get("/who", headers=everything).json()["seen"]
    own = {"client-cert": ["client-cert", "client-cert-chain"]}.get(kind, [next(iter(SPELLINGS[kind](made)))[0]])
    assert seen == sorted(own)
    with TestClient(app, client=(STRANGER, 1)) as client:
        assert client.get("/open", headers=everything).json()["seen"] == []


def test_a_header_takes_a_proxy_and_an_authority(tmp_path: Path, authorities: Path) -> None:
    """A header without somebody who is believed, or without an authority, is refused at the start."""
    for wrong in (
        {"client_ca": authorities},
        {"trusted_proxies": PROXY},
        {"client_ca": authorities, "trusted_proxies": ""},
    ):
        with pytest.raises(ConfigurationError, match="LIMEN_CLIENT_CERT_HEADER needs"):
            settings_for(tmp_path, client_cert_header="nginx", **wrong)
    with pytest.raises(ConfigurationError, match="LIMEN_CLIENT_CERT_HEADER must be"):
        settings_for(tmp_path, client_cert_header="x-my-own", client_ca=authorities, trusted_proxies=PROXY)
    missing: dict[str, Any] = {
        "client_ca": tmp_path / "no.pem",
        "client_cert_header": "nginx",
        "trusted_proxies": PROXY,
    }
    with pytest.raises(ConfigurationError, match="LIMEN_CLIENT_CA cannot be read"):
        gate_for(tmp_path, **missing)
