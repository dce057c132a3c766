"""Asks the functions that an application has written itself, and takes everything but a clear yes for a no."""

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Message, Scope, Send

from limen.core.decision import Decision
from limen.core.errors import LimenError, PolicyDenied
from limen.core.principal import Principal
from limen.guard.own_code import Check, Intercept, name_of
from limen.guard.requirements import Requirement
from limen.web.guard.state import GuardState, connection_of, refusal_of

MOST_SECONDS: Final = 5.0
"""How long a function of the application's own may take; what takes longer is a no."""

_BEGINNINGS: Final = frozenset(
    {"http.response.start", "websocket.accept", "websocket.http.response.start", "websocket.close"}
)

_log = logging.getLogger("limen.guard")


@dataclass(frozen=True, slots=True)
class ResponseStart:
    """How an answer begins. Nothing here changes it.

    Attributes:
        status: its status code; 101 for a WebSocket that is opened, 403 for one that is closed before.
        headers: its headers as the handler made them; limen's own come later.
    """

    status: int
    headers: Headers


class KeptBackError(LimenError):
    """A function of `intercept(after=…)` failed, so nothing of the answer may leave."""


class Observed:
    """What is sent to the client, seen by the functions of `intercept(after=…)` before it begins.

    Args:
        send: the next one's.
        intercepts: in the order in which they were entered.

    Attributes:
        or_nothing: what the application is to send by: the next one's where nobody looks on.
        failed: one of the functions failed.
    """

    def __init__(self, send: Send, intercepts: tuple[Intercept, ...]) -> None:
        self.failed = False
        self._send = send
        self._afters = [each.after for each in reversed(intercepts) if each.after is not None]
        self._asked: tuple[Principal, HTTPConnection, str] | None = None
        self._begun = False
        self.or_nothing: Send = self._observe if self._afters else send

    def begin(self, principal: Principal, connection: HTTPConnection, request_id: str) -> None:
        """Look on from now on: who asks for what was let in."""
        self._asked = principal, connection, request_id

    def require_whole(self, state: GuardState) -> None:
        """Tell a handler that swallowed the failure from one that had something to answer.

        Raises:
            KeptBackError: the answer was kept back, and there is none in its place.
        """
        if self.failed and not state.answered:
            raise KeptBackError()

    async def _observe(self, message: Message) -> None:
        if self._asked is not None and not self._begun and not self.failed and message["type"] in _BEGINNINGS:
            await self._see(message, *self._asked)
            self._begun = True
        if self.failed:
            raise KeptBackError()
        await self._send(message)

    async def _see(self, message: Message, principal: Principal, connection: HTTPConnection, request_id: str) -> None:
        without = 101 if message["type"] == "websocket.accept" else 403
        start = ResponseStart(message.get("status", without), Headers(raw=list(message.get("headers", ()))))
        for after in self._afters:
            try:
                if await called(after, principal, connection, start) is not None:
                    raise TypeError("a function of intercept(after=…) returns None")  # noqa: TRY301
            except Exception:
                self.failed = True
                tell("a function of intercept(after=…) failed", after, request_id)
                return


async def ask_own_code(requirement: Requirement, state: GuardState, scope: Scope, observed: Observed) -> None:
    """Ask the checks of a requirement and what comes before its handler.

    Args:
        requirement: of which everything else holds.
        state: of the request.
        scope: of the request, with what its leaf adds to it.
        observed: what the answer will go through.

    Raises:
        LimenError: one of them does not say yes.
    """
    connection = connection_of(scope)
    for check in requirement.checks:
        await ask_check(check, state, connection)
    for intercept in requirement.intercepts:
        if intercept.before is not None:
            await _ask_before(intercept.before, state, connection)
    state.passed += requirement.checks + requirement.intercepts
    observed.begin(state.principal, connection, state.request_id)


async def ask_check(check: Check, asked: GuardState, connection: HTTPConnection) -> None:
    """Ask a check about whoever calls, at every gate the request has passed.

    Raises:
        LimenError: it does not say yes.
    """
    state: GuardState | None = asked
    while state is not None:
        try:
            decision = await called(check, state.principal, connection)
        except LimenError:
            raise
        except Exception as error:
            tell("a function of guard() failed, which is a no", check, asked.request_id)
            raise PolicyDenied() from error
        _require_yes(decision, check, asked.request_id)
        state = state.parent


async def _ask_before(before: Callable[..., Any], state: GuardState, connection: HTTPConnection) -> None:
    try:
        decision = await called(before, state.principal, connection)
        if decision is not None and not isinstance(decision, Decision):
            raise TypeError("a function of intercept(before=…) returns a Decision or None")  # noqa: TRY301
    except LimenError:
        raise
    except Exception as error:
        tell("a function of intercept(before=…) failed", before, state.request_id)
        raise LimenError() from error
    if decision is not None:
        _require_yes(decision, before, state.request_id)


def _require_yes(decision: object, function: object, request_id: str) -> None:
    if not isinstance(decision, Decision):
        extra = {"function": name_of(function), "returned": type(decision).__name__, "request_id": request_id}
        _log.error("what a function of guard() returned is no Decision, which is a no", extra=extra)
        raise PolicyDenied()
    if decision.allowed is not True:
        raise refusal_of(decision)


async def called(function: Callable[..., Any], *args: Any) -> object:
    """Call a function: an asynchronous one here, any other in a thread, as the frameworks do with handlers.

    Raises:
        TimeoutError: it took longer than five seconds.
    """
    with anyio.fail_after(MOST_SECONDS):
        if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            return await function(*args)
        returned = await anyio.to_thread.run_sync(partial(function, *args), abandon_on_cancel=True)
        return await returned if inspect.isawaitable(returned) else returned


def tell(what: str, function: object, request_id: str) -> None:
    """Write to the log what went wrong with a function of the application's own."""
    _log.exception(what, extra={"function": name_of(function), "request_id": request_id})
