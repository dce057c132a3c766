"""What a handler of messages states: decorators that look like those of `limen.fastapi`, on the same requirements.

They wrap as well as mark, so that a handler refuses where no consumer stands. Restrictions are found through whatever
wraps the handler; `public` counts only on the very object that the consumer is given.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar, overload

from limen.consumers.message import GuardedMessage
from limen.core.errors import ConfigurationError, PolicyDenied
from limen.guard import AUTHENTICATED, PUBLIC, Requirement, decide
from limen.guard.layers import layers

MARK = "__limen_message__"
_MARK_OF_THE_WEB = "__limen__"

_Handler = TypeVar("_Handler", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Mark:
    """What was written on one object.

    Attributes:
        owner: the object it was written on; a copy of the mark elsewhere has another bearer.
        public: it was marked public.
        restriction: everything else that was stated, together; None for nothing.
        once: it is to be handled at most once.
    """

    owner: object
    public: bool = False
    restriction: Requirement | None = None
    once: bool = False


@dataclass(frozen=True, slots=True)
class Stated:
    """What holds for a handler.

    Attributes:
        requirement: what a principal has to meet.
        once: each message is handled at most once.
    """

    requirement: Requirement
    once: bool


class Declaration:
    """A requirement to be written on a handler: ``@roles("billing")``.

    Attributes:
        requirement: what it requires.
    """

    def __init__(self, requirement: Requirement, *, once: bool = False) -> None:
        self.requirement = requirement
        self._once = once

    @overload
    def __call__(self, handler: _Handler, /) -> _Handler: ...

    @overload
    def __call__(self, /) -> Self: ...

    def __call__(self, handler: Any = None, /) -> Any:
        """Write it on the handler; without one, return the object itself: ``@live`` and ``@live()`` are one.

        Raises:
            ConfigurationError: what it is written on is no function.
        """
        if handler is None:
            return self
        if not inspect.isfunction(handler):
            raise ConfigurationError(f"{handler!r} is no function: write requirements of messages on the handler.")
        if self.requirement.public:
            _write(handler, replace(_own(handler), public=True))
            return handler
        inner = getattr(handler, "__wrapped__", None)
        bearer = inner if inner is not None and getattr(handler, "__limen_wrapper__", None) is handler else handler
        mark = _own(bearer)
        stated = self.requirement if mark.restriction is None else mark.restriction & self.requirement
        _write(bearer, replace(mark, restriction=stated, once=mark.once or self._once))
        return handler if bearer is not handler else _wrapped(handler)

    def __repr__(self) -> str:
        return f"<limen {'once' if self._once else self.requirement}>"


class Permissions:
    """Makes requirements of permissions."""

    def __call__(self, *names: str) -> Declaration:
        """Require all of the permissions, each ``resource:action``; ConfigurationError for none, or a malformed one."""
        return Declaration(Requirement.of_permissions(names))

    def any(self, *names: str) -> Declaration:
        """Require one of the permissions; ConfigurationError for none, or a malformed one."""
        return Declaration(Requirement.of_any_permission(names))


def roles(*names: str) -> Declaration:
    """Require one of the roles; ConfigurationError for none, or a malformed one."""
    return Declaration(Requirement.of_roles(names))


permissions = Permissions()
"""``permissions("order:create")``: all of them are required; ``permissions.any(…)``: one of them."""


def policy(action: str, *, load: Callable[[GuardedMessage], Any] | None = None, hide: bool = False) -> Declaration:
    """Require that the policies allow whom the message stands for to do something.

    Args:
        action: ``resource:action``.
        load: ``load(message)`` returns what is acted on, or None where there is no such thing, and may be asynchronous;
            any other function runs in a thread. The handler finds it as ``message.resource``. It is called once the
            message is verified, and before it is recorded as handled.
        hide: refuse with ``not_found`` what is not allowed, too.

    Raises:
        ConfigurationError: the action is malformed, or `load` is no function.
    """
    return Declaration(Requirement.of_question(action, load=load, hide=hide))


live = Declaration(Requirement(live=True))
"""Ask the database for the account and its roles for each message; otherwise what it said is believed for a second."""

public = Declaration(PUBLIC)
"""Anybody may have sent it. It counts only directly on what the consumer is given: it must be the outermost."""

once = Declaration(AUTHENTICATED, once=True)
"""Handle each message at most once: it is recorded before the handler runs, in a transaction of its own."""


def stated_of(handler: object) -> Stated:
    """Return what holds for a handler: without anything stated, somebody must be authenticated.

    Raises:
        ConfigurationError: what is stated contradicts itself, or was meant for routes.
    """
    restriction: Requirement | None = None
    public_here = stray = is_once = False
    for layer in layers(handler):
        if _MARK_OF_THE_WEB in getattr(layer, "__dict__", {}):
            raise ConfigurationError(f"{handler!r} bears a requirement of routes: import it from limen.consumers.")
        mark = getattr(layer, "__dict__", {}).get(MARK)
        if not isinstance(mark, Mark):
            continue
        is_once = is_once or mark.once
        if mark.restriction is not None:
            restriction = mark.restriction if restriction is None else restriction & mark.restriction
        if mark.public and mark.owner is handler:
            public_here = True
        elif mark.public and mark.owner is layer:
            stray = True
    if stray or (public_here and (restriction is not None or is_once)):
        raise ConfigurationError(f"{handler!r} is public and restricted at once; @public stands alone, outermost.")
    if restriction is not None and len({question.load for question in restriction.loading}) > 1:
        raise ConfigurationError(f"{handler!r} is given one message.resource, so its policies have one load=.")
    return Stated(PUBLIC if public_here else restriction or AUTHENTICATED, is_once)


def _own(handler: object) -> Mark:
    mark = getattr(handler, "__dict__", {}).get(MARK)
    return mark if isinstance(mark, Mark) and mark.owner is handler else Mark(handler)


def _write(handler: Any, mark: Mark) -> None:
    setattr(handler, MARK, mark)


def _wrapped(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return the handler, refusing whatever is no guarded message, or one that does not meet what is stated."""

    def check(args: tuple[Any, ...]) -> None:
        message = next((each for each in args if type(each) is GuardedMessage), None)
        if message is None:
            raise ConfigurationError(
                f"{handler.__qualname__} was called without a consumer, so nobody can say who sent the message; "
                f"code that may call it directly calls {handler.__qualname__}.__wrapped__"
            )
        requirement = _own(handler).restriction or AUTHENTICATED
        decision = decide(requirement, message.principal)
        if not decision:
            raise PolicyDenied(decision.reason)
        if not set(requirement.questions) <= message._answers:
            raise PolicyDenied("What this function asks of the policies was not asked before this call.")
        if message._denial is not None:
            refused = message._denial(requirement)
            if refused is not None:
                raise refused

    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            check(args)
            return await handler(*args, **kwargs)

    else:

        @functools.wraps(handler)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            check(args)
            return handler(*args, **kwargs)

    vars(wrapper).pop(MARK, None)
    wrapper.__limen_wrapper__ = wrapper  # type: ignore[attr-defined]
    return wrapper
