"""Fields of the subject, the resource and the context, and what they can be asked. They never change."""

from collections.abc import Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Final, Never, NoReturn, TypeAlias
from uuid import UUID

from limen.authz.policy.conditions import NO_BRACKETS, Condition, Expression, condition_of
from limen.authz.policy.constants import constant, constants, kinds_fit
from limen.authz.policy.models import field_of, shape_of
from limen.authz.policy.nodes import (
    AnyRow,
    Attribute,
    Compare,
    Comparison,
    Constant,
    In,
    IsNull,
    Match,
    Node,
    Operand,
    Row,
    Source,
    TextMatch,
)
from limen.authz.policy.shapes import ORDERED, FieldShape, Kind, Model
from limen.authz.policy.tree import rows_of
from limen.core.errors import ConfigurationError

Value: TypeAlias = bool | int | float | Decimal | str | bytes | date | time | timedelta | UUID | Enum
"""What a field can be compared with, beside another field; a ``datetime`` is a ``date`` to a type checker."""

MOST_RELATIONS: Final = 8
"""Through how many relations a field may be reached."""

_HABITS: Final = {
    "between": "({0} >= low) & ({0} <= high)",
    "endswith": "python(…, sql=…)",
    "has": "{0}.name == …, with the name of a field of the row",
    "icontains": "{0}.contains(part), which sees case",
    "ilike": "{0}.contains(part), which sees case; there are no patterns",
    "is_": "{0}.is_null()",
    "is_distinct_from": "({0} != …) | {0}.is_null()",
    "is_not": "{0}.is_not_null()",
    "isnot": "{0}.is_not_null()",
    "like": "{0}.contains(part), or {0}.starts_with(part); there are no patterns",
    "lower": "the name of a column that is kept in lower case",
    "notin_": "{0}.not_in([…])",
    "regexp_match": "{0}.contains(part), or {0}.starts_with(part); there are no patterns",
    "startswith": "{0}.starts_with(part)",
}
"""What those who know SQLAlchemy or ``str`` may write, and how it is written here."""


class Field(Expression):
    """A field, to be compared; one that holds truth values is a condition of itself."""

    __slots__ = ("_attribute",)

    def __init__(self, attribute: Attribute) -> None:
        self._attribute = attribute

    @property
    def node(self) -> Node:
        """The leaf «is True».

        Raises:
            ConfigurationError: it holds something else than truth values.
        """
        if self._attribute.kind is Kind.RELATION:
            raise ConfigurationError(
                f"{self} is a relation, and no condition. Write a comparison of one of its fields, {self}.name, or "
                f'{self}["node"] where Python has another use for the name.'
            )
        attribute = self._readable()
        if attribute.kind not in {Kind.BOOLEAN, Kind.ANY}:
            raise ConfigurationError(
                f"{self} is {attribute.kind.value}, and no condition. Write ({self} == …), in brackets."
            )
        return Compare(Comparison.EQUAL, attribute, Constant(True, Kind.BOOLEAN))

    # What compares returns no bool here, on purpose: type checkers then know a condition where they see one.
    def __eq__(self, other: "Value | Field") -> Condition:  # type: ignore[override]
        """Equal. Where one of the two is missing, neither equal nor unequal."""
        return self._compared(Comparison.EQUAL, other)

    def __ne__(self, other: "Value | Field") -> Condition:  # type: ignore[override]
        """Unequal. Where one of the two is missing, neither equal nor unequal."""
        return self._compared(Comparison.NOT_EQUAL, other)

    def __lt__(self, other: "Value | Field") -> Condition:
        """Less."""
        return self._compared(Comparison.LESS, other)

    def __le__(self, other: "Value | Field") -> Condition:
        """Less or equal."""
        return self._compared(Comparison.LESS_OR_EQUAL, other)

    def __gt__(self, other: "Value | Field") -> Condition:
        """Greater."""
        return self._compared(Comparison.GREATER, other)

    def __ge__(self, other: "Value | Field") -> Condition:
        """Greater or equal."""
        return self._compared(Comparison.GREATER_OR_EQUAL, other)

    def __hash__(self) -> NoReturn:
        """Refuse ``field in {…}``."""
        raise ConfigurationError(f"{self} is in no set of Python's. Write {self}.in_([…]).")

    def in_(self, options: "Iterable[Value] | Field") -> Condition:
        """One of several values, or of a field that holds several. Of no values at all: no.

        Raises:
            ConfigurationError: there is a None among them, or one that cannot be compared with the field.
        """
        return Condition(self._one_of(options, negated=False))

    def not_in(self, options: "Iterable[Value] | Field") -> Condition:
        """None of several values. Where the field is missing this is no, even of no values at all.

        Raises:
            ConfigurationError: as `in_`.
        """
        return Condition(self._one_of(options, negated=True))

    def contains(self, part: "Value | Field") -> Condition:
        """A text that holds another one, sign by sign; or a collection that holds a value.

        Raises:
            ConfigurationError: it is neither, or the part cannot be in it.
        """
        attribute = self._readable()
        if attribute.kind is not Kind.COLLECTION:
            return self._matched(Match.CONTAINS, part)
        element = _element(attribute)
        item = _operand(part, element.shape, str(self))
        if isinstance(item, Attribute):
            item = _cast(item, element)
            kinds_fit(item, element, Comparison.EQUAL)
        return Condition(In(item, attribute))

    def starts_with(self, part: "str | Field") -> Condition:
        """A text that begins with another one, sign by sign.

        Raises:
            ConfigurationError: it is no text.
        """
        return self._matched(Match.STARTS_WITH, part)

    def is_null(self) -> Condition:
        """There is no value."""
        return Condition(IsNull(self._readable()))

    def is_not_null(self) -> Condition:
        """There is a value."""
        return Condition(IsNull(self._readable(), negated=True))

    def any(self, condition: Expression) -> Condition:
        """Ask whether some row at the other end of a relation meets a condition, written with ``resource()`` of it.

        Raises:
            ConfigurationError: it is no relation to many, or the condition is not about the rows it leads to.
        """
        attribute = self._attribute
        shape = attribute.shape
        if shape.kind is not Kind.RELATION or shape.related is None or not shape.to_many:
            raise ConfigurationError(f"{self} leads to no rows. Write .any(…) after a relation to many.")
        self._check()
        inner = condition_of(condition)
        row = _row_at_the_end(inner.node, shape.related, attribute, str(self))
        return Condition(AnyRow(attribute, row, inner.node), inner.levels + 1, inner.leaves)

    def __getattr__(self, name: str) -> "Field":
        """Return a field of the row that a relation to one row leads to."""
        if name.startswith("__") or name in Field.__slots__:
            # Python's own protocols ask, and copies do before there is anything to ask.
            raise AttributeError(name)
        if name.startswith("_"):
            raise AttributeError(f"{self} has no attribute {name}; a field of that name is {self}[{name!r}]")
        return self[name]

    def __getitem__(self, name: str) -> "Field":
        """Return a field of the row that a relation to one row leads to, whatever its name.

        Raises:
            ConfigurationError: there is none, or this leads to no single row.
        """
        attribute = self._attribute
        if attribute.kind is not Kind.RELATION or attribute.shape.related is None:
            habit = _HABITS.get(name)
            if habit is not None:
                raise ConfigurationError(f"{self}.{name} is unknown. Write {habit.format(self)}.")
            raise ConfigurationError(f"{self} has no field {name}: it is {attribute.kind.value}. Write {self} == ….")
        self._check()
        if attribute.shape.to_many:
            raise ConfigurationError(
                f"{self} leads to many rows. Write {self}.any(…), with a condition about one of them."
            )
        if len(attribute.path) > MOST_RELATIONS:
            raise ConfigurationError(
                f"{self} leads through more than {MOST_RELATIONS} relations. Keep the field nearer to the resource."
            )
        shape = shape_of(attribute.shape.related)
        if name == "has" and name not in shape.fields:
            raise ConfigurationError(f"{self}.has is unknown. Write {_HABITS['has'].format(self)}.")
        found = field_of(shape, name)
        return Field(Attribute(attribute.source, (*attribute.path, found.name), found, attribute.row))

    def __contains__(self, item: object) -> NoReturn:
        """Refuse ``value in field``, which Python turns into a truth at once."""
        raise ConfigurationError(f"Python decides in at once. Write {self}.contains(…), or {self}.in_([…]).")

    def __iter__(self) -> NoReturn:
        """Refuse loops: what a field holds is known when it is decided."""
        raise ConfigurationError(f"{self} holds nothing yet. Write {self}.contains(…), or {self}.any(…).")

    def __len__(self) -> NoReturn:
        """Refuse to count."""
        raise ConfigurationError(f"{self} holds nothing yet. Write {self}.any(…), or keep the number in a field.")

    def _no_arithmetic(self, other: Never) -> NoReturn:
        raise ConfigurationError(
            f"{self} is not calculated with. Compute the other side, or hand it in as a field of the context."
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __mod__ = _no_arithmetic

    def __repr__(self) -> str:
        attribute = self._attribute
        whose = attribute.row.name if attribute.row is not None else attribute.source.value
        return ".".join((whose, *attribute.path))

    def __str__(self) -> str:
        return repr(self)

    def _check(self) -> None:
        if self._attribute.shape.refused:
            raise ConfigurationError(f"{self} cannot be part of a policy: {self._attribute.shape.refused}.")

    def _readable(self) -> Attribute:
        self._check()
        attribute = self._attribute
        if attribute.kind is Kind.RELATION:
            how = f"{self}.any(…)" if attribute.shape.to_many else f"{self}.id == …, with the name of its field"
            raise ConfigurationError(f"{self} is a relation, not a value. Write {how}.")
        return attribute

    def _compared(self, comparison: Comparison, other: object) -> Condition:
        left = self._readable()
        if other is None:
            right_spelling = "is_not_null()" if comparison is Comparison.NOT_EQUAL else "is_null()"
            raise ConfigurationError(
                f"{self} is compared with None, which Python and SQL answer differently. Write {self}.{right_spelling}."
            )
        if left.kind is Kind.COLLECTION:
            raise ConfigurationError(f"{self} holds several values. Write {self}.contains(…).")
        right = _operand(other, left.shape, str(self))
        if isinstance(right, Attribute):
            left, right = _cast(left, right), _cast(right, left)
        kinds_fit(left, right, comparison)
        if comparison not in {Comparison.EQUAL, Comparison.NOT_EQUAL}:
            for operand in (left, right):
                if operand.kind not in ORDERED or _is_listed(operand):
                    what = Kind.ENUM.value if _is_listed(operand) else operand.kind.value
                    raise ConfigurationError(f"{self}: no {what} is less than another. Write == or .in_([…]).")
        return Condition(Compare(comparison, left, right))

    def _one_of(self, options: "Iterable[Value] | Field", *, negated: bool) -> In:
        item = self._readable()
        if item.kind is Kind.COLLECTION:
            raise ConfigurationError(f"{self} holds several values. Write {self}.contains(…).")
        if not isinstance(options, Field):
            return In(item, constants(item.shape, options, str(self)), negated)
        several = options._readable()
        if several.kind not in {Kind.COLLECTION, Kind.ANY}:
            raise ConfigurationError(f"{options} does not hold several values. Write {self} == {options}.")
        if several.kind is Kind.COLLECTION:
            element = _element(several)
            item = _cast(item, element)
            kinds_fit(item, element, Comparison.EQUAL)
        return In(item, several, negated)

    def _matched(self, match: Match, part: object) -> Condition:
        attribute = self._readable()
        if attribute.kind not in {Kind.TEXT, Kind.ANY} or attribute.shape.constants_only:
            what = Kind.ENUM.value if attribute.shape.constants_only else attribute.kind.value
            raise ConfigurationError(f"{self} is {what}, not text. Write {self} == …, or {self}.in_([…]).")
        if attribute.shape.is_own_type:
            raise ConfigurationError(
                f"{self} is stored by a type of your own, which tells nothing about parts. Write python(…, sql=…)."
            )
        operand = _operand(part, FieldShape(attribute.shape.name, Kind.TEXT), str(self))
        if operand.kind not in {Kind.TEXT, Kind.ANY} or _is_listed(operand):
            raise ConfigurationError(f"{self}.{match.value}() is given {part}, which is no text. Write a text.")
        return Condition(TextMatch(match, attribute, operand))


def _operand(what: object, shape: FieldShape, where: str) -> Operand:
    if isinstance(what, Field):
        return what._readable()
    if isinstance(what, Expression):
        raise ConfigurationError(f"{where} is compared with a condition. {NO_BRACKETS}")
    if what is None:
        raise ConfigurationError(
            f"{where} is given None, which nothing equals. Write {where}.is_null(), or leave it out."
        )
    return constant(shape, what, where)


def _cast(one: Attribute, other: Attribute) -> Attribute:
    """Return the attribute, read as a UUID where it is ``sub`` and the other one is a UUID."""
    is_sub = one.source is Source.SUBJECT and one.path == ("id",)
    if is_sub and other.kind is Kind.UUID:
        return Attribute(one.source, one.path, one.shape, one.row, Kind.UUID)
    return one


def _element(several: Attribute) -> Attribute:
    """Return what a collection holds, as if it were a field."""
    shape = several.shape
    element = FieldShape(shape.name, shape.element or Kind.ANY, enum=shape.enum)
    return Attribute(several.source, several.path, element, several.row)


def _is_listed(operand: Operand) -> bool:
    return isinstance(operand, Attribute) and operand.shape.constants_only


def _row_at_the_end(node: Node, model: Model, relation: Attribute, where: str) -> Row:
    rows = rows_of(node)
    row = next(iter(rows), None)
    if row is None or len(rows) > 1 or row.model is not model:
        raise ConfigurationError(
            f"{where}.any(…) takes a condition about the rows it leads to, and about no others. Write one with "
            f"resource({model.__name__})."
        )
    if row == relation.row:
        raise ConfigurationError(
            f"{where}.any(…) is asked about {row.name}, which is the row it starts from. Write "
            f'resource({model.__name__}, "other") for those it leads to.'
        )
    return row
