"""limen's own marks and routes. Loaded only where the application has loaded limen: nobody else has any."""

from collections.abc import Iterator
from typing import Any

from limen.checklist.facts import Guard, Handler, Place, Route, Standing
from limen.checklist.routes.code import place_of
from limen.checklist.routes.walking import SeenRoute
from limen.guard.requirements import AUTHENTICATED, Requirement
from limen.web.guard.declarations import Declaration, Enforcement
from limen.web.guard.dependants import read_dependant
from limen.web.guard.marks import read_marks


def is_declaration(call: object) -> bool:
    """Tell whether a dependency is one of limen's: what it asks is read with the marks of its route."""
    return isinstance(call, Declaration | Enforcement)


def stated_by_limen(seen: SeenRoute, app: Any) -> tuple[bool, Guard | None]:
    """Return whether a route is marked public, and what limen asks there."""
    on_endpoint = read_marks(seen.endpoint)
    stated = on_endpoint & read_dependant(seen.dependant) if seen.dependant is not None else on_endpoint
    protection = getattr(app, "limen_protection", None)
    if stated.public and stated.restriction is None:
        return True, None
    if stated.restriction is not None:
        # Where the application is not protected, only a wrapper refuses: a mark alone is asked by nobody.
        is_asked = protection is not None or hasattr(seen.endpoint, "__wrapped__") or on_endpoint.restriction is None
        return False, _guard(stated.restriction) if is_asked else None
    if protection is None:
        return False, None
    rule = protection.rules.find(seen.path) if seen.kind in {"static", "mount", "pages"} else None
    if rule is not None:
        return rule.public, None if rule.public else _guard(rule)
    return False, _guard(AUTHENTICATED)


def limited_by_limen(seen: SeenRoute, app: Any) -> str:
    """Return how often a route may be called where limen counts: in a protected application. Empty for no limit."""
    if getattr(app, "limen_protection", None) is None:
        return ""
    stated = read_marks(seen.endpoint)
    if seen.dependant is not None:
        stated &= read_dependant(seen.dependant)
    return ", ".join(str(each.rate) for each in stated.limits)


def own_routes(app: Any) -> Iterator[Route]:
    """Yield limen's own routes, where the application is protected: they stand beside those of its routers."""
    protection = getattr(app, "limen_protection", None)
    for each in protection.leaves() if protection is not None else ():
        if each.is_own:
            requirement = each.leaf.requirement
            standing: Standing = "public" if requirement.public else "guarded"
            file, line = place_of(each.leaf.endpoint)
            yield Route(
                each.path,
                tuple(sorted(each.methods - {"HEAD"})),
                "http",
                standing,
                "limen's own route",
                () if requirement.public else (_guard(requirement),),
                handler=Handler(Place(file, line), "limen", is_own_code=False),
            )


def _guard(requirement: Requirement) -> Guard:
    """Return limen's own requirement as a guard; alternatives are apart by a bar."""
    asks = [f"role:{'|'.join(sorted(names))}" for names in requirement.roles_any]
    asks += [f"permission:{name}" for name in requirement.permissions_all]
    asks += [f"permission:{'|'.join(sorted(names))}" for names in requirement.permissions_any]
    asks += [f"policy:{question.action}" for question in requirement.questions]
    asks += ["code" for _ in requirement.checks]
    loads = any(question.load is not None for question in requirement.questions)
    # A cookie session, an API key or a token: which one, the request says.
    return Guard("limen", "limen", tuple(asks), about_object=loads, is_fresh=requirement.live)
