"""What the fields of a dataclass, a pydantic model or a TypedDict are, by their annotations."""

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    Literal,
    NewType,
    NotRequired,
    Optional,
    Required,
    TypedDict,
    TypeVar,
    Union,
)
from uuid import UUID

import pydantic
import pytest

from limen import resource
from limen.authz.policy.models import field_of, field_shape, shape_of
from limen.authz.policy.shapes import Kind
from limen.core.errors import ConfigurationError

T = TypeVar("T")
UserId = NewType("UserId", str)
OrderId = NewType("OrderId", UUID)


class Status(Enum):
    OPEN = 1


class Channel(StrEnum):
    WEB = "web"


class Level(IntEnum):
    LOW = 1


class Rights(Flag):
    READ = 1


@dataclass
class Line:
    price: Decimal


class Item(pydantic.BaseModel):
    price: Decimal


class Part(TypedDict):
    price: Decimal


KINDS: dict[str, tuple[object, Kind, bool]] = {
    "bool": (bool, Kind.BOOLEAN, False),
    "int": (int, Kind.INTEGER, False),
    "float": (float, Kind.FLOAT, False),
    "Decimal": (Decimal, Kind.DECIMAL, False),
    "str": (str, Kind.TEXT, False),
    "bytes": (bytes, Kind.BYTES, False),
    "datetime": (datetime, Kind.AWARE, False),
    "date": (date, Kind.DATE, False),
    "time": (time, Kind.TIME, False),
    "timedelta": (timedelta, Kind.DURATION, False),
    "UUID": (UUID, Kind.UUID, False),
    "Enum": (Status, Kind.ENUM, False),
    "StrEnum": (Channel, Kind.ENUM, False),
    "IntEnum": (Level, Kind.ENUM, False),
    "Any": (Any, Kind.ANY, True),
    "object": (object, Kind.ANY, True),
    "str | None": (str | None, Kind.TEXT, True),
    "Optional[int]": (Optional[int], Kind.INTEGER, True),  # noqa: UP045
    "Union[int, None]": (Union[int, None], Kind.INTEGER, True),  # noqa: UP007
    "int | float": (int | float, Kind.FLOAT, False),
    "Annotated": (Annotated[int, "minutes"], Kind.INTEGER, False),
    "Annotated of Optional": (Annotated[int | None, "minutes"], Kind.INTEGER, True),
    "NewType": (UserId, Kind.TEXT, False),
    "NewType of UUID, or None": (OrderId | None, Kind.UUID, True),
    "Literal of texts": (Literal["a", "b"], Kind.TEXT, False),
    "Literal of texts and None": (Literal["a", None], Kind.TEXT, True),
    "Literal of ints": (Literal[1, 2], Kind.INTEGER, False),
    "Literal of members": (Literal[Status.OPEN], Kind.ENUM, False),
    "Literal | Literal": (Literal["a"] | Literal["b"], Kind.TEXT, False),
    "Final": (Final[int], Kind.INTEGER, False),
    "list": (list, Kind.COLLECTION, False),
    "list[str]": (list[str], Kind.COLLECTION, False),
    "set[Channel]": (set[Channel], Kind.COLLECTION, False),
    "tuple[int, ...]": (tuple[int, ...], Kind.COLLECTION, False),
    "Sequence[UUID] | None": (Sequence[UUID] | None, Kind.COLLECTION, True),
    "EmailStr": (pydantic.EmailStr, Kind.TEXT, False),
    "AwareDatetime": (pydantic.AwareDatetime, Kind.AWARE, False),
    "NaiveDatetime": (pydantic.NaiveDatetime, Kind.NAIVE, False),
    "PastDate": (pydantic.PastDate, Kind.DATE, False),
    "PositiveInt": (pydantic.PositiveInt, Kind.INTEGER, False),
    "conint": (pydantic.conint(gt=1), Kind.INTEGER, False),
    "UUID4": (pydantic.UUID4, Kind.UUID, False),
    "a dataclass": (Line, Kind.RELATION, False),
    "a pydantic model": (Item | None, Kind.RELATION, True),
    "a TypedDict": (Part, Kind.RELATION, False),
    "list of dataclasses": (list[Line], Kind.RELATION, False),
}


@pytest.mark.parametrize("name", KINDS)
def test_an_annotation_has_a_kind(name: str) -> None:
    """What values a field has, and whether it may be None, as the annotation says."""
    annotation, kind, nullable = KINDS[name]
    shape = field_shape("it", annotation)
    assert (shape.kind, shape.nullable, shape.refused) == (kind, nullable, "")


def test_what_an_annotation_tells_beside() -> None:
    """The members, the texts that are listed, what a collection holds, and where a relation leads."""
    assert field_shape("it", Channel | None).enum is Channel
    assert field_shape("it", Literal["a", "b", None]).options == frozenset({"a", "b"})
    assert field_shape("it", Literal["a"] | Literal["b"]).options == frozenset({"a", "b"})
    assert field_shape("it", Literal["a"] | str).options is None
    assert field_shape("it", list[UUID]).element is Kind.UUID
    assert (field_shape("it", set[Channel]).element, field_shape("it", set[Channel]).enum) == (Kind.ENUM, Channel)
    assert (field_shape("it", Line).related, field_shape("it", Line).to_many) == (Line, False)
    assert (field_shape("it", list[Item]).related, field_shape("it", list[Item]).to_many) == (Item, True)


UNREADABLE: dict[str, tuple[object, str]] = {
    "int | str": (int | str, "it may be integer or text, which no column can be; give it one type"),
    "Literal of two types": (Literal[1, "a"], "it may be integer or text, which no column can be; give it one type"),
    "dict": (dict[str, int], "values of dict do not compare the same in Python and in SQL; ask them by python(…)"),
    "Mapping": (
        Mapping[str, int],
        "values of Mapping do not compare the same in Python and in SQL; ask them by python(…)",
    ),
    "Path": (Path, "values of Path do not compare the same in Python and in SQL; ask them by python(…)"),
    "complex": (complex, "values of complex do not compare the same in Python and in SQL; ask them by python(…)"),
    "SecretStr": (
        pydantic.SecretStr,
        "values of SecretStr do not compare the same in Python and in SQL; ask them by python(…)",
    ),
    "HttpUrl": (
        pydantic.HttpUrl,
        "values of HttpUrl do not compare the same in Python and in SQL; ask them by python(…)",
    ),
    "Flag": (Rights, "its members are flags, which are sets; compare them by python(…)"),
    "list of lists": (
        list[list[int]],
        "it is a collection of collections; compare what is in it by python(…)",
    ),
    "tuple of two types": (tuple[int, str], "it may be integer or text, which no column can be; give it one type"),
    "TypeVar": (T, "its type is the name '~T'; write the type itself"),
    "a text": ("int", "its type is the name 'int'; write the type itself"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_does_not_compare_is_refused_when_it_is_used(name: str) -> None:
    """A model may have such a field; a policy that reads it is refused, and says why and what to do."""
    annotation, why = UNREADABLE[name]
    model: type[Any] = dataclass(type("Order", (), {"__annotations__": {"it": annotation, "id": int}}))
    if isinstance(annotation, str):
        assert field_shape("it", annotation).refused == why
        return
    order = resource(model)
    assert repr(order.id == 1) == "<condition Order.id == 1>"
    with pytest.raises(ConfigurationError) as caught:
        _ = order.it == 1
    assert str(caught.value) == f"Order.it cannot be part of a policy: {why}."


def test_an_alias_that_names_itself_is_refused() -> None:
    """An alias stands for its type, and one that names itself ends no search."""

    class TypeAliasType:
        """Stands for a ``type`` statement of Python 3.12."""

        def __init__(self, value: object) -> None:
            self.__value__ = value

    endless = TypeAliasType(None)
    endless.__value__ = endless
    assert field_shape("it", TypeAliasType(int | None)).kind is Kind.INTEGER
    assert field_shape("it", endless).refused == "its type names itself; compare what is in it by python(…)"
    tree = TypeAliasType(None)
    tree.__value__ = list[tree]  # type: ignore[valid-type]
    assert "names itself" in field_shape("it", tree).refused


class Loose(TypedDict, total=False):
    note: str
    id: Required[int]


class Strict(TypedDict):
    id: int
    note: NotRequired[str]
    parts: list[Part]


def test_a_key_that_may_be_missing_may_be_none() -> None:
    """A TypedDict is read as a mapping; what it need not have is missing like None."""
    for model in (Loose, Strict):
        shape = shape_of(model)
        assert shape.is_mapping
        assert (shape.fields["id"].nullable, shape.fields["note"].nullable) == (False, True)
    assert repr(resource(Strict).parts.any(resource(Part).price > 1)) == (
        "<condition Strict.parts.any(Part.price > Decimal('1'))>"
    )


@dataclass(frozen=True, slots=True)
class Base:
    id: int
    kept: ClassVar[int] = 5


@dataclass(frozen=True, slots=True)
class Derived(Base):
    amount: Decimal = field(default=Decimal(0))

    @property
    def total(self) -> Decimal:
        return self.amount


def test_inherited_fields_are_fields() -> None:
    """A dataclass has the fields of its bases; a property and a variable of the class are none."""
    assert set(shape_of(Derived).fields) == {"id", "amount"}
    for name in ("total", "kept"):
        with pytest.raises(ConfigurationError) as caught:
            field_of(shape_of(Derived), name)
        assert str(caught.value) == (
            f"Derived.{name} is no field but code. Compare the fields that it reads, or write python(…)."
        )


class Invoice(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(populate_by_name=True)

    total_amount: Decimal = pydantic.Field(alias="totalAmount", gt=0)
    maker: str = pydantic.Field(validation_alias="makerId", serialization_alias="made_by")

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def doubled(self) -> Decimal:
        return self.total_amount * 2


@pytest.mark.parametrize(
    ("alias", "name"), [("totalAmount", "total_amount"), ("makerId", "maker"), ("made_by", "maker")]
)
def test_an_alias_of_pydantic_is_no_name(alias: str, name: str) -> None:
    """A policy reads the instance, which has the field's own name; the refusal says it."""
    assert repr(resource(Invoice).total_amount > 5) == "<condition Invoice.total_amount > Decimal('5')>"
    with pytest.raises(ConfigurationError) as caught:
        resource(Invoice)[alias]
    assert str(caught.value) == f"Invoice has no field {alias}. Write {name}."
    with pytest.raises(ConfigurationError, match="doubled is no field but code"):
        _ = resource(Invoice).doubled


class Page(pydantic.BaseModel, Generic[T]):
    content: T


def test_a_generic_model_is_read_with_its_type() -> None:
    """The variable of a type has no values; a class that says which type it is has."""
    assert repr(resource(Page[int]).content > 5).endswith("content > 5>")
    with pytest.raises(ConfigurationError, match="its type is the name '~T'; write the type itself"):
        _ = resource(Page).content == 5


def test_a_type_that_is_not_known_yet_is_told() -> None:
    """A forward reference to a class that does not exist is refused at the model, by its name."""
    missing: type[Any] = dataclass(type("Missing", (), {"__annotations__": {"it": "Nowhere"}}))
    with pytest.raises(ConfigurationError) as caught:
        resource(missing)
    assert str(caught.value) == (
        "The annotations of Missing cannot be read: name 'Nowhere' is not defined. "
        "Write types that its module can name."
    )

    class Incomplete(pydantic.BaseModel):
        it: "Nowhere"  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError) as caught:
        resource(Incomplete)
    assert str(caught.value) == (
        "Incomplete names types that are not known yet. Import them first, or call Incomplete.model_rebuild()."
    )


@pytest.mark.parametrize("model", [list[int], types.SimpleNamespace(), "Order", None], ids=str)
def test_only_a_class_has_fields(model: Any) -> None:
    """An instance, a name or an alias is refused."""
    with pytest.raises(ConfigurationError) as caught:
        resource(model)
    assert str(caught.value) == (
        f"{model!r} is no class. Write resource(Order), with a class that declares its fields."
    )


def test_a_shape_is_remembered() -> None:
    """A model is read once."""
    assert shape_of(Line) is shape_of(Line)
