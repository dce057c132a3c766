"""Questions about a tree: which rows it is about, and what its leaves compare."""

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
)


def rows_of(node: Node) -> set[Row]:
    """Return the rows that a condition is about, without those that it finds through a relation to many."""
    match node:
        case And(parts) | Or(parts):
            return {row for part in parts for row in rows_of(part)}
        case Not(part):
            return rows_of(part)
        case AnyRow(relation=relation):
            return set() if relation.row is None else {relation.row}
        case _:
            return {operand.row for operand in operands_of(node) if isinstance(operand, Attribute) and operand.row}


def operands_of(leaf: Node) -> tuple[Operand, ...]:
    """Return what a leaf compares."""
    match leaf:
        case Compare(left=left, right=right):
            return (left, right)
        case In(item=item, options=options):
            return (item, options)
        case TextMatch(text=text, part=part):
            return (text, part)
        case IsNull(operand=operand):
            return (operand,)
        case _:
            return ()
