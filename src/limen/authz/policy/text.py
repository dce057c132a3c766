"""A condition as one would write it: for explanations, for the lock file, and for the version of a policy.

It is the same in every process: sets are in order, and a function is called by its name.
"""

from enum import Enum
from typing import Any

from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    HasPermission,
    HasRole,
    In,
    IsNull,
    Node,
    Not,
    Operand,
    Or,
    PythonLeaf,
    TextMatch,
    Truth,
)


def text_of(node: Node) -> str:
    """Return a condition as text, such as ``(Order.maker_id != subject.id) & (Order.amount <= 100)``."""
    match node:
        case And(parts):
            return " & ".join(_bracketed(part) for part in parts)
        case Or(parts):
            return " | ".join(_bracketed(part) for part in parts)
        case Not(part):
            return f"~{_bracketed(part)}"
        case _:
            return _leaf(node)


def _bracketed(node: Node) -> str:
    text = text_of(node)
    return f"({text})" if isinstance(node, And | Or | Compare) else text


def _leaf(leaf: Node) -> str:  # noqa: PLR0911 - one for each kind of node
    sign = "~" if getattr(leaf, "negated", False) else ""
    match leaf:
        case Truth(value):
            return str(value)
        case Compare(comparison, left, right):
            return f"{_operand(left)} {comparison.value} {_operand(right)}"
        case In(item, options, is_not):
            return f"{_operand(item)}.{'not_in' if is_not else 'in_'}({_operand(options)})"
        case IsNull(operand, is_not):
            return f"{name_of(operand)}.{'is_not_null' if is_not else 'is_null'}()"
        case TextMatch(match, text, part):
            return f"{sign}{_operand(text)}.{match.value}({_operand(part)})"
        case HasRole(role):
            return f"{sign}subject.has_role({role!r})"
        case HasPermission(permission):
            return f"{sign}subject.has_permission({permission!r})"
        case AnyRow(relation, _, condition):
            return f"{sign}{name_of(relation)}.any({text_of(condition)})"
        case PythonLeaf(name=name):
            return f"{sign}python({name})"
        case _:
            raise TypeError(f"{type(leaf).__name__} is no part of a policy")


def _operand(operand: Operand) -> str:
    if isinstance(operand, Attribute):
        return name_of(operand)
    return value_text(operand.value)


def name_of(attribute: Attribute) -> str:
    """Return what an attribute is called, such as ``Order.team.lead_id`` or ``subject.limit``."""
    whose = attribute.row.name if attribute.row is not None else attribute.source.value
    return ".".join((whose, *attribute.path))


def value_text(value: Any) -> str:
    """Return a constant as text; the members of a set are in order."""
    if isinstance(value, frozenset):
        return f"[{', '.join(sorted(value_text(each) for each in value))}]"
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    return repr(value)
