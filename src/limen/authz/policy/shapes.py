"""What is known of a model whose fields a policy names: a plain value, whatever the model was written with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Final
from uuid import UUID

Model = type[Any]
"""A class of the application's: a SQLAlchemy model, a dataclass, a pydantic model, or a TypedDict."""


class Kind(Enum):
    """What the values of a field are. Only those of kinds that compare the same in Python and in SQL are compared."""

    # A member is one object: it need not be told from others by its name.
    __hash__ = object.__hash__

    BOOLEAN = "boolean"
    INTEGER = "integer"
    FLOAT = "float"
    DECIMAL = "decimal"
    TEXT = "text"
    BYTES = "bytes"
    AWARE = "datetime with a time zone"
    NAIVE = "datetime without a time zone"
    DATE = "date"
    TIME = "time"
    DURATION = "duration"
    UUID = "UUID"
    ENUM = "enumeration"
    COLLECTION = "collection"
    RELATION = "relation"
    ANY = "undeclared"


ORDERED: Final = frozenset(
    {
        Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL, Kind.TEXT, Kind.AWARE, Kind.NAIVE, Kind.DATE, Kind.TIME,
        Kind.DURATION, Kind.ANY,
    }
)  # fmt: skip
"""The kinds of which one value is less than another, in Python and in SQL alike."""

KINDS_OF_TYPES: Final[tuple[tuple[type, Kind], ...]] = (
    (bool, Kind.BOOLEAN),
    (int, Kind.INTEGER),
    (float, Kind.FLOAT),
    (Decimal, Kind.DECIMAL),
    (str, Kind.TEXT),
    (bytes, Kind.BYTES),
    (datetime, Kind.AWARE),
    (date, Kind.DATE),
    (time, Kind.TIME),
    (timedelta, Kind.DURATION),
    (UUID, Kind.UUID),
)
"""Which kind the values of a type are. The first that fits counts: a truth value is an int, a datetime is a date."""

NUMBERS: Final = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.DECIMAL})


@dataclass(frozen=True, slots=True)
class FieldShape:
    """One field of a model.

    Attributes:
        name: as the model has it.
        kind: what its values are.
        nullable: whether it may be None, or NULL.
        enum: the class of its members, where it is an enumeration.
        element: what a collection holds.
        related: the model at the other end, where it is a relation.
        to_many: whether that relation leads to many rows.
        refused: why no policy may read it, such as a collation that ignores case, and what to write instead; empty
            where it may.
        options: the texts that it may be, where the model lists them.
        constants_only: whether it is compared with constants only, because its type in the database takes no other
            text than those it lists.
        is_own_type: whether the application's own code stores it, so that only what is bound for that column compares.
        bits: how large an integer its column holds.
    """

    name: str
    kind: Kind
    nullable: bool = True
    enum: type[Enum] | None = None
    element: Kind | None = None
    related: Model | None = None
    to_many: bool = False
    refused: str = ""
    options: frozenset[str] | None = None
    constants_only: bool = False
    is_own_type: bool = False
    bits: int = 64


@dataclass(frozen=True, slots=True)
class Shape:
    """A model, as far as policies are concerned.

    Attributes:
        model: the class.
        name: what messages call it.
        fields: by name.
        is_mapped: whether SQLAlchemy maps it, so that its rows can be filtered.
        is_mapping: whether its instances are plain mappings, which do not tell what they are.
        other_names: names that are no fields, such as the aliases of a pydantic model, and the fields that are meant.
    """

    model: Model
    name: str
    fields: Mapping[str, FieldShape]
    is_mapped: bool = False
    is_mapping: bool = False
    other_names: Mapping[str, str] = field(default_factory=dict)
