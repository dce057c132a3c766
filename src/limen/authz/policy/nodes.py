"""The tree of a policy: plain values that never change. What one writes is `limen.authz.policy.expressions`.

A leaf is true, false, or unknown: unknown where an operand is missing (None, NULL, NaN, an attribute that was not
loaded). After `limen.authz.policy.normal_form` only leaves carry a negation, and a leaf that is unknown is false,
negated or not. That is SQL's own answer to «is it TRUE», so every reading of the tree agrees with it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from limen.authz.policy.shapes import FieldShape, Kind, Model


class Source(Enum):
    """Whose attribute it is."""

    SUBJECT = "subject"
    RESOURCE = "resource"
    CONTEXT = "context"


@dataclass(frozen=True, slots=True)
class Row:
    """A row that attributes are read from: the resource that is asked about, or one that a relation leads to.

    Attributes:
        model: its class.
        name: tells two rows of one model apart.
    """

    model: Model
    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the policy. A set of values is a frozenset.

    Attributes:
        value: as written; enumerations are members, times are in UTC where they are aware.
        kind: what it is; that of its elements where it is a set.
    """

    value: Any
    kind: Kind


@dataclass(frozen=True, slots=True)
class Attribute:
    """A field that is read when it is decided.

    Attributes:
        source: whose it is.
        path: the name; of a resource, the relations to one row that lead to it, and then the name.
        shape: what is known of it, the last of the path.
        row: the row where the path begins, for a resource's; else None.
        cast: the kind its value is converted to before it is compared: ``sub`` is text, and a column may hold UUIDs.
    """

    source: Source
    path: tuple[str, ...]
    shape: FieldShape
    row: Row | None = None
    cast: Kind | None = None

    @property
    def kind(self) -> Kind:
        """What its value is when it is compared."""
        return self.cast or self.shape.kind


Operand: TypeAlias = Constant | Attribute


class Comparison(Enum):
    """How two values are compared."""

    # A member is one object: it need not be told from others by its name.
    __hash__ = object.__hash__

    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS = "<"
    LESS_OR_EQUAL = "<="
    GREATER = ">"
    GREATER_OR_EQUAL = ">="


@dataclass(frozen=True, slots=True)
class Truth:
    """True or false, whatever is asked."""

    value: bool


@dataclass(frozen=True, slots=True)
class Compare:
    """Two operands, compared. Unknown where one is missing, and where their values cannot be compared."""

    comparison: Comparison
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class In:
    """One of a set: of constants, or of an attribute that holds several values. In the empty set there is nothing.

    Unknown where the item or the set is missing, negated or not: also ``not in`` of an empty set is false for None.
    """

    item: Operand
    options: Operand
    negated: bool = False


@dataclass(frozen=True, slots=True)
class IsNull:
    """Missing, or not. Never unknown."""

    operand: Attribute
    negated: bool = False


class Match(Enum):
    """Where a text is looked for in another one. Case and every sign count."""

    CONTAINS = "contains"
    STARTS_WITH = "starts_with"


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A text that holds another one. Unknown where one is missing."""

    match: Match
    text: Operand
    part: Operand
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasRole:
    """The subject holds a role. Never unknown."""

    role: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class HasPermission:
    """The subject has a permission. Never unknown."""

    permission: str
    negated: bool = False


@dataclass(frozen=True, slots=True)
class AnyRow:
    """Some row at the other end of a relation to many meets a condition.

    Of no rows none does. Negated: the negated condition is true of every row, so that one of which it is unknown counts
    against it.

    Attributes:
        relation: the relation, an attribute of the resource.
        row: what the condition calls the row at the other end.
        condition: what is asked of it.
        negated: none must.
    """

    relation: Attribute
    row: Row
    condition: "Node"
    negated: bool = False


@dataclass(frozen=True, slots=True)
class PythonLeaf:
    """A function of the application's own. None is unknown, and so is whatever is neither True nor False.

    Attributes:
        function: is given subject, resource and context.
        name: what explanations call it.
        sql: the same as a condition of SQL: is given the subject and the model; None where there is none.
        negated: it must say False.
    """

    function: Callable[..., bool | None]
    name: str
    sql: Callable[..., Any] | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class And:
    """All of them."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of them."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not that; gone after the normal form."""

    part: "Node"


Leaf: TypeAlias = Truth | Compare | In | IsNull | TextMatch | HasRole | HasPermission | AnyRow | PythonLeaf
Node: TypeAlias = Leaf | And | Or | Not
