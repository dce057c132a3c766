"""Whose word is taken for who is calling: the socket's, or a named proxy's, from right to left, and nobody else's."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limen.core.errors import ConfigurationError
from limen.web.headers import is_https
from limen.web.origin import origin_of
from limen.web.peers import FORWARDED, NO_PROXIES, TrustedProxies, node_address, note_scheme

PROXY, CLIENT = "10.0.0.5", "203.0.113.9"
NETWORKS = ("10.0.0.0/8", "2001:db8:ffff::/48")
PROXIES = TrustedProxies(NETWORKS)
RFC_7239 = TrustedProxies(NETWORKS, FORWARDED)

addresses = st.ip_addresses(v=4) | st.ip_addresses(v=6)


def scope(*headers: tuple[bytes, bytes], client: object = (PROXY, 5), scheme: str = "http") -> dict[str, Any]:
    """Return a request as it came over a socket."""
    return {"type": "http", "headers": list(headers), "client": client, "scheme": scheme}


def xff(*values: bytes, client: object = (PROXY, 5)) -> dict[str, Any]:
    """Return a request with lines of X-Forwarded-For."""
    return scope(*((b"x-forwarded-for", value) for value in values), client=client)


def canonical(address: IPv4Address | IPv6Address) -> str:
    """Return an address as limen spells it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def is_proxy(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is in the networks of the tests, by other means than the code under test."""
    plain = ip_address(canonical(address))
    return any(plain in ip_network(each) for each in NETWORKS if ip_network(each).version == plain.version)


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded", b"x-real-ip", b"x-client-ip", b"true-client-ip"])
def test_strangers_are_not_believed(name: bytes) -> None:
    """A peer that is no trusted proxy is itself, whatever header it sends; without the setting, so is every peer."""
    value = b"for=198.51.100.1" if name == b"forwarded" else b"198.51.100.1"
    for proxies in (PROXIES, RFC_7239):
        assert proxies.client_address(scope((name, value), client=(CLIENT, 5))) == CLIENT
    assert NO_PROXIES.client_address(scope((name, value))) == PROXY
    assert not NO_PROXIES.trusts(scope((name, value)))


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([b"203.0.113.9"], CLIENT),
        ([b"6.6.6.6, 203.0.113.9"], CLIENT),
        ([b"6.6.6.6", b"203.0.113.9"], CLIENT),
        ([b"6.6.6.6,203.0.113.9 ,\t10.1.1.1"], CLIENT),
        ([b"6.6.6.6, 203.0.113.9", b"10.1.1.1, 10.2.2.2"], CLIENT),
        ([b"203.0.113.9:4711"], CLIENT),
        ([b"[2001:db8::1]:4711"], "2001:db8::1"),
        ([b"[2001:DB8:0:0::1]"], "2001:db8::1"),
        ([b"2001:0db8::0001"], "2001:db8::1"),
        ([b"::ffff:203.0.113.9"], CLIENT),
        ([b"::FFFF:cb00:7109"], CLIENT),
        ([b"203.0.113.9, ::ffff:10.1.1.1"], CLIENT),
        ([b"203.0.113.9, 2001:db8:ffff::7"], CLIENT),
        ([b"10.1.1.1, 10.2.2.2"], "10.1.1.1"),
    ],
)
def test_walked_from_the_right(lines: list[bytes], address: str) -> None:
    """The client is the right-most hop that is no proxy, in one spelling; left of it anybody may have written."""
    assert PROXIES.client_address(xff(*lines)) == address


@pytest.mark.parametrize(
    "bad",
    [
        b"", b" ", b"a", b"unknown", b"_hidden", b"localhost", b"203.0.113", b"203.0.113.9.1", b"0xcb007109",
        b"203.000.113.009", b"203.0.113.9:", b"203.0.113.9:x y", b"203.0.113.9:1:2", b"[203.0.113.9]", b"[2001:db8::1",
        b"2001:db8::1]", b"[2001:db8::1]4711", b"fe80::1%eth0", b"203.0.113.9/32", b"\"203.0.113.9\"", b"203.0.113.9;",
        b"\xff\xfe", b"203.0.113.9\x00", b"1" * 5000, "203.0.113.\u0669".encode(),
    ],
)  # fmt: skip
def test_bad_hop_ends_the_walk(bad: bytes) -> None:
    """What is no address is never taken for one, nor what stands left of it: the last good hop counts."""
    assert PROXIES.client_address(xff(b"6.6.6.6, " + bad)) == PROXY
    assert PROXIES.client_address(xff(b"6.6.6.6, " + bad + b", 10.7.7.7")) == "10.7.7.7"
    assert PROXIES.client_address(xff(bad + b", 203.0.113.9")) == CLIENT
    assert RFC_7239.client_address(scope((b"forwarded", b"for=6.6.6.6, for=" + bad))) in {PROXY, CLIENT}


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        ([b"for=203.0.113.9"], CLIENT),
        ([b'For="203.0.113.9:4711";proto=https;by=10.0.0.5'], CLIENT),
        ([b'for="[2001:DB8::1]:_x7"'], "2001:db8::1"),
        ([b'for=6.6.6.6, by=10.0.0.5; for=203.0.113.9 ; host="a,b;c"'], CLIENT),
        ([b"for=6.6.6.6", b"for=203.0.113.9, for=10.1.1.1"], CLIENT),
        ([b'for="x, for=203.0.113.9'], CLIENT),
        ([b'for=";x=", for="203.0.113.9"'], CLIENT),
        ([b'for=6.6.6.6;x="a", for="[2001:db8::1]"'], "2001:db8::1"),
        ([b"for=203.0.113.9;for=6.6.6.6"], PROXY),
        ([b"for=unknown"], PROXY),
        ([b"for=_gazonk"], PROXY),
        ([b"for=6.6.6.6, proto=https"], PROXY),
        ([b'for="203.0.113.9'], PROXY),
        ([b'for=203.0.113.9"'], PROXY),
        ([b""], PROXY),
    ],
)
def test_forwarded(lines: list[bytes], address: str) -> None:
    """Forwarded is read from the right too: a quote that a stranger leaves open cannot swallow what the proxy wrote."""
    assert RFC_7239.client_address(scope(*((b"forwarded", line) for line in lines))) == address


def test_one_header_counts() -> None:
    """The header that the proxies do not write passes through them as a stranger wrote it: it is not read."""
    both = scope((b"x-forwarded-for", b"203.0.113.9"), (b"forwarded", b"for=198.51.100.7"))
    assert PROXIES.client_address(both) == CLIENT
    assert RFC_7239.client_address(both) == "198.51.100.7"
    assert PROXIES.client_address(scope((b"forwarded", b"for=198.51.100.7"))) == PROXY
    assert RFC_7239.client_address(xff(b"198.51.100.7")) == PROXY


def test_walk_is_bounded() -> None:
    """However many proxies a header names, only so many hops are walked."""
    assert PROXIES.client_address(xff(b"203.0.113.9, " + b"10.1.1.1, " * 3000 + b"10.2.2.2")) == "10.1.1.1"


@pytest.mark.parametrize(
    ("client", "address", "is_trusted"),
    [
        (None, None, False),
        ((None, 0), None, False),
        (("", 0), None, False),
        (("testclient", 50000), None, False),
        ((7, 7), None, False),
        (("::ffff:10.0.0.5", 5), CLIENT, True),
        (("2001:DB8:FFFF::1", 5), CLIENT, True),
        (("2001:db8:ffff::1%eth0", 5), CLIENT, True),
        (("11.0.0.1", 5), "11.0.0.1", False),
    ],
)
def test_peers(client: object, address: str | None, is_trusted: bool) -> None:
    """Trust goes by the socket's peer in whatever spelling; no address is nobody's, and nobody is trusted."""
    request = xff(b"203.0.113.9", client=client)
    assert PROXIES.client_address(request) == address
    assert PROXIES.trusts(request) is is_trusted
    assert origin_of(request, PROXIES).address == (address or "")


def test_unix_socket() -> None:
    """The peer of a Unix socket is trusted where that is said, and what is no address at all is not that peer."""
    unix = TrustedProxies(["unix"])
    assert unix.client_address(xff(b"6.6.6.6, 203.0.113.9", client=None)) == CLIENT
    assert unix.client_address(scope(client=None)) is None
    assert unix.trusts(scope(client=None))
    assert not unix.trusts(scope(client=("testclient", 50000)))
    assert not unix.trusts(scope(client=(PROXY, 5)))


@pytest.mark.parametrize(
    "networks", [["*"], ["0.0.0.0/0"], ["::/0"], ["::ffff:0.0.0.0/96"], ["localhost"], ["10.0.0.0/33"], [""]]
)
def test_everybody_is_no_proxy(networks: list[str]) -> None:
    """Nobody can trust the whole world, or a name that somebody else resolves."""
    with pytest.raises(ConfigurationError):
        TrustedProxies(networks)


def test_unknown_header_is_refused() -> None:
    """Only the two headers can be named."""
    with pytest.raises(ConfigurationError):
        TrustedProxies(NETWORKS, "x-real-ip")


@pytest.mark.parametrize(
    ("values", "scheme", "is_secure"),
    [
        ([b"https"], "http", True),
        ([b"HTTPS "], "http", True),
        ([b"wss"], "ws", True),
        ([b"https, https"], "http", True),
        ([b"https", b"http"], "http", False),
        ([b"http,https"], "https", False),
        ([b"http"], "https", False),
        ([], "https", True),
        ([], "http", False),
        ([b"junk"], "https", True),
        ([b"junk"], "http", False),
        ([b"https, junk"], "http", False),
        ([b""], "http", False),
    ],
)
def test_scheme(values: list[bytes], scheme: str, is_secure: bool) -> None:
    """A trusted proxy says whether its client spoke TLS; a stranger does not, and one plain leg makes it plain."""
    headers = [(b"x-forwarded-proto", value) for value in values]
    request = scope(*headers, scheme=scheme)
    assert PROXIES.is_https(request) is is_secure
    note_scheme(request, PROXIES)
    assert is_https(request) is is_secure
    assert request["scheme"] == scheme
    stranger = scope(*headers, client=(CLIENT, 5), scheme=scheme)
    note_scheme(stranger, PROXIES)
    assert is_https(stranger) is (scheme in {"https", "wss"})


def test_scheme_of_forwarded() -> None:
    """Where the header is Forwarded, the nearest proxy's ``proto`` says it, and X-Forwarded-Proto is not read."""
    assert RFC_7239.is_https(scope((b"forwarded", b"for=1.2.3.4;proto=http, for=203.0.113.9;proto=https")))
    assert not RFC_7239.is_https(scope((b"forwarded", b"for=1.2.3.4;proto=https, for=203.0.113.9;proto=http")))
    assert not RFC_7239.is_https(scope((b"x-forwarded-proto", b"https")))


@given(
    st.lists(st.tuples(addresses, st.sampled_from(["plain", "port"])), min_size=1, max_size=6), st.binary(max_size=40)
)
def test_any_chain(hops: list[tuple[IPv4Address | IPv6Address, str]], left: bytes) -> None:
    """For every chain of addresses, after whatever a stranger wrote, the right-most that is no proxy is the client."""

    def spelt(address: IPv4Address | IPv6Address, how: str) -> str:
        host = f"[{address}]" if address.version == 6 and how == "port" else str(address)
        return f"{host}:4711" if how == "port" else host

    known = [canonical(address) for address, _ in hops if not is_proxy(address)]
    line = ", ".join(spelt(*hop) for hop in hops).encode()
    expected = known[-1] if known else canonical(hops[0][0])
    if not known:
        left = b"unknown"
    assert PROXIES.client_address(xff(left + b", " + line)) == expected


@given(st.lists(st.binary(max_size=60), max_size=4), addresses)
def test_stranger_on_the_left_changes_nothing(lines: list[bytes], client: IPv4Address | IPv6Address) -> None:
    """Whatever stands before what the proxy wrote, in either header, the client stays the one whom the proxy names."""
    expected = PROXIES.client_address(xff(str(client).encode()))
    quoted = f'for="[{client}]"' if client.version == 6 else f"for={client}"
    if is_proxy(client):
        return
    assert expected == canonical(client)
    assert PROXIES.client_address(xff(*lines, str(client).encode())) == expected
    rest = b",".join([*lines, quoted.encode()])
    assert RFC_7239.client_address(scope((b"forwarded", rest))) == expected


@given(st.binary(max_size=200), st.none() | st.tuples(st.text(max_size=20) | addresses.map(str), st.integers()))
def test_no_bytes_make_it_fail(value: bytes, client: object) -> None:
    """Whatever arrives, an answer comes: an address in one spelling, or None."""
    for proxies in (PROXIES, RFC_7239, TrustedProxies(["unix", "10.0.0.0/8"])):
        for name in (b"x-forwarded-for", b"forwarded", b"x-forwarded-proto"):
            request = scope((name, value), client=client)
            found = proxies.client_address(request)
            assert found is None or canonical(ip_address(found)) == found
            assert proxies.is_https(request) in {True, False}


@given(addresses)
def test_one_address_one_spelling(address: IPv4Address | IPv6Address) -> None:
    """Every spelling of an address is one: exploded, short, bracketed, with a port, IPv4 inside IPv6."""
    spellings = {str(address), address.exploded, str(address).upper()}
    if isinstance(address, IPv4Address):
        spellings |= {f"::ffff:{address}", f"{address}:80", f"[::ffff:{address}]:80"}
    else:
        spellings |= {f"[{address}]", f"[{address.exploded}]:80"}
    assert {node_address(text.encode()) for text in spellings} == {canonical(address)}
