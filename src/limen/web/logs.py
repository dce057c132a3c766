"""The log: one escaped line a record, with the request's id, in which no secret appears.

limen logs with the standard library, under the logger ``limen``, and installs no handler: in an application, its
records go where the application sends its own. `limen serve` and the demo call `configure_logging`.

The first net against secrets is that nothing hands one to the log. The redaction here is the second: it masks what
stands under a name such as ``password`` and what looks like a token or a hash (`limen.web.redaction`), and knows
nothing else.

An application may have the same for its own log: `RedactingFormatter` around the formatter of any handler of the
standard library, `redact_event` among the processors of structlog.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict

from limen.core import telemetry
from limen.web.redaction import MASK, redact

__all__ = ["MASK", "RedactingFormatter", "configure_logging", "current_request_id", "redact", "redact_event"]

MOST_CHARACTERS: Final = 4096
MOST_OF_A_TRACEBACK: Final = 32_768

current_request_id: ContextVar[str] = ContextVar("limen_request_id", default="")
"""The id of the request that is being served, for records whose ``extra`` holds no ``request_id``."""

# What a name has in it, dashes and underscores taken out, when what stands under it is a secret.
_SECRET_NAMES: Final = re.compile(
    "password|passwd|passphrase|pwd|secret|token|authorization|cookie|apikey|credential|csrf|nonce|jti|privatekey"
)
_NOT_SECRET: Final = frozenset(
    {
        "tokentype",
        # Settings, as the first line of a start tells them.
        "passwordhasher",
        "passwordminlength",
        "cookieidlettl",
        "cookiemaxttl",
        "apikeyttl",
        "apikeymaxttl",
        "apikeyenvironment",
    }
)
_LETTERS: Final = re.compile(r"[^a-z0-9]+")
# Control characters, line and paragraph separators, and marks that turn the direction of writing: on a terminal they
# forge lines or hide them.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_READ: Final = 2 * MOST_CHARACTERS
_LONGEST_AUTHORITY: Final = 520
_MOST_OF_A_NAME: Final = 128
_MOST_ITEMS: Final = 50
_DEEPEST: Final = 4
_LARGEST_INTEGER: Final = 2**64
_RECORD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName", "request_id"}
_CERTAIN: Final = frozenset({"time", "level", "logger"})  # made here, or written in the code that logs
_OURS: Final = _CERTAIN | {"event", "exception"}


def configure_logging(
    level: str = "info",
    log_format: Literal["json", "console"] = "json",
    *,
    stream: TextIO | None = None,
    loggers: Sequence[str] = ("limen",),
    others: bool = False,
) -> Callable[[], None]:
    """Write the records of these loggers to a stream, one line each, and return what undoes it.

    The handlers of others are not touched, nor is the root logger, unless ``others`` says so; calling it again replaces
    the handler of the call before.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``: what is below is dropped.
        log_format: ``json``: an object a line (RFC 8259, ASCII only); ``console``: for people.
        stream: standard error unless given.
        loggers: names of loggers, with all that are below them; a server adds those of its HTTP server.
        others: also what every other logger warns of. A process that is limen's own asks for it: without a handler,
            logging would write the warnings of other libraries to standard error as they are.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_formatter(log_format, colours=handler.stream.isatty()))
    undo = [_attach(logging.getLogger(name), handler, level.upper()) for name in loggers]
    if others:
        undo.append(_attach(logging.getLogger(), handler, max(logging.WARNING, logging.getLevelName(level.upper()))))

    def restore() -> None:
        for one in undo:
            one()

    return restore


class RedactingFormatter(logging.Formatter):
    """Writes a record as another formatter does, and masks in all of it what `redact` knows: also in what others log.

    Args:
        formatter: writes the record; None for the one of the standard library.
    """

    def __init__(self, formatter: logging.Formatter | None = None) -> None:
        super().__init__()
        self._formatter = formatter or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of the record without secrets, at most 32768 characters of it."""
        text = self._formatter.format(record)
        masked = redact(_begin(text, 2 * MOST_OF_A_TRACEBACK))
        return masked if len(masked) <= MOST_OF_A_TRACEBACK else masked[:MOST_OF_A_TRACEBACK] + "…"


def redact_event(logger: Any, method: str, event: EventDict) -> EventDict:
    """Mask and bound an event of structlog: a processor, to stand right before the renderer.

    An exception becomes text here, without the values of local variables.
    """
    kept = {name: event[name] for name in ("_record", "_from_structlog") if name in event}
    plain = {name: value for name, value in event.items() if name not in kept}
    plain = dict(structlog.processors.format_exc_info(logger, method, plain))
    return {**_safe_event(plain, str, certain=frozenset()), **kept}


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler whose own failure does not print the record: the standard one shows the raw arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say that a record was lost, and why, without any of it."""
        error = sys.exc_info()[0]
        lost = {"level": "error", "logger": __name__, "event": "a record could not be written", "from": record.name}
        # On a full disk there is nowhere left to say it, and no request may fail for that.
        with suppress(OSError, ValueError):
            sys.stderr.write(json.dumps({**lost, "error": error.__name__ if error else ""}) + "\n")


def _attach(logger: logging.Logger, handler: _Handler, level: str | int) -> Callable[[], None]:
    before = (logger.level, logger.propagate)
    for old in [old for old in logger.handlers if isinstance(old, _Handler)]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False  # otherwise a handler of the root logger writes each record again, unredacted

    def detach() -> None:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]

    return detach


def _formatter(log_format: str, *, colours: bool) -> structlog.stdlib.ProcessorFormatter:
    render: Any
    if log_format == "json":
        render = structlog.processors.JSONRenderer()
    else:
        # Tracebacks are texts before they come here; the default formatter would show the locals of every frame.
        render = structlog.dev.ConsoleRenderer(
            colors=colours, sort_keys=False, timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
        )
    escape = _one_line if log_format == "console" else str
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_fields_of_record],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # a string, without local variables
            lambda _, __, event: _safe_event(event, escape),
            render,
        ],
    )


def _fields_of_record(_: Any, __: str, event: EventDict) -> EventDict:
    """Put together what a line says: ours first, then what the caller handed over by ``extra``."""
    record: logging.LogRecord = event["_record"]
    now = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields: EventDict = {"time": now, "level": record.levelname.lower(), "logger": record.name, **event}
    request_id = record.__dict__.get("request_id") or current_request_id.get()
    if request_id:
        fields["request_id"] = request_id
    tracer = telemetry.tracer()
    if tracer is not None and (ids := tracer.ids()) is not None:
        fields["trace_id"], fields["span_id"] = ids
    for name, value in record.__dict__.items():
        if name not in _RECORD:
            fields[f"{name}_" if name in _OURS else name] = value
    return fields


def _safe_event(event: EventDict, escape: Callable[[str], str], *, certain: frozenset[str] = _CERTAIN) -> EventDict:
    safe: EventDict = {}
    for name, value in event.items():
        if name in certain:
            safe[name] = value
        elif name == "exception":
            safe[name] = _traceback(str(value), escape)
        else:
            safe[_key(str(name)[:_MOST_OF_A_NAME], escape)] = _safe(str(name)[:_MOST_OF_A_NAME], value, escape)
    return safe


def _traceback(text: str, escape: Callable[[str], str]) -> str:
    """Return a traceback, rather its end than its beginning; indented, so that nothing in it passes for a record."""
    if len(text) > 2 * MOST_OF_A_TRACEBACK:
        # What the cut went through has lost the beginning that it would be known by.
        text = text[-2 * MOST_OF_A_TRACEBACK :]
        text = text.partition("\n")[2] or text[MOST_OF_A_TRACEBACK:]
    text = redact(text)[-MOST_OF_A_TRACEBACK:]
    if escape is str:
        return text
    return "\n".join("  | " + escape(line) for line in text.split("\n"))


def _safe(name: str, value: object, escape: Callable[[str], str], depth: int = 0) -> object:
    """Return a value as plain, bounded JSON without secrets."""
    if value is None or isinstance(value, bool):
        return value
    if _is_secret(name):
        return MASK
    if isinstance(value, (int, float)):
        return _number(value)
    if depth < _DEEPEST and isinstance(value, Mapping):
        members = list(value.items())[:_MOST_ITEMS]
        return {
            _key(_text(key)[:_MOST_OF_A_NAME], escape): _safe(_text(key)[:_MOST_OF_A_NAME], one, escape, depth + 1)
            for key, one in members
        }
    if depth < _DEEPEST and isinstance(value, (list, tuple, set, frozenset)):
        items = list(value)[:_MOST_ITEMS]
        # A pair may be a header: its first half then says what the second one is.
        names = (
            [name, _text(items[0])] if len(value) == 2 and isinstance(items[0], (str, bytes)) else [name] * len(items)
        )
        return [_safe(one_name, one, escape, depth + 1) for one_name, one in zip(names, items, strict=True)]
    return _clean(_text(value), escape)


def _number(value: float) -> object:
    """Return a number as JSON has it; a text for infinities, and for integers that take long to write out."""
    if isinstance(value, int):
        return int(value) if abs(value) < _LARGEST_INTEGER else "[a large integer]"
    return value if math.isfinite(value) else repr(value)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    letters = _LETTERS.sub("", name.casefold())
    return letters not in _NOT_SECRET and _SECRET_NAMES.search(letters) is not None


def _text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        return value.decode("latin-1")
    try:
        return repr(value)
    except Exception as error:  # a log line must not fail because of what it is about
        return f"[{type(value).__name__}: {type(error).__name__}]"


def _clean(text: str, escape: Callable[[str], str]) -> str:
    """Mask, cap, escape: in this order, so that a cut never hides the shape of a secret."""
    masked = redact(_begin(text, _MOST_READ))
    if len(masked) > MOST_CHARACTERS or len(text) > _MOST_READ:
        masked = f"{masked[:MOST_CHARACTERS]}… ({len(text)} characters)"
    return escape(masked)


def _begin(text: str, most: int) -> str:
    """Return the beginning of a text. An address at the cut may have lost the @ by which its password is known."""
    if len(text) <= most:
        return text
    address = text.rfind("://", most - _LONGEST_AUTHORITY, most)
    return text[: most if address < 0 else address]


@lru_cache(maxsize=1024)
def _key(name: str, escape: Callable[[str], str]) -> str:
    return _clean(name, escape)


def _one_line(text: str) -> str:
    """Write out what would end the line, move the cursor or turn the direction of writing on a terminal."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
