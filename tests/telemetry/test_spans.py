"""Spans of OpenTelemetry's own SDK: the steps of real requests, below the trace of the caller, without a secret."""

import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from limen import Limen
from limen.authn.outbound import OutboundError
from limen.core import telemetry
from limen.core.mails import MailFailed
from limen.features.roles.service import Operator
from limen.starlette import live, permissions
from limen.web.logs import configure_logging
from limen.wiring.telemetry import OpenTelemetryTracer
from tests.support.gates import PASSWORD, ROLES, settings_for

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Spans:
    """What was exported, by name."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def all(self) -> list[ReadableSpan]:
        """Return every span so far."""
        return list(self.exporter.get_finished_spans())

    def of(self, name: str) -> list[ReadableSpan]:
        """Return those of a name, in the order in which they ended."""
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> dict[str, Any]:
        """Return the attributes of the only one."""
        [span] = self.of(name)
        return dict(span.attributes or {})

    def words(self) -> str:
        """Return all that the spans say, as one text."""
        return "\n".join(span.to_json() for span in self.all())


@pytest.fixture
def spans() -> Iterator[Spans]:
    """The SDK, with the tracer of this process set to it."""
    kept = Spans()
    before = telemetry.tracer()
    telemetry.use(OpenTelemetryTracer(kept.provider))
    yield kept
    telemetry.use(before)
    kept.provider.shutdown()


@permissions("order:create")
@live
async def make_order(request: Request) -> Response:
    """A leaf that asks the store."""
    return PlainTextResponse("made")


async def fails(request: Request) -> Response:
    """A handler that fails, with words that are nobody's business."""
    raise RuntimeError("canary-of-the-handler")


class Transport:
    """Takes mails, or refuses them."""

    failing: Exception | None = None

    async def send(self, message: EmailMessage) -> None:
        """Take one."""
        if self.failing is not None:
            raise self.failing


@pytest.fixture
def gate(spans: Spans, tmp_path: Path) -> Limen:
    """A gate that tells of its steps."""
    settings = settings_for(tmp_path, traces=True, public_url="https://app.example", mail_from="limen@app.example")
    return Limen(settings, roles=ROLES, mail=Transport())


@pytest.fixture
def client(gate: Limen) -> Iterator[TestClient]:
    """A client of an application behind it."""
    app = Starlette(routes=[Route("/orders/{number}", make_order, methods=["POST"]), Route("/fails", fails)])
    gate.protect(app, health=True)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def log_in(client: TestClient, name: str = "ada") -> str:
    """Register and log in; return the access token."""
    assert client.post("/auth/register", json={"username": name, "password": PASSWORD}).status_code == 201
    answer = client.post("/auth/login", json={"username": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def test_a_login_is_its_steps(client: TestClient, spans: Spans) -> None:
    """A login is a span with who asks, whether they may, the hash and each call of the database below it."""
    log_in(client)
    [request] = spans.of("POST /auth/login")
    assert request.kind is SpanKind.SERVER
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.response.status_code": 200,
        "http.route": "/auth/login",
    }
    assert request.context is not None
    below = [
        span
        for span in spans.all()
        if span.parent and span.context and span.context.trace_id == request.context.trace_id
    ]
    names = [span.name for span in below]
    assert {"limen.authenticate", "limen.decide", "limen.hash"} <= set(names)
    calls = [span for span in below if (span.attributes or {}).get("db.system.name") == "sqlite"]
    assert calls
    assert all(
        span.kind is SpanKind.CLIENT and (span.attributes or {})["db.operation.name"] == span.name for span in calls
    )
    assert all(span.parent.span_id == request.context.span_id for span in below if span.parent)


def test_who_asks_and_whether_they_may(client: TestClient, gate: Limen, spans: Spans) -> None:
    """Spans say by what kind of credential, whether a leaf was entered, and why not; a live check is one of its own."""
    token = log_in(client)
    spans.exporter.clear()
    assert client.post("/orders/7", headers={"Authorization": f"Bearer {token}"}).status_code == 403
    assert spans.one("limen.authenticate") == {
        "limen.outcome": "authenticated",
        "limen.credential": "authenticated",
        "limen.principal.kind": "person",
    }
    decided = spans.one("limen.decide")
    assert decided["limen.effect"] == "denied"
    assert decided["error.type"] == "permission_required"
    assert str(decided["code.function.name"]).endswith("make_order")
    spans.exporter.clear()
    assert client.post("/orders/7", headers={"Authorization": "Bearer not.a.token"}).status_code == 401
    assert spans.one("limen.authenticate") == {"limen.outcome": "rejected", "limen.code": "token_invalid"}
    spans.exporter.clear()
    assert client.post("/orders/7").status_code == 401
    assert spans.one("limen.authenticate") == {"limen.outcome": "none"}
    assert spans.one("POST /orders/{number}")["http.response.status_code"] == 401


def test_a_live_check_is_a_step(client: TestClient, gate: Limen, spans: Spans) -> None:
    """What may be entered after the store was asked: a decision to ask first, the check, and the decision."""
    token = log_in(client)
    account = client.get("/auth/me", headers={"Authorization": f"Bearer {token}"}).json()["sub"]
    assert client.portal is not None
    client.portal.call(gate.roles.grant, Operator("cli"), account, frozenset({"maker"}))
    answer = client.post("/auth/login", json={"username": "ada", "password": PASSWORD})
    spans.exporter.clear()
    made = client.post("/orders/7", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
    assert made.status_code == 200, made.text
    effects = [(span.attributes or {})["limen.effect"] for span in spans.of("limen.decide")]
    assert effects == ["ask_first", "allowed"]
    [check] = spans.of("limen.live")
    below = [
        span for span in spans.all() if span.parent and check.context and span.parent.span_id == check.context.span_id
    ]
    assert [(span.attributes or {})["db.operation.name"] for span in below]


def test_the_callers_trace_goes_on(client: TestClient, spans: Spans) -> None:
    """A span of a request stands below the one that ``traceparent`` names; a broken one begins a trace anew."""
    client.get("/healthz", headers={"traceparent": TRACEPARENT})
    client.get("/healthz", headers={"traceparent": "00-" + "x" * 500})
    first, second = spans.of("GET /healthz")
    assert first.context is not None
    assert first.parent is not None
    assert second.context is not None
    assert (f"{first.context.trace_id:032x}", f"{first.parent.span_id:016x}") == (TRACE, PARENT)
    assert second.parent is None


def test_whoever_stands_around_has_begun_the_span(gate: Limen, spans: Spans) -> None:
    """Where an application instruments its requests itself there is no second span of the request, only the steps."""
    app = Starlette(routes=[Route("/fails", fails)])
    gate.protect(app, health=True)
    tracer = spans.provider.get_tracer("theirs")

    async def around(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        with tracer.start_as_current_span("theirs"):
            await app(scope, receive, send)

    with TestClient(around) as client:
        assert client.get("/healthz").status_code == 200
    [theirs] = spans.of("theirs")
    assert not spans.of("GET /healthz")
    [asked] = spans.of("limen.authenticate")
    assert asked.parent is not None
    assert theirs.context is not None
    assert asked.parent.span_id == theirs.context.span_id


def test_lines_of_the_log_name_the_trace(client: TestClient, spans: Spans) -> None:
    """A line that is written while a request is served has the ids of its trace and its span; others have none."""
    stream = io.StringIO()
    restore = configure_logging("info", stream=stream)
    client.post("/auth/refresh", json={"refresh_token": "made up"}, headers={"traceparent": TRACEPARENT})
    logging.getLogger("limen.tests").info("outside")
    restore()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    [refused] = [line for line in lines if line["event"] == "refresh token refused"]
    assert refused["trace_id"] == TRACE
    assert len(refused["span_id"]) == 16
    [outside] = [line for line in lines if line["event"] == "outside"]
    assert "trace_id" not in outside


def test_a_failure_is_told_without_its_words(client: TestClient, spans: Spans) -> None:
    """An error that leaves a handler is a failed span of its type; neither message nor traceback is in it."""
    token = log_in(client)
    spans.exporter.clear()
    assert client.get("/fails", headers={"Authorization": f"Bearer {token}"}).status_code == 500
    [request] = spans.of("GET /fails")
    assert request.status.status_code is StatusCode.ERROR
    assert (request.attributes or {})["error.type"] == "RuntimeError"
    assert "canary-of-the-handler" not in spans.words()


def test_no_caller_chooses_what_a_span_says(client: TestClient, spans: Spans) -> None:
    """Nothing that was sent is in any span: names, passwords, tokens, addresses, queries, headers, methods."""
    token = log_in(client, "canary-name")
    headers = {
        "Authorization": f"Bearer {token}",
        "User-Agent": "canary-agent",
        "tracestate": "a=1",
        "baggage": "canary=1",
    }
    client.post("/orders/canary-number?canary=canary", headers=headers)
    client.request("CANARY", "/auth/me", headers=headers)
    client.get("/canary-path", headers={"traceparent": TRACEPARENT, "Host": "canary-host"})
    client.post("/auth/login", json={"username": "canary-unknown", "password": "canary-password"})
    words = spans.words()
    assert len(spans.all()) > 20
    assert "canary" not in words.lower()
    assert PASSWORD not in words
    assert "testclient" not in words
    for part in token.split("."):
        assert part not in words


def test_mails_and_calls_to_others_are_steps(client: TestClient, gate: Limen, spans: Spans) -> None:
    """A mail handed over and a call elsewhere are spans that say where to and how it ended, and no path."""
    assert client.portal is not None
    assert gate.mail is not None
    client.portal.call(gate.mail.transport.send, EmailMessage())
    assert spans.one("limen.mail") == {}
    inner = gate.mail.transport._transport  # type: ignore[attr-defined]
    inner.failing = MailFailed("answer_451")
    with pytest.raises(MailFailed):
        client.portal.call(gate.mail.transport.send, EmailMessage())
    assert spans.of("limen.mail")[1].status.status_code is StatusCode.ERROR
    with pytest.raises(OutboundError):
        client.portal.call(gate.outbound.get, "https://127.0.0.1/canary?token=canary")
    [call] = spans.of("GET")
    assert dict(call.attributes or {}) == {
        "http.request.method": "GET",
        "server.address": "127.0.0.1",
        "error.type": "refused_address",
    }
    assert "canary" not in spans.words()


def test_nothing_is_wrapped_where_nobody_follows(tmp_path: Path) -> None:
    """Without LIMEN_TRACES no step is wrapped, nothing of OpenTelemetry is loaded, and no tracer is named."""
    gate = Limen(settings_for(tmp_path), roles=ROLES)
    assert telemetry.tracer() is None
    for holder, name in ((gate, "live"), (gate.storage, "write"), (gate._pool, "run"), (gate.outbound, "_call")):
        assert name not in vars(holder)
    program = (
        "import sys, limen, limen.starlette, limen.wiring; "
        "print([name for name in sys.modules if name.startswith('opentelemetry') or name == 'limen.wiring.telemetry'])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert told.stdout.strip() == "[]"


def test_without_the_package_the_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LIMEN_TRACES without OpenTelemetry is refused, with the line that installs it."""
    from limen.core.errors import ConfigurationError
    from limen.wiring import telemetry as binding

    def absent(name: str) -> None:
        return None

    finder: Callable[[str], None] = absent
    monkeypatch.setattr(binding, "find_spec", finder)
    with pytest.raises(ConfigurationError, match=r'pip install "limen\[otel\]"'):
        Limen(settings_for(tmp_path, traces=True), roles=ROLES)
    assert telemetry.tracer() is None
