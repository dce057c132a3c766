"""Hostile bodies and headers against each of limen's own routes and a guarded one: 4xx with a code, never a 500."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.servers import Server
from tests.faults.wire import Answer, request_bytes
from tests.support.gates import PASSWORD

MARK = "mark-that-must-not-come-back"
ROUTES: dict[str, dict[str, Any]] = {
    "/auth/register": {"username": "somebody-new", "password": PASSWORD},
    "/auth/login": {"username": "client", "password": PASSWORD},
    "/auth/refresh": {"refresh_token": "a.b.c"},
    "/auth/logout": {"refresh_token": "a.b.c"},
    "/auth/password": {"current_password": PASSWORD, "new_password": PASSWORD + " and more"},
}
RAW_BODIES = [
    b"",
    b" ",
    b"null",
    b"true",
    b"0",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{",
    b"{}}",
    b"{}{}",
    b"{'a': 1}",
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e999}',
    b'{"a": -0}',
    b'{"a": 0123}',
    b'{"a": 1,}',
    b'{"a" 1}',
    b"\xef\xbb\xbf{}",
    '{"username": "a"}'.encode("utf-16"),
    '{"username": "a"}'.encode("utf-32"),
    b'{"username": "\xff\xfe"}',
    b'{"username": "\\ud800", "password": "\\udfff", "refresh_token": "\\ud800"}',
    b'{"username": "a\\u0000b", "password": "a\\u0000b", "refresh_token": "a\\u0000b"}',
    b'{"username": "a", "username": "b", "password": "c", "password": "d"}',
    b'{"refresh_token": "a", "refresh_token": "b"}',
    b'{"refresh_token": "a", "refresh_\\u0074oken": "b"}',
    b'{"username": "a\x00b", "password": "x"}',
    b'{"username": "a\nb", "password": "x"}',
    b"[" * 20_000,
    b'{"a":' * 10_000,
    b'{"username": ' + b"9" * 5_000 + b"}",
    b'{"a": "' + b"x" * 70_000 + b'"}',
    b"\x1f\x8b\x08\x00" + b"\x00" * 40,
    b"username=client&password=" + PASSWORD.encode(),
    b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    b"--x\r\nContent-Disposition: form-data; name=username\r\n\r\nclient\r\n--x--",
]
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    2**70,
    [],
    ["client"],
    {},
    {"$ne": None},
    {"$gt": ""},
    "",
    " ",
    "\t\r\n",
    "\u0000",
    "\u202eclient",
    "cl\u200dient",
    "\ud83d\ude00" * 300,
    "a" * 1_025,
    "a" * 60_000,
    "\u0301" * 2_000,
    "\ufdfa" * 1_000,
    f"' OR 1=1 --{MARK}",
    f'"; DROP TABLE limen_accounts; --{MARK}',
    f"../../../../etc/passwd{MARK}",
    f"%s%n%x{{0}}{{0.__class__}}{MARK}",
    f"${{jndi:ldap://127.0.0.1:9/{MARK}}}",
    f"<script>alert('{MARK}')</script>",
    f'{{{{7*7}}}}{MARK}"}}\r\n{{"level": "forged"}}',
    f"\x1b[2J\x1b[31m{MARK}",
]


@pytest.fixture
def access(server: Server) -> str:
    """A good access token: routes that need one are asked with it, or nothing behind the guard would be tested."""
    token: str = server.log_in("client")["access_token"]
    return token


@pytest.fixture(autouse=True, scope="module")
def accounts_stay(server: Server) -> Iterator[None]:
    """Whatever was sent, the one account is as it was."""
    yield
    assert server.rows("SELECT username, status FROM limen_accounts WHERE username = 'client'") == [
        ("client", "active")
    ]
    assert server.log_in("client", PASSWORD)


def assert_refused(answer: Answer, sent: object) -> None:
    """See that it is a 4xx of the catalogue which repeats nothing of the input."""
    assert 400 <= answer.status < 500, (sent, answer)
    assert answer.header("content-type") == "application/problem+json"
    assert answer.code, (sent, answer)
    assert answer.json()["trace_id"]
    # Refused for what was sent, not because nobody was there to send it.
    assert answer.code not in ("credential_missing", "token_invalid", "session_ended"), (sent, answer)
    assert MARK.encode() not in answer.body
    assert MARK not in repr(answer.headers)


@pytest.mark.parametrize("path", ROUTES)
def test_bodies_that_are_no_request_are_refused_with_a_code(server: Server, access: str, path: str) -> None:
    """What is not the one JSON object that the route reads is a 4xx, and the answer says nothing of what was sent."""
    for body in RAW_BODIES:
        if not body and path == "/auth/logout":
            continue  # with a Bearer token and no body, that is a logout
        answer = server.post(path, body=body, token=access, headers=((b"Content-Type", b"application/json"),))
        assert_refused(answer, body[:60])


@pytest.mark.parametrize("path", ROUTES)
def test_fields_of_the_wrong_kind_or_shape_are_refused_with_a_code(server: Server, access: str, path: str) -> None:
    """Each value in each field: wrong types, injections, endless or invisible texts. No 500, nothing repeated."""
    for field in ROUTES[path]:
        for value in VALUES:
            # Some of the values are good names or good passwords: then it is the other field that is not.
            others = {"username": "not a name", "password": "too short", "current_password": "not this one"}
            body = {**{name: others.get(name, good) for name, good in ROUTES[path].items()}, field: value}
            answer = server.post(path, body, token=access)
            if path == "/auth/logout" and isinstance(value, str) and answer.status == 204:
                continue
            assert_refused(answer, (field, value if not isinstance(value, str) else value[:60]))


@pytest.mark.parametrize("path", ROUTES)
def test_fields_that_nobody_asked_for_are_refused(server: Server, access: str, path: str) -> None:
    """A role or a status cannot be slipped into a request (mass assignment), nor a name into the answer."""
    for name in ("roles", "status", "id", "__proto__", "session_epoch", MARK):
        answer = server.post(path, {**ROUTES[path], name: ["admin"]}, token=access)
        assert_refused(answer, name)
        assert answer.status == 422


@pytest.mark.parametrize("path", ROUTES)
def test_other_media_types_and_encodings_are_415(server: Server, access: str, path: str) -> None:
    """A page of another site can send text/plain without being asked; nothing that is packed is unpacked."""
    content = json.dumps(ROUTES[path]).encode()
    for headers in (
        ((b"Content-Type", b"text/plain"),),
        ((b"Content-Type", b"application/x-www-form-urlencoded"),),
        ((b"Content-Type", b"application/json; charset=utf-16"),),
        ((b"Content-Type", b"application/json"), (b"Content-Type", b"text/plain")),
        ((b"Content-Type", b"application/json"), (b"Content-Encoding", b"gzip")),
        ((b"Content-Type", b"application/json"), (b"Content-Encoding", b"br, gzip")),
        (),
    ):
        answer = server.post(path, body=content, token=access, headers=headers)
        assert (answer.status, answer.code) == (415, "unsupported_media_type"), headers


HEADERS: list[tuple[tuple[bytes, bytes], ...]] = [
    ((b"X-Request-ID", b'x"}\\n{"level":"forged" ' + MARK.encode()),),
    ((b"X-Request-ID", b"a" * 8_000),),
    ((b"User-Agent", b"\xff\xfe\xc2\x9b31m" + MARK.encode()),),
    ((b"User-Agent", b"${jndi:ldap://127.0.0.1/" + MARK.encode() + b"}"),),
    ((b"User-Agent", b"u" * 30_000),),
    ((b"X-Forwarded-For", b"127.0.0.1, " * 500),),
    ((b"X-Forwarded-Proto", b"https"), (b"X-Forwarded-Host", MARK.encode())),
    ((b"Forwarded", b"for=" + MARK.encode() + b";proto=https"),),
    ((b"X-Original-URL", b"/open"), (b"X-Rewrite-URL", b"/open")),
    ((b"X-HTTP-Method-Override", b"GET"),),
    ((b"Cookie", b"limen=" + MARK.encode() + b"; " * 2_000),),
    ((b"Origin", b"https://" + MARK.encode() + b".example"),),
    ((b"Origin", b"null"), (b"Access-Control-Request-Method", b"POST")),
    ((b"Range", b"bytes=0-," + b"0-," * 1_000),),
    ((b"Expect", b"100-continue"),),
    ((b"Accept-Language", b"%s%n{0}" + MARK.encode()),),
    ((b"X-Limen-Subject", b"admin"), (b"X-Limen-Roles", b"admin")),
    ((b"Traceparent", b"00-" + b"f" * 4_000),),
    ((b"Content-Type", b"application/json;" + b"a" * 4_000),),
    ((b"Upgrade", b"websocket"),),
    tuple((b"X-" + str(number).encode(), b"v") for number in range(200)),
]


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: headers[0][0].decode())
def test_hostile_headers_change_nothing_and_are_not_repeated(
    server: Server, headers: tuple[tuple[bytes, bytes], ...]
) -> None:
    """With any of these, a guarded route is still 401, each of limen's routes a 4xx, and the public one open."""
    for path in ("/guarded", "/auth/me", "/auth/logout-all", "/docs", "/nowhere"):
        method = "POST" if path == "/auth/logout-all" else "GET"
        answer = server.send(request_bytes(method, path, headers=headers))
        assert answer.status in (401, 404), (path, answer)
        assert MARK.encode() not in answer.body
        assert MARK not in repr(answer.headers)
    for path in ROUTES:
        answer = server.send(request_bytes("POST", path, body=b"{}", headers=headers))
        assert 400 <= answer.status < 500, (path, answer)
        assert MARK.encode() not in answer.body
        assert MARK not in repr(answer.headers)
    assert server.get("/open", headers=headers).status in (200, 400)


@pytest.mark.parametrize("path", [*ROUTES, "/auth/me", "/auth/logout-all", "/guarded"])
@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PUT", "DELETE", "QUERY", "get", "post", "OPTIONS", "HEAD"])
def test_other_methods_are_refused(server: Server, method: str, path: str) -> None:
    """No method that a route does not have gets anywhere, and none is a way around the guard."""
    answer = server.send(request_bytes(method, path))
    assert 400 <= answer.status < 500, answer


@pytest.mark.parametrize(
    "text",
    [
        b"GET /guarded HTTP/9.9\r\nHost: a\r\n\r\n",
        b"GET /guarded\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nzz\r\n\r\n",
        b"POST /auth/login HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
        b"GET /guarded HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n b\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /%00%ff%0d%0a/guarded HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET //guarded/../guarded;x=y?%s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"GET " + b"/a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    ],
    ids=lambda text: repr(text[:45]),
)
def test_what_is_hardly_http_is_a_4xx(server: Server, text: bytes) -> None:
    """Malformed requests, forged lengths and smuggled bodies end with a 4xx, and the server goes on."""
    answer = server.send(text)
    assert 400 <= answer.status < 500, answer
    assert server.get("/open").status == 200


def test_a_body_announced_as_huge_is_refused_before_it_is_read(server: Server) -> None:
    """More than 64 KiB is a 413 as soon as the length is told, or as soon as that much came in chunks."""
    announced = b"POST /auth/login HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Type: application/json\r\n"
    assert server.send(announced + b"Content-Length: 65537\r\n\r\n").code == "body_too_large"
    chunks = b"".join(b"4000\r\n" + b" " * 0x4000 + b"\r\n" for _ in range(6)) + b"0\r\n\r\n"
    assert server.send(announced + b"Transfer-Encoding: chunked\r\n\r\n" + chunks).code == "body_too_large"


def test_malformed_json_at_a_guarded_route_is_401_and_not_422(server: Server) -> None:
    """Whoever is nobody learns nothing of what a route reads: the guard comes before the body."""
    answer = server.post("/orders", body=b"{", headers=((b"Content-Type", b"application/json"),))
    assert (answer.status, answer.code) == (401, "credential_missing")
    answer = server.post("/auth/password", body=b"{", headers=((b"Content-Type", b"application/json"),))
    assert (answer.status, answer.code) == (401, "credential_missing")
