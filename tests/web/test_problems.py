"""Errors as answers: problem details, challenges, and what is never told."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from limen.core import errors
from limen.core.errors import InputFault, LimenError
from limen.web.problems import Answer, problem, send_problem

CANARY = "canary-hunter2"


def catalogue(base: type[LimenError] = LimenError) -> Iterator[type[LimenError]]:
    """Yield every error of limen's own; applications that other tests load have more."""
    if base.__module__ == LimenError.__module__:
        yield base
    for below in base.__subclasses__():
        yield from catalogue(below)


ALL = sorted(set(catalogue()), key=lambda error: error.__name__)


def headers_of(answer: Answer) -> dict[str, str]:
    """Return the headers of an answer, each of which must occur once."""
    names = [name for name, _ in answer.headers]
    assert len(names) == len(set(names))
    return {name.decode(): value.decode() for name, value in answer.headers}


async def sent(scope: Scope, error: Exception, **kwargs: Any) -> list[Message]:
    """Return what `send_problem` sends."""
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    await send_problem(scope, send, error, "trace-01", **kwargs)
    return messages


@contextlib.asynccontextmanager
async def served(application: ASGIApp) -> AsyncIterator[int]:
    """Serve an application on a free port of this machine, and stop it."""
    server = uvicorn.Server(uvicorn.Config(application, lifespan="off", log_config=None))
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@pytest.mark.parametrize("error", ALL)
def test_shape_of_a_problem(error: type[LimenError]) -> None:
    """Every error of the catalogue is a problem document of the contract's shape, and no cache keeps it."""
    answer = problem(error(), "trace-01")
    body = json.loads(answer.body)
    assert body == {
        "type": f"urn:limen:error:{error.code}",
        "title": error.title,
        "status": error.status,
        "code": error.code,
        "trace_id": "trace-01",
    }
    headers = headers_of(answer)
    assert answer.status == error.status
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(answer.body))
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("error", ALL)
def test_headers_that_the_status_demands(error: type[LimenError]) -> None:
    """401 and nothing else carries WWW-Authenticate; 429 and 503 carry Retry-After."""
    headers = headers_of(problem(error(), "trace-01"))
    assert ("www-authenticate" in headers) == (error.status == 401)
    assert ("retry-after" in headers) == (error.status in {429, 503})


def test_detail_and_errors() -> None:
    """The sentence about the case and the faults of fields are in the body, as the contract has them."""
    fault = InputFault(("body", "password"), "too_short", "The password is too short.")
    body = json.loads(problem(errors.InvalidInput("Look at the fields.", errors=[fault]), "trace-01").body)
    assert body["detail"] == "Look at the fields."
    assert body["errors"] == [{"loc": ["body", "password"], "code": "too_short", "message": fault.message}]


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (errors.CredentialMissing(), 'Bearer realm="limen"'),
        (errors.InvalidCredentials(), 'Bearer realm="limen"'),
        (
            errors.TokenExpired("Not told in the challenge."),
            'Bearer realm="limen", error="invalid_token", error_description="The credential has expired."',
        ),
        (
            errors.CredentialMalformed(),
            'Bearer realm="limen", error="invalid_request", error_description="The credential is malformed."',
        ),
        (
            errors.StepUpRequired(),
            (
                'Bearer realm="limen", error="insufficient_user_authentication", '
                'error_description="A stronger or more recent authentication is required."'
            ),
        ),
    ],
)
def test_challenge(error: LimenError, challenge: str) -> None:
    """The challenge is RFC 6750's: a parameter always, an error only where a Bearer credential was sent and refused."""
    assert headers_of(problem(error, "trace-01"))["www-authenticate"] == challenge


def test_several_challenges() -> None:
    """A resource that takes more than one scheme names each; only Bearer has RFC 6750's parameters."""
    answer = problem(errors.TokenRejected(), "trace-01", challenges=("Bearer", "DPoP"), realm='a "b"\r\nx: y')
    values = [value for name, value in answer.headers if name == b"www-authenticate"]
    assert values[0].startswith(b'Bearer realm="a bx: y", error="invalid_token"')
    assert values[1:] == [b'DPoP realm="a bx: y"']


def test_text_of_a_challenge_stays_inside_its_quotes() -> None:
    """No title can break out of the header: what RFC 6750 does not allow there is replaced."""

    class Odd(errors.TokenRejected):
        title = 'a "quoted"\\ título\r\nSet-Cookie: x=y'

    value = headers_of(problem(Odd(), "trace-01"))["www-authenticate"]
    assert value.endswith("error_description=\"a 'quoted'' t'tulo''Set-Cookie: x=y\"")


def test_retry_after() -> None:
    """The seconds are the error's own; further headers are passed on."""
    assert headers_of(problem(errors.Busy(retry_after=7), "trace-01"))["retry-after"] == "7"

    class TooMany(LimenError):
        status = 429

    assert headers_of(problem(TooMany(), "trace-01"))["retry-after"] == "1"
    answer = problem(errors.MethodNotAllowed(), "trace-01", headers=[(b"allow", b"GET")])
    assert headers_of(answer)["allow"] == "GET"


def test_unforeseen_error_is_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Any other exception is a 500 with nothing of it in the answer; the log has it under the trace id."""
    with caplog.at_level(logging.ERROR, "limen"):
        answer = problem(RuntimeError(CANARY), "trace-01", headers=[])
    assert answer.status == 500
    assert json.loads(answer.body)["code"] == "internal_error"
    assert CANARY.encode() not in answer.body + b"".join(value for _, value in answer.headers)
    (record,) = caplog.records
    assert record.__dict__["request_id"] == "trace-01"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == CANARY


def test_hostile_text_does_not_break_the_answer() -> None:
    """Half a surrogate pair, quotes and line breaks in a detail leave one well-formed ASCII document."""
    answer = problem(errors.Forbidden('\ud800 "x"\r\n\x00 é'), "trace-01")
    assert answer.body.isascii()
    assert json.loads(answer.body)["detail"] == '\ud800 "x"\r\n\x00 é'


async def test_http() -> None:
    """An HTTP request gets the whole answer; a HEAD request the same headers and no content."""
    start, body = await sent({"type": "http", "method": "GET"}, errors.CredentialMissing())
    assert (start["type"], start["status"]) == ("http.response.start", 401)
    assert json.loads(body["body"])["code"] == "credential_missing"
    head_start, head_body = await sent({"type": "http", "method": "HEAD"}, errors.CredentialMissing())
    assert head_start == start
    assert head_body["body"] == b""


@pytest.mark.parametrize(("error", "code"), [(errors.CredentialMissing(), 1008), (errors.Unavailable(), 1011)])
async def test_websocket_without_the_denial_extension(error: LimenError, code: int) -> None:
    """A server that cannot deny a handshake with an answer is asked to close before it is accepted."""
    scopes: list[Scope] = [{}, {"extensions": None}, {"extensions": {"tls": {}}}]
    for scope in scopes:
        assert await sent({"type": "websocket", **scope}, error) == [
            {"type": "websocket.close", "code": code, "reason": ""}
        ]


async def test_websocket_on_a_real_server() -> None:
    """On uvicorn a refused handshake is a 401 with challenge and problem document."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await send_problem(scope, send, errors.CredentialMissing(), "trace-01")

    async with served(application) as port:
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"ws://127.0.0.1:{port}/", open_timeout=60):
                pass
    response = caught.value.response
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="limen"'
    assert json.loads(response.body or b"")["code"] == "credential_missing"
