"""nginx, Caddy, Traefik and Envoy with the configurations of ``deploy``: who passes, and what the service then sees."""

import json
import posixpath
import socket
from urllib.parse import unquote

import jwt
import pytest

from tests.gateways.conftest import ISSUER, Gateway, Seen, Service
from tests.gateways.proxies import KINDS, Lacking, running
from tests.support.gates import PASSWORD
from tests.support.ports import free_port

LIMENS = ("X-Limen-Subject", "X-Limen-Kind", "X-Limen-Roles", "X-Limen-Permissions", "X-Limen-Token")
REFUSED = {400, 401, 403, 404, 405}

FORGED = [
    *((name, "forged") for name in LIMENS),
    ("x-limen-roles", "admin"),
    ("X-LIMEN-ROLES", "admin"),
    ("X-Forwarded-For", "6.6.6.6"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Method", "GET"),
    ("X-Forwarded-Uri", "/"),
    ("X-Original-URI", "/"),
    ("X-Original-URL", "/"),
    ("X-Rewrite-URL", "/"),
    ("X-HTTP-Method-Override", "GET"),
    ("Forwarded", "for=6.6.6.6;proto=https"),
    ("Client-Cert", ":Zm9yZ2Vk:"),
    ("Client-Cert-Chain", ":Zm9yZ2Vk:"),
    ("X-Forwarded-Client-Cert", "By=forged"),
    ("X-Client-Cert", "forged"),
    ("X-SSL-Client-Cert", "forged"),
]
UNDERSCORED = [(name.replace("-", "_"), "forged") for name in LIMENS] + [("X-Limen_Roles", "forged")]


def claims_of(gateway: Gateway, token: str) -> dict[str, object]:
    """Verify a gateway's token as any service can: by the public keys, with another library."""
    keys = {key["kid"]: jwt.PyJWK(key) for key in gateway.ask("GET", "/.well-known/jwks.json").json["keys"]}
    header = jwt.get_unverified_header(token)
    assert header["typ"] == "limen-fwd+jwt"
    audience = f"{ISSUER}/forwarded"
    found: dict[str, object] = jwt.decode(
        token, keys[header["kid"]], algorithms=["ES256"], audience=audience, issuer=ISSUER, leeway=5
    )
    return found


def none_forged(seen: Seen) -> bool:
    """Tell whether nothing of what a client forged has reached the service."""
    # In base64 too: what stands for a certificate.
    signs = ("forged", "Zm9yZ2Vk", "6.6.6.6")
    return not any(value == "admin" or any(sign in value for sign in signs) for _, value in seen.headers)


def test_anonymous_is_401(gateway: Gateway) -> None:
    """Nobody reaches anything without a credential; the answer asks for one."""
    for path in ("/", "/orders", "/orders/7", "/reports", "/anything?x=1"):
        answer, seen = gateway.reached("GET", path)
        assert (answer.status, seen) == (401, [])
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_roles_and_permissions(gateway: Gateway) -> None:
    """Each path asks what its configuration says: 200 for whoever holds it, 403 for everybody else."""
    expected = {
        "mia": {"/": 200, "/orders/7": 200, "/reports": 403},
        "carl": {"/": 200, "/orders/7": 403, "/reports": 200},
        "norma": {"/": 200, "/orders/7": 403, "/reports": 403},
    }
    for name, by_path in expected.items():
        held = gateway.token(name)
        for path, status in by_path.items():
            answer, seen = gateway.reached("GET", path, held)
            assert (name, path, answer.status, len(seen)) == (name, path, status, int(status == 200))


def test_the_service_sees_exactly_what_limen_said(gateway: Gateway) -> None:
    """Each header once, the token verifies by the JWKS and says the same, and the client's credential stays outside."""
    held = gateway.token("mia")
    answer, (seen,) = gateway.reached("POST", "/orders/7?x=%2f", [*held, ("Cookie", "theme=dark")], b"a body")
    assert (answer.status, answer.body) == (200, b"reached a body")
    assert (seen.method, seen.path) == ("POST", "/orders/7?x=%2f")
    (token,) = seen.all("X-Limen-Token")
    claims = claims_of(gateway, token)
    assert [seen.all(name) for name in LIMENS[:4]] == [
        [claims["sub"]], ["person"], ["maker"], ["order:create,order:read"],
    ]  # fmt: skip
    assert (claims["kind"], claims["roles"]) == ("person", ["maker"])
    assert (seen.all("Authorization"), seen.all("X-API-Key"), seen.all("Cookie")) == ([], [], ["theme=dark"])
    assert not any(name in answer.headers for name in map(str.lower, LIMENS))


def test_forged_headers_stay_outside(gateway: Gateway) -> None:
    """Nothing that a client writes under limen's names, or about its way, reaches the service or convinces limen."""
    for name, roles in (("mia", "maker"), ("norma", "")):
        answer, (seen,) = gateway.reached("GET", "/x", [*gateway.token(name), *FORGED])
        assert answer.status == 200
        assert none_forged(seen), seen.headers
        assert [value for value in seen.all("X-Limen-Roles") if value] == [roles] * bool(roles)
        assert len(seen.all("X-Limen-Subject")) == len(seen.all("X-Limen-Token")) == 1
    assert gateway.reached("GET", "/x", FORGED)[0].status == 401
    assert gateway.reached("GET", "/orders", [*gateway.token("norma"), *FORGED])[0].status == 403


def test_underscores_are_dashes_to_many_a_service(gateway: Gateway) -> None:
    """X_Limen_Roles never reaches the service: it is left out, or the request is refused."""
    for header in UNDERSCORED:
        answer, seen = gateway.reached("GET", "/x", [*gateway.token("norma"), header])
        assert answer.status in {200, 400}
        assert all(none_forged(each) for each in seen), (header, seen)


def test_hop_by_hop_tricks(gateway: Gateway) -> None:
    """A client cannot have limen's headers dropped by naming them in Connection (RFC 9110, section 7.6.1)."""
    named = "close, X-Limen-Subject, X-Limen-Token, X-Limen-Roles, X-Forwarded-For, X-Forwarded-Method"
    answer, seen = gateway.reached("GET", "/x", [*gateway.token("mia"), ("Connection", named)])
    assert answer.status in {200, 400}
    assert all(len(each.all("X-Limen-Token")) == len(each.all("X-Limen-Subject")) == 1 for each in seen)
    # What must prove itself cannot be made to look like what need not.
    opened, cookie = log_in_by_cookie(gateway)
    assert gateway.reached("POST", "/x", [cookie, ("Connection", "X-Forwarded-Method, Origin")], b"")[0].status in {
        400,
        403,
    }
    assert opened


PATHS = [
    "/x/../orders", "/x/%2e%2e/orders", "/x/..%2forders", "/x%2f..%2forders", "//orders", "/./orders", "/%6frders",
    "/orders%2f7", "/orders/", "/orders;x=1", "/orders/..;/x", "/x/..;/orders", "/ORDERS", "/orders%00", "/orders%20",
    "/orders?roles=", "/orders#x", "/%2forders", "/x/..\\orders", "/%252e%252e/orders", "/x/%252e%252e/orders",
    "/orders/%2e%2e/x", "/orders/../x", "/.//orders", "/x?/../orders", "/x?roles=maker&permissions=", "/x;/../orders",
    "http://127.0.0.1/orders", "*", "/x//..//orders", "/%u002forders", "/x/%c0%af../orders",
]  # fmt: skip


def readings(path: str) -> list[str]:
    """Return what services make of a path: decoded; without its dots; and without parameters (RFC 3986, 3.3)."""
    text = unquote(path.partition("?")[0])
    plain = "/".join(part.partition(";")[0] for part in text.replace("\\", "/").split("/"))
    return [text, *(posixpath.normpath("/" + each.lstrip("/")) for each in (text, plain))]


@pytest.mark.parametrize("path", PATHS)
def test_path_tricks(gateway: Gateway, path: str) -> None:
    """However a path is spelt: whoever may not see orders does not reach what a service takes for orders."""
    answer, seen = gateway.reached("GET", path, gateway.token("norma"))
    taken = [each.path for each in seen if any(read.startswith("/orders") for read in readings(each.path))]
    assert not taken
    assert answer.status in {200, 301, 307, 308} | REFUSED
    anonymous, seen = gateway.reached("GET", path)
    assert not seen
    assert anonymous.status in {301, 307, 308} | REFUSED


def test_limens_own_question_is_not_for_clients(gateway: Gateway) -> None:
    """/auth/verify cannot be asked through the gateway: a client has no use for the token of services."""
    held = gateway.token("mia")
    for path in (
        "/auth/verify",
        "/auth/verify?roles=maker",
        "/auth/verify/",
        "//auth/verify",
        "/auth/./verify",
        "/auth/%76erify",
    ):
        answer, _ = gateway.reached("GET", path, held)
        assert "x-limen-token" not in answer.headers
        assert "x-limen-subject" not in answer.headers


def log_in_by_cookie(gateway: Gateway) -> tuple[dict[str, str], tuple[str, str]]:
    """Open a cookie session through the gateway; return what it answered and the header with the cookie."""
    body = json.dumps({"username": "mia", "password": PASSWORD}).encode()
    own = [("Sec-Fetch-Site", "same-origin"), ("Content-Type", "application/json")]
    opened = gateway.ask("POST", "/auth/session", own, body)
    assert opened.status == 200, opened.body
    # Beside it there is the one of known devices, which opens nothing.
    (cookie,) = (each for each in opened.cookies if not each.startswith(("limen-device=", "__Host-limen-device=")))
    return opened.json, ("Cookie", cookie)


def test_cookie_and_the_original_method(gateway: Gateway) -> None:
    """A cookie passes for reading; a change takes its proof, though the gateway asks by another method."""
    opened, cookie = log_in_by_cookie(gateway)
    proof = [("Sec-Fetch-Site", "same-origin"), ("X-CSRF-Token", opened["csrf_token"])]
    assert gateway.reached("GET", "/orders", [cookie])[0].status == 200
    for method in ("POST", "PUT", "DELETE"):
        answer, seen = gateway.reached(method, "/orders", [cookie], b"{}")
        assert (method, answer.status, seen) == (method, 403, [])
        forged = [cookie, ("X-Forwarded-Method", "GET"), ("X-HTTP-Method-Override", "GET")]
        answer, seen = gateway.reached(method, "/orders", forged, b"{}")
        assert (method, answer.status, seen) == (method, 403, [])
        foreign = [cookie, ("Sec-Fetch-Site", "same-site"), proof[1]]
        answer, seen = gateway.reached(method, "/orders", foreign, b"{}")
        assert (method, answer.status, seen) == (method, 403, [])
        answer, seen = gateway.reached(method, "/orders", [cookie, *proof], b"{}")
        assert (method, answer.status, len(seen)) == (method, 200, 1)


def test_sockets_of_foreign_pages(gateway: Gateway) -> None:
    """A handshake by cookie passes from a page of this origin alone, though it is a GET."""
    _, cookie = log_in_by_cookie(gateway)
    shake = [
        ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]  # fmt: skip
    foreign = [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site")]
    answer, seen = gateway.reached("GET", "/orders", [cookie, *shake, *foreign])
    assert (answer.status in {400, 403}, seen) == (True, [])


def test_api_key(gateway: Gateway) -> None:
    """A service passes with its key, which stays outside."""
    for header in (("X-API-Key", gateway.limen.key), ("Authorization", f"Bearer {gateway.limen.key}")):
        answer, (seen,) = gateway.reached("GET", "/orders", [header])
        assert answer.status == 200
        assert (seen.all("X-Limen-Subject"), seen.all("X-Limen-Kind")) == ([gateway.limen.service_id], ["service"])
        assert gateway.limen.key not in str(seen.headers)
    assert gateway.reached("GET", "/orders", [("X-API-Key", gateway.limen.key[:-1] + "x")])[0].status == 401


def test_malformed_and_doubled_credentials(gateway: Gateway) -> None:
    """What limen cannot read is no credential, and two of them are none either."""
    held = gateway.token("mia")
    for headers in (
        [("Authorization", "Bearer x")],
        [("Authorization", "Basic eDp5")],
        [*held, *held],
        [*held, ("X-API-Key", gateway.limen.key)],
    ):
        answer, seen = gateway.reached("GET", "/orders", headers)
        # nginx knows no other refusals than 401 and 403: it answers 500 for the rest.
        assert answer.status in {400, 401, 500}
        assert seen == []


def test_the_clients_address_is_the_gateways_word(gateway: Gateway) -> None:
    """The address on record is the one that the gateway saw, whatever the client says of itself."""
    body = json.dumps({"username": "carl", "password": PASSWORD}).encode()
    forged = [("Content-Type", "application/json"), ("X-Forwarded-For", "6.6.6.6"), ("Forwarded", "for=6.6.6.6")]
    answer = gateway.ask("POST", "/auth/login", [*forged, ("X-Real-IP", "6.6.6.6")], body)
    held = [("Authorization", f"Bearer {answer.json['access_token']}")]
    sessions = gateway.ask("GET", "/auth/sessions?limit=200", held).json["items"]
    addresses = {session["address"] for session in sessions}
    # Envoy calls a client of its own machine by the machine's address.
    assert "6.6.6.6" not in addresses
    assert all(is_of_this_machine(address) for address in addresses)


def is_of_this_machine(address: str) -> bool:
    """Tell whether an address is one of this machine's."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def test_smuggled_request(gateway: Gateway) -> None:
    """A body that looks like a request is a body, or refused: it does not reach the service on its own."""
    held = gateway.token("norma")[0][1]
    inner = b"GET /orders HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST /x HTTP/1.1\r\nHost: x\r\nAuthorization: {held}\r\n"
    both = (
        f"{head}Content-Length: {len(inner) + 5}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + b"0\r\n\r\n" + inner
    )
    before = len(gateway.service.seen)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as raw:
        raw.sendall(both)
        raw.settimeout(2)
        try:
            while raw.recv(65536):
                pass
        except TimeoutError:
            pass
    assert not [each for each in gateway.service.seen[before:] if each.path.startswith("/orders")]


@pytest.mark.parametrize("kind", list(KINDS))
def test_limen_is_down(behind: Service, kind: str) -> None:
    """Where limen does not answer, nothing passes: an error, never the service."""
    before = len(behind.seen)
    try:
        with running(kind, limen=free_port(), service=behind.port) as port:
            gateway = Gateway(kind, port, None, behind)  # type: ignore[arg-type]
            for headers in ([], [("Authorization", "Bearer x")], FORGED):
                for path in ("/", "/orders", "/reports"):
                    assert gateway.ask("GET", path, headers).status in {500, 502, 503, 504}
            assert gateway.ask("POST", "/auth/login").status in {500, 502, 503, 504}
    except Lacking as error:
        pytest.skip(str(error))
    assert len(behind.seen) == before
