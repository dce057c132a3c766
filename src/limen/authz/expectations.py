"""A policy's own tests: rows of a table, asked at every loading."""

from limen.authz.policy.expressions import SUBJECT_FIELDS
from limen.authz.policy.rules import Expectation
from limen.core.decision import Decision
from limen.core.principal import Principal, PrincipalKind


def principal_of(test: Expectation) -> Principal:
    """Return the subject of a test: anonymous where nothing is said of it."""
    told = dict(test.subject)
    sub = str(told.pop("id", "") or "")
    roles = frozenset(told.pop("roles", None) or ())  # type: ignore[call-overload]
    permissions = frozenset(told.pop("permissions", None) or ())  # type: ignore[call-overload]
    is_somebody = bool(sub or roles or permissions or told)
    kind = told.pop("kind", PrincipalKind.PERSON if is_somebody else PrincipalKind.ANONYMOUS)
    own = {name: told.pop(name) for name in SUBJECT_FIELDS if name in told}
    return Principal(
        sub=sub,
        kind=PrincipalKind(str(kind)),
        roles=roles,
        permissions=permissions,
        attributes=told,
        **own,  # type: ignore[arg-type]
    )


def unmet(test: Expectation, decision: Decision) -> str | None:
    """Return in which way a decision is another one than the test asks for; None where it is that one."""
    named = f"test: {test.action}"
    if decision.allowed is not test.allowed:
        by = f" by {decision.rule}" if decision.rule else ""
        return f"{named} is {_word(decision.allowed)}{by}, and must be {_word(test.allowed)}."
    if test.by is not None and decision.rule != test.by:
        return f"{named} is {_word(decision.allowed)} by {decision.rule or 'no rule'}, and must be by {test.by}."
    return None


def _word(allowed: bool) -> str:
    return "allowed" if allowed else "denied"
