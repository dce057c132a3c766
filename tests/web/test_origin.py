"""Where a request came from: nothing of it is believed, nothing of it is raw."""

import re

import pytest

from limen.core.networks import canonical_address
from limen.web.origin import origin_of

Headers = list[tuple[bytes, bytes]]


def scope(headers: Headers | None = None, client: object = ("192.0.2.1", 5)) -> dict[str, object]:
    """Return a request."""
    return {"type": "http", "headers": headers or [], "client": client}


@pytest.mark.parametrize("given", ["abcdefgh", "A-b_c.0123", "x" * 64, "01980f3c-5b7e-7c3a-9d53-2f1c0a7b4e11"])
def test_fit_request_id_is_kept(given: str) -> None:
    """A request id of 8 to 64 harmless characters is taken over, so that logs of several services fit together."""
    assert origin_of(scope([(b"x-request-id", given.encode())])).request_id == given


@pytest.mark.parametrize(
    "given", [b"", b"short", b"x" * 65, b"a b c d e f", b"abcdefgh\n", b"abcdefgh\r\nx: y", b"\xff" * 10, b"<script>1"]
)
def test_unfit_request_id_is_replaced(given: bytes) -> None:
    """Any other is replaced by 32 random hexadecimal digits."""
    assert re.fullmatch(r"[0-9a-f]{32}", origin_of(scope([(b"x-request-id", given)])).request_id)


def test_request_ids_are_random_and_one() -> None:
    """Without one, each request gets its own; of two given ones neither is believed."""
    assert len({origin_of(scope()).request_id for _ in range(100)}) == 100
    two = [(b"x-request-id", b"first-one"), (b"x-request-id", b"second-one")]
    assert origin_of(scope(two)).request_id not in {"first-one", "second-one"}


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (["192.0.2.1", 5], "192.0.2.1"),
        (("2001:DB8:0:0::1", 5), "2001:db8::1"),
        (("::ffff:192.0.2.1", 5), "192.0.2.1"),
        (("::FFFF:c000:0201", 5), "192.0.2.1"),
        (("fe80::1%eth0", 5), "fe80::1"),
        (None, ""),
        (("", 0), ""),
        ((None, 0), ""),
        (("testclient", 50000), ""),
        (("192.0.2.1\n", 5), ""),
        (("192.0.2.1, 198.51.100.7", 5), ""),
    ],
)
def test_address(client: object, address: str) -> None:
    """One peer has one spelling; what is no address is empty."""
    assert origin_of(scope(client=client)).address == address


def test_forwarded_headers_are_not_read() -> None:
    """Anybody can write X-Forwarded-For: the address is the socket's."""
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"forwarded", b"for=203.0.113.9"), (b"x-real-ip", b"203.0.113.9")]
    assert origin_of(scope(headers)).address == "192.0.2.1"
    assert canonical_address("203.0.113.9") == "203.0.113.9"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"curl/8.5", "curl/8.5"),
        (b"a\r\nb\x00\x1b[31mc\x7f\x85\x9bd", "ab[31mcd"),
        (b"x" * 1_000_000, "x" * 256),
        (b"\n" * 100 + b"y" * 300, "y" * 256),
        ("Bücher".encode("latin-1"), "Bücher"),
        (b"", ""),
    ],
)
def test_user_agent(given: bytes, expected: str) -> None:
    """A user agent is at most 256 characters, none of which controls anything."""
    assert origin_of(scope([(b"user-agent", given)])).user_agent == expected
