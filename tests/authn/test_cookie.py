"""The session cookie as it is read: one, none, or malformed; its name on each connection."""

import os

import pytest

from limen.authn.cookie import (
    HOST_NAME,
    LOOPBACK_NAME,
    MAX_HEADER,
    PresentedCookie,
    cookie_name,
    parse_value,
    read_cookie,
    value_of,
)
from limen.core.errors import CredentialMalformed
from limen.core.ids import uuid7
from limen.crypto.refresh import secret_hash

SID = uuid7()
SECRET = os.urandom(32)
VALUE = value_of(SID, SECRET).encode("ascii")


def read(*cookies: bytes, scheme: str = "https", host: bytes = b"app.example", https_only: bool = False) -> object:
    """Read the Cookie headers of a request."""
    headers = [(b"host", host), *((b"cookie", each) for each in cookies)]
    return read_cookie({"type": "http", "scheme": scheme, "headers": headers}, https_only=https_only)


def test_the_cookie_is_found() -> None:
    """Among others, in whatever place, and where HTTP/2 has split the header."""
    expected = PresentedCookie(SID, secret_hash(SECRET))
    assert len(VALUE) == 64
    for cookies in (
        (b"__Host-limen=" + VALUE,),
        (b"a=b; __Host-limen=" + VALUE + b"; c=d",),
        (b"a=b", b"__Host-limen=" + VALUE),
        (b"a=__Host-limen=x;  __Host-limen=" + VALUE + b" ",),
    ):
        assert read(*cookies) == expected, cookies


def test_other_cookies_are_none() -> None:
    """Another name, another spelling of it, or a name that ends with it."""
    for cookies in ((), (b"",), (b"a=b",), (b"x__Host-limen=" + VALUE,), (b"__host-limen=" + VALUE,), (b"limen=x",)):
        assert read(*cookies) is None, cookies


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"x",
        VALUE[:-1],
        VALUE + b"A",
        b'"' + VALUE + b'"',
        VALUE[:-1] + b"=",
        b"+" * 64,
        b"\xff" * 64,
        b"%41" * 21 + b"A",
    ],
    ids=lambda value: f"{len(value)}-bytes",
)
def test_what_cannot_be_ours_is_malformed(value: bytes) -> None:
    """It never counts as «nothing sent»."""
    assert isinstance(read(b"__Host-limen=" + value), CredentialMalformed)


def test_two_are_malformed() -> None:
    """In one header or in two, the same or another: which of them counts would depend on who reads."""
    one = b"__Host-limen=" + VALUE
    for cookies in ((one + b"; " + one,), (one, one), (one, b"__Host-limen=")):
        assert isinstance(read(*cookies), CredentialMalformed), cookies


def test_a_hundred_kilobytes_are_malformed() -> None:
    """A Cookie header over the limit is refused, whatever stands in it; one at the limit is read."""
    assert isinstance(read(b"a=" + b"b" * 100_000), CredentialMalformed)
    assert isinstance(read(*[b"a=" + b"b" * 4_000] * 5), CredentialMalformed)
    rest = b"; __Host-limen=" + VALUE
    assert isinstance(read(b"a" * (MAX_HEADER - len(rest)) + rest), PresentedCookie)


@pytest.mark.parametrize(
    ("scheme", "host", "name"),
    [
        ("https", b"app.example", HOST_NAME),
        ("https", b"localhost", HOST_NAME),
        ("wss", b"localhost:8443", HOST_NAME),
        ("http", b"app.example", HOST_NAME),
        ("http", b"localhost.app.example", HOST_NAME),
        ("http", b"127.0.0.1.app.example", HOST_NAME),
        ("http", b"notlocalhost", HOST_NAME),
        ("http", b"192.168.0.1:8000", HOST_NAME),
        ("http", b"[2001:db8::1]", HOST_NAME),
        ("http", b"\xff", HOST_NAME),
        ("http", b"", HOST_NAME),
        ("http", b"localhost", LOOPBACK_NAME),
        ("http", b"LOCALHOST:8000", LOOPBACK_NAME),
        ("http", b"a.localhost", LOOPBACK_NAME),
        ("http", b"127.0.0.1:8000", LOOPBACK_NAME),
        ("ws", b"127.9.9.9", LOOPBACK_NAME),
        ("http", b"[::1]:8000", LOOPBACK_NAME),
    ],
)
def test_the_name_on_each_connection(scheme: str, host: bytes, name: bytes) -> None:
    """Without TLS the plain name counts at a loopback address only; with a public https address nowhere."""
    scope = {"scheme": scheme, "headers": [(b"host", host)]}
    assert cookie_name(scope) == name
    assert cookie_name(scope, https_only=True) == HOST_NAME
    other = LOOPBACK_NAME if name == HOST_NAME else HOST_NAME
    assert read(other + b"=" + VALUE, scheme=scheme, host=host) is None
    assert read(name + b"=" + VALUE, scheme=scheme, host=host) == PresentedCookie(SID, secret_hash(SECRET))


def test_two_hosts_are_no_loopback() -> None:
    """A request with two Host headers, or none, is not believed to be for this machine."""
    for hosts in ([], [b"localhost", b"localhost"]):
        assert cookie_name({"scheme": "http", "headers": [(b"host", each) for each in hosts]}) == HOST_NAME


def test_a_hundred_thousand_ids_differ() -> None:
    """The secret bits are the operating system's: no two are alike, and none has fewer than 32 bytes."""
    secrets = {os.urandom(32) for _ in range(100_000)}
    assert len(secrets) == 100_000
    with pytest.raises(ValueError, match="32 bytes"):
        value_of(SID, b"short")


def test_nothing_shows_the_secret() -> None:
    """What ends in a log or a traceback shows the row's id alone."""
    found = parse_value(VALUE)
    assert found is not None
    assert SID in repr(found)
    assert repr(secret_hash(SECRET)) not in repr(found)
