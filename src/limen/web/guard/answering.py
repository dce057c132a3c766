"""Answers of the guard's own, in the place of a leaf's: refusals, preflights."""

from starlette.types import Scope, Send

from limen.authn.cookie import SAFE_METHODS
from limen.core.errors import CsrfFailed, LimenError
from limen.web.cors import preflight_answer
from limen.web.guard.state import GuardState
from limen.web.problems import send_answer, send_problem


async def is_answered(scope: Scope, send: Send, state: GuardState) -> bool:
    """Answer a preflight, and a request that middleware has given another method than the one that was judged."""
    if state.safe_only and scope.get("method") not in SAFE_METHODS:
        await refuse(CsrfFailed("The method was changed on the way."), scope, send, state)
        return True
    answer = preflight_answer(scope, state.gate.cors)
    if answer is None:
        return False
    state.mark_decided()
    await send_answer(scope, send, answer)
    return True


async def refuse(error: LimenError, scope: Scope, send: Send, state: GuardState) -> None:
    """Answer an error as problem details; the application's exception handlers neither swallow nor restyle it.

    Raises:
        LimenError: the answer has begun already.
    """
    if state.answered:
        raise error
    state.mark_decided()
    await send_problem(scope, send, error, state.request_id, challenges=state.gate.challenges)
