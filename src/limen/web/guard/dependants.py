"""What a FastAPI route states by its dependencies and annotations, read from the effective route before it runs.

FastAPI solves dependencies after it has read the body, and ``dependency_overrides`` may replace them. So the guard does
not wait for them: it reads the tree of dependencies that FastAPI built, overrides or not, and decides at dispatch.
FastAPI itself is not imported here; an application that does not use it has no routes of this kind.
"""

import sys
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, get_args, get_origin

from limen.guard.layers import layers
from limen.guard.limits import RouteLimit
from limen.guard.requirements import Question, Requirement
from limen.web.guard.declarations import Declaration, Enforcement, current_principal, current_principal_dependency
from limen.web.guard.hidden import hidden_in_dependant
from limen.web.guard.marks import NOTHING_STATED, Statement, joined, read_marks
from limen.web.guard.wrapping import resolved_signature, takes_principal


def read_route(route: Any, included: Any) -> Statement:
    """Return what a FastAPI route states, apart from the marks on its endpoint.

    FastAPI up to 0.136 copies routes when a router is included, with all dependencies. Later ones keep the router; what
    the inclusions on the way to it demand is then in the innermost one's context, all of it.

    Args:
        route: an ``APIRoute`` or ``APIWebSocketRoute``, as it was registered.
        included: the included router by which it was reached; None where it is the application's own.
    """
    stated = read_dependant(route.dependant)
    return stated if included is None else stated & read_dependencies(included.include_context.dependencies)


def read_dependant(dependant: Any) -> Statement:
    """Return what a tree of dependencies states, the root being the endpoint's own."""
    restriction: Requirement | None = None
    limits: tuple[RouteLimit, ...] = ()
    public = False
    for node in dependant.dependencies:
        # One that stands in ``dependencies=[…]`` has no name; one that is a parameter's annotation has the parameter's.
        requirement = _requirement(node.call)
        if requirement is not None and requirement.public:
            public = public or node.name is None or not hasattr(dependant.call, "__wrapped__")
    for node in _nodes(dependant):
        for requirement in _restrictions(node, is_root=node is dependant):
            restricting, limiting = requirement.split()
            restriction, limits = joined(restriction, restricting), limits + limiting
    hidden = hidden_in_dependant(dependant)
    contradiction = bool(hidden) or (public and restriction is not None)
    solved = tuple(_solved(dependant))
    limits = tuple(dict.fromkeys(limits))
    return Statement(public, restriction, contradiction=contradiction, solved=solved, hidden=hidden, limits=limits)


def _solved(dependant: Any, calls: frozenset[Any] = frozenset()) -> Iterator[tuple[Question, frozenset[Any]]]:
    """Yield the questions that FastAPI has decided when it calls what the tree is for."""
    for node in dependant.dependencies:
        through = calls | {node.call}
        if isinstance(node.call, Enforcement):
            yield from ((question, through) for question in node.call.decides)
        yield from _solved(node, through)


def takes_principal_by_dependency(route: Any) -> bool:
    """Tell whether a FastAPI route, or something it depends on, is given the principal."""
    dependant = getattr(route, "dependant", None)
    if dependant is None:
        return False
    calls = [node.call for node in _nodes(dependant) if node.call is not None]
    own = (current_principal, current_principal_dependency)
    return any(call in own or takes_principal(call) for call in calls)


def read_dependencies(dependencies: Iterable[Any]) -> Statement:
    """Return what a list ``dependencies=[…]`` of a router states."""
    stated = NOTHING_STATED
    for depends in dependencies:
        requirement = _requirement(depends) or _requirement(depends.dependency)
        if requirement is not None:
            restriction, limits = (None, ()) if requirement.public else requirement.split()
            solved: tuple[tuple[Question, frozenset[Any]], ...] = ()
            if isinstance(depends.dependency, Enforcement):
                solved = tuple((each, frozenset((depends.dependency,))) for each in depends.dependency.decides)
            stated &= Statement(requirement.public, restriction, solved=solved, limits=limits)
        elif depends.dependency is not None:
            tree = sys.modules["fastapi.dependencies.utils"].get_dependant(path="/", call=depends.dependency)
            found = read_dependant(tree)
            marked = read_marks(depends.dependency)
            restriction, limits = joined(found.restriction, marked.restriction), found.limits + marked.limits
            solved = tuple(_solved(tree, frozenset((depends.dependency,))))
            hidden = found.hidden
            contradiction = bool(hidden)
            stated &= Statement(
                restriction=restriction, contradiction=contradiction, solved=solved, hidden=hidden, limits=limits
            )
    return stated


def _nodes(dependant: Any) -> Iterator[Any]:
    waiting = [dependant]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.dependencies)


def _restrictions(node: Any, *, is_root: bool) -> Iterator[Requirement]:
    requirement = _requirement(node.call)
    if requirement is not None:
        if not requirement.public:
            yield requirement
        return
    if not is_root:
        marked = read_marks(node.call)
        if marked.restriction is not None:
            yield marked.restriction
        if marked.limits:
            yield Requirement(limits=marked.limits)
    yield from _annotated(node.call)


def _annotated(call: Any) -> Iterator[Requirement]:
    """Yield what the annotations state: of several in one ``Annotated``, FastAPI itself takes the last only."""
    for layer in layers(call):
        try:
            parameters = resolved_signature(layer).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        for parameter in parameters:
            extras = get_args(parameter.annotation)[1:] if get_origin(parameter.annotation) is Annotated else ()
            for extra in (*extras, parameter.default):
                requirement = _requirement(extra)
                if requirement is not None and not requirement.public:
                    yield requirement


def _requirement(thing: object) -> Requirement | None:
    return thing.requirement if isinstance(thing, Declaration | Enforcement) else None
