"""The log: one escaped line a record, with the request's id, in which no secret appears.

limen logs with the standard library, under the logger ``limen``, and installs no handler: in an application, its
records go where the application sends its own. `limen serve` and the demo call `configure_logging`.

The first net against secrets is that nothing hands one to the log. The redaction here is the second: it masks what
stands under a name such as ``password`` and what looks like a token or a hash, and knows nothing else.
"""

import json
import logging
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict

MASK: Final = "[hidden]"
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
_NAMES: Final = r"(?:password|passwd|passphrase|pwd|secret|token|api[_-]?key|credential|csrf|jti|nonce)"
_QUOTED: Final = r"""(?:b?"(?:[^"\\]|\\.)*"?|b?'(?:[^'\\]|\\.)*'?)"""
_NAME_WORDS: Final = ("passw", "passphrase", "pwd", "secret", "token", "api", "credential", "csrf", "jti", "nonce")
# What must be in the text, in lower case, for the pattern to be tried at all: a search for a fixed text costs next to
# nothing, and most texts hold none of them. Then the pattern, and what stands for a match.
_SHAPES: Final[tuple[tuple[tuple[str, ...], re.Pattern[str], str], ...]] = (
    # A JSON Web Token, also a part of one; an API key; the hash of a password; a private key; user:password@ in a URL.
    (("eyj",), re.compile(r"eyJ[\w-]{8,}(?:\.[\w-]*)*"), MASK),
    (("lim_",), re.compile(r"lim_[\w.-]{8,}"), MASK),
    (("$",), re.compile(r"\$(?:2[abxy]|argon2\w*|scrypt|pbkdf2[\w-]*|limen[\w-]*)\$[^\s\"']+"), MASK),
    (
        ("-----begin",),
        re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"),
        MASK,
    ),
    (("://",), re.compile(r"(?<=://)[^\s/@]{0,256}:[^\s/@]{1,256}(?=@)"), MASK),
    # Headers, as text and as pairs; then name=value and 'name': value.
    (("bearer", "basic"), re.compile(r"\b(bearer|basic)\s{1,8}[\w.~+/=-]{16,}", re.IGNORECASE), rf"\1 {MASK}"),
    (
        ("authorization", "cookie", "x-api-key"),
        re.compile(
            rf"((?:authorization|cookie|x-api-key)[\"']?\s{{0,8}}[:,=]\s{{0,8}})(?:{_QUOTED}|[^\r\n]+)", re.IGNORECASE
        ),
        rf"\1{MASK}",
    ),
    (
        _NAME_WORDS,
        re.compile(rf"({_NAMES}[\w-]{{0,32}}\s{{0,8}}=\s{{0,8}})(?:{_QUOTED}|[^\s,;&\"')\]}}]+)", re.IGNORECASE),
        rf"\1{MASK}",
    ),
    (
        _NAME_WORDS,
        re.compile(rf"({_NAMES}[\w-]{{0,32}}[\"']\s{{0,8}}:\s{{0,8}})(?:{_QUOTED}|[^\s,}}\]]+)", re.IGNORECASE),
        rf"\1{MASK}",
    ),
)
# Control characters, line and paragraph separators, and marks that turn the direction of writing: on a terminal they
# forge lines or hide them.
_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_READ: Final = 2 * MOST_CHARACTERS
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
) -> Callable[[], None]:
    """Write the records of these loggers to a stream, one line each, and return what undoes it.

    Neither the root logger nor the handlers of anybody else are touched; calling it again replaces the handler of the
    call before.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``: what is below is dropped.
        log_format: ``json``: an object a line (RFC 8259, ASCII only); ``console``: for people.
        stream: standard error unless given.
        loggers: names of loggers, with all that are below them; a server adds those of its HTTP server.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(_formatter(log_format, colours=handler.stream.isatty()))
    undo = [_attach(logging.getLogger(name), handler, level.upper()) for name in loggers]

    def restore() -> None:
        for one in undo:
            one()

    return restore


def redact(text: str) -> str:
    """Return the text with everything masked that looks like a secret, or stands behind the name of one."""
    lower = text.lower()
    for words, shape, mask in _SHAPES:
        for word in words:
            if word in lower:
                text = shape.sub(mask, text)
                break
    return text


class _Handler(logging.StreamHandler[TextIO]):
    """A stream handler whose own failure does not print the record: the standard one shows the raw arguments."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Say that a record was lost, and why, without any of it."""
        error = sys.exc_info()[0]
        lost = {"level": "error", "logger": __name__, "event": "a record could not be written", "from": record.name}
        sys.stderr.write(json.dumps({**lost, "error": error.__name__ if error else ""}) + "\n")


def _attach(logger: logging.Logger, handler: _Handler, level: str) -> Callable[[], None]:
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
    for name, value in record.__dict__.items():
        if name not in _RECORD:
            fields[f"{name}_" if name in _OURS else name] = value
    return fields


def _safe_event(event: EventDict, escape: Callable[[str], str]) -> EventDict:
    safe: EventDict = {}
    for name, value in event.items():
        if name in _CERTAIN:
            safe[name] = value
        elif name == "exception":
            safe[name] = _traceback(str(value), escape)
        else:
            safe[_key(str(name)[:_MOST_OF_A_NAME], escape)] = _safe(str(name)[:_MOST_OF_A_NAME], value, escape)
    return safe


def _traceback(text: str, escape: Callable[[str], str]) -> str:
    """Return a traceback, rather its end than its beginning; indented, so that nothing in it passes for a record."""
    text = redact(text[-2 * MOST_OF_A_TRACEBACK :])[-MOST_OF_A_TRACEBACK:]
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
    masked = redact(text[:_MOST_READ])
    if len(masked) > MOST_CHARACTERS or len(text) > _MOST_READ:
        masked = f"{masked[:MOST_CHARACTERS]}… ({len(text)} characters)"
    return escape(masked)


@lru_cache(maxsize=1024)
def _key(name: str, escape: Callable[[str], str]) -> str:
    return _clean(name, escape)


def _one_line(text: str) -> str:
    """Write out what would end the line, move the cursor or turn the direction of writing on a terminal."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
