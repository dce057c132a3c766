"""Calls to other services: which addresses are called, and how long and how much they may answer."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from ipaddress import ip_address

import pytest
import trustme

from limen.authn.outbound import OWN_NETWORKS, Outbound, OutboundError, is_public, require_callable_url
from limen.core.errors import ConfigurationError

LOOPBACK = ("127.0.0.0/8", "::1/128")

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Place:
    """A server on the loopback that answers as it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.head = "200 OK"
        self.body = b'{"fine": true}'
        self.drip_seconds = 0.0
        self.hang = False
        self.asked: list[bytes] = []
        self.names: list[str | None] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:"), 0
            )
            self.asked.append(head + await reader.readexactly(length))
            if self.hang:
                await reader.read()
            writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode())
            if self.drip_seconds:
                for byte in self.body:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(self.drip_seconds)
            else:
                writer.write(self.body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @property
    def url(self) -> str:
        """Where it is, over plain http."""
        return f"http://127.0.0.1:{self.port}/x"


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    """A server over plain http."""
    made = Place()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Who signs the certificates of the servers."""
    return trustme.CA()


@pytest.fixture
def trust(authority: trustme.CA) -> ssl.SSLContext:
    """A context that trusts them."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
async def secure(authority: trustme.CA) -> AsyncIterator[Place]:
    """A server over TLS, whose certificate is for issuer.example."""
    made = Place()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("issuer.example").configure_cert(context)

    def named(_: ssl.SSLObject | ssl.SSLSocket, name: str | None, __: ssl.SSLContext) -> None:
        made.names.append(name)

    context.sni_callback = named
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()


def names(*answers: Sequence[str]) -> Callable[[str, int], Awaitable[Sequence[str]]]:
    """Return a resolver that gives these answers in turn, and the last one from then on."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


async def fault(call: Awaitable[object]) -> str:
    """Return the code that a call fails with."""
    with pytest.raises(OutboundError) as raised:
        await call
    return raised.value.code


async def test_what_is_fetched_is_an_object_and_headers(place: Place) -> None:
    """An answer is read strictly, whatever it calls itself; headers come in lower case; nothing else is sent along."""
    place.head = "200 OK\r\nContent-Type: text/html\r\nCache-Control: max-age=60"
    body, headers = await Outbound(allow_private=LOOPBACK).get_json(place.url, headers={"authorization": "Bearer t"})
    assert body == {"fine": True}
    assert headers["cache-control"] == "max-age=60"
    sent = place.asked[0].lower()
    assert f"host: 127.0.0.1:{place.port}".encode() in sent
    assert b"authorization: bearer t" in sent
    assert b"accept-encoding: identity" in sent
    assert b"cookie" not in sent


async def test_a_form_is_answered_with_status_and_object(place: Place) -> None:
    """An error of OAuth is an answer; an error page is none, and neither is a success that is not JSON."""
    outbound = Outbound(allow_private=LOOPBACK)
    place.head, place.body = "400 Bad", b'{"error": "invalid_grant"}'
    assert await outbound.post_form(place.url, {"code": "a&b", "n": "1"}) == (400, {"error": "invalid_grant"})
    assert place.asked[0].endswith(b"\r\n\r\ncode=a%26b&n=1")
    place.head, place.body = "502 Bad", b"<html>"
    assert await fault(outbound.post_form(place.url, {})) == "status"
    place.head = "200 OK"
    assert await fault(outbound.post_form(place.url, {})) == "not_json"


@pytest.mark.parametrize("target", ["http://127.0.0.1:1/", "http://169.254.169.254/latest/", "https://other.example/"])
async def test_redirects_are_not_followed(place: Place, target: str) -> None:
    """Neither inside nor to the metadata of a cloud nor elsewhere; and not for forms either."""
    outbound = Outbound(allow_private=LOOPBACK)
    for status in ("301 Moved", "302 Found", "303 See", "307 Again", "308 There"):
        place.head = f"{status}\r\nLocation: {target}"
        assert await fault(outbound.get_json(place.url)) == "redirect"
        assert await fault(outbound.post_form(place.url, {"code": "secret"})) == "redirect"


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"a": 1, "a": 2}', b'{"a": NaN}', b"\xff", b'{"a": "\\ud800"}', b"{" + b'"a":{' * 40],
)
async def test_only_strict_json_is_believed(place: Place, body: bytes) -> None:
    """What two parsers could read differently, a name given twice above all, is no answer."""
    place.body = body
    assert await fault(Outbound(allow_private=LOOPBACK).get_json(place.url)) == "not_json"


async def test_a_long_answer_is_cut_off(place: Place) -> None:
    """Of 10 MB no more is read than may be right; a bomb is not unpacked."""
    place.body = b'{"a": "' + b"x" * 10_000_000 + b'"}'
    assert await fault(Outbound(allow_private=LOOPBACK).get_json(place.url)) == "too_large"
    place.body = b'{"a": "' + b"x" * 100 + b'"}'
    assert await fault(Outbound(allow_private=LOOPBACK).get_json(place.url, max_bytes=50)) == "too_large"
    place.head = "200 OK\r\nContent-Encoding: gzip"
    place.body = b"\x1f\x8b\x08\x00"
    assert await fault(Outbound(allow_private=LOOPBACK).get_json(place.url)) == "not_json"


async def test_a_slow_answer_ends(place: Place) -> None:
    """The time is for the whole call: a byte now and then does not lengthen it, and neither does silence."""
    outbound = Outbound(allow_private=LOOPBACK, timeout=0.3)
    place.drip_seconds = 0.05
    assert await fault(outbound.get_json(place.url)) == "timeout"
    place.drip_seconds, place.hang = 0.0, True
    assert await fault(outbound.get_json(place.url)) == "timeout"


async def test_a_slow_resolver_is_within_the_time() -> None:
    """Looking up the name belongs to the call."""

    async def never(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    assert await fault(Outbound(timeout=0.1, resolve=never).get_json("https://issuer.example/")) == "timeout"


async def test_an_answer_in_many_parts_holds_up_nobody() -> None:
    """Parts of one byte each: whatever else runs in the process has its turn between them, and so has the deadline."""
    parts, turns = 5_000, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * parts + b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        outbound = Outbound(allow_private=LOOPBACK, timeout=30.0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await outbound.get(url)  # reads the certificates, which takes a while
        beside = asyncio.create_task(others())
        body, _ = await outbound.get(url)
        beside.cancel()
    assert body == b"x" * parts
    assert turns >= parts


PRIVATE = [
    "127.0.0.1", "10.0.0.5", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "ff0e::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::1",
    "2001:0:7f00:1::1", "2001:db8::1", "::7f00:1", "fec0::1", "100::1", "192.0.0.192", "168.63.129.16",
    "::ffff:192.0.0.192", "64:ff9b::a83f:8110",
]  # fmt: skip


@pytest.mark.parametrize("address", PRIVATE)
async def test_addresses_that_are_not_public_are_not_called(address: str) -> None:
    """Private, loopback, link-local, shared, reserved and multicast ones, and clouds' own, however they are written."""
    assert not is_public(ip_address(address))
    outbound = Outbound(resolve=names([address]))
    assert await fault(outbound.get_json("https://issuer.example/")) == "refused_address"


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1", "::", "ff02::1", "::ffff:0.0.0.0", "::ffff:224.0.0.1"])
async def test_addresses_that_are_nobodys_are_never_called(address: str) -> None:
    """Not even where every network is allowed: 0.0.0.0 is this very machine, and multicast is everybody."""
    outbound = Outbound(allow_private=["0.0.0.0/0", "::/0"], resolve=names([address]))
    assert await fault(outbound.get_json("https://issuer.example/")) == "refused_address"


@pytest.mark.parametrize(
    "networks",
    [OWN_NETWORKS, ("0.0.0.0/0", "::/0"), ("fd00:ec2::254/128", "100.100.100.200/32")],
    ids=["own", "all", "named"],
)
@pytest.mark.parametrize(
    "address", ["fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "::ffff:100.100.100.200", "64:ff9b::6464:64c8"]
)
async def test_metadata_of_clouds_are_never_called(address: str, networks: Sequence[str]) -> None:
    """Credentials are handed out at addresses inside of private networks too: no network that is allowed opens them."""
    outbound = Outbound(allow_private=networks, resolve=names([address]))
    assert await fault(outbound.get_json("https://issuer.example/")) == "refused_address"


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111"])
def test_public_addresses(address: str) -> None:
    """Those of the Internet at large, and those that stand for one of them."""
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "localhost", "[::1]", "[::ffff:7f00:1]"]
)
async def test_spellings_of_the_loopback(place: Place, host: str) -> None:
    """An address in an odd spelling is the same address: it is looked at after it was read."""
    assert await fault(Outbound().get_json(f"https://{host}:{place.port}/")) == "refused_address"
    assert await fault(Outbound().get_json(f"http://{host}:{place.port}/")) == "refused_address"
    assert place.asked == []


async def test_a_name_that_also_leads_inside_is_not_called(secure: Place, trust: ssl.SSLContext) -> None:
    """One address that is not allowed among others is enough."""
    outbound = Outbound(allow_private=LOOPBACK, verify=trust, resolve=names(["127.0.0.1", "10.0.0.1"]))
    assert await fault(outbound.get_json(f"https://issuer.example:{secure.port}/")) == "refused_address"
    assert secure.asked == []


async def test_a_name_that_changes_its_address_gains_nothing(secure: Place, trust: ssl.SSLContext) -> None:
    """The name is looked up once, and the call goes to the address that was looked at (DNS rebinding)."""
    asked = 0

    async def rebinding(host: str, port: int) -> Sequence[str]:
        nonlocal asked
        asked += 1
        return ["192.0.2.77"] if asked == 1 else ["127.0.0.1"]

    # To the first answer nothing can be sent; the second, which would lead inside, is never asked for.
    outbound = Outbound(allow_private=("192.0.2.0/24",), verify=trust, resolve=rebinding, timeout=0.5)
    assert await fault(outbound.get_json(f"https://issuer.example:{secure.port}/")) in {"timeout", "unreachable"}
    assert asked == 1
    assert secure.asked == []
    outbound._timeout = 30.0
    assert await fault(outbound.get_json(f"https://issuer.example:{secure.port}/")) == "refused_address"
    assert secure.asked == []


async def test_the_certificate_is_checked_by_the_name(secure: Place, trust: ssl.SSLContext) -> None:
    """The call goes to an address, and the name is what is asked for and what the certificate must be for."""
    outbound = Outbound(allow_private=LOOPBACK, verify=trust, resolve=names(["127.0.0.1"]))
    assert (await outbound.get_json(f"https://issuer.example:{secure.port}/a?b=c"))[0] == {"fine": True}
    assert secure.names == ["issuer.example"]
    assert secure.asked[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert f"host: issuer.example:{secure.port}\r\n".encode() in secure.asked[0].lower()
    assert await fault(outbound.get_json(f"https://other.example:{secure.port}/")) == "unreachable"
    stranger = Outbound(allow_private=LOOPBACK, resolve=names(["127.0.0.1"]))
    assert await fault(stranger.get_json(f"https://issuer.example:{secure.port}/")) == "unreachable"
    assert len(secure.asked) == 1


async def test_another_address_is_tried_where_one_does_not_answer(secure: Place, trust: ssl.SSLContext) -> None:
    """A name of several addresses is called at the next where nothing could be sent to one."""
    outbound = Outbound(allow_private=LOOPBACK, verify=trust, resolve=names(["127.0.0.2", "127.0.0.1"]))
    assert (await outbound.get_json(f"https://issuer.example:{secure.port}/"))[0] == {"fine": True}


async def test_plain_http_only_to_an_allowed_loopback(place: Place) -> None:
    """Over http anybody on the way could answer: also where private networks are allowed."""
    assert (await Outbound(allow_private=OWN_NETWORKS).get_json(place.url))[0] == {"fine": True}
    outbound = Outbound(allow_private=OWN_NETWORKS, resolve=names(["10.0.0.1"]))
    assert await fault(outbound.get_json("http://issuer.example/")) == "refused_address"
    assert await fault(Outbound(resolve=names(["8.8.8.8"])).get_json("http://issuer.example/")) == "refused_address"
    assert await fault(Outbound(allow_private=["10.0.0.0/8"]).get_json(place.url)) == "refused_address"


@pytest.mark.parametrize(
    "url", ["", "issuer.example", "ftp://issuer.example/", "https://", "https://u:p@issuer.example/", "file:///etc/passwd",
            "https://issuer.example/#x", "https://issuer.example:99999/", "https://issuer\x00.example/"]
)  # fmt: skip
async def test_what_is_no_address_of_the_web(url: str) -> None:
    """Credentials in an address, other schemes, and what cannot be read are refused before a name is looked up."""
    assert await fault(Outbound(resolve=names(["8.8.8.8"])).get_json(url)) == "refused_address"
    with pytest.raises(ConfigurationError, match="https"):
        require_callable_url(url, "it")


async def test_nobody_there(place: Place) -> None:
    """A name without an address, a closed port, what is not HTTP, and another status than 200."""
    outbound = Outbound(allow_private=LOOPBACK)
    assert await fault(Outbound(resolve=names([])).get_json("https://issuer.example/")) == "unreachable"

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    assert await fault(Outbound(resolve=unknown).get_json("https://nobody.example/")) == "unreachable"
    assert await fault(outbound.get_json("http://127.0.0.1:1/")) == "unreachable"
    place.head = "HTTP nonsense"
    assert await fault(outbound.get_json(place.url)) == "unreachable"
    place.head = "404 No"
    assert await fault(outbound.get_json(place.url)) == "status"


async def test_proxies_of_the_environment_are_not_used(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would look up the name again, and call whatever it then leads to."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await Outbound(allow_private=LOOPBACK).get_json(place.url))[0] == {"fine": True}


def test_what_cannot_be_configured() -> None:
    """Certificates are always verified; networks and bounds are such."""
    for wrong in ({"verify": False}, {"allow_private": ["10.0.0.0/99"]}, {"timeout": 0}, {"max_bytes": 0}):
        with pytest.raises(ConfigurationError):
            Outbound(**wrong)


async def test_it_can_be_closed_and_used_again(place: Place) -> None:
    """A gate that is started a second time calls as before."""
    outbound = Outbound(allow_private=LOOPBACK)
    await outbound.aclose()
    assert (await outbound.get_json(place.url))[0] == {"fine": True}
