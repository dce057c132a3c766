"""Every hostile token of the tests of the envelope, sent to a real server: as a header, and in the fields of a body."""

import time
from collections.abc import Iterator

import pytest

from tests.crypto import hostile_tokens
from tests.crypto.hostile_tokens import Hostile, every_hostile_token
from tests.faults.servers import Server
from tests.faults.wire import Answer

CODES = {"token_invalid", "token_expired", "credential_malformed", "session_ended"}
WITHIN_THE_LEEWAY = {("iat", "future"), ("nbf", "future")}
"""A second ahead, which a verifier without leeway refuses; a server grants two to the clocks of its neighbours."""
NOT_IN_A_HEADER = (b"\r", b"\n", b"\0")


@pytest.fixture(scope="module")
def tokens() -> Iterator[list[Hostile]]:
    """The hostile tokens, made for the time that it is: nothing but what makes them hostile is wrong with them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hostile_tokens, "NOW", int(time.time()))
        yield every_hostile_token()


def as_bytes(token: str | bytes) -> bytes:
    """Return a token as bytes, whatever is in it."""
    return token if isinstance(token, bytes) else token.encode("utf-8", "surrogatepass")


def assert_refused(answer: Answer, token: bytes, name: str = "") -> None:
    """See that it is a 401 of the catalogue, with a challenge, and that nothing of the token is in it."""
    assert answer.status == 401, (name, answer)
    assert answer.code in CODES
    assert (answer.header("www-authenticate") or "").startswith("Bearer ")
    assert answer.header("content-type") == "application/problem+json"
    for part in token.split(b"."):
        assert len(part) < 12 or part not in answer.body


def test_the_tokens_of_these_tests_are_good_but_for_what_makes_them_hostile(server: Server) -> None:
    """The token that the hostile ones deviate from is accepted by this server: what they are refused for is in them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hostile_tokens, "NOW", int(time.time()))
        good = hostile_tokens.token()
    assert server.get("/guarded", token=good).status == 200


def test_hostile_tokens_in_the_header_are_401_with_a_code(server: Server, tokens: list[Hostile]) -> None:
    """Each is refused with a code and a challenge; what the HTTP parser itself cannot take is its 400."""
    assert len(tokens) > 100
    for hostile in tokens:
        token = as_bytes(hostile.token)
        if token.strip(b" ") != token or (hostile.group, hostile.name) in WITHIN_THE_LEEWAY:
            continue  # in a header, spaces around a value are not part of it (RFC 9110, section 5.6.3)
        answer = server.get("/guarded", token=token)
        if any(byte in token for byte in NOT_IN_A_HEADER):
            assert answer.status in (400, 401), hostile
        elif len(token) > 32_768:
            assert answer.status in (400, 401, 431), hostile
        else:
            assert_refused(answer, token, f"{hostile.group}: {hostile.name}")


def test_hostile_tokens_in_a_body_are_401_or_4xx_and_end_nobodys_session(server: Server, tokens: list[Hostile]) -> None:
    """As a refresh token each is refused, as a token to log out with it changes nothing, and a real session goes on."""
    session = server.log_in("client")
    for hostile in tokens:
        text = hostile.token if isinstance(hostile.token, str) else hostile.token.decode("latin-1")
        body = {"refresh_token": text}
        refused = server.post("/auth/refresh", body)
        assert refused.status in (400, 401, 413, 422), (hostile, refused)
        assert refused.code in ("bad_request", "invalid_refresh_token", "body_too_large", "invalid_input"), refused
        for part in as_bytes(text).split(b"."):
            assert len(part) < 12 or part not in refused.body
        assert server.post("/auth/logout", body).status in (204, 400, 413, 422), hostile
    assert server.refresh(session["refresh_token"]).status == 200


def test_an_access_token_is_no_refresh_token_nor_the_other_way_round(server: Server) -> None:
    """Each kind is refused where the other belongs (RFC 8725, section 3.12), and nobody is logged out by it."""
    tokens = server.log_in("client")
    assert_refused(server.get("/guarded", token=tokens["refresh_token"]), tokens["refresh_token"].encode())
    assert server.refresh(tokens["access_token"]).code == "invalid_refresh_token"
    assert server.post("/auth/logout", {"refresh_token": tokens["access_token"]}).status == 204
    assert server.get("/guarded", token=tokens["access_token"]).status == 200
    assert server.refresh(tokens["refresh_token"]).status == 200


@pytest.mark.parametrize(
    "values",
    [
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"Bearer a b"],
        [b"Bearer\ta.b.c"],
        [b"Bearer  a.b.c"],
        [b"bearer a.b.c"],
        [b"Basic Y2xpZW50OnBhc3N3b3Jk"],
        [b"Digest username=x"],
        [b"Negotiate YII="],
        [b"a.b.c"],
        [b"Bearer: a.b.c"],
        [b"Bearer a.b.c, Bearer d.e.f"],
        [b"Bearer a.b.c", b"Bearer d.e.f"],
        [b"Bearer \xff\xfe\x80"],
        [b"Bearer \xe2\x80\xae.b.c"],
        [b"Bearer " + b"a" * 16_400],
        [b"Bearer " + b"." * 8_000],
        [b"Bearer " + b"eyJ" * 5_000],
        [b"lim_0123456789abcdef"],
        [b"Bearer lim_0123456789abcdef"],
    ],
    ids=lambda values: repr(values)[:40],
)
def test_hostile_authorization_headers_are_401(server: Server, values: list[bytes]) -> None:
    """Whatever stands in the header is refused, never taken for «nothing sent» at a guarded route, and not repeated."""
    answer = server.get("/guarded", headers=tuple((b"Authorization", value) for value in values))
    assert answer.status == 401, answer
    assert answer.code in {"credential_malformed", "credential_missing", "token_invalid"}
    assert answer.header("www-authenticate")
    for value in values:
        assert len(value) < 12 or value[7:] not in answer.body


def test_a_header_of_a_megabyte_is_refused_and_the_next_request_is_answered(server: Server) -> None:
    """A header that no server should read to its end costs the sender the connection, and nobody else anything."""
    answer = server.get("/guarded", token=b"a" * 60_000)
    assert 400 <= answer.status < 500
    assert server.get("/open").status == 200
