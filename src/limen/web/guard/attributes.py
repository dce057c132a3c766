"""The attributes of who is calling: loaded once a request, when they are first asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from starlette.types import Scope

from limen.authz.attributes import Attributes
from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.principal import Principal
from limen.web.guard.state import Gate, GuardState, state_of


class Connection(Protocol):
    """A Request or a WebSocket of Starlette or FastAPI."""

    @property
    def scope(self) -> Scope:
        """The ASGI scope."""
        ...


@dataclass(slots=True)
class _Asked:
    """Whose attributes were asked for, and what becomes of it."""

    principal: Principal
    answer: asyncio.Future[Attributes]


@dataclass(frozen=True, slots=True)
class _Unlearnt:
    """Whose attributes could not be loaded for policies in the shadow."""

    principal: Principal


async def attributes_in(scope: Scope, gate: Gate, load: Callable[[Principal], Awaitable[Attributes]]) -> Attributes:
    """Return the attributes of who is calling; those who ask at once wait for the first, and a failure stays one.

    They are loaded anew in the same request only where a live check has found other roles since.

    Raises:
        ConfigurationError: the application is not protected by this gate.
        LimenError: what loading raises.
    """
    return await attributes_for(state_in(scope, gate), load)


def state_in(scope: Scope, gate: Gate) -> GuardState:
    """Return the state of a request by which this gate guards it.

    Raises:
        ConfigurationError: the application is not protected by this gate.
    """
    state: GuardState | None = state_of(scope)
    while state is not None and state.gate is not gate:
        state = state.parent
    if state is None:
        raise ConfigurationError("This request is guarded by another gate.")
    return state


async def attributes_for(state: GuardState, load: Callable[[Principal], Awaitable[Attributes]]) -> Attributes:
    """Return the attributes of the principal of a state; see `attributes_in`."""
    # On the one object that a request has, whatever middleware does to its scope.
    asked = state.attributes
    if isinstance(asked, _Asked) and asked.principal == state.principal:
        return await asyncio.shield(asked.answer)
    answer: asyncio.Future[Attributes] = asyncio.get_running_loop().create_future()
    state.attributes = _Asked(state.principal, answer)
    try:
        found = await load(state.principal)
    except BaseException as error:
        answer.set_exception(error if isinstance(error, LimenError) else Unavailable())
        answer.exception()  # nobody may have asked beside
        raise
    answer.set_result(found)
    return found


async def learn_attributes(state: GuardState) -> None:
    """Let the principal of a request carry its attributes, where policies read any; they are loaded once.

    Raises:
        LimenError: what loading raises.
    """
    loaded = state.gate.loaded_policies
    principal = state.principal
    if loaded is None or not loaded.reads_attributes or principal.attributes is not None:
        return
    await _learn(state)


async def learn_for_shadow(state: GuardState) -> None:
    """Do the same where only policies in the shadow read attributes: what cannot be loaded is unknown to them.

    It is tried once a request. Whoever asks for the attributes later is answered as if nobody had asked before.
    """
    principal = state.principal
    if principal.attributes is not None or state.attributes == _Unlearnt(principal):
        return
    try:
        await _learn(state)
    except LimenError:
        state.attributes = _Unlearnt(principal)


async def _learn(state: GuardState) -> None:
    principal = state.principal
    told = await attributes_for(state, state.gate.attributes_of)
    if state.principal == principal:
        state.principal = replace(state.principal, attributes=told)
