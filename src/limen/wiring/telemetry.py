"""OpenTelemetry: makes the spans that `limen.core.telemetry` speaks of, and wraps the steps of a gate in them.

The package ``opentelemetry-api`` is an extra, ``limen[otel]``, and loaded only where spans are wanted. Where the spans
go is the operator's: an SDK is configured around limen, by its own environment (``OTEL_…``) or by the application.

No span holds an address, a query, a parameter of a statement, a name, the id of an account or the words of an error.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from email.message import EmailMessage
from functools import partial, wraps
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from limen.core import telemetry
from limen.core.errors import ConfigurationError
from limen.core.mails import MailTransport
from limen.core.telemetry import Fact, Span, Tracer, outcome_of

if TYPE_CHECKING:
    # Names only: whoever wants no spans does not load them.
    from opentelemetry.trace import Span as OtelSpan

    from limen.wiring.gate import Limen


class OpenTelemetrySpan:
    """A span of OpenTelemetry, as `limen.core.telemetry.Span`."""

    def __init__(self, span: "OtelSpan") -> None:
        self._span = span

    def note(self, **facts: Fact) -> None:
        """Set attributes; see `limen.core.telemetry.Span.note`."""
        for name, value in facts.items():
            self._span.set_attribute(_dotted(name), value)

    def rename(self, name: str) -> None:
        """Give it another name."""
        self._span.update_name(name)

    def fail(self, code: str) -> None:
        """Say which error left the step."""
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("error.type", code)
        self._span.set_status(Status(StatusCode.ERROR))


class OpenTelemetryTracer:
    """Makes spans by OpenTelemetry.

    Args:
        provider: of tracers; None for the global one.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """

    def __init__(self, provider: Any = None) -> None:
        if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
            raise ConfigurationError(
                'LIMEN_TRACES is on, and OpenTelemetry is not installed; run: pip install "limen[otel]"'
            )
        from opentelemetry import trace

        self._trace = trace
        self._tracer = trace.get_tracer("limen", tracer_provider=provider)

    @contextmanager
    def step(self, name: str, kind: Literal["internal", "client"] = "internal", **facts: Fact) -> Iterator[Span]:
        """Begin a step; see `limen.core.telemetry.Tracer.step`."""
        kinds = self._trace.SpanKind
        with self._begun(name, kinds.CLIENT if kind == "client" else kinds.INTERNAL, facts) as span:
            yield span

    def is_followed(self) -> bool:
        """Tell whether there is a span above that is recorded."""
        return self._trace.get_current_span().is_recording()

    def ids(self) -> tuple[str, str] | None:
        """Return the ids of trace and span; None outside of one."""
        context = self._trace.get_current_span().get_span_context()
        return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None

    def request(self, scope: Mapping[str, Any]) -> AbstractContextManager[Span] | None:
        """Return the span of a request, below the caller's; None where whoever stands around has begun one."""
        if self._trace.get_current_span().get_span_context().is_valid:
            return None
        return self._request(scope)

    @contextmanager
    def _request(self, scope: Mapping[str, Any]) -> Iterator[Span]:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        from limen.web.tracing import carrier_of, method_of

        method = method_of(scope)
        facts: dict[str, Fact] = {"http_request_method": method, "url_scheme": str(scope.get("scheme", "http"))}
        above = TraceContextTextMapPropagator().extract(carrier_of(scope))
        with self._begun(method, self._trace.SpanKind.SERVER, facts, above) as span:
            yield span

    @contextmanager
    def _begun(self, name: str, kind: Any, facts: dict[str, Fact], above: Any = None) -> Iterator[OpenTelemetrySpan]:
        with self._tracer.start_as_current_span(
            name,
            above,
            kind=kind,
            attributes={_dotted(each): value for each, value in facts.items()},
            # Their words may hold what was sent.
            record_exception=False,
            set_status_on_exception=False,
        ) as raw:
            span = OpenTelemetrySpan(raw)
            try:
                yield span
            except Exception as error:
                span.fail(outcome_of(error))
                raise


def _dotted(name: str) -> str:
    return name.replace("__", "\0").replace("_", ".").replace("\0", "_")


def trace(gate: "Limen", tracer: Tracer) -> None:
    """Wrap the steps of a gate in spans: who is calling, live checks, hashes, the database, mails, calls elsewhere."""
    from limen.web.tracing import traced_attribution

    gate.chain.attribute = traced_attribution(gate.chain.attribute, tracer)
    _wrap(gate, "live", lambda *_: tracer.step("limen.live"))
    system = "postgresql" if gate.settings.database_url.startswith("postgres") else "sqlite"
    database = partial(_database_step, tracer, system)
    # `read` and, on SQLite, `write_one` call these; nobody else does.
    verbs = ("write", "read_committed", "write_one") if system == "postgresql" else ("write", "read_committed")
    for verb in verbs:
        _wrap(gate.storage, verb, database, only_below=tracer)
    _wrap(gate._pool, "run", lambda *_, **__: tracer.step("limen.hash"), only_below=tracer)
    _wrap(gate.outbound, "_call", lambda question: _call_step(tracer, question))
    if gate.mail is not None:
        gate.mail.through(_TracedTransport(gate.mail.transport, tracer))


class _TracedTransport:
    """Hands mails over as another one does, within a step."""

    def __init__(self, transport: MailTransport, tracer: Tracer) -> None:
        self._transport = transport
        self._tracer = tracer

    async def send(self, message: EmailMessage) -> None:
        """Hand over one mail; see `limen.core.mails.MailTransport`."""
        with self._tracer.step("limen.mail", "client"):
            await self._transport.send(message)


def _database_step(tracer: Tracer, system: str, operation: Any) -> AbstractContextManager[Span]:
    name = _operation_name(operation)
    return tracer.step(name, "client", db_system_name=system, db_operation_name=name)


def _operation_name(operation: Any) -> str:
    """Return the name of the function that is the operation, never its arguments: ``sessions.ended``."""
    function = getattr(operation, "func", operation)
    module = str(getattr(function, "__module__", "")).rpartition(".")[2]
    return f"{module}.{str(getattr(function, '__name__', type(function).__name__)).strip('_')}"


def _call_step(tracer: Tracer, question: Any) -> AbstractContextManager[Span]:
    # The host alone: paths and queries hold codes and tokens.
    return tracer.step(
        question.method, "client", http_request_method=question.method, server_address=question.place.host
    )


def _wrap(
    holder: object, name: str, step: Callable[..., AbstractContextManager[Span]], *, only_below: Tracer | None = None
) -> None:
    """Let a method of one object run within a step; with ``only_below``, where some step above is recorded."""
    inner: Callable[..., Awaitable[Any]] = getattr(holder, name)

    @wraps(inner)
    async def within(*arguments: Any, **named: Any) -> Any:
        if only_below is not None and not only_below.is_followed():
            return await inner(*arguments, **named)
        with step(*arguments):
            return await inner(*arguments, **named)

    setattr(holder, name, within)


def trace_if_wanted(gate: "Limen") -> None:
    """Wrap a gate whose settings want spans.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if not gate.settings.traces:
        return
    if telemetry.tracer() is None:
        telemetry.use(OpenTelemetryTracer())
    tracer = telemetry.tracer()
    if tracer is not None:
        trace(gate, tracer)
