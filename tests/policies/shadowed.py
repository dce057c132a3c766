"""Orders, two policies about them, and gates that compare what they decide."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limen import (
    Limen,
    Principal,
    PrincipalKind,
    allow,
    deny,
    resource,
    subject,
)
from limen.authz.policy.rules import Rule
from limen.authz.shadow import Differences
from limen.guard.shadow import ShadowedPolicies
from tests.policies.guarding import loaded
from tests.support.gates import ROLES, settings_for

SECRET = "never listed"


@dataclass
class Order:
    """An order."""

    maker_id: str
    amount: int = 1
    note: str = SECRET


class Turned:
    """A clock that is turned by hand."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


U, O = subject(), resource(Order)  # noqa: E741 - as in the documentation
OLD = (
    allow("order:approve", O.amount < 100, id="small"),
    deny("order:approve", O.maker_id == U.id, id="own_order"),
)
ME = Principal(sub="me", kind=PrincipalKind.PERSON, roles=frozenset({"checker"}))
YOU = replace(ME, sub="you", kind=PrincipalKind.SERVICE)
SMALL, MIDDLE, MINE = Order("x", 5), Order("x", 50), Order("me", 5)


def gate_of(folder: Path, policies: Any = OLD, **more: Any) -> Limen:
    """Return a gate with these policies in force."""
    return Limen(settings_for(folder), roles=more.pop("roles", ROLES), policies=policies, **more)


def shadowed(in_force: tuple[Rule, ...], shadow: tuple[Rule, ...]) -> ShadowedPolicies:
    """Return loaded policies with others in their shadow."""
    alone, beside = loaded(in_force), loaded(shadow)
    return ShadowedPolicies(alone, beside, Differences(alone.policies, beside.policies, Turned()))


def kinds_of(gate: Any) -> list[tuple[str, bool, bool, str | None, str | None, int]]:
    """Return what was counted, without times and examples."""
    loaded_policies = gate.loaded_policies
    assert isinstance(loaded_policies, ShadowedPolicies)
    return [
        (each.action, each.allowed, each.shadow_allowed, each.rule, each.shadow_rule, each.count)
        for each in loaded_policies.differences.snapshot().differences
    ]
