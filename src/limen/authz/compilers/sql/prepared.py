"""Conditions about a mapped class, made ready once: what only depends on the policy is not compiled for each principal.

What is said is what `limen.authz.compilers.partial.bound` and `limen.authz.compilers.sql.where.where` say one after the
other. A leaf that reads nothing but the row is one condition for everybody; of one that compares a column with a value
of the principal's only the parameter is new. All others are bound and compiled each time.

Nothing of a principal or a context is kept.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

import sqlalchemy as sa
from sqlalchemy.sql.elements import BinaryExpression, BindParameter

from limen.authz.compilers.partial import Binding, Bound, comparable
from limen.authz.compilers.sql.rows import Column, Entity
from limen.authz.compilers.sql.where import NO, YES, compiled, fits
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Constant,
    HasPermission,
    HasRole,
    Leaf,
    Node,
    Not,
    Operand,
    Or,
    PythonLeaf,
    Source,
    Truth,
)
from limen.authz.policy.normal_form import FALSE, TRUE, normal_form
from limen.authz.policy.shapes import NUMBERS, Kind
from limen.authz.policy.tree import operands_of
from limen.core.principal import ANONYMOUS, Principal

_MOST: Final = 1024
"""How many conditions are remembered; of policies or classes that come and go, those of before are forgotten."""

_ROW: Final = Source.RESOURCE

_VALUE_DECIDES: Final = NUMBERS | {Kind.TEXT, Kind.ANY}
"""The kinds of which some values are compared in another way than most, or not at all."""

_Make: TypeAlias = Callable[[Any, Principal], Column]
_Left: TypeAlias = Truth | tuple[_Make, Any]
"""What is left of a part: `TRUE` and `FALSE` themselves, or what makes its SQL and what that has to be told."""


class _Part(Protocol):
    def left(self, binding: Binding, principal: Principal) -> _Left:
        """Return what is left for a principal. What is gone is not compiled, whatever could be wrong with it."""


class Prepared:
    """One condition about one mapped class.

    Args:
        node: the condition, in normal form.
        top: the class.

    Attributes:
        node: the condition.
    """

    __slots__ = ("_part", "node")

    def __init__(self, node: Node, top: Entity) -> None:
        self.node = node
        self._part = _part_of(node, top)

    def where(self, principal: Principal, context: Mapping[str, object]) -> Column:
        """Return the condition of SQL for a principal; see `limen.authz.compilers.sql.where.where`.

        Raises:
            ConfigurationError: SQL cannot say what is left.
        """
        left = self._part.left(Binding(principal, context), principal)
        if isinstance(left, Truth):
            return YES if left.value else NO
        make, told = left
        return make(told, principal)


_remembered: dict[tuple[int, type], Prepared] = {}


def prepared(node: Node, top: Entity) -> Prepared:
    """Return a condition about a mapped class made ready; the same object for the same objects.

    Args:
        node: the condition. It is told from others by its identity: policies keep one object for each.
        top: the class, no alias of it.
    """
    key = (id(node), top.mapper.class_)
    found = _remembered.get(key)
    if found is None or found.node is not node:
        found = Prepared(node, top)
        if len(_remembered) >= _MOST:
            _remembered.clear()
        _remembered[key] = found
    return found


def _part_of(node: Node, top: Entity) -> _Part:
    match node:
        case And(parts):
            return _Joined(sa.and_, FALSE, TRUE, [_part_of(part, top) for part in parts])
        case Or(parts):
            return _Joined(sa.or_, TRUE, FALSE, [_part_of(part, top) for part in parts])
        case Not():
            return _part_of(normal_form(node), top)
        case _:
            return _leaf_of(node, top)


def _leaf_of(node: Leaf, top: Entity) -> _Part:
    if isinstance(node, HasRole):
        return _OfRole(node)
    if isinstance(node, HasPermission):
        return _OfPermission(node)
    operands = operands_of(node)
    own = [operand for operand in operands if _is_column(operand)]
    known = [operand for operand in operands if not (isinstance(operand, Attribute) and operand.source is _ROW)]
    if isinstance(node, PythonLeaf | AnyRow) or len(own) + len(known) < len(operands):
        return _Other(node, top)
    if all(isinstance(operand, Constant) for operand in known):
        # Whoever asks: no operand is the principal's.
        settled = Binding(ANONYMOUS, {}).bound(node)
        return _Settled(settled) if isinstance(settled, Truth) else _OfRow(settled, top)
    return _OfValue(node, top) if own and isinstance(node, Compare) else _Other(node, top)


def _is_column(operand: Operand) -> bool:
    """Tell whether it is a column of the very row that is asked about: no relation leads to it."""
    return isinstance(operand, Attribute) and operand.source is _ROW and len(operand.path) == 1


class _Joined:
    """Several parts, joined by «and» or «or»."""

    __slots__ = ("_final", "_join", "_neutral", "_parts")

    def __init__(self, join: Callable[..., Column], final: Truth, neutral: Truth, parts: list[_Part]) -> None:
        self._join = join
        self._final = final
        self._neutral = neutral
        self._parts = parts

    def left(self, binding: Binding, principal: Principal) -> _Left:
        found: list[tuple[_Make, Any]] = []
        for part in self._parts:
            one = part.left(binding, principal)
            if one is self._final:
                return one
            if not isinstance(one, Truth):
                found.append(one)
        if len(found) < 2:
            return found[0] if found else self._neutral
        return self._made, found

    def _made(self, found: Any, principal: Principal) -> Column:
        return self._join(*[make(told, principal) for make, told in found])


class _Settled:
    """What is the same for everybody."""

    __slots__ = ("_truth",)

    def __init__(self, truth: Truth) -> None:
        self._truth = TRUE if truth.value else FALSE

    def left(self, _binding: Binding, _principal: Principal) -> _Left:
        return self._truth


class _OfRole:
    """Whether the principal holds a role."""

    __slots__ = ("_if_so", "_otherwise", "_role")

    def __init__(self, leaf: HasRole) -> None:
        self._role = leaf.role
        self._if_so, self._otherwise = (FALSE, TRUE) if leaf.negated else (TRUE, FALSE)

    def left(self, _binding: Binding, principal: Principal) -> _Left:
        return self._if_so if self._role in principal.roles else self._otherwise


class _OfPermission:
    """Whether the principal has a permission."""

    __slots__ = ("_if_so", "_otherwise", "_permission")

    def __init__(self, leaf: HasPermission) -> None:
        self._permission = leaf.permission
        self._if_so, self._otherwise = (FALSE, TRUE) if leaf.negated else (TRUE, FALSE)

    def left(self, _binding: Binding, principal: Principal) -> _Left:
        return self._if_so if self._permission in principal.permissions else self._otherwise


class _OfRow:
    """A leaf about columns and constants: one condition, which every statement may share."""

    __slots__ = ("_column", "_leaf", "_left", "_top")

    def __init__(self, leaf: Bound, top: Entity) -> None:
        self._leaf = leaf
        self._top = top
        self._column: Column | None = None
        self._left: _Left = (self._made, None)

    def left(self, _binding: Binding, _principal: Principal) -> _Left:
        return self._left

    def _made(self, _told: None, principal: Principal) -> Column:
        found = self._column
        if found is None:
            found = self._column = compiled(self._leaf, self._top, principal)
        return found


class _OfValue:
    """A column, compared with something of the principal's or the context's."""

    __slots__ = ("_attribute", "_is_reversed", "_known", "_leaf", "_shape", "_top")

    def __init__(self, leaf: Compare, top: Entity) -> None:
        self._leaf = leaf
        self._top = top
        self._is_reversed = not _is_column(leaf.left)
        self._attribute, self._known = (leaf.right, leaf.left) if self._is_reversed else (leaf.left, leaf.right)
        self._shape: tuple[Any, ...] | None = None

    def left(self, binding: Binding, _principal: Principal) -> _Left:
        told = comparable(self._known, self._attribute, binding.value(self._known))
        return FALSE if told is None else (self._made, told)

    def _made(self, told: Constant, principal: Principal) -> Column:
        if not self._is_usual(told.value):
            return self._compiled(told, principal)
        shape = self._shape
        if shape is None:
            made = self._compiled(told, principal)
            if type(made) is BinaryExpression and type(made.right) is BindParameter:
                self._shape = (made.left, made.right.type, made.operator, made.type, made.negate, made.modifiers)
            return made
        column, kind, operator, type_, negate, modifiers = shape
        parameter = sa.bindparam(None, told.value, type_=kind, unique=True)
        return BinaryExpression(column, parameter, operator, type_, negate, modifiers)

    def _compiled(self, told: Constant, principal: Principal) -> Column:
        sides = (told, self._attribute) if self._is_reversed else (self._attribute, told)
        return compiled(Compare(self._leaf.comparison, *sides), self._top, principal)

    def _is_usual(self, value: Any) -> bool:
        """Tell whether a value is compared as it is, as nearly all of its column's kind are."""
        kind = self._attribute.kind
        if kind is Kind.TEXT:
            return type(value) is str and fits(value)
        if kind is Kind.INTEGER:
            return type(value) is int and -(1 << 63) <= value < 1 << 63
        return kind not in _VALUE_DECIDES


class _Other:
    """A leaf that is bound and compiled for each principal."""

    __slots__ = ("_leaf", "_top")

    def __init__(self, leaf: Node, top: Entity) -> None:
        self._leaf = leaf
        self._top = top

    def left(self, binding: Binding, _principal: Principal) -> _Left:
        left = binding.bound(self._leaf)
        if isinstance(left, Truth):
            return TRUE if left.value else FALSE
        return self._made, left

    def _made(self, left: Bound, principal: Principal) -> Column:
        return compiled(left, self._top, principal)
