"""Policies at dispatch: what has to be loaded before they are asked, what they are asked, and a net below.

What needs no resource is decided at dispatch. What a dependency of FastAPI's is to load is decided in that dependency
(`limen.web.fastapi`), before the handler runs: FastAPI calls no handler whose dependencies did not succeed. That a
dependency is called at all is seen to at dispatch, and nothing of an answer leaves that came without the decision.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol

from starlette.types import Message, Scope, Send

from limen.core.errors import LimenError, NotFound, PolicyDenied
from limen.guard.requirements import Question, Requirement
from limen.web.guard.attributes import learn_attributes, learn_for_shadow
from limen.web.guard.marks import Statement
from limen.web.guard.sockets import UndecidedAnswerError
from limen.web.guard.state import GuardState, connection_of, refused_by_policy
from limen.web.problems import send_problem

_BEGINNINGS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})

_log = logging.getLogger("limen.guard")


class Entered(Protocol):
    """What is about to be entered: a `limen.web.guard.leaves.Leaf`."""

    @property
    def route(self) -> Any:
        """The route."""
        ...

    @property
    def included(self) -> Any:
        """FastAPI's included router by which it was reached; None without one."""
        ...

    @property
    def stated(self) -> Statement:
        """What the code says about it."""
        ...

    @property
    def hands_out_principal(self) -> bool:
        """Its handler is given the principal, and may ask policies about it."""
        ...


async def ask_policies(requirement: Requirement, leaf: Entered, state: GuardState, scope: Scope) -> None:
    """Load what policies read, and ask them whatever needs no resource.

    Args:
        requirement: of which everything else that names and the store decide holds.
        leaf: what is about to be entered.
        state: of the request.
        scope: of the request, with what its leaf adds to it.

    Raises:
        LimenError: they do not allow it, or what they read could not be loaded.
    """
    state.answers = ()
    if requirement.loading:
        _require_loaders(requirement, leaf, state, scope)
    await learn_all(state, requirement, hands_out_principal=leaf.hands_out_principal)
    tell_context(state, scope, anew=True)
    refused = state.denial(requirement)
    if refused is not None:
        raise refused
    for question in requirement.questions:
        if question.load is None:
            answer(question, state, None)


async def ask_policies_beside(requirement: Requirement, state: GuardState, scope: Scope) -> None:
    """Ask what was not asked in this request: a function was called by another way than its route.

    Raises:
        LimenError: policies do not allow it, or it is about a resource that nobody has loaded.
    """
    await learn_all(state, requirement)
    tell_context(state, scope)
    refused = state.denial(requirement)
    if refused is not None:
        raise refused
    for question in requirement.questions:
        if question in state.answers:
            continue
        if question.load is not None:
            raise PolicyDenied("What this function asks of the policies was not asked before this call.")
        answer(question, state, None)


async def learn_all(state: GuardState, requirement: Requirement, *, hands_out_principal: bool = False) -> None:
    """Load the attributes of the principal for every gate that the request passes and whose policies read them here.

    Args:
        state: of the request.
        requirement: what is asked.
        hands_out_principal: the handler is given the principal, and may ask policies itself.

    Raises:
        LimenError: what loading raises.
    """
    each: GuardState | None = state
    while each is not None:
        loaded = each.gate.loaded_policies
        if loaded is not None:
            facts = loaded.facts_of(requirement)
            if hands_out_principal or facts.attributes:
                await learn_attributes(each)
            if facts.shadow_attributes or (hands_out_principal and loaded.shadow_reads_attributes):
                await learn_for_shadow(each)
        each = each.parent


def tell_context(state: GuardState, scope: Scope, *, anew: bool = False) -> None:
    """Let the application tell policies what it knows of a request, where they read any of it.

    Raises:
        PolicyDenied: it failed, or returned something else than a mapping of names.
    """
    each: GuardState | None = state
    while each is not None:
        loaded, provider = each.gate.loaded_policies, each.gate.policy_context
        if provider is not None and loaded is not None and (anew or each.context is None):
            if loaded.reads_context:
                each.context = _told(provider, scope, state.request_id)
            elif loaded.shadow_reads_context:
                # What the application cannot tell is unknown to policies that nobody goes by.
                with suppress(LimenError):
                    each.context = _told(provider, scope, state.request_id)
        each = each.parent


def _told(provider: Any, scope: Scope, request_id: str) -> Mapping[str, object]:
    try:
        told = provider(connection_of(scope))
        if not isinstance(told, Mapping) or not all(isinstance(name, str) for name in told):
            raise TypeError("policy_context returns a mapping of names to values")  # noqa: TRY301
    except LimenError:
        raise
    except Exception as error:
        _log.exception("policy_context failed", extra={"request_id": request_id})
        raise PolicyDenied() from error
    return told


def answer(question: Question, asked: GuardState, resource: object) -> None:
    """Ask the policies of every gate that the request passes, and note that they have said yes.

    Raises:
        LimenError: one of them does not.
    """
    state: GuardState | None = asked
    while state is not None:
        loaded = state.gate.loaded_policies
        if loaded is None:
            _log.error(
                "a policy is asked for, but the gate has none: Limen(policies=…)",
                extra={"action": question.action, "request_id": asked.request_id},
            )
            raise refused_by_policy((question,))
        try:
            decision = loaded.answer(question, state.principal, resource, state.context)
        except Exception as error:
            _log.exception("policies could not be asked, which is a no", extra={"request_id": asked.request_id})
            raise refused_by_policy((question,)) from error
        if decision.allowed is not True:
            raise refused_by_policy((question,), decision.reason)
        state = state.parent
    asked.answers += (question,)


async def answer_about(question: Question, state: GuardState, scope: Scope, resource: object) -> None:
    """Decide a question about a resource that was loaded.

    Raises:
        NotFound: there is none.
        LimenError: the policies do not allow it.
    """
    if resource is None:
        raise NotFound()
    await learn_all(state, Requirement(questions=(question,)))
    tell_context(state, scope)
    answer(question, state, resource)


# --- loaders


def _require_loaders(requirement: Requirement, leaf: Entered, state: GuardState, scope: Scope) -> None:
    """Refuse what nobody would decide: the dependency was replaced, or FastAPI does not call it here.

    Raises:
        LimenError: there is such a question.
    """
    replaced = _overridden(leaf, scope)
    solved = {question for question, calls in leaf.stated.solved if replaced.isdisjoint(calls)}
    unsolved = [question for question in requirement.loading if question not in solved]
    if unsolved:
        _log.error(
            "nobody would ask the policies about the resource: their dependency was replaced (dependency_overrides), "
            "or FastAPI does not call it for this route; nobody gets in",
            extra={"action": unsolved[0].action, "request_id": state.request_id},
        )
        raise refused_by_policy(tuple(unsolved))


def _overridden(leaf: Entered, scope: Scope) -> frozenset[Any]:
    """Return what is overridden in any of the places where FastAPI may look for it."""
    providers = (leaf.route, getattr(leaf.included, "include_context", None))
    places = (scope.get("app"), *(getattr(each, "dependency_overrides_provider", None) for each in providers))
    return frozenset(call for place in places for call in getattr(place, "dependency_overrides", None) or ())


class Unanswered:
    """Keeps back what a handler answers although a question about its resource was not decided.

    Args:
        send: the next one's.
        scope: of the request.
        state: of the request.
        questions: those about a resource.
    """

    def __init__(self, send: Send, scope: Scope, state: GuardState, questions: tuple[Question, ...]) -> None:
        self._send = send
        self._scope = scope
        self._state = state
        self._questions = questions
        self._replaced = False

    async def send(self, message: Message) -> None:
        """Send a part of an answer, or nothing.

        Raises:
            UndecidedAnswerError: the handler ran without the decision.
        """
        if self._replaced:
            return
        if message["type"] in _BEGINNINGS:
            pending = [each for each in self._questions if each not in self._state.answers]
            status = message.get("status", 101)
            if pending and status < 400:
                extra = {"action": pending[0].action, "request_id": self._state.request_id}
                _log.error("a handler has answered, but the policies were not asked about its resource", extra=extra)
                self._state.blocked = True
                raise UndecidedAnswerError
            if status == 404 and any(each.hide for each in pending):
                # What a loader says of what is not there must look like what is said of what is not allowed.
                self._replaced = True
                state = self._state
                await send_problem(
                    self._scope, self._send, NotFound(), state.request_id, challenges=state.gate.challenges
                )
                return
        await self._send(message)
