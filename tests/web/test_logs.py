"""The log: one line a record, nothing forged, nothing secret."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from secrets import token_urlsafe
from typing import Any, Literal

import pytest

from limen import Settings
from limen.web.logs import (
    MASK,
    RedactingFormatter,
    configure_logging,
    current_request_id,
    redact,
    redact_event,
)

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeQ"
API_KEY = "lim_canary0123456789"
CANARY = "hunter2-canary"

Read = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> io.StringIO:
    """What the handler writes to."""
    return io.StringIO()


@pytest.fixture
def lines(stream: io.StringIO) -> Iterator[Read]:
    """Configure JSON logs at level debug and read back what was written."""
    restore = configure_logging("debug", "json", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    restore()


@pytest.fixture
def console(stream: io.StringIO) -> Iterator[Callable[[], str]]:
    """Configure logs for people and read back what was written."""
    restore = configure_logging("debug", "console", stream=stream)
    yield stream.getvalue
    restore()


log = logging.getLogger("limen.tests")


def fail(message: str) -> None:
    """Raise an error."""
    raise ValueError(message)


def test_one_object_a_line(lines: Read) -> None:
    """A record is one JSON object with time in UTC, level, logger, event and the fields handed over."""
    log.warning("%s was refused", "it", extra={"reason": "expired", "count": 3, "request_id": "request-1"})
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "limen.tests",
        "event": "it was refused",
        "reason": "expired",
        "count": 3,
        "request_id": "request-1",
    }


def test_request_id_of_the_context(lines: Read) -> None:
    """A record that names no request gets the id of the one being served; one that does keeps its own."""
    reset = current_request_id.set("request-2")
    log.info("a")
    log.info("b", extra={"request_id": "request-3"})
    current_request_id.reset(reset)
    log.info("c")
    assert [line.get("request_id") for line in lines()] == ["request-2", "request-3", None]


@pytest.mark.parametrize("log_format", ["json", "console"])
@pytest.mark.parametrize(
    "hostile", ["a\nb", "a\r\n2026-01-01 [info] forged", "\x1b[2J\x1b[31m", "a\u2028b", "\u202eab", "\x00\x85\x9b"]
)
def test_input_forges_no_line(stream: io.StringIO, hostile: str, log_format: Literal["json", "console"]) -> None:
    """Line breaks, terminal sequences and direction marks in any field come out escaped: one record, one line."""
    restore = configure_logging("debug", log_format, stream=stream)
    log.info(
        "by %s", hostile, extra={"user_agent": hostile, hostile: 1, "nested": {"a": [hostile]}, "raw": hostile.encode()}
    )
    restore()
    written = stream.getvalue()
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1
    assert written[:-1].isprintable()


def test_message_of_an_exception_forges_no_record(console: Callable[[], str]) -> None:
    """On a terminal every line of a traceback is marked, so that a line break in it starts no record."""
    try:
        fail("first\n2026-01-01T00:00:00Z [info     ] forged\x1b[31m")
    except ValueError:
        log.exception("failed")
    first, *rest = console().splitlines()
    assert "failed" in first
    assert len(rest) > 3
    assert all(line.startswith("  | ") for line in rest)
    assert "\x1b" not in console()


def test_long_values_are_cut(lines: Read) -> None:
    """A megabyte in a field, in a message or in a list leaves a line of a few kilobytes that says how long it was."""
    million = "x" * 1_000_000
    log.info("%s", million, extra={"user_agent": million, "raw": million.encode(), "many": ["y"] * 100_000})
    (line,) = lines()
    assert line["user_agent"].endswith("(1000000 characters)")
    assert max(len(line[name]) for name in ("event", "user_agent", "raw")) < 4_200
    assert len(line["many"]) == 50


def test_traceback_is_cut_and_has_no_locals(lines: Read) -> None:
    """A traceback shows where and what, never the values of local variables, and is bounded."""

    def fails(password: str) -> None:
        token = f"{password}-local"
        raise RuntimeError("z" * 100_000 if token else "")

    try:
        fails(CANARY)
    except RuntimeError:
        log.exception("failed")
    (line,) = lines()
    assert len(line["exception"]) <= 32_768
    assert CANARY not in json.dumps(line)


SECRET_FIELDS = [
    "password", "new_password", "currentPassword", "passwd", "passphrase", "token", "access_token", "refresh-token",
    "authorization", "Proxy-Authorization", "cookie", "Set-Cookie", "secret", "client_secret",
    "LIMEN_JWT_ACCESS_SECRET", "api_key", "X-API-Key", "apikey", "credential", "csrf_token", "jti", "nonce",
    "private_key",
]  # fmt: skip


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_under_its_name(stream: io.StringIO, log_format: Literal["json", "console"]) -> None:
    """What stands under the name of a secret is masked: as a field, nested, in a list, a header, bytes or a number."""
    restore = configure_logging("debug", log_format, stream=stream)
    for name in SECRET_FIELDS:
        log.info("flat", extra={name: CANARY})
        log.info("nested", extra={"data": {"a": [{name: {"b": CANARY}}]}})
        log.info("headers", extra={"headers": [(name.encode(), CANARY.encode()), (b"host", b"a.example")]})
        log.info("other types", extra={name: [CANARY.encode(), 424242, object()]})
        log.info("number", extra={name: 424242})
    restore()
    assert len(stream.getvalue().splitlines()) == 5 * len(SECRET_FIELDS)
    assert "canary" not in stream.getvalue()
    assert "424242" not in stream.getvalue()
    assert stream.getvalue().count("a.example") == len(SECRET_FIELDS)


SECRET_TEXTS = [
    JWT,
    JWT[:40],
    API_KEY,
    f"Bearer {API_KEY}",
    "Bearer canary-canary-canary",
    "Basic Y2FuYXJ5OmNhbmFyeWNhbmFyeQ-canary",
    "Authorization: Bearer canary",
    "authorization=canary",
    "Cookie: a=b; __Host-limen=canary; c=d",
    "{'password': 'canary with spaces', 'x': 1}",
    '{"refresh_token": "canary \\" canary"}',
    "LoginBody(username='a', password='canary')",
    "GET /x?access_token=canary&b=1",
    "client_secret=canary",
    "https://user:canary@a.example/x",
    "$2b$12$canarycanarycanarycanaryu.canarycanarycanarycanarycana",
    "$argon2id$v=19$m=47104,t=2,p=1$canary$canary",
    "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\ncanary cut off",
    "[(b'authorization', b'Bearer canary'), (b'cookie', b'canary')]",
    "X-API-Key: canary",
    "signed by whsec_canarycanarycanary/canary+canary==",
    "postgresql+asyncpg://limen:p@ss-canary@db.example/limen",
    "redis://:canary@valkey.example:6379/0",
    "smtps://mailer%40a.example:canary@mail.example",
    "__Host-limen=canary; Path=/",
    "__Host-limen-device=canary",
    "__Secure-limen-refresh=canary",
    "GET /auth/sso/acme/callback?code=canary-code&state=canary-state&iss=https://a.example",
    "redirected to https://a.example/?next=/%3Fcode%3Dcanary",
    "https://a.example/reset?token=canary",
    "https://a.example/reset#token=canary",
    "https://a.example/auth/password/reset#canary-canary-canary-canary-canary-canary-c",
    "a body of '{\\\"password\\\": \\\"canary and canary\\\"}'",
    "UPDATE x SET y ('client_secret', 'a') secret='canary'",
    "[('username', 'ann'), ('password', 'canary')]",
    "/login?state=x&body=%7B%22password%22%3A%20%22canary%20and%20canary%22%7D",
    'a body of {"password": {"value": "canary"}, "secrets": ["canary", "canary"]}',
    'a script: {"password": "one\\\ncanary"}',
]  # fmt: skip


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_no_secret_inside_a_text(lines: Read, text: str) -> None:
    """What looks like a token, key or hash is masked wherever it stands: message, field, name, traceback, object."""

    class Told:
        def __repr__(self) -> str:
            return f"<Told {text}>"

    log.info("it was %s, really", text, extra={"note": text, "list": [text], "raw": text.encode(), "object": Told()})
    log.info("as a name", extra={"data": {text: 1}})
    try:
        fail(f"it was {text}")
    except ValueError:
        log.exception("failed")
    written = [
        json.dumps({**line, "exception": line.get("exception", "").rpartition("ValueError: ")[2]}) for line in lines()
    ]
    assert len(written) == 3
    for line in written:
        assert "canary" not in line
        assert JWT[:20] not in line
        assert MASK in line


def test_secret_at_the_cut_is_masked(lines: Read) -> None:
    """A token that is cut off by the cap on lengths does not escape the mask by that."""
    for offset in (4060, 4090, 8160, 8185):
        log.info("x", extra={"note": "x" * offset + JWT})
    address = "https://user:canary@a.example/"
    log.info("x", extra={"note": "x" * (4096 - address.index("@")) + address})
    assert all("eyJhbGciOiJ" not in line["note"] and "canary" not in line["note"] for line in lines())


@pytest.mark.parametrize(
    "text",
    [
        "refused a token: expired",
        "the password is too short",
        "token_invalid",
        'WWW-Authenticate: Bearer realm="limen"',
        "https://a.example/x?y=z@w",
        "01980f3c-5b7e-7c3a-9d53-2f1c0a7b4e11",
        "limen serve",
        "state=active code=busy in account 01980f3c-5b7e-7c3a-9d53-2f1c0a7b4e11",
        "https://a.example:8443/orders/1?page=2&code_of_conduct=1",
        "postgresql://limen@db.example:5432/limen",
        "GET https://[::1]:8080/jwks.json 200 in 3 ms",
    ],
)
def test_ordinary_texts_stay(text: str) -> None:
    """The reasons that an operator needs are not masked."""
    assert redact(text) == text


def test_addresses_at_the_cut_are_left_out(lines: Read) -> None:
    """A password in an address whose @ lies behind the cut is not shown, though all before it was masked away."""
    before = (JWT + " ") * 60
    for end in (8_170, 8_180, 8_190):
        log.info(
            "x", extra={"note": (before + "x" * 9_000)[: end - 12] + " postgres://limen:canary-canary-canary@db/x" * 9}
        )
    assert all("canary" not in line["note"] for line in lines())


def test_other_libraries_are_redacted(stream: io.StringIO) -> None:
    """Records of other libraries at level debug, arguments, stacks and exceptions included, come out masked."""
    names = ("sqlalchemy.engine", "httpx", "httpcore.http11", "asyncpg", "redis", "uvicorn.error", "asyncio")
    restore = configure_logging("debug", stream=stream, loggers=names)
    for name in names:
        other = logging.getLogger(name)
        other.debug("[generated in 0.1s] %r", {"password": CANARY, "refresh_token": JWT})
        other.info(
            'HTTP Request: %s %s "%s %d %s"', "GET", f"https://a/?code={CANARY}&token={JWT}", "HTTP/1.1", 200, "OK"
        )
        other.debug("receive.complete return_value=%r", (b"HTTP/1.1", 200, [(b"Set-Cookie", CANARY.encode())]))
        other.debug("stack", stack_info=True, extra={"headers": {"Authorization": CANARY}})
        try:
            fail(f"cannot connect to postgresql://limen:{CANARY}@db/limen")
        except ValueError as error:
            other.exception("%s", error)
    restore()
    written = stream.getvalue()
    assert len(written.splitlines()) == 5 * len(names)
    assert CANARY not in written
    assert JWT not in written


def test_an_application_masks_its_own_log(stream: io.StringIO) -> None:
    """Around any formatter of the standard library all of a record is masked: message, extra, exception, stack."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RedactingFormatter(logging.Formatter("%(levelname)s %(message)s %(note)s")))
    theirs = logging.getLogger("orders.redacted")
    theirs.propagate = False
    theirs.addHandler(handler)
    theirs.setLevel("DEBUG")
    try:
        fail(f"password={CANARY}")
    except ValueError:
        theirs.exception("by %s", JWT, extra={"note": f"lim_{CANARY}"}, stack_info=True)
    theirs.info("x" * 1_000_000, extra={"note": ""})
    theirs.removeHandler(handler)
    written = stream.getvalue()
    assert CANARY not in written
    assert JWT not in written
    assert "Traceback" in written
    assert "Stack" in written
    assert len(written) < 50_000


def test_an_application_masks_its_events_of_structlog() -> None:
    """As a processor of structlog it masks by name and by shape, and turns exceptions to text."""
    with pytest.raises(ValueError, match="password") as raised:
        fail(f"password={CANARY}")
    error = raised.value
    event = redact_event(None, "error", {"event": f"by {JWT}", "level": JWT, "password": CANARY, "exc_info": error})
    assert event["password"] == MASK
    assert event["level"] == MASK
    assert event["event"] == f"by {MASK}"
    assert "Traceback" in event["exception"]
    assert CANARY not in repr(event)
    assert "exc_info" not in event


def test_safe_settings_stay(lines: Read) -> None:
    """Names of settings that only sound secret are shown."""
    log.info("started", extra={"password_hasher": "bcrypt", "password_min_length": 15, "token_type": "Bearer"})
    (line,) = lines()
    assert (line["password_hasher"], line["password_min_length"], line["token_type"]) == ("bcrypt", 15, "Bearer")


def test_values_without_json(lines: Read) -> None:
    """Infinities, endless integers, failing reprs, deep and circular values become texts; the line stays JSON."""

    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError(CANARY)

    circle: dict[str, Any] = {}
    circle["circle"] = circle
    log.info(
        "odd", extra={"a": float("nan"), "b": 10**5000, "c": Broken(), "d": circle, "e": {1: {2, 3}}, "level": "x"}
    )
    (line,) = lines()
    assert (line["a"], line["b"], line["c"]) == ("nan", "[a large integer]", "[Broken: RuntimeError]")
    assert (line["level"], line["level_"]) == ("info", "x")


HOSTILE = [
    "eyJ", "://a:", "://", "token ", "token=", "pwd", "-----BEGIN ", "bearer ", 'password="', "a-", "cookie:\n",
    'token\\"', 'token":', "?code=", "__Host-", "lim_", "$2b$", "secret-", "-----BEGIN PRIVATE KEY-----", "passwordpwd",
    "api_key  ", "a#", "://a@b:c@", 'password=\\"', "token',\"", "token%22:%22a", 'token":{',
]  # fmt: skip


def test_hostile_values_cost_little_time(lines: Read) -> None:
    """No text makes the search for secrets run long: the time is linear, and bounded by the cap."""
    for piece in HOSTILE:
        started = time.thread_time()
        log.info("x", extra={"note": piece * (1_000_000 // len(piece))})
        assert time.thread_time() - started < 10
    assert len(lines()) == len(HOSTILE)


def test_a_megabyte_of_one_piece_ends() -> None:
    """The search is linear: a megabyte that was made for it is searched whole, where its square would take days."""
    for piece in HOSTILE:
        started = time.thread_time()
        redact(piece * (1_000_000 // len(piece)))
        assert time.thread_time() - started < 30, piece


def test_failing_record_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """A record that cannot be written is reported without its arguments, which logging itself would print."""

    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    restore = configure_logging("debug", stream=Full())
    log.info("by %s", CANARY)
    restore()
    written = capsys.readouterr().err
    assert json.loads(written)["event"] == "a record could not be written"
    assert json.loads(written)["error"] == "OSError"
    assert CANARY not in written


def test_a_server_writes_what_others_warn_of(stream: io.StringIO) -> None:
    """With ``others`` the warnings of all loggers come out masked, and undoing it leaves the root logger as it was."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    restore = configure_logging("debug", stream=stream, others=True)
    logging.getLogger("asyncio").error("Task exception was never retrieved: password=%s", CANARY)
    logging.getLogger("tests.somebody").info("below a warning")
    log.debug("ours")
    restore()
    written = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [(line["logger"], line["level"]) for line in written] == [("asyncio", "error"), ("limen.tests", "debug")]
    assert CANARY not in stream.getvalue()
    assert (root.handlers, root.level) == before


def test_application_s_logging_is_left_alone(stream: io.StringIO) -> None:
    """Neither the root logger nor foreign handlers change, calling twice writes once, and undoing leaves no trace."""
    root, ours = logging.getLogger(), logging.getLogger("limen")
    theirs = logging.NullHandler()
    ours.addHandler(theirs)
    seen: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = seen.append  # type: ignore[assignment,method-assign]
    root.addHandler(listener)
    before = (list(root.handlers), root.level, ours.level, ours.propagate)
    first = configure_logging("info", stream=stream)
    second = configure_logging("info", stream=stream)
    log.info("once")
    logging.getLogger("orders").warning("not ours")
    root.removeHandler(listener)
    assert [record.getMessage() for record in seen] == ["not ours"]  # ours would be written there unredacted
    assert ([*root.handlers, listener], root.level) == before[:2]
    assert theirs in ours.handlers
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["once"]
    second()
    first()
    assert ours.handlers == [theirs]
    assert (ours.level, ours.propagate) == before[2:]
    ours.removeHandler(theirs)


def test_level_and_further_loggers(stream: io.StringIO) -> None:
    """What is below the level is dropped; a server adds the loggers of its HTTP server."""
    restore = configure_logging("warning", stream=stream, loggers=("limen", "tests.http"))
    log.info("dropped")
    logging.getLogger("tests.http.access").warning("GET /x?access_token=%s", CANARY)
    restore()
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == f"GET /x?access_token={MASK}"


def test_the_start_tells_its_settings(lines: Read) -> None:
    """Durations of cookies and keys are no secrets; those are not among what is told at all."""
    access, refresh = token_urlsafe(48), token_urlsafe(48)
    settings = Settings(database_url="sqlite:///x.db", jwt_access_secret=access, jwt_refresh_secret=refresh)
    logging.getLogger("limen").info("started", extra=settings.describe())
    (line,) = lines()
    assert (line["cookie_idle_ttl"], line["api_key_ttl"], line["api_key_environment"]) == (1_800, 7_776_000, "live")
    assert MASK not in json.dumps(line)
    assert access not in json.dumps(line)
    assert refresh not in json.dumps(line)
