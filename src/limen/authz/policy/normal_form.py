"""The normal form: negations stand at the leaves alone, and what is certain is gone.

It is what makes Python and SQL say the same. A leaf that is unknown is false in both polarities, and a tree of «and»
and «or» over leaves can only lose by that: where it is true it is true whatever the unknown ones are.
"""

from dataclasses import replace
from typing import Final

from limen.authz.policy.nodes import And, AnyRow, Compare, Comparison, Leaf, Node, Not, Or, Truth

TRUE: Final = Truth(True)
FALSE: Final = Truth(False)

_OPPOSITE: Final = {
    Comparison.EQUAL: Comparison.NOT_EQUAL,
    Comparison.NOT_EQUAL: Comparison.EQUAL,
    Comparison.LESS: Comparison.GREATER_OR_EQUAL,
    Comparison.LESS_OR_EQUAL: Comparison.GREATER,
    Comparison.GREATER: Comparison.LESS_OR_EQUAL,
    Comparison.GREATER_OR_EQUAL: Comparison.LESS,
}


def normal_form(node: Node) -> Node:
    """Return the same condition without `Not`, joins of one kind merged, and `Truth` only where nothing else is left.

    `AnyRow` keeps its own negation; its condition is in normal form. What is in normal form comes back as it is. No
    leaf is taken for certain: ``in_([])`` is never true, but it is unknown where the item is missing, and so is its
    opposite.
    """
    return _form(node, negative=False)


def negated(node: Node) -> Node:
    """Return the normal form of the opposite: true only where the condition is known to be false."""
    return _form(node, negative=True)


def joined(kind: type[And] | type[Or], parts: list[Node]) -> Node:
    """Return conditions in normal form as one; nothing joined by «and» is true, by «or» false."""
    neutral, final = (TRUE, FALSE) if kind is And else (FALSE, TRUE)
    kept: list[Node] = []
    for part in parts:
        if part == final:
            return final
        if isinstance(part, kind):
            kept.extend(part.parts)
        elif part != neutral:
            kept.append(part)
    if not kept:
        return neutral
    return kept[0] if len(kept) == 1 else kind(tuple(kept))


def _form(node: Node, *, negative: bool) -> Node:
    match node:
        case Not(part):
            return _form(part, negative=not negative)
        case And(parts):
            return joined(Or if negative else And, [_form(part, negative=negative) for part in parts])
        case Or(parts):
            return joined(And if negative else Or, [_form(part, negative=negative) for part in parts])
        case _:
            return _leaf(node, negative=negative)


def _leaf(leaf: Leaf, *, negative: bool) -> Leaf:
    match leaf:
        case Truth(value):
            return Truth(value is not negative)
        case Compare(comparison, left, right):
            return Compare(_OPPOSITE[comparison], left, right) if negative else leaf
        case AnyRow(relation, row, condition, was):
            return AnyRow(relation, row, _form(condition, negative=False), was is not negative)
        case _:
            return replace(leaf, negated=not leaf.negated) if negative else leaf
