"""Which roles somebody is to hold, by what a provider says of them, and by a rule that was declared."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from limen.core.held import counting
from limen.features.sso.providers import EVERYBODY, SSOProvider

MOST_VALUES: Final = 1_000
"""Values of a claim that are looked at; more of them are none at all, since half of them would be anybody's guess."""


def roles_wanted(provider: SSOProvider, claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the roles that the rule gives for these claims; a claim that is missing, or is no text, gives none."""
    rule = provider.roles_of
    wanted: set[str] = set(rule.get(EVERYBODY, ()))
    for value in values_of(claims, provider.roles_claim):
        if value != EVERYBODY:
            wanted |= rule.get(value, frozenset())
    return frozenset(wanted)


def without_separated(wanted: frozenset[str], beside: frozenset[str], names: frozenset[str]) -> frozenset[str]:
    """Return what may be given of the wanted roles: of two that nobody may hold at once, neither.

    Args:
        wanted: what the rule gives.
        beside: what the account holds all the same; that stays.
        names: the roles there are.
    """
    return wanted & counting(wanted | beside, names)


def values_of(claims: Mapping[str, Any], path: str) -> Collection[str]:
    """Return the texts at a claim: under its whole name, or else along its dots."""
    found: Any = claims.get(path)
    if found is None:
        found = claims
        for part in path.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return [found]
    if not isinstance(found, list | tuple) or len(found) > MOST_VALUES:
        return []
    return [each for each in found if isinstance(each, str)]
