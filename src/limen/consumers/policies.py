"""Policies on a message: what they read is loaded, then they are asked, and only then the handler runs."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from limen.consumers.message import GuardedMessage
from limen.core.errors import LimenError, NotFound, PolicyDenied
from limen.guard.policies import Context, LoadedPolicies
from limen.guard.requirements import Question, Requirement

_log = logging.getLogger(__name__)


async def answered(gate: Any, requirement: Requirement, message: GuardedMessage) -> GuardedMessage:
    """Return the message as its handler is to get it: its policies allow it, and its resource is there.

    Args:
        gate: whose policies they are.
        requirement: of the handler, of which everything else holds.
        message: as it was verified.

    Raises:
        LimenError: they do not allow it, there is no such resource, or what they read could not be loaded.
        Exception: the loader failed.
    """
    loaded: LoadedPolicies | None = getattr(gate, "loaded_policies", None)
    if loaded is None:
        if requirement.questions:
            _log.error(
                "a policy is asked for, but the gate has none: Limen(policies=…)",
                extra={"action": requirement.questions[0].action},
            )
            raise refused(requirement.questions)
        return message
    if not message.principal.is_authenticated:
        return message
    message = replace(message, principal=await gate.subject_of(message.principal))
    context = _told(gate, loaded, message)
    denial = partial(_denial, loaded, message, context)
    error = denial(requirement)
    if error is not None:
        raise error
    load = next((question.load for question in requirement.loading), None)
    if load is not None:
        message = replace(message, resource=await _loaded(load, message))
    for question in requirement.questions:
        resource = None if question.load is None else message.resource
        decision = loaded.answer(question, message.principal, resource, context)
        if decision.allowed is not True:
            raise refused((question,), decision.reason)
    return replace(message, _answers=frozenset(requirement.questions), _denial=denial)


def refused(questions: tuple[Question, ...], reason: str = "") -> LimenError:
    """Return the refusal of what policies do not allow."""
    return NotFound() if any(question.hide for question in questions) else PolicyDenied(reason or None)


def _denial(
    loaded: LoadedPolicies, message: GuardedMessage, context: Context, requirement: Requirement
) -> LimenError | None:
    reason = loaded.denial(requirement, message.principal, context)
    return None if reason is None else refused(requirement.questions, reason)


async def _loaded(load: Callable[..., Any], message: GuardedMessage) -> object:
    if inspect.iscoroutinefunction(load) or inspect.iscoroutinefunction(getattr(load, "__call__", None)):  # noqa: B004
        found = await load(message)
    else:
        found = await asyncio.to_thread(load, message)
        if inspect.isawaitable(found):
            found = await found
    if found is None:
        raise NotFound()
    return found


def _told(gate: Any, loaded: LoadedPolicies, message: GuardedMessage) -> Context:
    """Return what the application tells policies of a message.

    Raises:
        PolicyDenied: it failed, or returned something else than a mapping of names.
    """
    provider = gate.policy_context
    if provider is not None and loaded.reads_context:
        return _asked(provider, message)
    if provider is not None and loaded.shadow_reads_context:
        # What the application cannot tell is unknown to policies that nobody goes by.
        with suppress(LimenError):
            return _asked(provider, message)
    return None


def _asked(provider: Any, message: GuardedMessage) -> Mapping[str, object]:
    try:
        told = provider(message)
        if not isinstance(told, Mapping) or not all(isinstance(name, str) for name in told):
            raise TypeError("policy_context returns a mapping of names to values")  # noqa: TRY301
    except LimenError:
        raise
    except Exception as error:
        _log.exception("policy_context failed", extra={"message_id": message.id})
        raise PolicyDenied() from error
    return told
