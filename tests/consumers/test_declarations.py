"""What is written on a handler of messages is found through whatever wraps it, and contradictions are refused."""

import functools
from collections.abc import Callable
from typing import Any

import pytest

from limen.consumers import GuardedMessage, live, once, permissions, public, roles
from limen.consumers.declarations import stated_of
from limen.core.errors import ConfigurationError
from limen.fastapi import roles as roles_of_routes
from limen.guard import AUTHENTICATED, PUBLIC, Requirement


async def handler(message: GuardedMessage) -> None:
    """Do nothing."""


def fresh() -> Callable[..., Any]:
    """Return a handler that nothing is written on."""

    async def work(message: GuardedMessage) -> None: ...

    return work


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return it as a decorator of somebody else's would."""

    @functools.wraps(function)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return wrapper


def test_nothing_stated_is_somebody_authenticated() -> None:
    """A handler that states nothing is open to nobody in particular."""
    assert stated_of(fresh()).requirement == AUTHENTICATED
    assert not stated_of(fresh()).once


def test_requirements_are_those_of_the_guard() -> None:
    """The same values as on routes, so the same function decides."""
    stacked = roles("maker")(permissions("order:create")(permissions.any("order:read", "order:approve")(live(fresh()))))
    expected = Requirement(
        live=True,
        roles_any=(("maker",),),
        permissions_all=("order:create",),
        permissions_any=(("order:read", "order:approve"),),
    )
    assert stated_of(stacked).requirement == expected
    assert stated_of(live()(fresh())).requirement == Requirement(live=True)


@pytest.mark.parametrize("order", ["once first", "once last"])
def test_once_is_no_requirement(order: str) -> None:
    """It stands beside what is required, in either order."""
    work = once(roles("maker")(fresh())) if order == "once last" else roles("maker")(once(fresh()))
    assert stated_of(work).once
    assert stated_of(work).requirement.roles_any == (("maker",),)


def test_nothing_is_lost_in_a_wrapper() -> None:
    """Decorators of others, partial functions, methods and callable objects hide no restriction."""
    work = once(roles("maker")(fresh()))

    class View:
        @roles("maker")
        @once
        async def handle(self, message: GuardedMessage) -> None: ...

        @roles("maker")
        @once
        async def __call__(self, message: GuardedMessage) -> None: ...

    for bearer in (wrapped(work), functools.partial(work), wrapped(wrapped(work)), View().handle, View()):
        stated = stated_of(bearer)
        assert stated.requirement.roles_any == (("maker",),)
        assert stated.once


def test_public_counts_on_the_very_handler_only() -> None:
    """A mark that travelled would open a handler that nobody opened."""
    assert stated_of(public(fresh())).requirement == PUBLIC
    for stray in (wrapped(public(fresh())), functools.partial(public(fresh()))):
        with pytest.raises(ConfigurationError, match="public"):
            stated_of(stray)


@pytest.mark.parametrize("restriction", [roles("maker"), permissions("order:create"), live, once], ids=repr)
@pytest.mark.parametrize("outermost", [True, False])
def test_public_beside_a_restriction_is_a_contradiction(restriction: Any, outermost: bool) -> None:
    """In either order; also with ``@once``, since what nobody signed cannot be told from its copy."""
    work = public(restriction(fresh())) if outermost else restriction(public(fresh()))
    with pytest.raises(ConfigurationError, match="public"):
        stated_of(work)


def test_requirements_of_routes_are_refused() -> None:
    """They would look as if they held, and a message has no request."""
    with pytest.raises(ConfigurationError, match=r"limen\.consumers"):
        stated_of(roles_of_routes("maker")(fresh()))


def test_what_is_no_function_takes_no_requirement() -> None:
    """Classes and objects are not handlers to be written on."""
    targets: tuple[Any, ...] = (object(), type("View", (), {}), functools.partial(handler))
    for target in targets:
        with pytest.raises(ConfigurationError, match="no function"):
            roles("maker")(target)


def test_names_are_checked() -> None:
    """An empty list would allow everybody or nobody."""
    for make in (roles, permissions, permissions.any):
        with pytest.raises(ConfigurationError):
            make()
    with pytest.raises(ConfigurationError):
        permissions("no permission")


def test_no_web_framework_is_imported() -> None:
    """A worker that handles messages needs none."""
    import subprocess
    import sys

    code = "import sys, limen.consumers.sqs, limen.consumers.kinesis; print({'starlette', 'boto3'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()", done.stderr
