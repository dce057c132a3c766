"""Which rules decide about what: by the class of the resource, with the tenants' conditions beside every allow."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from limen.authz.compilers.python import Access, access_to
from limen.authz.loading import Loaded, Tenant, lineage
from limen.authz.policy.models import shape_of
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    In,
    IsNull,
    Node,
    Not,
    Operand,
    Or,
    Row,
    TextMatch,
    Truth,
)
from limen.authz.policy.normal_form import FALSE, TRUE
from limen.authz.policy.rules import Effect, Rule
from limen.authz.policy.shapes import Model


@dataclass(frozen=True, slots=True)
class Case:
    """What an action is asked about.

    Attributes:
        models: those that the policy knows of, and that the resource is an instance of.
        access: how its fields are read.
        is_something: False where there is no resource.
    """

    models: tuple[Model, ...]
    access: Access
    is_something: bool = True


NOTHING = Case((), Access.PLAIN, is_something=False)


def case_of(cls: type, models: Iterable[Model]) -> Case:
    """Return what an instance of a class is, to rules that know these models.

    A mapping does not tell what it is: it is taken for the one TypedDict among the models.
    """
    if cls is type(None):
        return NOTHING
    parents = lineage(cls)
    known = tuple(models)
    found = tuple(model for model in known if model in parents)
    if not found and issubclass(cls, Mapping):
        return Case(tuple(model for model in known if shape_of(model).is_mapping), Access.MAPPING)
    kinds = {access_to(model) for model in found}
    return Case(found, Access.MAPPED if Access.MAPPED in kinds else Access.PLAIN)


def mapping_as(models: tuple[Model, ...]) -> Case | None:
    """Return what a mapping is that stands for an instance in a policy's own tests; None where it could be several."""
    kept = [model for model in models if not any(model is not each and model in lineage(each) for each in models)]
    if len(kept) > 1:
        return None
    return Case(tuple(model for model in models if model in lineage(kept[0])) if kept else (), Access.MAPPING)


def models_of(loaded: Loaded, action: str) -> tuple[Model, ...]:
    """Return the models that can make a difference to an action."""
    named = [rule.row.model for rule in loaded.by_action.get(action, ()) if rule.row is not None]
    tenanted = (*(tenant.row.model for tenant in loaded.tenants), *loaded.untenanted)
    # Only a rule of this very action says which TypedDict a mapping is.
    others = [model for model in tenanted if not shape_of(model).is_mapping]
    return tuple(dict.fromkeys((*named, *others)))


def rules_about(loaded: Loaded, action: str, case: Case) -> tuple[Rule, ...]:
    """Return the rules of an action that count for a case, each with the condition that decides there.

    An allow about another resource does not hold, and no allow holds beside a tenant's condition that does not. A deny
    about another resource is nothing to this one; but where the policy knows nothing of what it is asked about, be it
    no resource at all or an object of some foreign class, whether a deny would hold is unknown, and so it does.
    """
    rules = loaded.by_action.get(action, ())
    about = {rule.row.model for rule in rules if rule.row is not None}
    is_foreign = about.isdisjoint(case.models)
    found: list[Rule] = []
    for rule in rules:
        counts = rule.row is None or rule.row.model in case.models
        if rule.effect is Effect.DENY:
            if counts:
                found.append(rule)
            elif is_foreign:
                found.append(replace(rule, condition=TRUE, row=None))
        elif counts:
            found.append(_within_tenant(rule, loaded, case))
    return tuple(found)


def _within_tenant(rule: Rule, loaded: Loaded, case: Case) -> Rule:
    if not loaded.tenants or not case.is_something:
        return rule
    tenants = [tenant for tenant in loaded.tenants if tenant.row.model in case.models]
    if not tenants:
        is_free = not loaded.untenanted.isdisjoint(case.models)
        return rule if is_free else replace(rule, condition=FALSE)
    return beside(rule, tenants)


def beside(rule: Rule, tenants: Collection[Tenant]) -> Rule:
    """Return a rule that holds only where the tenants' conditions do, about one row with them."""
    row = rule.row or next(iter(tenants)).row
    conditions = [with_row(tenant.condition, tenant.row, row) for tenant in tenants]
    kept = () if isinstance(rule.condition, Truth) and rule.condition.value else (rule.condition,)
    parts = (*conditions, *kept)
    return replace(rule, condition=parts[0] if len(parts) == 1 else And(parts), row=row)


def with_row(node: Node, old: Row, new: Row) -> Node:  # noqa: PLR0911 - one for each kind of node
    """Return a condition about another row: the same resource under the name that a rule has for it."""
    if old == new:
        return node

    def moved(operand: Operand) -> Operand:
        return of_row(operand) if isinstance(operand, Attribute) else operand

    def of_row(attribute: Attribute) -> Attribute:
        return replace(attribute, row=new) if attribute.row == old else attribute

    match node:
        case And(parts):
            return And(tuple(with_row(part, old, new) for part in parts))
        case Or(parts):
            return Or(tuple(with_row(part, old, new) for part in parts))
        case Not(part):
            return Not(with_row(part, old, new))
        case Compare(comparison, left, right):
            return Compare(comparison, moved(left), moved(right))
        case In(item, options):
            return replace(node, item=moved(item), options=moved(options))
        case TextMatch(_, text, part):
            return replace(node, text=moved(text), part=moved(part))
        case IsNull(operand):
            return replace(node, operand=of_row(operand))
        case AnyRow(relation):
            return replace(node, relation=of_row(relation))
        case _:
            return node
