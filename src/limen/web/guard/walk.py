"""The effective tree of an application: every leaf that a request may reach, as the guard will meet it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from starlette.routing import Host, Mount, Route, Router, WebSocketRoute

from limen.authz.administration import ADMINISTRATION
from limen.authz.policy.expressions import meant
from limen.authz.roles import RoleCatalogue
from limen.core.errors import ConfigurationError
from limen.guard.policies import LoadedPolicies
from limen.guard.requirements import PUBLIC, Question, Requirement
from limen.web.guard.dispatch import InnerGuard, instrument
from limen.web.guard.inclusions import check_included
from limen.web.guard.leaves import Leaf, is_framework_page, names_endpoint, stands_inside
from limen.web.guard.marks import Statement
from limen.web.guard.rules import OWN_DEFAULT, PathRules, name_below, normal_name

_DEEPEST = 32
_UNSOLVED = (
    "it asks policies for {} about what load= brings, but FastAPI never calls that there: write policy(…, load=…) as "
    "the annotation of a parameter, the last one in its Annotated, or in dependencies=[…] of a FastAPI route"
)


@dataclass(frozen=True, slots=True)
class ListedLeaf:
    """One leaf of an application.

    Attributes:
        path: its path as a template, from the application's root; below a host, from that.
        methods: the HTTP methods; empty where it takes all, or is a WebSocket.
        leaf: what is required there.
        is_own: it is one of limen's own routes.
        is_foreign: nothing but its path is known, and code that is not the framework's matches it.
    """

    path: str
    methods: frozenset[str]
    leaf: Leaf
    is_own: bool = False
    is_foreign: bool = False

    @property
    def name(self) -> str:
        """How messages call it."""
        return " ".join([*sorted(self.methods), self.path])


def walk(router: Router, prefix: str = "", depth: int = 0) -> Iterator[ListedLeaf]:
    """Yield every leaf below a router, putting every router on the way under guard.

    Raises:
        ConfigurationError: a router cannot be put under guard.
    """
    if depth > _DEEPEST:
        return
    guard = instrument(router)
    if not stands_inside(guard, router):
        raise ConfigurationError(
            f"the dispatch of {type(router).__name__} was replaced after protect(), without the guard"
        )
    if guard.own is not None:
        for path, methods, endpoint in guard.own.listed():
            leaf = guard.leaf_of(guard.own, endpoint)
            yield ListedLeaf(prefix + path, methods, leaf, is_own=True)
    for route in router.routes:
        yield from _walk_route(guard, route, prefix, None, depth)
    for group in getattr(router, "_low_priority_routes", ()):
        yield from _walk_frontends(group, prefix, "")
    default = router.default
    if getattr(default, "__func__", None) is not Router.not_found:
        yield ListedLeaf(OWN_DEFAULT, frozenset(), _opaque(default))


def _walk_route(guard: InnerGuard, route: Any, prefix: str, included: Any, depth: int) -> Iterator[ListedLeaf]:
    if hasattr(route, "effective_candidates"):
        yield from _walk_included(guard, route, prefix, depth)
    elif not names_endpoint(route):
        endpoint = getattr(route, "endpoint", None)
        leaf = _opaque(route) if endpoint is None else guard.leaf_of(route, endpoint, included)
        yield ListedLeaf(name_below(prefix, route), frozenset(), leaf, is_foreign=True)
    elif isinstance(route, Mount | Host):
        yield from _walk_mounted(guard, route, prefix, included, depth)
    elif isinstance(route, Route | WebSocketRoute):
        leaf = guard.leaf_of(route, route.endpoint, included)
        methods = frozenset(getattr(route, "methods", None) or ())
        if leaf.router is not None:
            yield from walk(leaf.router, prefix + route.path, depth + 1)
        else:
            yield ListedLeaf(prefix + route.path, methods, leaf)


def _walk_included(guard: InnerGuard, included: Any, prefix: str, depth: int) -> Iterator[ListedLeaf]:
    check_included(included)
    for candidate in included.effective_candidates():
        if hasattr(candidate, "effective_candidates"):
            yield from _walk_included(guard, candidate, prefix, depth)
        elif candidate.starlette_route is not None:
            yield from _walk_route(guard, candidate.starlette_route, prefix, included, depth)
        elif getattr(candidate, "endpoint", None) is not None:
            leaf = guard.leaf_of(candidate.original_route, candidate.endpoint, included)
            yield ListedLeaf(prefix + candidate.path, frozenset(candidate.methods), leaf)
    # FastAPI 0.137 has no frontends yet, and 0.138 copies their group with the prefix.
    for context in getattr(included, "effective_low_priority_routes", tuple)():
        group = context.starlette_route or context.original_route
        yield from _walk_frontends(group, prefix, getattr(context, "frontend_prefix", ""))


def _walk_mounted(guard: InnerGuard, route: Any, prefix: str, included: Any, depth: int) -> Iterator[ListedLeaf]:
    leaf = guard.leaf_of(route, route.app, included)
    name = name_below(prefix, route)
    if leaf.router is None:
        yield ListedLeaf(name, frozenset(), leaf)
    else:
        yield from walk(leaf.router, name, depth + 1)


def _walk_frontends(group: Any, prefix: str, included_prefix: str) -> Iterator[ListedLeaf]:
    for frontend in getattr(group, "routes", ()):
        yield ListedLeaf(prefix + included_prefix + frontend.path, frozenset({"GET", "HEAD"}), _opaque(frontend))


def _opaque(endpoint: object) -> Leaf:
    return Leaf(endpoint, requirement=PUBLIC, declared_by_path=True)


def faults(
    leaves: Iterable[ListedLeaf],
    rules: PathRules,
    catalogue: RoleCatalogue | None,
    loaded: LoadedPolicies | None,
    *,
    strict: bool,
) -> list[str]:
    """Return what is wrong with an application's leaves, one sentence each."""
    listed = list(leaves)
    found = [] if listed else ["it has no route at all: nothing would be guarded, so the walk cannot be trusted"]
    used = set()
    for each in listed:
        stated = each.leaf.stated
        if each.leaf.declared_by_path:
            name = normal_name(each.path)
            if each.is_foreign and name in used and name.endswith(">"):
                found.append(f"{each.name}: two foreign routes without a path; one rule cannot mean both")
            used.add(name)
            rule = rules.find(name)
            if rule is not None and rule.public and stated.restriction and not is_framework_page(each.leaf.endpoint):
                found.append(f"{each.name}: its rule is public, but dependencies around it restrict it")
            if rule is None and each.is_foreign:
                found.append(
                    f"{each.name}: a foreign route, whose endpoint the guard cannot see; "
                    f"declare gate.mount_rule({each.path!r}, …)"
                )
        found += [f"{each.name}: {fault}" for fault in stated.hidden]
        found += [f"{each.name}: {fault}" for fault in _uncounted(each, rules)]
        if stated.contradiction and not stated.hidden and (each.is_foreign or not each.leaf.declared_by_path):
            found.append(f"{each.name}: it is @public and restricted at once")
        elif strict and not each.leaf.declared_by_path and not each.is_own and not stated.is_stated:
            found.append(f"{each.name}: it states nothing, and protect(strict=True) asks every route to")
        found += [f"{each.name}: {fault}" for fault in _unknown_names(stated, catalogue)]
        found += [f"{each.name}: {fault}" for fault in _unanswerable(each.leaf.all_questions, loaded)]
        if not each.leaf.declared_by_path:
            found += [f"{each.name}: {_UNSOLVED.format(question.action)}" for question in stated.unsolved]
    for path, requirement in rules.items():
        if path not in used:
            found.append(
                f"a rule is declared for {path}, but there is no leaf that needs one: routes carry their own marks"
            )
        found += [f"{path}: {fault}" for fault in _unknown_names(Statement(restriction=requirement), catalogue)]
        found += [f"{path}: {fault}" for fault in _unanswerable(requirement.questions, loaded)]
        found += [f"{path}: {_UNSOLVED.format(question.action)}" for question in requirement.loading]
    return found


def _uncounted(each: ListedLeaf, rules: PathRules) -> list[str]:
    """Return what is wrong with the limits of a leaf."""
    leaf, stated = each.leaf, each.leaf.stated
    rule = rules.find(normal_name(each.path)) if leaf.declared_by_path else None
    if rule is not None and rule.limits and (leaf.route is None or each.is_foreign):
        return ["its rule has a rate_limit, and nothing can be counted before the guard hands over there"]
    if stated.limits and stated.stray_public and not stated.public and not stated.contradiction:
        return ["a @public stands below @rate_limit, where it does not count: make @public the outermost decorator"]
    return []


def _unanswerable(questions: Iterable[Question], loaded: LoadedPolicies | None) -> list[str]:
    """Return what is wrong with questions that the policies could never answer with yes."""
    if loaded is None:
        return [f"it asks policies for {each.action}, but there are none: Limen(policies=…)" for each in questions]
    known = loaded.policies.actions
    return [
        f"no policy and no role knows the action {each.action}.{meant(each.action, known)}"
        for each in questions
        if each.action not in known
    ]


def _unknown_names(stated: Statement, catalogue: RoleCatalogue | None) -> list[str]:
    requirement: Requirement | None = stated.restriction
    if requirement is None or catalogue is None or not catalogue.names:
        return []
    roles = sorted(requirement.role_names - catalogue.names)
    # Those of limen's own administration are there, whether a role gives them yet or not.
    permissions = sorted(requirement.permission_names - catalogue.permissions - ADMINISTRATION)
    return [
        *(f"the role {name} is not declared, so nobody could ever hold it" for name in roles),
        *(f"no role gives the permission {name}, so nobody could ever hold it" for name in permissions),
    ]
