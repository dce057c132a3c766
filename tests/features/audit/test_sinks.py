"""Sinks of the trail by themselves: a file, a syslog server and a receiver over HTTP, all of them real."""

import asyncio
import json
import os
import re
import socket
import ssl
import stat
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from limen.authn.outbound import Outbound
from limen.core.errors import ConfigurationError
from limen.features.audit.building import build_sinks
from limen.features.audit.service import AuditService
from limen.features.audit.sinks import Batch, FileSink, Item, SinkFailed, sink_name
from limen.features.audit.syslog import MOST_BYTES_OF_DATAGRAM, SyslogSink
from limen.features.audit.webhook import WebhookSink, key_of, signature
from limen.storage import SQLiteStorage
from tests.features.audit.receivers import Syslog, Webhook
from tests.support.ports import free_port

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZXNlIHRlc3RzIGFsb25l"
OTHER = "whsec_" + "YW5vdGhlciBzZWNyZXQgb2YgdGhlc2UgdGVzdHM="
TIME = 1_700_000_000_123


def batch(*places: int) -> Batch:
    """Return a batch of records with these places."""
    items = [
        Item(json.dumps({"seal": {"place": each}}), each, TIME, "login_failed", is_failure=True) for each in places
    ]
    return Batch(f"batch-{places}", items)


def webhook(port: int, *secrets: str) -> WebhookSink:
    """Return a sink at a receiver on this machine."""
    outbound = Outbound(allow_private=["127.0.0.0/8"])
    return WebhookSink(f"http://127.0.0.1:{port}/trail", secrets, outbound=outbound, clock=lambda: 1_700_000_000.5)


async def test_a_file_has_one_line_an_item(tmp_path: Path) -> None:
    """Lines are appended in their order, and nobody but the owner may read them."""
    path = tmp_path / "trail.jsonl"
    sink = FileSink(path)
    await sink.send(batch(1, 2))
    await sink.send(batch(3))
    assert [json.loads(line)["seal"]["place"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_file_that_was_moved_away_is_followed_by_another(tmp_path: Path) -> None:
    """What rotates logs needs to tell nobody: the next batch is in a file of its own."""
    path = tmp_path / "trail.jsonl"
    sink = FileSink(path)
    await sink.send(batch(1))
    path.rename(tmp_path / "trail.jsonl.1")
    await sink.send(batch(2))
    assert [len(each.read_text().splitlines()) for each in (path, tmp_path / "trail.jsonl.1")] == [1, 1]


async def test_half_a_line_of_a_crash_spoils_no_other(tmp_path: Path) -> None:
    """What is written after half a line is on a line of its own."""
    path = tmp_path / "trail.jsonl"
    path.write_text('{"seal": {"pla')
    await FileSink(path).send(batch(1))
    assert path.read_text().splitlines() == ['{"seal": {"pla', '{"seal": {"place": 1}}']


@pytest.mark.parametrize("what", ["no folder", "a folder", "a link", "a pipe", "a full disk"])
async def test_a_file_that_cannot_be_written_is_said(what: str, tmp_path: Path) -> None:
    """It fails, at once and without a word of what was to be written, and nothing else is written to."""
    path, elsewhere = tmp_path / "trail.jsonl", tmp_path / "elsewhere"
    match what:
        case "no folder":
            path = tmp_path / "nowhere" / "trail.jsonl"
        case "a folder":
            path.mkdir()
        case "a link":
            elsewhere.touch()
            path.symlink_to(elsewhere)
        case "a pipe":
            os.mkfifo(path)
        case "a full disk":
            path = Path("/dev/full")
    with pytest.raises(SinkFailed, match="the file cannot be written: E"):
        await FileSink(path).send(batch(1))
    assert not elsewhere.exists() or elsewhere.read_text() == ""


@pytest.mark.parametrize("is_tls", [False, True])
async def test_syslog_over_a_stream(is_tls: bool) -> None:
    """Messages are those of RFC 5424, framed by their length, and have been read when they count as taken."""
    authority = trustme.CA()
    theirs, ours = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    authority.configure_trust(ours)
    async with Syslog().listening(trust=theirs if is_tls else None) as server:
        kind = "syslog+tls" if is_tls else "syslog+tcp"
        sink = SyslogSink(f"{kind}://127.0.0.1:{server.port}", trust=ours)
        await sink.send(batch(1, 2, 3))
        assert server.places == [1, 2, 3]
        await sink.send(batch(4))
    assert server.places == [1, 2, 3, 4]
    head = r"<108>1 2023-11-14T22:13:20\.123Z [!-~]{1,255} limen [0-9]+ login_failed - \Z"
    assert all(re.match(head, each) for each in server.heads)


async def test_syslog_over_datagrams() -> None:
    """Each message is one datagram, without a frame; one that is longer than those can be is cut."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        long = Item("x" * 70_000, 2, TIME, "login_succeeded")
        items = [*batch(1).items, long]
        await SyslogSink(f"syslog+udp://127.0.0.1:{server.getsockname()[1]}").send(Batch("some", items))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            first, second = [await loop.sock_recv(server, 100_000) for _ in range(2)]
    assert first.startswith(b"<108>1 2023-11-14T22:13:20.123Z ")
    assert json.loads(first[first.index(b"{") :]) == {"seal": {"place": 1}}
    assert (second[:7], len(second)) == (b"<110>1 ", MOST_BYTES_OF_DATAGRAM)


async def test_a_syslog_server_that_hangs_up_has_not_taken_it() -> None:
    """A connection that is reset before everything was read is a failure, and so is one that cannot be made."""
    async with Syslog().listening() as server:
        server.hang_up_after = 1
        sink = SyslogSink(f"syslog+tcp://127.0.0.1:{server.port}")
        with pytest.raises(SinkFailed, match="cannot be reached"):
            await sink.send(batch(*range(1, 20_000)))
    with pytest.raises(SinkFailed, match="cannot be reached"):
        await SyslogSink(f"syslog+tcp://127.0.0.1:{free_port()}").send(batch(1))


async def test_a_syslog_server_that_never_stops_answering_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who sends byte after byte instead of ending the connection holds nobody up for longer than who says nothing."""
    monkeypatch.setattr("limen.features.audit.syslog.SECONDS", 0.5)
    left = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            for _each in range(1_200):
                writer.write(b".")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.transport.abort()
        left.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(SinkFailed, match="within"):
            await SyslogSink(f"syslog+tcp://127.0.0.1:{port}").send(batch(1))
        assert not left.is_set()
    finally:
        await asyncio.wait_for(left.wait(), 120)
        server.close()


async def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    """Nothing is told to a syslog server whose certificate is another one's."""
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(theirs)
    async with Syslog().listening(trust=theirs) as server:
        with pytest.raises(SinkFailed, match="not trusted"):
            await SyslogSink(f"syslog+tls://127.0.0.1:{server.port}").send(batch(1))
    assert server.places == []


@pytest.mark.parametrize("secrets", [(SECRET,), (OTHER, SECRET)], ids=["one secret", "the receiver knows the old one"])
async def test_a_signed_batch_is_taken(secrets: tuple[str, ...]) -> None:
    """A receiver that knows any of the secrets verifies it, under a name that the same batch has again."""
    async with Webhook(SECRET).listening() as receiver:
        sink = webhook(receiver.port, *secrets)
        await sink.send(batch(1, 2))
        await sink.send(batch(1, 2))
    assert (receiver.places, receiver.forged, len(set(receiver.names))) == ([1, 2, 1, 2], 0, 1)


async def test_a_batch_that_was_not_taken() -> None:
    """An answer that is no success, or none, is a failure; nothing of the answer is told."""
    async with Webhook(SECRET).listening() as receiver:
        with pytest.raises(SinkFailed, match="answered 401"):
            await webhook(receiver.port, OTHER).send(batch(1))
        for status in (500, 429, 404):
            receiver.statuses = [status]
            with pytest.raises(SinkFailed, match=f"answered {status}"):
                await webhook(receiver.port, SECRET).send(batch(1))
        receiver.statuses = [307]
        with pytest.raises(SinkFailed, match="redirect"):
            await webhook(receiver.port, SECRET).send(batch(1))
    assert receiver.places == []
    with pytest.raises(SinkFailed, match="unreachable"):
        await webhook(receiver.port, SECRET).send(batch(1))


async def test_a_network_that_is_not_allowed_is_not_called() -> None:
    """A receiver inside needs LIMEN_OUTBOUND_ALLOW, as everything that is called does."""
    async with Webhook(SECRET).listening() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/"
        sink = WebhookSink(url, [SECRET], outbound=Outbound(), clock=lambda: 0.0)
        with pytest.raises(SinkFailed, match="refused_address"):
            await sink.send(batch(1))
    assert receiver.places == []


def test_signatures_are_those_of_standard_webhooks() -> None:
    """The example that implementations of Standard Webhooks are tested with."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "urls",
    [
        ["file://relative/trail.jsonl"],
        ["file:///"],
        ["/var/log/trail.jsonl"],
        ["syslog://127.0.0.1:514"],
        ["syslog+tcp://"],
        ["syslog+tcp://name:password@127.0.0.1:601"],
        ["syslog+tcp://127.0.0.1:99999"],
        ["syslog+tcp://127.0.0.1:601/path"],
        ["http://192.0.2.1/trail"],
        ["https://name:password@receiver.example/"],
        ["ftp://receiver.example/"],
        ["file:///var/log/trail.jsonl", "file:///var/log/trail.jsonl"],
    ],
)
def test_addresses_that_name_no_sink(urls: list[str], tmp_path: Path) -> None:
    """What cannot be handed on to is refused at the start, and not when something has happened."""
    storage = SQLiteStorage(tmp_path / "limen.db")
    for secrets, given in (
        ([SECRET], urls),
        ([], ["https://receiver.example/"]),
        (["short"], ["https://one.example/"]),
    ):
        with pytest.raises(ConfigurationError):
            build_sinks(
                given,
                secrets,
                audit=AuditService(storage.audit, ["a secret of the data of these tests"]),
                trail=storage.audit,
                states=storage.sinks,
                outbound=Outbound(),
                clock=lambda: 0.0,
            )


def test_a_name_holds_no_secret() -> None:
    """What stands behind the question mark of an address is neither logged, nor stored, nor counted under."""
    name = sink_name("https://receiver.example/trail?token=hunter2")
    assert name.startswith("https://receiver.example/trail#")
    assert "hunter2" not in name
    assert name != sink_name("https://receiver.example/trail?token=hunter3")
    assert len(sink_name("https://receiver.example/" + "x" * 1000)) <= 300
