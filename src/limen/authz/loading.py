"""From rules as they are written to rules that decide: actions spelled out, tenants and models checked, all at once.

Whatever is wrong is found here and not at the first request: a rule that is skipped, and a wildcard that stands for
nothing, are holes that nobody sees.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from limen.authz.policy.expressions import meant, rows_of
from limen.authz.policy.models import shape_of
from limen.authz.policy.nodes import And, AnyRow, Node, Not, Or, PythonLeaf, Row
from limen.authz.policy.rules import Effect, PolicySet, Rule
from limen.authz.policy.shapes import Model
from limen.authz.policy.text import text_of
from limen.core.errors import ConfigurationError

DEEPEST_TREE: Final = 200
"""How many levels a tree may have that was not built with ``&``, ``|`` and ``~``, which take fewer."""


class PolicyRefused(ConfigurationError):
    """The rules cannot be loaded. The ones that were loaded before, if any, go on deciding.

    Attributes:
        faults: everything that is wrong, one sentence each.
    """

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        lines = "".join(f"\n- {fault}" for fault in self.faults)
        super().__init__(f"The policies are not loaded: {len(self.faults)} of them cannot be used.{lines}")


@dataclass(frozen=True, slots=True)
class Tenant:
    """What makes a resource one of the subject's tenant.

    Attributes:
        row: the resource.
        condition: must hold beside every allow.
    """

    row: Row
    condition: Node


@dataclass(frozen=True, slots=True)
class Loaded:
    """Rules that decide.

    Attributes:
        rules: as declared.
        by_action: the rules of each action that is known.
        tenants: by model; empty where the application has none.
        untenanted: the models that belong to no tenant.
        reads: for each model the action that is asked before one of its rows is shown.
        context: what is handed in everywhere.
        version: the first 12 hexadecimal digits of the SHA-256 of all that decides, as text.
    """

    rules: tuple[Rule, ...]
    by_action: Mapping[str, tuple[Rule, ...]]
    tenants: tuple[Tenant, ...]
    untenanted: frozenset[Model]
    reads: Mapping[Model, str]
    context: frozenset[str]
    version: str


def load(declared: PolicySet | Iterable[Rule], permissions: Collection[str]) -> Loaded:
    """Return rules that decide.

    Args:
        declared: as written.
        permissions: every action that a role names.

    Raises:
        PolicyRefused: with everything that is wrong.
    """
    declared = declared if isinstance(declared, PolicySet) else PolicySet(declared)
    faults: list[str] = []
    faults += _too_deep(declared)
    if faults:
        raise PolicyRefused(faults)
    known = _known(declared, permissions)
    tenants = tuple(_tenants(declared, faults))
    faults += _repeated(declared.rules)
    rules = tuple(_spelled_out(rule, known, faults) for rule in declared.rules)
    by_action: dict[str, list[Rule]] = {action: [] for action in sorted(known)}
    for rule in rules:
        for action in rule.actions:
            by_action.setdefault(action, []).append(rule)
    for rule in rules:
        faults += _wrong_fields(rule)
    faults += _without_tenant(rules, tenants, declared)
    faults += _two_mappings(by_action)
    faults += _wrong_reads(declared.reads, by_action)
    if faults:
        raise PolicyRefused(faults)
    return Loaded(
        declared.rules,
        {action: tuple(listed) for action, listed in by_action.items()},
        tenants,
        declared.untenanted,
        dict(declared.reads),
        declared.context,
        _version(rules, tenants, declared),
    )


def _known(declared: PolicySet, permissions: Collection[str]) -> set[str]:
    """Return every action there is: an allow makes one known, a deny does not."""
    named = (
        action
        for rule in declared.rules
        if rule.effect is Effect.ALLOW
        for action in rule.actions
        if not action.endswith(":*")
    )
    return {*(str(name) for name in permissions), *declared.actions, *declared.reads.values(), *named}


def _spelled_out(rule: Rule, known: set[str], faults: list[str]) -> Rule:
    """Return a rule whose wildcards stand for what is known; a deny may name nothing else."""
    actions: dict[str, None] = {}
    for action in rule.actions:
        if action.endswith(":*"):
            found = sorted(name for name in known if name.startswith(action[:-1]))
            if not found:
                faults.append(f"{rule.effect.value} {rule.id}: {action} stands for no action that is known.")
            actions |= dict.fromkeys(found)
            continue
        if action not in known:
            faults.append(
                f"{rule.effect.value} {rule.id}: no role and no allow names the action {action}, so it never denies "
                f"anything.{meant(action, known)}"
            )
        actions[action] = None
    return rule if tuple(actions) == rule.actions else replace(rule, actions=tuple(actions))


def _repeated(rules: Iterable[Rule]) -> Iterator[str]:
    seen: set[str] = set()
    for rule in rules:
        if rule.id in seen:
            yield f"{rule.effect.value} {rule.id}: another rule has this id."
        seen.add(rule.id)


def _wrong_fields(rule: Rule) -> Iterator[str]:
    if rule.fields is None or rule.row is None:
        return
    fields = shape_of(rule.row.model).fields
    for name in sorted(rule.fields - fields.keys()):
        yield f"{rule.effect.value} {rule.id}: {rule.row.name} has no field {name}.{meant(name, fields)}"


def _tenants(declared: PolicySet, faults: list[str]) -> Iterator[Tenant]:
    seen: set[Model] = set()
    for expression in declared.tenants:
        rows = rows_of(expression.node)
        if len(rows) != 1:
            faults.append(f"tenants: {text_of(expression.node)} is not about one resource.")
            continue
        row = rows.pop()
        if row.model in seen or row.model in declared.untenanted:
            faults.append(f"tenants: {row.model.__name__} is named twice.")
        seen.add(row.model)
        yield Tenant(row, expression.node)


def _without_tenant(rules: Iterable[Rule], tenants: Collection[Tenant], declared: PolicySet) -> Iterator[str]:
    if not tenants:
        return
    named = {tenant.row.model for tenant in tenants} | declared.untenanted
    models = {rule.row.model for rule in rules if rule.row is not None} | declared.reads.keys()
    for model in sorted(models, key=lambda model: model.__name__):
        if named.isdisjoint(lineage(model)):
            yield (
                f"tenants: {model.__name__} belongs to no tenant. Add its condition to tenants=, or name it in "
                "untenanted=."
            )


def lineage(model: Model) -> tuple[Model, ...]:
    """Return a class and those that it inherits from."""
    return model.__mro__


def _two_mappings(by_action: Mapping[str, Iterable[Rule]]) -> Iterator[str]:
    for action, rules in by_action.items():
        models = {rule.row.model for rule in rules if rule.row is not None}
        if len(models) < 2:
            continue
        mappings = sorted(model.__name__ for model in models if shape_of(model).is_mapping)
        if len(mappings) > 1:
            yield f"{action}: a dict does not tell whether it is {' or '.join(mappings)}; let an action be about one."


def _wrong_reads(reads: Mapping[Model, str], by_action: Mapping[str, Iterable[Rule]]) -> Iterator[str]:
    for model, action in reads.items():
        for rule in by_action.get(action, ()):
            if rule.row is not None and rule.row.model not in lineage(model):
                continue
            for leaf in leaves_of(rule.condition):
                if isinstance(leaf, PythonLeaf) and leaf.sql is None:
                    yield (
                        f"{rule.effect.value} {rule.id}: lists of {model.__name__} are filtered by {action}, and "
                        f"python({leaf.name}) has no sql=, so they cannot be."
                    )


def leaves_of(node: Node) -> Iterator[Node]:
    """Go through the leaves of a condition; of a relation to many rows, through those of what is asked of them too."""
    match node:
        case And(parts) | Or(parts):
            for part in parts:
                yield from leaves_of(part)
        case Not(part):
            yield from leaves_of(part)
        case AnyRow(condition=condition):
            yield node
            yield from leaves_of(condition)
        case _:
            yield node


def _too_deep(declared: PolicySet) -> Iterator[str]:
    trees = [(f"{rule.effect.value} {rule.id}", rule.condition) for rule in declared.rules]
    trees += [("tenants", expression.node) for expression in declared.tenants]
    for what, node in trees:
        level: list[Node] = [node]
        for _ in range(DEEPEST_TREE):
            level = [part for each in level for part in _below(each)]
            if not level:
                break
        else:
            yield f"{what}: its condition has more than {DEEPEST_TREE} levels."


def _below(node: Node) -> tuple[Node, ...]:
    match node:
        case And(parts) | Or(parts):
            return parts
        case Not(part) | AnyRow(condition=part):
            return (part,)
        case _:
            return ()


def _version(rules: Iterable[Rule], tenants: Iterable[Tenant], declared: PolicySet) -> str:
    lines = sorted(rule_text(rule) for rule in rules)
    lines += sorted(f"tenant {_model_text(tenant.row)} {text_of(tenant.condition)}" for tenant in tenants)
    lines += sorted(f"untenanted {model.__module__}.{model.__qualname__}" for model in declared.untenanted)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def rule_text(rule: Rule) -> str:
    """Return all of a rule that decides, as one line: the same in every process."""
    fields = "" if rule.fields is None else f" fields={','.join(sorted(rule.fields))}"
    about = "" if rule.row is None else f" {_model_text(rule.row)}"
    actions = ",".join(sorted(rule.actions))
    return f"{rule.effect.value} {rule.id} {actions}{about}{fields}: {text_of(rule.condition)}"


def _model_text(row: Row) -> str:
    return f"{row.model.__module__}.{row.model.__qualname__}"
