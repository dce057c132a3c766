"""What cannot be decided where routes are found, because it takes waiting: limits, live checks, policies, own code."""

from starlette.types import Scope

from limen.guard.requirements import Requirement
from limen.web.guard.leaves import Leaf
from limen.web.guard.limits import Told, count_request
from limen.web.guard.own_code import Observed, ask_own_code
from limen.web.guard.policies import ask_policies
from limen.web.guard.state import GUARD_KEY, GuardState


class AskFirst(Exception):
    """Deciding cannot wait where routes are found, so it is done again after the store, or the application, was asked.

    Attributes:
        leaf: the leaf.
        requirement: what is required there.
        child: what the leaf adds to the scope, where that has not been done yet.
    """

    def __init__(self, leaf: Leaf, requirement: Requirement) -> None:
        super().__init__()
        self.leaf = leaf
        self.requirement = requirement
        self.child: Scope = {}


async def ask(needed: AskFirst, scope: Scope, told: Told | None, observed: Observed) -> None:
    """Count the request, ask the store, the policies and the application's own code, as far as it is required.

    Raises:
        LimenError: one of them says no.
    """
    state: GuardState = scope[GUARD_KEY]
    leaf, requirement = needed.leaf, needed.requirement
    if told is not None:
        child_scope = {**scope, **needed.child}
        told.fields = await count_request(requirement.limits, leaf.name_below(state.below), state, child_scope)
    if requirement.live:
        await state.check_live(leaf)
        scope["user"] = state.principal
        error = state.refusal(requirement)
        if error is not None:
            raise error
    if requirement.questions or state.gate.loaded_policies is not None or state.parent is not None:
        await ask_policies(requirement, leaf, state, {**scope, **needed.child})
        scope["user"] = state.principal
    if requirement.checks or requirement.intercepts:
        await ask_own_code(requirement, state, {**scope, **needed.child}, observed)
