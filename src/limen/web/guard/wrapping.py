"""What a decorator makes of an endpoint: the same thing, which refuses where no guard stands.

Metadata alone cannot fail closed in an application that was never protected. So the decorators wrap: signature and
``__wrapped__`` are kept, one hidden parameter brings the connection, and principals are handed in where they are asked
for, which costs a tenth of what a dependency costs.
"""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin

from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from limen.core.errors import ConfigurationError, LimenError, PolicyDenied
from limen.guard.layers import layers
from limen.guard.requirements import AUTHENTICATED, Requirement
from limen.web.guard.beside import ask_beside
from limen.web.guard.marks import MARK, own_mark, write_mark
from limen.web.guard.state import GUARD_KEY, GuardState, state_of

CONNECTION_PARAMETER = "limen_connection"
"""The hidden parameter by which FastAPI hands in the request or the WebSocket."""

_IS_WRAPPER = "__limen_wrapper__"
_TAKES_PRINCIPAL = "__limen_takes_principal__"
_CONNECTIONS = (Request, WebSocket)


class PrincipalMarker:
    """Stands in an annotation for «the principal of this request»."""


def wrap_endpoint(target: Any, requirement: Requirement) -> Any:
    """Write the requirement on a function or class, and return what is to be registered.

    Raises:
        ConfigurationError: it is neither a function nor a class: an object that is an ASGI application cannot be
            wrapped, and gets its rule by path.
    """
    if inspect.isclass(target):
        write_mark(target, requirement)
        _guard_construction(target)
        return target
    if not (inspect.isfunction(target) or inspect.ismethod(target) or isinstance(target, functools.partial)):
        raise ConfigurationError(
            f"{target!r} is no function and no class: declare its rule by path, with gate.mount_rule or "
            "gate.public_mount"
        )
    wrapped = vars(target).get("__wrapped__")
    if vars(target).get(_IS_WRAPPER) is target and wrapped is not None:
        write_mark(wrapped, requirement)
        return target
    if inspect.ismethod(target):
        # A method of one instance has no place for a mark of its own, and its function belongs to all instances.
        target = functools.partial(target)
    write_mark(target, requirement)
    return _wrapper(target)


def _wrapper(target: Callable[..., Any]) -> Callable[..., Any]:
    called = getattr(target, "__qualname__", repr(target))
    signature, principals, connection_name = _new_signature(target)

    async def ask_first(state: GuardState, scope: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        await ask_beside(_requirement_of(target), state, scope)
        return await target(*args, **kwargs)

    is_async = inspect.iscoroutinefunction(target)

    @functools.wraps(target)
    def wrapper(*args: Any, limen_connection: HTTPConnection | None = None, **kwargs: Any) -> Any:
        connection: Any = limen_connection
        if connection is None:
            # Starlette hands it in first; FastAPI by the name the endpoint gave it.
            connection = args[0] if args else kwargs.get(connection_name)
            if type(connection) not in _CONNECTIONS:
                connection = _connection_among(args, kwargs, called)
        state = connection.scope.get(GUARD_KEY)
        if type(state) is not GuardState:
            state = state_of(connection.scope)
        for name in principals:
            kwargs.setdefault(name, state.principal)
        if state.endpoint is not wrapper:
            requirement = _requirement_of(target)
            if is_async and requirement.is_asked:
                return ask_first(state, connection.scope, args, kwargs)
            check_asked(state, requirement)
        return target(*args, **kwargs)

    if is_async:
        _mark_asynchronous(wrapper)
    vars(wrapper).pop(MARK, None)
    setattr(wrapper, _IS_WRAPPER, wrapper)
    if principals:
        setattr(wrapper, _TAKES_PRINCIPAL, True)
    wrapper.__signature__ = signature  # type: ignore[attr-defined]
    return wrapper


def takes_principal(endpoint: object) -> bool:
    """Tell whether an endpoint, or a method of a class view, is given the principal by its decorator."""
    if inspect.isclass(endpoint):
        return any(takes_principal(each) for each in vars(endpoint).values() if inspect.isfunction(each))
    return any(getattr(layer, "__dict__", {}).get(_TAKES_PRINCIPAL) is True for layer in layers(endpoint))


def _mark_asynchronous(function: Any) -> None:
    """Let a function that returns a coroutine pass for one written with ``async``: that saves a frame a request."""
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(function)
    else:  # Python 3.11
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]


def _connection_among(args: tuple[Any, ...], kwargs: dict[str, Any], called: str) -> HTTPConnection:
    for each in (*args, *kwargs.values()):
        # By what it has, not by what it is: asking an abstract base class costs as much as all the rest of the wrapper.
        if isinstance(getattr(each, "scope", None), dict):
            return each  # type: ignore[no-any-return]
    raise ConfigurationError(
        f"{called} was called without a request, so nobody can say who is calling; "
        f"code that may call it directly calls {called}.__wrapped__"
    )


def _requirement_of(target: object) -> Requirement:
    mark = own_mark(target)
    if mark is None:
        return AUTHENTICATED
    return (mark.restriction or AUTHENTICATED).limited(mark.limits).beside


def check_asked(state: GuardState, requirement: Requirement) -> None:
    """The second net: the guard has decided this at dispatch, unless somebody called the function by another way.

    Raises:
        LimenError: the requirement is not met, or something in it was not asked, which takes an await.
    """
    error: LimenError | None = state.refusal(requirement)
    if error is None and requirement.live and state.live_leaf is None:
        error = PolicyDenied("The account was not asked for again before this call.")
    if error is None and not set(requirement.checks + requirement.intercepts + requirement.limits) <= set(state.passed):
        error = PolicyDenied("What this function asks was not asked before this call.")
    if error is None:
        error = state.denial(requirement)
    if error is None and not set(requirement.questions) <= set(state.answers):
        error = PolicyDenied("What this function asks of the policies was not asked before this call.")
    if error is not None:
        raise error


def _guard_construction(view: type) -> None:
    """Let a class view refuse to be made where no guard stands: routers make one a request, from the scope."""
    original = view.__init__  # type: ignore[misc]
    if getattr(original, "__dict__", {}).get(_IS_WRAPPER) is original:
        return

    @functools.wraps(original)
    def construct(self: Any, scope: Any, *args: Any, **kwargs: Any) -> None:
        state_of(scope)
        original(self, scope, *args, **kwargs)

    setattr(construct, _IS_WRAPPER, construct)
    view.__init__ = construct  # type: ignore[misc]


def _new_signature(target: Callable[..., Any]) -> tuple[inspect.Signature, tuple[str, ...], str]:
    """Return the signature without principals and with the connection, the principals' names, and the connection's."""
    signature = resolved_signature(target)
    principals = tuple(name for name, each in signature.parameters.items() if _is_principal(each.annotation))
    kept = [each for name, each in signature.parameters.items() if name not in principals]
    for each in kept:
        if inspect.isclass(each.annotation) and issubclass(each.annotation, HTTPConnection):
            return signature.replace(parameters=kept), principals, each.name
    hidden = inspect.Parameter(CONNECTION_PARAMETER, inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection)
    last = len(kept) - 1 if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else len(kept)
    kept.insert(last, hidden)
    return signature.replace(parameters=kept), principals, CONNECTION_PARAMETER


def resolved_signature(target: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with its annotations evaluated, as far as they can be at this moment.

    The router evaluates what is left; it does so with the globals of the function it is given, which for a wrapper
    would be this module's.
    """
    try:
        return inspect.signature(target, eval_str=True)
    except Exception:
        signature = inspect.signature(target)
    namespace = getattr(inspect.unwrap(target), "__globals__", {})
    return signature.replace(
        parameters=[
            each.replace(annotation=_evaluated(each.annotation, namespace)) for each in signature.parameters.values()
        ],
        return_annotation=_evaluated(signature.return_annotation, namespace),
    )


def _evaluated(annotation: Any, namespace: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, namespace)  # noqa: S307 - the application's own source text, as its framework evaluates it
    except Exception:
        return annotation


def _is_principal(annotation: Any) -> bool:
    if get_origin(annotation) is not Annotated:
        return False
    extras = get_args(annotation)[1:]
    return len(extras) == 1 and isinstance(extras[0], PrincipalMarker)
