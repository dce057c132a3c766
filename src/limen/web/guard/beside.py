"""What a function asks that was called by another way than its route: the second net below the guard."""

from starlette.types import Scope

from limen.core.errors import PolicyDenied
from limen.guard.requirements import Requirement
from limen.web.guard.limits import count_beside
from limen.web.guard.own_code import ask_check
from limen.web.guard.policies import ask_policies_beside
from limen.web.guard.state import GuardState, connection_of


async def ask_beside(requirement: Requirement, state: GuardState, scope: Scope) -> None:
    """Ask what the guard has not asked in this request: a function was called by another way than its route.

    Raises:
        LimenError: the requirement is not met, or somebody has to stand around the handler, which is too late for.
    """
    if requirement.live and state.live_leaf is None:
        await state.check_live(requirement)
    refused = state.refusal(requirement)
    if refused is not None:
        raise refused
    await count_beside(requirement.limits, state, scope)
    await ask_policies_beside(requirement, state, scope)
    connection = connection_of(scope)
    for check in requirement.checks:
        if check not in state.passed:
            await ask_check(check, state, connection)
            state.passed += (check,)
    if any(each not in state.passed for each in requirement.intercepts):
        raise PolicyDenied("What stands around this function was not asked before this call.")
