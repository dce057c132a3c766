"""The lock of a policy: what it decides, as a file to commit, and what a change of it means.

A pull request that changes a rule changes the lock beside it, and shows for each action whether somebody may do more
than before, or less. It is told by logic, not by looking at the text: a rule that is cut in two changes nothing.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from limen.authz.compilers.partial import condition_of_rules
from limen.authz.engine import Policies
from limen.authz.loading import rule_text
from limen.authz.matrix import cases_of, condition_in_case
from limen.authz.policy.nodes import And, Attribute, Compare, Constant, In, Node, Or, Truth
from limen.authz.policy.normal_form import negated
from limen.authz.policy.rules import Effect
from limen.authz.policy.shapes import Model
from limen.authz.policy.text import name_of, text_of, value_text
from limen.core.errors import ConfigurationError

FORMAT: Final = 1
MOST_LEAVES: Final = 14
"""Of how many different leaves every combination is tried; with more, a change is only told to be one."""

_ORDER: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    # Whether «x op a» makes «x op b» certain.
    "<": lambda a, b: a <= b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a >= b,
    ">=": lambda a, b: a >= b,
}


class Label(Enum):
    """What a change of a policy means for those who ask."""

    LOOSENED = "loosened"
    TIGHTENED = "tightened"
    CHANGED = "changed"
    """Somebody may do more, and somebody less, or it cannot be told."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one action.

    Attributes:
        action: what is done.
        resource: the name of the model, or empty.
        label: whether somebody may do more, or less.
        before: the condition that was; ``False`` where there was none.
        after: the condition that is.
    """

    action: str
    resource: str
    label: Label
    before: str
    after: str


def lock_of(policies: Policies) -> dict[str, Any]:
    """Return what a policy decides, as plain values in order: the same wherever the same rules are loaded."""
    decisions = []
    for action, model in cases_of(policies):
        name = "" if model is None else model.__qualname__
        decisions.append(_decision(action, name, condition_in_case(policies, action, model)))
        for field, condition in _of_fields(policies, action, model):
            decisions.append(_decision(action, f"{name}.{field}", condition))
    rules = sorted(rule_text(rule) for rule in policies.rules)
    return {"format": FORMAT, "version": policies.version, "rules": rules, "decisions": decisions}


def _decision(action: str, resource: str, condition: Node) -> dict[str, Any]:
    return {"action": action, "resource": resource, "condition": _tree(condition)}


def _of_fields(policies: Policies, action: str, model: Model | None) -> Iterator[tuple[str, Node]]:
    """Return when each field that some rule names may be read or written."""
    rules = [rule for rule in policies.rules_for(action) if rule.row is None or rule.row.model is model]
    for field in sorted({name for rule in rules for name in rule.fields or ()}):
        allows = [rule for rule in policies.rules_for(action, model) if rule.effect is Effect.ALLOW]
        within = [replace(rule, fields=None) for rule in allows if rule.fields is None or field in rule.fields]
        denies = [rule for rule in rules if rule.effect is Effect.DENY]
        against = [replace(rule, fields=None) for rule in denies if rule.fields is None or field in rule.fields]
        yield field, condition_of_rules([*within, *against])


def written(lock: Mapping[str, Any]) -> str:
    """Return the text of a lock file: one change, few lines of difference."""
    return json.dumps(lock, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def read_lock(text: str) -> dict[str, Any]:
    """Return what a lock file says.

    Raises:
        ConfigurationError: it is none, or of another format.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ConfigurationError("The lock file is no JSON. Write it anew with `limen policy lint --lock`.") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("decisions"), list):
        raise ConfigurationError("The lock file is of another format. Write it anew with `limen policy lint --lock`.")
    return found


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what became of each action between two locks; what decides the same is left out."""
    old, new = _by_case(before), _by_case(after)
    found = []
    for case in sorted(old.keys() | new.keys()):
        one, other = old.get(case, False), new.get(case, False)
        label = _label(one, other)
        if label is not None:
            found.append(Change(case[0], case[1], label, _text(one), _text(other)))
    return found


def _by_case(lock: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    return {(str(each["action"]), str(each["resource"])): each["condition"] for each in lock["decisions"]}


def _label(one: Any, other: Any) -> Label | None:
    if one == other:
        return None
    leaves = {leaf["is"]: leaf for tree in (one, other) for leaf in _leaves(tree)}
    if len(leaves) > MOST_LEAVES:
        return Label.CHANGED
    more = less = False
    for told in _possible(leaves):
        was, now = _holds(one, told), _holds(other, told)
        more = more or (now and not was)
        less = less or (was and not now)
    if more and less:
        return Label.CHANGED
    if more or less:
        return Label.LOOSENED if more else Label.TIGHTENED
    return None


def _possible(leaves: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, bool]]:
    """Go through every combination of leaves that can be: no leaf with its opposite, none without what it implies."""
    names = sorted(leaves)
    opposite = [(name, leaves[name]["not"]) for name in names if leaves[name]["not"] in leaves]
    implied = [(a, b) for a, b in itertools.permutations(names, 2) if _implies(leaves[a], leaves[b])]
    for values in itertools.product((False, True), repeat=len(names)):
        told = dict(zip(names, values, strict=True))
        if any(told[a] and told[b] for a, b in opposite) or any(told[a] and not told[b] for a, b in implied):
            continue
        yield told


def _implies(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether a leaf makes another one certain: an amount up to 100 is one up to 200."""
    if one.get("of") is None or one.get("of") != other.get("of"):
        return False
    by, within = one["by"], other["by"]
    if by == within and by in _ORDER:
        return _ORDER[by](one["value"], other["value"])
    if by == within == "in":
        return set(one["value"]) <= set(other["value"])
    return by == within == "not in" and set(one["value"]) >= set(other["value"])


def _holds(tree: Any, told: Mapping[str, bool]) -> bool:
    if isinstance(tree, bool):
        return tree
    if "all" in tree:
        return all(_holds(part, told) for part in tree["all"])
    if "any" in tree:
        return any(_holds(part, told) for part in tree["any"])
    return told[tree["is"]]


def _leaves(tree: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, bool):
        return
    parts: Iterable[Any] = tree.get("all", tree.get("any", ()))
    for part in parts:
        yield from _leaves(part)
    if "is" in tree:
        yield tree


def _text(tree: Any) -> str:
    if isinstance(tree, bool):
        return str(tree)
    for sign, word in (("&", "all"), ("|", "any")):
        if word in tree:
            return f" {sign} ".join(f"({_text(part)})" for part in tree[word])
    return str(tree["is"])


def _tree(node: Node) -> Any:
    match node:
        case Truth(value):
            return value
        case And(parts):
            return {"all": [_tree(part) for part in parts]}
        case Or(parts):
            return {"any": [_tree(part) for part in parts]}
        case _:
            return {"is": text_of(node), "not": text_of(negated(node)), **_bound(node)}


def _bound(leaf: Node) -> dict[str, Any]:
    """Return what tells how far a leaf reaches: a limit, or a set."""
    match leaf:
        case Compare(comparison, Attribute() as left, Constant(value=int() as value)) if comparison.value in _ORDER:
            return {"of": name_of(left), "by": comparison.value, "value": value}
        case In(Attribute() as item, Constant(value=frozenset() as options), is_not):
            return {
                "of": name_of(item), "by": "not in" if is_not else "in",
                "value": sorted(value_text(each) for each in options),
            }  # fmt: skip
        case _:
            return {}
