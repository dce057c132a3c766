"""Counts requests to routes that have limits, before anything else of theirs is asked, and tells what is left.

An attempt that is refused by something later stays counted. What cannot be counted does not get in.
"""

from collections.abc import Iterable
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import Message, Scope, Send

from limen.core.errors import LimenError
from limen.features.throttling.counting import Limit, network_of
from limen.guard.limits import LimitKey, RouteLimit, name_of_endpoint
from limen.web.guard.own_code import called, tell
from limen.web.guard.state import GuardState, connection_of
from limen.web.headers import RawHeaders
from limen.web.problems import rate_fields

_BEGINNINGS: Final = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class Told:
    """Adds the RateLimit fields to whatever is answered to a request that was counted.

    Args:
        send: the next one's.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self.fields: RawHeaders = []

    async def send(self, message: Message) -> None:
        """Pass a message on; the beginning of an answer with the fields."""
        if self.fields and message["type"] in _BEGINNINGS:
            message = {**message, "headers": [*message.get("headers", ()), *self.fields]}
        await self._send(message)


async def count_request(limits: Iterable[RouteLimit], owner: str, state: GuardState, scope: Scope) -> RawHeaders:
    """Count a request against all of these limits, or against none where one of them is reached.

    Args:
        limits: of a route.
        owner: whose the count is where a limit says nothing of that.
        state: of the request.
        scope: of the request, with what its leaf adds to it.

    Returns:
        the fields that tell what is left.

    Raises:
        RateLimited: one is reached.
        Unavailable: what counts does not answer.
        LimenError: a function of `rate_limit(key=…)` failed.
    """
    asked = tuple(limits)
    throttle = state.gate.throttle
    if throttle.counts:
        connection = connection_of(scope)
        # Two may come out as one: no store is asked to count twice in one bucket.
        found = dict.fromkeys([await _limit(each, owner, state, connection) for each in asked])
        fields = rate_fields((await throttle.count(*found)).hits)
    else:
        fields = []
    state.passed += asked
    return fields


async def count_beside(limits: Iterable[RouteLimit], state: GuardState, scope: Scope) -> None:
    """Count what was not counted in this request: a function was called by another way than its route.

    Raises:
        LimenError: see `count_request`.
    """
    missing = [each for each in limits if each not in state.passed]
    if missing:
        await count_request(missing, name_of_endpoint(state.endpoint), state, scope)


async def _limit(limit: RouteLimit, owner: str, state: GuardState, connection: HTTPConnection) -> Limit:
    whose = f"shared\0{limit.shared}" if limit.shared else f"route\0{limit.owner or owner}"
    return Limit(limit.name, f"{whose}\0{await _key(limit.key, state, connection)}", limit.rate)


async def _key(key: LimitKey, state: GuardState, connection: HTTPConnection) -> str:
    if key == "account" and state.principal.is_authenticated:
        return f"account\0{state.principal.sub}"
    if not callable(key):
        return f"network\0{network_of(state.origin.address)}"
    try:
        found = await called(key, connection)
        if not isinstance(found, str):
            raise TypeError("a function of rate_limit(key=…) returns a text")  # noqa: TRY301
    except LimenError:
        raise
    except Exception as error:
        tell("a function of rate_limit(key=…) failed", key, state.request_id)
        raise LimenError() from error
    return f"key\0{name_of_endpoint(key)}\0{found}"
