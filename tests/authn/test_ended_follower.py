"""How a service elsewhere follows the list of ended sessions: what it takes, and what it makes of silence."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from limen import Limen
from limen.authn.ended import EndedSessions
from limen.authn.outbound import Outbound, OutboundError
from limen.authn.resource_server import BLIND_SECONDS, EndedFollower
from limen.core.errors import ConfigurationError
from limen.core.ids import uuid7

OUTBOUND = Outbound(allow_private=("127.0.0.0/8",), timeout=30.0)


class Issuer:
    """The list's address on the loopback: answers with what it was given, in turn, and keeps what it was asked."""

    def __init__(self) -> None:
        self.head = "200 OK"
        self.parts: list[Any] = []
        self.asked: list[str] = []
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        try:
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            part = self.parts.pop(0) if len(self.parts) > 1 else self.parts[0]
            body = json.dumps(part).encode()
            writer.write(f"HTTP/1.1 {self.head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that listens."""
    made = Issuer()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/auth/ended"
    yield made
    server.close()


def part(*sids: str, following: str = "7", more: bool = False) -> dict[str, Any]:
    """Return a part of the list."""
    items = [{"sid": sid, "keep_until": "2100-01-01T00:00:00Z"} for sid in sids]
    return {"items": items, "next": following, "more": more}


class Seconds:
    """Seconds that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def follower(issuer: Issuer, ended: EndedSessions, monotonic: Seconds | None = None) -> EndedFollower:
    """Make one."""
    return EndedFollower(
        issuer.url, "lim_test_key", OUTBOUND, ended, clock=time.time, monotonic=monotonic or time.monotonic
    )


def blind(watch: EndedFollower) -> bool:
    """Tell whether it has not heard."""
    return watch.is_blind


async def test_it_goes_on_where_it_was(issuer: Issuer) -> None:
    """With its key in a header and never in the address; parts until there is no more, and from there the next time."""
    one, two, three = uuid7(), uuid7(), uuid7()
    issuer.parts = [part(one, following="5.a", more=True), part(two, following="6"), part(two, three, following="9")]
    ended = EndedSessions()
    watch = follower(issuer, ended)
    assert blind(watch)
    await watch.look()
    assert set(ended) == {one, two}
    assert not blind(watch)
    await watch.look()
    assert set(ended) == {one, two, three}
    paths = [text.split(" ")[1] for text in issuer.asked]
    assert paths == ["/auth/ended", "/auth/ended?after=5.a", "/auth/ended?after=6"]
    assert all("x-api-key: lim_test_key" in text.lower() for text in issuer.asked)


@pytest.mark.parametrize(
    "answer",
    [[], {}, {"items": []}, {"items": {}, "next": "1", "more": False}, {"items": [], "next": 1, "more": False},
     {"items": [], "next": "", "more": False}, {"items": [], "next": "1", "more": "no"},
     {"items": [5], "next": "1", "more": False}, part("not-an-id"), part("../../etc"),
     {"items": [{"sid": "01a204b2-500a-72a9-bca5-a426f0c0bd7b", "keep_until": "soon"}], "next": "1", "more": False},
     {"items": [{"sid": "01a204b2-500a-72a9-bca5-a426f0c0bd7b", "keep_until": "2100-01-01T00:00:00"}], "next": "1",
      "more": False}],
    ids=lambda answer: json.dumps(answer)[:60],
)  # fmt: skip
async def test_answers_that_are_no_list(issuer: Issuer, answer: Any) -> None:
    """They count as silence: the service does not say that it knows what ended."""
    issuer.parts = [answer]
    watch = follower(issuer, EndedSessions())
    with pytest.raises(OutboundError, match=r"not one strict|no list"):
        await watch.look()
    assert blind(watch)


async def test_silence_makes_blind_after_ten_seconds(issuer: Issuer) -> None:
    """Counted from when it was asked, not from when it was answered; the next answer makes it see again."""
    issuer.parts = [part()]
    clock = Seconds()
    watch = follower(issuer, EndedSessions(), clock)
    await watch.look()
    clock.now += BLIND_SECONDS
    assert not blind(watch)
    issuer.head = "503 No"
    with pytest.raises(OutboundError):
        await watch.look()
    clock.now += 0.1
    assert blind(watch)
    issuer.head = "200 OK"
    await watch.look()
    assert not blind(watch)


async def test_a_place_that_is_refused_is_forgotten(issuer: Issuer) -> None:
    """After a refusal it reads from the beginning, where everything is that still matters."""
    issuer.parts = [part(following="9")]
    watch = follower(issuer, EndedSessions())
    await watch.look()
    issuer.head = "422 No"
    with pytest.raises(OutboundError):
        await watch.look()
    issuer.head = "200 OK"
    await watch.look()
    assert [text.split(" ")[1] for text in issuer.asked][1:] == ["/auth/ended?after=9", "/auth/ended"]


async def test_it_is_told_once_that_nobody_answers(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    """One line when it begins and one when it is over, and none with the key."""
    caplog.set_level("INFO", logger="limen")
    issuer.parts = [[]]
    watch = follower(issuer, EndedSessions())
    task = asyncio.create_task(watch.follow())

    def told() -> list[str]:
        return [record.msg for record in caplog.records if record.msg.startswith("what ended")]

    async with asyncio.timeout(30):
        while not told():  # noqa: ASYNC110 - what is logged tells nobody
            await asyncio.sleep(0.05)
        # Once more it hears nothing, and says nothing.
        await asyncio.sleep(1.3)
        issuer.parts = [part()]
        while len(told()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await asyncio.sleep(1.3)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert told() == ["what ended at the issuer is not known", "what ended at the issuer is known"]
    assert "lim_test_key" not in str([record.__dict__ for record in caplog.records])


def test_what_cannot_be_watched() -> None:
    """No list over plain http, no answer to silence without a list, and no third answer."""
    given: list[dict[str, Any]] = [
        {"watch_key": "lim_x", "watch_url": "http://auth.example/auth/ended"}, {"when_blind": "refuse"},
        {"watch_url": "https://auth.example/x"}, {"watch_key": "lim_x", "when_blind": "sometimes"},
    ]  # fmt: skip
    for wrong in given:
        with pytest.raises(ConfigurationError):
            Limen.resource_server(issuer="https://auth.example", audience="orders", **wrong)
