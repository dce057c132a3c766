"""Requirements as objects to write on endpoints: a decorator and, with FastAPI, a dependency and an annotation."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

from starlette.requests import HTTPConnection

from limen.core.principal import Principal
from limen.guard.limits import LimitKey
from limen.guard.own_code import After, Before, Check
from limen.guard.requirements import PUBLIC, Question, Requirement
from limen.web.guard.beside import ask_beside
from limen.web.guard.marks import write_mark
from limen.web.guard.policies import answer_about
from limen.web.guard.state import state_of
from limen.web.guard.wrapping import check_asked, wrap_endpoint

_Resource = TypeVar("_Resource")
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


class Declaration:
    """A requirement that can be written on an endpoint: ``@roles("maker")`` above a function or a class view.

    Attributes:
        requirement: what it requires.
    """

    requirement: Requirement

    def __init__(self, requirement: Requirement) -> None:
        # Subclasses may be frozen dataclasses of FastAPI's.
        object.__setattr__(self, "requirement", requirement)

    @overload
    def __call__(self, target: _Endpoint, /) -> _Endpoint: ...

    @overload
    def __call__(self, /) -> Self: ...

    @overload
    def __call__(self, /, *, limen_connection: HTTPConnection) -> Principal: ...

    def __call__(self, target: Any = None, /, *, limen_connection: HTTPConnection | None = None) -> Any:
        """Write the requirement on the target; without a target, the object itself: ``@live`` and ``@live()`` are one.

        Everything but `public` comes back wrapped, so that it refuses where no guard stands.

        With a connection it enforces: ``Depends(roles("maker"))`` is one ``Depends`` too many, and means the same.

        Raises:
            ConfigurationError: the target is neither a function nor a class.
            LimenError: the principal of the connection does not meet the requirement.
        """
        if limen_connection is not None:
            return enforced(self.requirement, limen_connection)
        if target is None:
            return self
        if self.requirement.public:
            if inspect.ismethod(target):
                # It takes no mark, and its function belongs to all instances.
                target = functools.update_wrapper(functools.partial(target), target)
            write_mark(target, PUBLIC)
            return target
        return wrap_endpoint(target, self.requirement)

    def __repr__(self) -> str:
        return f"<limen {self.requirement}>"


def enforced(requirement: Requirement, connection: HTTPConnection) -> Principal:
    """Return the principal of a connection, who meets the requirement.

    Raises:
        LimenError: the principal does not meet it.
        ConfigurationError: the application is not protected.
    """
    state = state_of(connection.scope)
    check_asked(state, requirement.beside)
    return state.principal


_Made = TypeVar("_Made", bound=Declaration)


class RolesFactory(Generic[_Made]):
    """Makes requirements of roles."""

    def __init__(self, make: Callable[[Requirement], _Made]) -> None:
        self._make = make

    def __call__(self, *names: str) -> _Made:
        """Require one of the roles.

        Raises:
            ConfigurationError: there is no name, or one is malformed.
        """
        return self._make(Requirement.of_roles(names))


class PermissionsFactory(Generic[_Made]):
    """Makes requirements of permissions."""

    def __init__(self, make: Callable[[Requirement], _Made]) -> None:
        self._make = make

    def __call__(self, *names: str) -> _Made:
        """Require all of the permissions, each ``resource:action``.

        Raises:
            ConfigurationError: there is no name, or one is malformed.
        """
        return self._make(Requirement.of_permissions(names))

    def any(self, *names: str) -> _Made:
        """Require one of the permissions.

        Raises:
            ConfigurationError: there is no name, or one is malformed.
        """
        return self._make(Requirement.of_any_permission(names))


class PolicyFactory(Generic[_Made]):
    """Makes requirements of policies that need no resource, or one that the handler loads."""

    def __init__(self, make: Callable[[Requirement], _Made]) -> None:
        self._make = make

    def __call__(self, action: str, *, hide: bool = False) -> _Made:
        """Require that the policies allow an action: by who calls, when, and what is known of the request.

        It is decided at dispatch, before the body is read. A rule about a resource does not hold here, and a deny about
        one denies: where there is a resource, `enforce_policy` is asked in the handler, once it is loaded.

        Args:
            action: ``resource:action``.
            hide: refuse with 404 ``not_found`` in place of 403 ``policy_denied``.

        Raises:
            ConfigurationError: the action is malformed.
        """
        return self._make(Requirement.of_question(action, hide=hide))


class GuardFactory(Generic[_Made]):
    """Makes requirements of functions of the application's own."""

    def __init__(self, make: Callable[[Requirement], _Made]) -> None:
        self._make = make

    def __call__(self, check: Check) -> _Made:
        """Require that ``check(principal, request)`` says yes, once everything else holds.

        It returns `Decision.allow()` or `Decision.deny(reason)`, and may be asynchronous; any other function runs in a
        thread. What it raises, what it returns instead of a `Decision`, and what takes longer than five seconds, is a
        no: 403 ``policy_denied``. It sees the request, path parameters and all, but not the body.

        Raises:
            ConfigurationError: it cannot be called with a principal and a request.
        """
        return self._make(Requirement.of_check(check))


class InterceptFactory(Generic[_Made]):
    """Makes requirements of functions of the application's own around a handler."""

    def __init__(self, make: Callable[[Requirement], _Made]) -> None:
        self._make = make

    def __call__(self, *, before: Before | None = None, after: After | None = None) -> _Made:
        """Run functions before the handler, and when its answer is about to begin.

        Args:
            before: ``before(principal, request)`` runs when the request may enter; it returns None, or a `Decision`
                that can still refuse.
            after: ``after(principal, request, start)`` sees status and headers of whatever is answered then, and
                returns None. It changes nothing.

        Either may be asynchronous; any other runs in a thread. What it raises, or returns instead, or what takes longer
        than five seconds, is answered 500, and nothing of the handler's answer leaves.

        Raises:
            ConfigurationError: neither is given, or one cannot be called so.
        """
        return self._make(Requirement.of_intercept(before, after))


class RateLimitFactory(Generic[_Made]):
    """Makes limits of how often something may be called."""

    def __init__(self, make: Callable[[Requirement], _Made]) -> None:
        self._make = make

    def __call__(self, *rates: str, key: LimitKey | None = None, name: str | None = None) -> _Made:
        """Answer 429 ``rate_limited`` to whoever calls more often than this.

        It is counted before anything but roles and permissions is asked, and tells what is left in the RateLimit
        fields. It restricts nobody, so it may stand beside `public`; a route that states nothing else asks for
        somebody who is authenticated, as ever.

        Args:
            rates: ``10/minute``, ``300/15 minutes``, and any further ones that hold besides.
            key: ``account`` (as without it: the account, or the network where nobody is authenticated), ``network``,
                or a function of the request that returns a text; it sees path parameters and all, but not the body.
            name: every route that says this name shares the count; letters, digits and dashes. Without it each
                function counts for itself, and a limit of a router for each of its endpoints.

        Raises:
            ConfigurationError: there is no rate, or one of these is malformed.
        """
        return self._make(Requirement.of_limits(rates, key, name))


class Enforcement:
    """A requirement as a FastAPI dependency: it is enforced when called, the second net below the guard.

    The guard finds it in the route's dependencies and decides at dispatch, before the body is read; replacing it by
    ``dependency_overrides`` switches nothing off.

    Attributes:
        requirement: what it requires.
        decides: the questions about a resource that are decided where it is called.
    """

    def __init__(self, requirement: Requirement) -> None:
        self.requirement = requirement
        self.decides: tuple[Question, ...] = ()

    async def __call__(self, connection: HTTPConnection) -> Principal:
        """Return the principal, who meets the requirement.

        Raises:
            LimenError: the principal does not meet it.
            ConfigurationError: the application is not protected.
        """
        if self.requirement.is_asked:
            await ask_beside(self.requirement.beside, state_of(connection.scope), connection.scope)
        return enforced(self.requirement, connection)


async def enforce_policy(
    connection: HTTPConnection, action: str, resource: _Resource, *, hide: bool = False
) -> _Resource:
    """Refuse where the policies do not allow whoever calls to do something to a resource.

    Args:
        connection: the request or the WebSocket.
        action: ``resource:action``.
        resource: what is acted on; None where there is no such thing.
        hide: refuse with 404 ``not_found``, as where there is no such thing.

    Returns:
        the resource.

    Raises:
        NotFound: there is no such thing, or `hide` is asked for.
        PolicyDenied: the policies do not allow it; the detail is the reason that a deny states.
        LimenError: what they read could not be loaded.
        ConfigurationError: the application is not protected.
    """
    state = state_of(connection.scope)
    requirement = Requirement.of_question(action, load=_loaded_by_handler, hide=hide)
    refused = state.refusal(requirement)
    if refused is not None:
        raise refused
    await answer_about(requirement.questions[0], state, connection.scope, resource)
    return resource


def _loaded_by_handler() -> None:
    """Stands for what a handler has loaded itself."""


def current_principal(connection: HTTPConnection) -> Principal:
    """Return who is calling; on a public route that may be the anonymous principal.

    Raises:
        ConfigurationError: the application is not protected.
    """
    return state_of(connection.scope).principal


async def current_principal_dependency(connection: HTTPConnection) -> Principal:
    """Return who is calling; asynchronous, because FastAPI sends every other dependency through a thread."""
    return state_of(connection.scope).principal


def requirement_of(rule: "Requirement | Declaration") -> Requirement:
    """Return the requirement behind a declaration."""
    return rule.requirement if isinstance(rule, Declaration) else rule
