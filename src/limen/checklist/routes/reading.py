"""Makes facts of a live application: for each leaf, who stands in front of it, what comes in, and what goes out."""

import ast
import dataclasses
import functools
import inspect
import itertools
import operator
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from limen.checklist.facts import Application, Guard, Handler, Input, Kind, Output, Place, Route, Standing
from limen.checklist.routes.around import Around, around_application
from limen.checklist.routes.beside import limits_by_default, skips_limit
from limen.checklist.routes.bodies import reads_body
from limen.checklist.routes.callers import asks_who, parameters_of
from limen.checklist.routes.code import FunctionNode, function_of, node_of, nodes_of, place_of
from limen.checklist.routes.cookies import NOTHING, Credentials, Taken, taken_by, taken_by_middleware
from limen.checklist.routes.guards import (
    Dependencies,
    Found,
    learn_handlers,
    limen_marks,
    of_decorators,
    of_handler,
    of_route_class,
    reaches_handler,
)
from limen.checklist.routes.halves import Some, read_all
from limen.checklist.routes.schemes import name_of
from limen.checklist.routes.shapes import inputs_of, output_of
from limen.checklist.routes.walking import SeenRoute, seen_routes
from limen.guard.layers import layers

_PARAMETER: Final = re.compile(r"{([^}:]+)(?::[^}]*)?}")
_LIBRARIES: Final = ("site-packages", "dist-packages")
_ASKS_FOR_RIGHTS: Final = re.compile(
    r"^_*(batch_)?(verify|check|assert|require|ensure|validate|has|enforce|authorize|can)_\w*"
    r"(permission|access|owner|role|allowed|authorized|acl|policy)"
)


def read_application(app: Any, target: str) -> Application:
    """Return the facts of an application that was imported and never started.

    Args:
        app: a Starlette or FastAPI application, or a router.
        target: how it was named.
    """
    learn_handlers(app)
    around = around_application(app)
    marks = limen_marks()
    own = () if marks is None else tuple(marks.own_routes(app))
    leaves = list(seen_routes(app))
    for middleware in {id(every): every for each in leaves for every in each.middleware}.values():
        around.take_inner(middleware)
    roots = _own_roots(leaves, target)

    def read(some: Sequence[SeenRoute]) -> Some:
        credentials = Credentials(around.cookies, lambda: roots | _roots_of(leaves))
        routes, cookies = [], []
        for each in some:
            known = len(credentials.cookies)
            routes.append(_read(each, around, app, roots, credentials))
            cookies.append(credentials.cookies[known:])
        return Some(tuple(routes), tuple(cookies))

    found = read_all(leaves, read, _file_of)
    return Application(
        target,
        f"{type(app).__module__.split('.')[0]}.{type(app).__qualname__}",
        routes=(*own, *found.routes),
        middleware=around.names,
        cors=around.cors,
        cookies=tuple(dict.fromkeys((*around.cookies, *itertools.chain(*found.cookies)))),
        sends_security_headers=around.sends_security_headers,
        throttled_by=around.throttled_by,
    )


def _file_of(seen: SeenRoute) -> str:
    function = function_of(inspect.unwrap(seen.endpoint) if callable(seen.endpoint) else None)
    return "" if function is None else function.__code__.co_filename


def _read(seen: SeenRoute, around: Around, app: Any, roots: frozenset[str], credentials: Credentials) -> Route:
    tree = Dependencies(seen.overrides or {}, "websocket" if seen.kind == "websocket" else "http")
    collected = [*around.standing(seen), *_collect(seen, tree)]
    collected = _without_what_is_skipped(_without_what_strangers_have(collected))
    guards = tuple(found.guard for found in collected if found.guard is not None)
    marks = limen_marks()
    public, stated = (False, None) if marks is None else marks.stated_by_limen(seen, app)
    if stated is not None:
        guards = (stated, *guards)
    guards = _about_objects(seen, guards, tree)
    doubtful = frozenset().union(*(each.doubtful for each in collected))
    standing, why = _standing(seen, guards, public, doubtful)
    names, uuids = parameters_of(seen.path, seen.dependant)
    return Route(
        seen.path,
        seen.methods,
        _kind(seen.kind),
        standing,
        why,
        guards,
        names,
        _inputs(seen, tree, roots),
        _output(seen),
        _handler(seen, tree, roots),
        _throttled_by(seen, collected, app),
        next((each.forgery for each in collected if each.forgery), around.forgery),
        standing == "guarded"
        and seen.methods != ("GET",)
        and credentials.are_sent_along(_taken(seen, guards, around, tree, credentials)),
        uuids,
    )


def _taken(
    seen: SeenRoute, guards: tuple[Guard, ...], around: Around, tree: Dependencies, credentials: Credentials
) -> Taken:
    """Return what stands in front of a route takes out of the request, and its own code where that is a guard."""
    kinds = {each.by for each in guards}
    found = [credentials.of_node(each) for each in _nodes(seen.dependant, tree)] if seen.dependant is not None else []
    if "middleware" in kinds:
        found += [taken_by_middleware(each) for each in (*around.guarding, *seen.middleware)]
    if kinds & {"decorator", "handler"}:
        found += [taken_by(each) for each in layers(_entry(seen))]
    return functools.reduce(operator.or_, found, NOTHING) if "limen" not in kinds else NOTHING


def _without_what_strangers_have(collected: list[Found]) -> list[Found]:
    """Doubt guards that ask a session, a state or the caller for something that other code puts there for strangers."""
    written = frozenset().union(*(each.writes for each in collected))
    return [_doubted(each, "asks what strangers have, too") if each.reads & written else each for each in collected]


def _without_what_is_skipped(collected: list[Found]) -> list[Found]:
    """Doubt guards behind a class of routes that may answer in their place."""
    if not any(each.skips for each in collected):
        return collected
    inner = {"dependency", "scheme", "decorator", "handler"}
    return [
        _doubted(each, "may be skipped by the class of the route")
        if each.guard is not None and each.guard.by in inner and not each.skips
        else each
        for each in collected
    ]


def _doubted(found: Found, why: str) -> Found:
    if found.guard is None or found.guard.is_optional or found.guard.takes_only:
        return found
    return dataclasses.replace(found, guard=None, doubtful=found.doubtful | {f"{found.guard.name} {why}"})


def _throttled_by(seen: SeenRoute, collected: list[Found], app: Any) -> str:
    if skips_limit(seen.endpoint):
        return ""
    found = [each.throttles for each in collected if each.throttles]
    if not limits_by_default(app, seen.route, seen.endpoint):
        found = [each for each in found if not each.startswith("SlowAPI")]
    marks = limen_marks()
    return next(iter(found), "" if marks is None else marks.limited_by_limen(seen, app))


def _kind(kind: str) -> Kind:
    known: dict[str, Kind] = {"websocket": "websocket", "static": "static", "pages": "pages", "mount": "mount"}
    return known.get(kind, "opaque" if kind == "opaque" else "http")


def _collect(seen: SeenRoute, tree: Dependencies) -> Iterator[Found]:
    kind = "websocket" if seen.kind == "websocket" else "http"
    if seen.dependant is not None:
        yield of_route_class(seen.route, kind)
        waiting = list(seen.dependant.dependencies)
        while waiting:
            node = waiting.pop(0)
            yield tree.found(node)
            waiting = [*tree.inner(node), *waiting]
    if seen.kind in {"http", "websocket"}:
        entry = _entry(seen)
        yield from of_decorators(entry, kind)
        found = of_handler(entry, kind, seen.dependant, tree)
        if found.guard is not None and not reaches_handler(entry):
            found = Found(None, frozenset({f"whether {found.guard.name} is called"}))
        yield found


def _entry(seen: SeenRoute) -> Any:
    """Return the function that serves: of a class view the method for its first HTTP method."""
    if inspect.isclass(seen.endpoint):
        for name in (*(method.lower() for method in seen.methods), "on_connect", "dispatch", "on_receive"):
            found = inspect.getattr_static(seen.endpoint, name, None)
            if found is not None:
                return found
    return seen.endpoint


def _about_objects(seen: SeenRoute, guards: tuple[Guard, ...], tree: Dependencies) -> tuple[Guard, ...]:
    """Mark the guards that see what the path names: dependencies that take a parameter of the path and who calls."""
    if seen.dependant is None:
        return guards
    names = set(_PARAMETER.findall(seen.path))
    asked = set()
    for node in _nodes(seen.dependant, tree):
        takes = {field.alias for field in node.path_params} & names
        if takes and any(tree.found(each).guard is not None for each in (node, *_nodes(node, tree))):
            asked.add(name_of(node.call))
    marked = [each for each in guards if each.name in asked]
    # What only loads the object refuses nobody: it is asked with whoever its own dependencies have let in.
    made = [
        Guard("dependency", name, about_object=True, is_optional=True)
        for name in sorted(asked - {each.name for each in marked})
    ]
    return (*(replace(each, about_object=True) if each in marked else each for each in guards), *made)


def _nodes(dependant: Any, tree: Dependencies) -> Iterator[Any]:
    """Yield everything that a function depends on."""
    waiting = list(tree.inner(dependant))
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(tree.inner(node))


def _standing(
    seen: SeenRoute, guards: tuple[Guard, ...], public: bool, doubtful: frozenset[str]
) -> tuple[Standing, str]:
    firm = [each for each in guards if not each.takes_only and not each.is_optional]
    taken = [each.name for each in guards if each.takes_only and not each.is_optional]
    # The first that holds is the answer.
    answers: list[tuple[bool, Standing, str]] = [
        (public, "public", "marked public"),
        (bool(firm), "guarded", ", ".join(dict.fromkeys(_told(each) for each in firm))),
        (bool(doubtful), "unknown", "; ".join(dict.fromkeys(_why(each) for each in sorted(doubtful)[:3]))),
        (bool(taken), "open", f"{''.join(taken[:1])} takes a credential, and nothing verifies it"),
        (any(each.is_optional and not each.about_object for each in guards), "open", "its guard is optional"),
        (seen.kind in {"mount", "opaque"}, "unknown", "an application of another kind"),
        (True, "open", "nothing asks who is calling"),
    ]
    return next((standing, why) for holds, standing, why in answers if holds)


def _why(doubt: str) -> str:
    return doubt if " " in doubt else f"cannot be followed: {doubt}"


def _told(guard: Guard) -> str:
    if guard.by == "middleware":
        return f"middleware {guard.name}"
    asks = [each for each in guard.asks if each != "code"]
    if guard.by == "limen":
        return ", ".join(asks) or "authenticated (limen)"
    return f"{guard.name} ({', '.join(asks)})" if asks else guard.name


def _inputs(seen: SeenRoute, tree: Dependencies, roots: frozenset[str]) -> tuple[Input, ...]:
    declared = inputs_of(seen.dependant) if seen.dependant is not None else ()
    if declared or seen.kind != "http" or seen.methods == ("GET",):
        return declared
    entry = _entry(seen)
    nodes = _nodes(seen.dependant, tree) if seen.dependant is not None else ()
    # One whose result nobody is handed writes a log, or asks for a signature.
    takes = [each.call for each in nodes if each.name and each.request_param_name and _is_own(each.call, roots)]
    if any(reads_body(each) for each in ([entry] if callable(entry) else []) + takes):
        return (Input("request", "Request", "raw"),)
    return ()


def _output(seen: SeenRoute) -> Output:
    if seen.shape is None:
        return Output("", True)
    return output_of(seen.shape, seen.endpoint)


def _handler(seen: SeenRoute, tree: Dependencies, roots: frozenset[str]) -> Handler:
    entry = _entry(seen)
    call = inspect.unwrap(entry) if callable(entry) else entry
    file, line = place_of(call)
    function = function_of(call)
    node = None if function is None else node_of(function)
    name = getattr(call, "__name__", type(call).__name__)
    is_own = _is_own(call, roots)
    if node is None:
        return Handler(Place(file, line), name, is_own_code=is_own)
    handed = _handed_principal(seen, tree)
    used = tuple(sorted(set(_used(node))))
    asks = None if not handed and "request" not in used else asks_who(node, handed)
    if any(_ASKS_FOR_RIGHTS.search(each) for each in used):
        asks = True
    return Handler(Place(file, line), name, asks, used, "set_cookie" in used, is_own)


def _is_own(call: Any, roots: frozenset[str]) -> bool:
    """Tell whether something is the application's own code, and not a library's."""
    file = place_of(call)[0]
    return bool(file) and (_root(call) in roots or not any(each in Path(file).parts for each in _LIBRARIES))


def _root(call: Any) -> str:
    return str(getattr(call, "__module__", "") or "").split(".")[0]


def _own_roots(leaves: list[SeenRoute], target: str) -> frozenset[str]:
    """Return the packages that are the application's own, installed or not: the target's, and that of most handlers."""
    counted = Counter(_root(inspect.unwrap(each.endpoint)) for each in leaves if callable(each.endpoint))
    for name in ("fastapi", "starlette", "limen", ""):
        counted.pop(name, None)
    most = [name for name, number in counted.most_common(1) if number * 2 > counted.total()]
    return frozenset({target.partition(":")[0].split(".")[0], *most})


def _roots_of(leaves: list[SeenRoute]) -> frozenset[str]:
    """Return the packages of handlers that are no library's: each file of a flat application is one."""
    calls = [inspect.unwrap(each.endpoint) for each in leaves if callable(each.endpoint)]
    own = [each for each in calls if not any(part in Path(place_of(each)[0]).parts for part in _LIBRARIES)]
    return frozenset(_root(each) for each in own) - {"fastapi", "starlette", "limen", ""}


def _handed_principal(seen: SeenRoute, tree: Dependencies) -> set[str]:
    """Return the names of the handler's parameters that say who is calling."""
    found = set()
    for node in seen.dependant.dependencies if seen.dependant is not None else ():
        says_so = name_of(node.call).lower().lstrip("_").startswith(("current_", "get_current", "get_user"))
        if node.name and (says_so or any(tree.found(each).guard is not None for each in (node, *_nodes(node, tree)))):
            found.add(node.name)
    return found


def _used(node: FunctionNode) -> Iterator[str]:
    for each in nodes_of(node):
        if isinstance(each, ast.Name):
            yield each.id.lower()
        elif isinstance(each, ast.Attribute):
            yield each.attr.lower()
        elif isinstance(each, ast.arg):
            yield each.arg.lower()
