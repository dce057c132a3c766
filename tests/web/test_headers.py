"""Security headers: on every answer, never over the application's own."""

import time
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.web.headers import OWN_JSON_HEADERS, OWN_PAGE_HEADERS, USUAL, AnswerHeaders, SecurityHeaders

Headers = list[tuple[bytes, bytes]]
EXPECTED = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"strict-origin-when-cross-origin",
    b"permissions-policy": b"hid=(self), midi=(self), serial=(self), usb=(self)",
}
HSTS = {b"strict-transport-security": b"max-age=31536000"}


def answering(headers: Iterable[tuple[bytes, bytes]], start: str = "http.response.start") -> ASGIApp:
    """Return an application that answers with these headers."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": start, "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x"})

    return application


async def headers_through(application: ASGIApp, scheme: str = "http", kind: str = "http") -> Headers:
    """Return the headers that leave the middleware."""
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    await SecurityHeaders(application)({"type": kind, "scheme": scheme}, receive, send)
    return list(messages[0]["headers"])


@pytest.mark.parametrize(("scheme", "expected"), [("http", EXPECTED), ("https", {**EXPECTED, **HSTS})])
async def test_every_answer_carries_them(scheme: str, expected: dict[bytes, bytes]) -> None:
    """An answer without any gets all of them; Strict-Transport-Security on https only, without the domains below."""
    headers = await headers_through(answering([(b"content-type", b"text/html")]), scheme)
    assert headers[0] == (b"content-type", b"text/html")
    assert dict(headers[1:]) == expected
    assert len(headers) == len(expected) + 1


@pytest.mark.parametrize("own", [*EXPECTED, *HSTS])
@pytest.mark.parametrize("upper", [False, True])
async def test_own_header_of_the_application_stands(own: bytes, upper: bool) -> None:
    """What the application sets, in whatever case, is neither changed nor doubled, and the others are still added."""
    name = own.title() if upper else own
    headers = await headers_through(answering([(name, b"mine")]), "https")
    assert [value for given, value in headers if given.lower() == own] == [b"mine"]
    assert {given.lower() for given, _ in headers} == {*EXPECTED, *HSTS}


async def test_pages_of_the_application_get_no_content_security_policy() -> None:
    """The policy that forbids everything is for limen's own JSON only: it would break the application's pages."""
    headers = await headers_through(answering([]), "https")
    assert b"content-security-policy" not in dict(headers)
    assert b"frame-ancestors 'none'" in dict(OWN_JSON_HEADERS)[b"content-security-policy"]
    assert dict(OWN_JSON_HEADERS)[b"content-security-policy"].startswith(b"default-src 'none'; base-uri 'none'")


async def test_own_answers_are_not_doubled() -> None:
    """The strict set of limen's own answers is left as it is."""
    for own in (OWN_JSON_HEADERS, OWN_PAGE_HEADERS):
        headers = await headers_through(answering(own), "http")
        assert headers[: len(own)] == list(own)
        assert len({name for name, _ in headers}) == len(headers)


async def test_list_of_the_application_is_not_changed() -> None:
    """A list that an application uses for every answer does not grow, nor keep what was meant for https."""
    shared: Headers = [(b"content-type", b"text/plain")]
    application = answering(shared)
    await headers_through(application, "https")
    assert shared == [(b"content-type", b"text/plain")]
    assert not HSTS.keys() & dict(await headers_through(application, "http")).keys()


async def test_denied_handshake_carries_them() -> None:
    """The answer that denies a WebSocket handshake is an HTTP answer, and treated as one."""
    headers = await headers_through(answering([], "websocket.http.response.start"), "wss", "websocket")
    assert dict(headers) == {**EXPECTED, **HSTS}


async def test_lifespan_passes() -> None:
    """Messages of the lifespan are not touched."""
    assert await headers_through(answering([]), kind="lifespan") == []


@pytest.mark.serial
def test_cost() -> None:
    """Adding the headers costs little: at most 1.2 microseconds on a quiet machine, ten times that on any."""
    given = [(b"content-type", b"application/json"), (b"content-length", b"17"), (b"x-request-id", b"a")]
    rounds, best = 20_000, 1.0
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(rounds):
            USUAL.add(list(given), https=False, kept=True)
        best = min(best, (time.perf_counter() - started) / rounds)
    assert best < 12e-6


def test_what_not_everybody_may_have_is_embedded_by_no_other_site() -> None:
    """Answers for which something was required get a Cross-Origin-Resource-Policy; what is public gets none."""
    kept: Headers = []
    opened: Headers = []
    USUAL.add(kept, https=False, kept=True)
    USUAL.add(opened, https=False)
    assert dict(kept) == {**EXPECTED, b"cross-origin-resource-policy": b"same-site"}
    assert dict(opened) == EXPECTED


@pytest.mark.parametrize("resource", ["cross-origin", "same-site", "same-origin"])
@pytest.mark.parametrize("opener", ["unsafe-none", "same-origin-allow-popups", "same-origin"])
def test_the_two_that_can_be_set(opener: Any, resource: Any) -> None:
    """What is the browsers' default is not sent; everything else is sent as it was set."""
    headers: Headers = []
    AnswerHeaders(opener, resource).add(headers, https=True, kept=True)
    told = dict(headers)
    assert told.get(b"cross-origin-opener-policy", b"unsafe-none") == opener.encode()
    assert told.get(b"cross-origin-resource-policy", b"cross-origin") == resource.encode()
    assert (b"cross-origin-opener-policy" in told) == (opener != "unsafe-none")
    assert (b"cross-origin-resource-policy" in told) == (resource != "cross-origin")
    assert len(told) == len(headers)


def test_pages_of_limen_get_the_strict_set() -> None:
    """No hold on the window, no embedding, no device, no cache; the policy of content is each page's own."""
    told = dict(OWN_PAGE_HEADERS)
    assert told[b"cross-origin-opener-policy"] == told[b"cross-origin-resource-policy"] == b"same-origin"
    assert told[b"cache-control"] == b"no-store"
    features = told[b"permissions-policy"].split(b", ")
    assert all(each.endswith(b"=()") for each in features)
    assert {b"camera=()", b"geolocation=()", b"microphone=()", b"payment=()"} <= set(features)
