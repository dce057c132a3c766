"""The steps of a request as spans, for whoever follows one through a system: what limen asks of a tracer.

Nothing of OpenTelemetry is imported here. Where no tracer was named, which is the default, the steps are not even
wrapped: `limen.wiring.telemetry` wraps them when a gate is made.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

Fact = str | bool | int
"""What a span may say: words of this code and numbers. No name, no address, no id of an account, no secret."""


class Span(Protocol):
    """One step that is under way."""

    def note(self, **facts: Fact) -> None:
        """Say something of it; underscores in a name are dots, two of them one underscore."""
        ...

    def rename(self, name: str) -> None:
        """Give it another name, where more is known by now."""
        ...


class Tracer(Protocol):
    """Makes spans."""

    def step(
        self, name: str, kind: Literal["internal", "client"] = "internal", **facts: Fact
    ) -> AbstractContextManager[Span]:
        """Begin a step below the current one; it ends with the block, and says the code of an error that leaves it."""
        ...

    def request(self, scope: Mapping[str, Any]) -> AbstractContextManager[Span] | None:
        """Return the step that is a request, by its ASGI scope; None where whoever stands around has begun one."""
        ...

    def is_followed(self) -> bool:
        """Tell whether there is a step above that is recorded."""
        ...

    def ids(self) -> tuple[str, str] | None:
        """Return the ids of trace and span, in hexadecimal digits; None outside of a step."""
        ...


class _Chosen:
    """The tracer of this process."""

    tracer: Tracer | None = None


def use(tracer: Tracer | None) -> None:
    """Name the tracer of this process; None for none. What was made before goes on as it was made."""
    _Chosen.tracer = tracer


def tracer() -> Tracer | None:
    """Return the tracer of this process; None where nobody follows."""
    return _Chosen.tracer


def outcome_of(error: BaseException) -> str:
    """Return what a span says of an error: its code or its type, never its words."""
    code = getattr(error, "code", None)
    # The codes of limen's own errors are words of this code; what others call a code may be anything.
    is_ours = type(error).__module__.partition(".")[0] == "limen"
    return code if is_ours and isinstance(code, str) else type(error).__name__
