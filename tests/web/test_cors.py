"""Cross-origin requests: who may read answers, and that no preflight reaches the application."""

import pytest
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limen.core.errors import ConfigurationError
from limen.web.cors import Cors, CorsPolicy, origin_allowed, preflight_answer

Headers = list[tuple[bytes, bytes]]
ORIGIN = "https://app.example"
ALLOWED = CorsPolicy.of([ORIGIN, "http://localhost:5173"])
FOREIGN = [
    "null",
    "https://evil.example",
    "http://app.example",
    "https://app.example:444",
    "https://app.example.evil.example",
    "https://evil-app.example",
    "https://app.example/",
    "https://app.example, https://evil.example",
    "https://APP.example",
    " https://app.example",
    "https://app.exampl",
    "",
    "*",
]


class Application:
    """Counts how often it is called, and answers with the headers it was given."""

    def __init__(self, headers: Headers | None = None) -> None:
        self.calls = 0
        self.headers = headers or []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.calls += 1
        await send({"type": "http.response.start", "status": 200, "headers": list(self.headers)})
        await send({"type": "http.response.body", "body": b"x"})


async def ask(app: ASGIApp, method: str = "GET", **headers: str | None) -> tuple[int, Headers]:
    """Send a request and return status and headers of the answer."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items() if value is not None]
    messages: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        messages.append(message)

    scope = {"type": "http", "method": method, "scheme": "https", "path": "/", "headers": raw}
    await app(scope, receive, send)
    return messages[0]["status"], list(messages[0]["headers"])


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Return all values of a header."""
    return [value for given, value in headers if given.lower() == name]


def access_control(headers: Headers) -> set[bytes]:
    """Return the names of all headers that open something."""
    return {name.lower() for name, _ in headers if name.lower().startswith(b"access-control-")}


@pytest.mark.parametrize(
    "origins", [["*"], ["https://*.example"], ["null"], ["https://a.example/"], ["a.example"], [""]]
)
@pytest.mark.parametrize("credentials", [True, False])
def test_what_is_no_exact_origin_does_not_start(origins: list[str], credentials: bool) -> None:
    """A wildcard, null or anything that is not exactly one origin is refused, with credentials and without."""
    with pytest.raises(ConfigurationError, match="cors origin 1 "):
        CorsPolicy.of(origins, credentials=credentials)


def test_one_text_is_no_list() -> None:
    """A single text instead of a list is refused: its characters are no origins."""
    with pytest.raises(ConfigurationError):
        CorsPolicy.of("https://a.example")


async def test_listed_origin_may_read() -> None:
    """An answer to a listed origin names exactly that origin, once."""
    for origin in (ORIGIN, "http://localhost:5173"):
        _, headers = await ask(Cors(Application(), ALLOWED), origin=origin)
        assert values(headers, b"access-control-allow-origin") == [origin.encode()]
        assert values(headers, b"vary") == [b"Origin"]
        assert b"access-control-allow-credentials" not in dict(headers)


async def test_credentials_only_when_asked_for() -> None:
    """Cookies of other sites are accepted only under a policy that says so, and only for listed origins."""
    app = Cors(Application(), CorsPolicy.of([ORIGIN], credentials=True))
    _, headers = await ask(app, origin=ORIGIN)
    assert values(headers, b"access-control-allow-credentials") == [b"true"]
    _, headers = await ask(app, origin="https://evil.example")
    assert not access_control(headers)


@pytest.mark.parametrize("origin", [*FOREIGN, None])
async def test_foreign_origin_may_not_read(origin: str | None) -> None:
    """No foreign origin, near miss or missing one gets a header that opens anything; caches learn that it matters."""
    app = Application()
    status, headers = await ask(Cors(app, ALLOWED), origin=origin)
    assert (status, app.calls) == (200, 1)
    assert not access_control(headers)
    assert values(headers, b"vary") == [b"Origin"]


async def test_two_origin_headers_are_foreign() -> None:
    """A request with two Origin headers is not allowed for the sake of one of them."""
    raw = [(b"origin", ORIGIN.encode()), (b"origin", b"https://evil.example")]
    preflight = [*raw, (b"access-control-request-method", b"GET")]
    answer = preflight_answer({"type": "http", "method": "OPTIONS", "headers": preflight}, ALLOWED)
    assert answer is not None
    assert not access_control(answer.headers)
    assert not origin_allowed({"type": "websocket", "scheme": "wss", "headers": raw}, ALLOWED)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([(b"Vary", b"Accept-Encoding")], [b"Accept-Encoding, Origin"]),
        ([(b"vary", b"Accept, ORIGIN")], [b"Accept, ORIGIN"]),
        ([(b"vary", b"*")], [b"*"]),
        ([(b"vary", b"Accept"), (b"x", b"y"), (b"vary", b"Origin")], [b"Accept", b"Origin"]),
        ([(b"vary", b"Accept"), (b"vary", b"Cookie")], [b"Accept, Origin", b"Cookie"]),
    ],
)
async def test_vary_is_merged(given: Headers, expected: list[bytes]) -> None:
    """Origin is added to what the answer varies by already, once."""
    _, headers = await ask(Cors(Application(given), ALLOWED), origin=ORIGIN)
    assert values(headers, b"vary") == expected


async def test_own_header_of_the_application_stands() -> None:
    """An Access-Control-Allow-Origin of the application's own is neither changed, doubled nor added to."""
    own = [(b"Access-Control-Allow-Origin", b"https://other.example")]
    _, headers = await ask(Cors(Application(own), ALLOWED), origin=ORIGIN)
    assert values(headers, b"access-control-allow-origin") == [b"https://other.example"]
    assert len(access_control(headers)) == 1


@pytest.mark.parametrize("origin", [ORIGIN, *FOREIGN])
@pytest.mark.parametrize("policy", [ALLOWED, CorsPolicy()])
async def test_no_preflight_reaches_the_application(origin: str, policy: CorsPolicy) -> None:
    """True or written by hand, for listed and foreign origins, with a list and without: the handler is not called."""
    app = Application()
    status, _ = await ask(Cors(app, policy), "OPTIONS", origin=origin, access_control_request_method="DELETE")
    assert (status, app.calls) == (204, 0)


async def test_preflight_of_a_listed_origin() -> None:
    """A listed origin is told the methods, and the headers it asked for."""
    status, headers = await ask(
        Cors(Application(), ALLOWED),
        "OPTIONS",
        origin=ORIGIN,
        access_control_request_method="PUT",
        access_control_request_headers="authorization, x-own",
    )
    answer = dict(headers)
    assert (status, answer[b"access-control-allow-origin"]) == (204, ORIGIN.encode())
    assert b"PUT" in answer[b"access-control-allow-methods"].split(b", ")
    assert answer[b"access-control-allow-headers"] == b"authorization, x-own"
    assert b"Origin" in answer[b"vary"]


@pytest.mark.parametrize("wanted", ["a\r\nset-cookie: x=y", "a;b", "x" * 1025, "a,,b", '"', " "])
async def test_names_of_headers_are_not_echoed_raw(wanted: str) -> None:
    """What is no list of header names is not repeated in the answer."""
    _, headers = await ask(
        Cors(Application(), ALLOWED),
        "OPTIONS",
        origin=ORIGIN,
        access_control_request_method="PUT",
        access_control_request_headers=wanted,
    )
    assert b"access-control-allow-headers" not in dict(headers)


@pytest.mark.parametrize("origin", FOREIGN)
async def test_preflight_of_a_foreign_origin(origin: str) -> None:
    """A foreign origin gets an empty answer that opens nothing and does not tell whether the route exists."""
    status, headers = await ask(
        Cors(Application(), ALLOWED), "OPTIONS", origin=origin, access_control_request_method="GET"
    )
    assert status == 204
    assert not access_control(headers)


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("OPTIONS", {}),
        ("OPTIONS", {"origin": ORIGIN}),
        ("OPTIONS", {"access_control_request_method": "GET"}),
        ("GET", {"origin": ORIGIN, "access_control_request_method": "GET"}),
        ("options", {"origin": ORIGIN, "access_control_request_method": "GET"}),
    ],
)
async def test_what_is_no_preflight_is_for_the_guard(method: str, headers: dict[str, str]) -> None:
    """OPTIONS without both headers, or another method with them, is a request like any other: the guard decides."""
    app = Application()
    await ask(Cors(app, ALLOWED), method, **headers)
    assert app.calls == 1


async def test_middleware_of_the_application_keeps_its_preflights() -> None:
    """With no list of limen's, a CORS middleware of the application's own, outside the guard, answers preflights."""
    handler = Application()

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        assert preflight_answer(scope) is None
        await handler(scope, receive, send)

    app = CORSMiddleware(guard, allow_origins=["https://other.example"], allow_methods=["PUT"])
    status, headers = await ask(app, "OPTIONS", origin="https://other.example", access_control_request_method="PUT")
    assert (status, handler.calls) == (200, 0)
    assert values(headers, b"access-control-allow-origin") == [b"https://other.example"]
    _, headers = await ask(app, origin="https://other.example")
    assert values(headers, b"access-control-allow-origin") == [b"https://other.example"]


async def test_both_middlewares_say_it_once() -> None:
    """With a list of limen's and a CORS middleware inside it, the application's answer stands, once."""
    app = Cors(CORSMiddleware(Application(), allow_origins=[ORIGIN]), ALLOWED)
    _, headers = await ask(app, origin=ORIGIN)
    assert values(headers, b"access-control-allow-origin") == [ORIGIN.encode()]
    assert sum(value.lower().count(b"origin") for value in values(headers, b"vary")) == 1


async def test_without_a_list_nothing_is_added() -> None:
    """With no origins of limen's, answers are left as they are; sockets and the lifespan always are."""
    given = [(b"content-type", b"text/plain")]
    _, headers = await ask(Cors(Application(given), CorsPolicy()), origin=ORIGIN)
    assert headers == given
    app = Application()
    for kind in ("lifespan", "websocket"):
        sent: list[Message] = []

        async def send(message: Message, sent: list[Message] = sent) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "lifespan.startup"}

        await Cors(app, ALLOWED)({"type": kind}, receive, send)
        assert sent[0]["headers"] == []
    assert app.calls == 2


def socket_from(origin: str | None, host: str | None = "app.example", scheme: str = "wss") -> Scope:
    """Return the scope of a WebSocket handshake."""
    raw = [(name, value.encode()) for name, value in ((b"origin", origin), (b"host", host)) if value is not None]
    return {"type": "websocket", "scheme": scheme, "headers": raw}


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        (None, "app.example", "wss"),
        ("https://app.example", "app.example", "wss"),
        ("https://app.example", "APP.example:443", "wss"),
        ("https://app.example", "app.example", "ws"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "ws"),
        ("https://listed.example", "app.example", "wss"),
    ],
)
def test_socket_is_opened(origin: str | None, host: str, scheme: str) -> None:
    """The application's own pages, listed ones and clients that are no browsers may open a socket."""
    assert origin_allowed(socket_from(origin, host, scheme), CorsPolicy.of(["https://listed.example"]))


@pytest.mark.parametrize(
    ("origin", "host", "scheme"),
    [
        ("https://evil.example", "app.example", "wss"),
        ("null", "app.example", "wss"),
        ("null", "null", "wss"),
        ("", "", "wss"),
        ("https://", "", "wss"),
        ("http://app.example", "app.example", "wss"),
        ("https://app.example:444", "app.example", "wss"),
        ("http://app.example", "app.example:443", "ws"),
        ("https://app.example.evil.example", "app.example", "wss"),
        ("https://evil.example/app.example", "app.example", "wss"),
        ("https://app.example@evil.example", "app.example", "wss"),
        ("file://app.example", "app.example", "ws"),
        ("https://app.example", None, "wss"),
    ],
)
def test_socket_of_a_foreign_page_is_refused(origin: str, host: str | None, scheme: str) -> None:
    """A page of another origin, null or a near miss may not, though the browser would let it."""
    assert not origin_allowed(socket_from(origin, host, scheme))
