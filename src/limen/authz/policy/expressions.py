"""What a policy is written with: fields of the subject, the resource and the context, compared and combined.

Everything that would mean something else than it says is refused where it is written, with the right spelling: Python's
``and``, ``or`` and ``not`` cannot be given another meaning, and ``== None`` means two things in SQL and in Python.
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, Final, NoReturn

from limen.authz.permissions import permission_name
from limen.authz.policy.constants import constant, constants, kinds_fit
from limen.authz.policy.models import shape_of
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Comparison,
    Constant,
    HasPermission,
    HasRole,
    In,
    IsNull,
    Leaf,
    Match,
    Node,
    Not,
    Operand,
    Or,
    PythonLeaf,
    Row,
    Source,
    TextMatch,
)
from limen.authz.policy.shapes import ORDERED, FieldShape, Kind, Model, Shape
from limen.authz.roles import role_name
from limen.core.errors import ConfigurationError

DEEPEST: Final = 40
"""How many levels of brackets a condition may have."""

_TRUTH: Final = (
    "A condition has no truth of its own before somebody asks. Write & for and, | for or, ~ for not, and brackets "
    "around each comparison: (O.amount > 0) & (O.amount < 10)."
)


class Expression:
    """A condition. It is combined by ``&``, ``|`` and ``~``, and never changes.

    Attributes:
        node: the tree.
        depth: how many levels it has.
    """

    __slots__ = ("depth", "node")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node, depth: int = 1) -> None:
        if depth > DEEPEST:
            raise ConfigurationError(
                f"A condition of more than {DEEPEST} levels is read by nobody: write several rules, each with an id."
            )
        self.node = node
        self.depth = depth

    def __and__(self, other: "Expression") -> "Expression":
        """Both."""
        return _joined(And, self, other)

    def __or__(self, other: "Expression") -> "Expression":
        """One of the two."""
        return _joined(Or, self, other)

    def __invert__(self) -> "Expression":
        """Not that. What is unknown stays unknown, which is a no."""
        return Expression(Not(self.node), self.depth + 1)

    def __rand__(self, other: object) -> NoReturn:
        """Refuse ``value & condition``, which a comparison without brackets becomes."""
        raise ConfigurationError(_TRUTH)

    __ror__ = __rand__

    def __bool__(self) -> NoReturn:
        """Refuse ``and``, ``or``, ``not``, ``if`` and chained comparisons, which all ask for the truth at once."""
        raise ConfigurationError(_TRUTH)

    def __eq__(self, other: object) -> NoReturn:
        """Refuse to compare conditions: brackets are missing."""
        raise ConfigurationError(_TRUTH)

    def __ne__(self, other: object) -> NoReturn:
        """Refuse to compare conditions: brackets are missing."""
        raise ConfigurationError(_TRUTH)

    def __repr__(self) -> str:
        return f"<condition {self.node}>"


def _joined(kind: type[And] | type[Or], first: Expression, second: object) -> Expression:
    other = condition_of(second)
    parts: list[Node] = []
    for node in (condition_of(first).node, other.node):
        parts.extend(node.parts if isinstance(node, kind) else (node,))
    return Expression(kind(tuple(parts)), 1 + max(_depth_below(first, kind), _depth_below(other, kind)))


def _depth_below(expression: Expression, kind: type[And] | type[Or]) -> int:
    """Return the depth that counts under a join: a join of the same kind is merged into it."""
    return expression.depth - 1 if isinstance(expression.node, kind) else expression.depth


def condition_of(what: object) -> Expression:
    """Return a condition; a field of truth values is one.

    Raises:
        ConfigurationError: it is none.
    """
    if isinstance(what, Field):
        return Expression(what.truth())
    if isinstance(what, Expression):
        return what
    raise ConfigurationError(f"{what!r} is no condition. {_TRUTH}")


class Field(Expression):
    """A field of the subject, the resource or the context, to be compared.

    Attributes:
        attribute: what is read.
    """

    __slots__ = ("attribute",)

    def __init__(self, attribute: Attribute) -> None:
        # Not the base's: it is a condition only where it holds truth values.
        self.attribute = attribute
        self.depth = 1

    @property
    def node(self) -> Node:  # type: ignore[override]
        """The tree of the field as a condition."""
        return self.truth()

    def truth(self) -> Leaf:
        """Return the leaf «is True».

        Raises:
            ConfigurationError: it holds something else than truth values.
        """
        if self.attribute.kind not in {Kind.BOOLEAN, Kind.ANY}:
            raise ConfigurationError(f"{self} is no condition: compare it, as in {self} == …")
        return Compare(Comparison.EQUAL, self.attribute, Constant(True, Kind.BOOLEAN))

    def __and__(self, other: Expression) -> Expression:
        """Both."""
        return _joined(And, condition_of(self), other)

    def __or__(self, other: Expression) -> Expression:
        """One of the two."""
        return _joined(Or, condition_of(self), other)

    def __invert__(self) -> Expression:
        """Not that."""
        return ~condition_of(self)

    def __eq__(self, other: object) -> Expression:  # type: ignore[override]
        """Equal. Where one of the two is missing, neither equal nor unequal."""
        return self._compared(Comparison.EQUAL, other)

    def __ne__(self, other: object) -> Expression:  # type: ignore[override]
        """Unequal. Where one of the two is missing, neither equal nor unequal."""
        return self._compared(Comparison.NOT_EQUAL, other)

    def __lt__(self, other: object) -> Expression:
        """Less."""
        return self._compared(Comparison.LESS, other)

    def __le__(self, other: object) -> Expression:
        """Less or equal."""
        return self._compared(Comparison.LESS_OR_EQUAL, other)

    def __gt__(self, other: object) -> Expression:
        """Greater."""
        return self._compared(Comparison.GREATER, other)

    def __ge__(self, other: object) -> Expression:
        """Greater or equal."""
        return self._compared(Comparison.GREATER_OR_EQUAL, other)

    def in_(self, options: "Iterable[object] | Field") -> Expression:
        """One of several values, or of a field that holds several.

        Raises:
            ConfigurationError: there is a None among them, or one that cannot be compared with the field.
        """
        return Expression(In(self._readable(), self._options(options)))

    def not_in(self, options: "Iterable[object] | Field") -> Expression:
        """None of several values. Where the field is missing this is no, even of no values at all.

        Raises:
            ConfigurationError: as `in_`.
        """
        return Expression(In(self._readable(), self._options(options), negated=True))

    def contains(self, part: object) -> Expression:
        """A text that holds another one, sign by sign; or a collection that holds a value.

        Raises:
            ConfigurationError: it is neither, or the part cannot be in it.
        """
        attribute = self._readable()
        if attribute.kind is Kind.COLLECTION:
            item = _operand(part, FieldShape(attribute.shape.name, attribute.shape.element or Kind.ANY))
            return Expression(In(item, attribute))
        return self._matched(Match.CONTAINS, part)

    def starts_with(self, part: object) -> Expression:
        """A text that begins with another one, sign by sign.

        Raises:
            ConfigurationError: it is no text.
        """
        return self._matched(Match.STARTS_WITH, part)

    def is_null(self) -> Expression:
        """There is no value."""
        return Expression(IsNull(self._readable()))

    def is_not_null(self) -> Expression:
        """There is a value."""
        return Expression(IsNull(self._readable(), negated=True))

    def any(self, condition: Expression) -> Expression:
        """Ask whether some row at the other end of a relation meets a condition, written with ``resource()`` of it.

        Raises:
            ConfigurationError: it is no relation to many, or the condition is not about the rows it leads to.
        """
        attribute = self.attribute
        if not attribute.shape.to_many or attribute.shape.related is None:
            raise ConfigurationError(f"{self} is no relation to many rows, so .any() has nothing to look through")
        node = condition_of(condition).node
        row = _row_at_the_end(node, attribute.shape.related, self)
        return Expression(AnyRow(attribute, row, node), condition.depth + 1)

    def __getattr__(self, name: str) -> "Field":
        """Return a field of the row that a relation to one row leads to."""
        if name.startswith("__"):
            raise AttributeError(name)
        attribute = self.attribute
        if attribute.kind is not Kind.RELATION or attribute.shape.related is None:
            raise ConfigurationError(f"{self} has no field {name}: it is {attribute.kind.value}")
        if attribute.shape.to_many:
            raise ConfigurationError(f"{self} leads to many rows: write {self}.any(…) with a condition about them")
        found = _named(shape_of(attribute.shape.related), name)
        return Field(Attribute(attribute.source, (*attribute.path, name), found, attribute.row))

    def __contains__(self, item: object) -> NoReturn:
        """Refuse ``value in field``, which Python turns into a truth at once."""
        raise ConfigurationError(f"Write {self}.contains(…), or {self}.in_([…]): Python's «in» is decided at once.")

    __iter__ = None

    def __repr__(self) -> str:
        attribute = self.attribute
        whose = attribute.row.name if attribute.row is not None else attribute.source.value
        return ".".join((whose, *attribute.path))

    __str__ = __repr__

    def _compared(self, comparison: Comparison, other: object) -> Expression:
        left = self._readable()
        right = _operand(other, left.shape, self, comparison)
        if isinstance(right, Attribute):
            left, right = _cast(left, right), _cast(right, left)
        kinds_fit(left, right, comparison)
        if comparison not in {Comparison.EQUAL, Comparison.NOT_EQUAL}:
            for operand in (left, right):
                if operand.kind not in ORDERED:
                    raise ConfigurationError(f"{self}: of {operand.kind.value} none is less than another")
        return Expression(Compare(comparison, left, right))

    def _matched(self, match: Match, part: object) -> Expression:
        attribute = self._readable()
        if attribute.kind not in {Kind.TEXT, Kind.ANY}:
            raise ConfigurationError(f"{self} is no text, so .{match.value}() has nothing to look through")
        operand = _operand(part, FieldShape(attribute.shape.name, Kind.TEXT), self)
        if operand.kind not in {Kind.TEXT, Kind.ANY}:
            raise ConfigurationError(f"{self}.{match.value}() takes a text, not {operand.kind.value}")
        return Expression(TextMatch(match, attribute, operand))

    def _options(self, options: "Iterable[object] | Field") -> Operand:
        if isinstance(options, Field):
            attribute = options._readable()
            if attribute.kind not in {Kind.COLLECTION, Kind.ANY}:
                raise ConfigurationError(f"{options} does not hold several values, so nothing is in it")
            if attribute.kind is Kind.COLLECTION and attribute.shape.element is not None:
                element = Constant(None, attribute.shape.element)
                kinds_fit(self.attribute, element, Comparison.EQUAL)
            return attribute
        return constants(self.attribute.shape, options, str(self))

    def _readable(self) -> Attribute:
        attribute = self.attribute
        if attribute.kind is Kind.RELATION:
            raise ConfigurationError(f"{self} is a relation: compare a field of the row it leads to, as in {self}.id")
        if attribute.shape.refused:
            raise ConfigurationError(f"{self} cannot be part of a policy: {attribute.shape.refused}")
        return attribute


def _operand(what: object, shape: FieldShape, field: object = "", comparison: Comparison = Comparison.EQUAL) -> Operand:
    if isinstance(what, Field):
        return what._readable()
    if isinstance(what, Expression):
        raise ConfigurationError(_TRUTH)
    if what is None:
        right = "is_not_null()" if comparison is Comparison.NOT_EQUAL else "is_null()"
        raise ConfigurationError(f"{field} compared with None: write {field}.{right}")
    return constant(shape, what, str(field))


def _cast(one: Attribute, other: Attribute) -> Attribute:
    """Return the attribute, read as a UUID where it is ``sub`` and the other one is a UUID."""
    is_sub = one.source is Source.SUBJECT and one.path == ("id",)
    if is_sub and other.kind is Kind.UUID:
        return Attribute(one.source, one.path, one.shape, one.row, Kind.UUID)
    return one


def _named(shape: Shape, name: str) -> FieldShape:
    """Return a field by its name.

    Raises:
        ConfigurationError: there is none; it says which may have been meant.
    """
    found = shape.fields.get(name)
    if found is None:
        raise ConfigurationError(f"{shape.name} has no field {name}.{meant(name, shape.fields)}")
    return found


def meant(name: str, names: Iterable[str]) -> str:
    """Return a sentence with the names that may have been meant; empty where none is like it."""
    near = difflib.get_close_matches(name, sorted(names), n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""


def _row_at_the_end(node: Node, model: Model, field: Field) -> Row:
    rows = {row for row in rows_of(node) if row.model is model}
    if len(rows) != 1 or rows_of(node) - rows:
        raise ConfigurationError(
            f"{field}.any(…) takes a condition about one resource({model.__name__}), and about no other resource"
        )
    return rows.pop()


def rows_of(node: Node) -> set[Row]:
    """Return the rows that a condition is about; those that it finds by itself through `Field.any` are not among them."""
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


class _Fields:
    """What has fields: each is an attribute by its name, and an item where Python has other plans for the name."""

    __slots__ = ("_row", "_shape", "_source")

    def __init__(self, source: Source, shape: Shape, row: Row | None = None) -> None:
        self._source = source
        self._shape = shape
        self._row = row

    def __getattr__(self, name: str) -> Field:
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name: str) -> Field:
        return Field(Attribute(self._source, (name,), self._field(name), self._row))

    def __bool__(self) -> NoReturn:
        raise ConfigurationError(_TRUTH)

    def __repr__(self) -> str:
        return f"<{self._source.value} {self._shape.name}>"

    def _field(self, name: str) -> FieldShape:
        return _named(self._shape, name)


class Resource(_Fields):
    """What is acted on, of one model: its fields, checked by name."""

    __slots__ = ()


class Context(_Fields):
    """What is known beside subject and resource: the time, an address."""

    __slots__ = ()


SUBJECT_FIELDS: Final = {
    "id": FieldShape("id", Kind.TEXT, nullable=False),
    "kind": FieldShape("kind", Kind.TEXT, nullable=False),
    "sid": FieldShape("sid", Kind.TEXT),
    "client_id": FieldShape("client_id", Kind.TEXT),
    "issuer": FieldShape("issuer", Kind.TEXT),
}
"""What every principal has. ``id`` is ``sub``; of the anonymous principal it is missing."""


class Subject(_Fields):
    """Who acts: what every principal has, and what the application's loader of ``attributes=`` tells beside."""

    __slots__ = ()

    def has_role(self, name: str) -> Expression:
        """Ask whether the role is held.

        Raises:
            ConfigurationError: it is no name of a role.
        """
        return Expression(HasRole(role_name(name)))

    def has_permission(self, name: str) -> Expression:
        """Ask whether a role gives the permission, or it was granted.

        Raises:
            ConfigurationError: it is no name of a permission.
        """
        return Expression(HasPermission(permission_name(name)))

    def _field(self, name: str) -> FieldShape:
        own = SUBJECT_FIELDS.get(name)
        if own is not None:
            return own
        if self._shape.model is object:
            return FieldShape(name, Kind.ANY)
        return _named(self._shape, name)


def subject(model: Model | None = None) -> Subject:
    """Return who acts.

    Args:
        model: a class with the fields that ``attributes=`` tells of, so that names and types are checked; without one
            any name is taken, and its value is what it happens to be.

    Raises:
        ConfigurationError: nothing is known of such a class.
    """
    shape = Shape(object, "subject", SUBJECT_FIELDS) if model is None else shape_of(model)
    return Subject(Source.SUBJECT, shape)


def resource(model: Model, name: str | None = None) -> Resource:
    """Return what is acted on.

    Args:
        model: a SQLAlchemy model, a dataclass, a pydantic model or a TypedDict.
        name: tells two rows of one model apart, in `Field.any` of a relation to the model itself.

    Raises:
        ConfigurationError: nothing is known of such a class.
    """
    shape = shape_of(model)
    return Resource(Source.RESOURCE, shape, Row(model, name or shape.name))


CONTEXT_FIELDS: Final = {"now": FieldShape("now", Kind.AWARE, nullable=False)}
"""What is known wherever something is decided: the time."""


def context(**fields: type) -> Context:
    """Return what is known beside subject and resource: ``now``, and what the caller hands in, by name and type.

    ::

        C = context(address=str)
        deny("order:approve", (C.now < opening) | (C.address == "192.0.2.1"), id="hours")

    Raises:
        ConfigurationError: a type is not known.
    """
    from limen.authz.policy.models import field_shape

    told = {name: field_shape(name, kind) for name, kind in fields.items()}
    return Context(Source.CONTEXT, Shape(object, "context", {**told, **CONTEXT_FIELDS}))


def python(
    function: Callable[..., bool | None], *, sql: Callable[..., Any] | None = None, name: str | None = None
) -> Expression:
    """Return a condition that a function of the application's own decides: synchronous, without I/O.

    Args:
        function: ``function(subject, resource, context)``; True, False, or None where it cannot tell, which is a no.
        sql: ``sql(subject, model)`` returns the same as a condition of SQLAlchemy. Without it, the policy is refused
            where lists are filtered by it.
        name: what explanations call it; the function's by default.

    Raises:
        ConfigurationError: it cannot be called so.
    """
    if not callable(function) or (sql is not None and not callable(sql)):
        raise ConfigurationError("python() takes functions")
    called = name or getattr(function, "__qualname__", type(function).__name__)
    return Expression(PythonLeaf(function, called, sql))
