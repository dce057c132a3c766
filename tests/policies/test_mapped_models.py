"""What the columns of a SQLAlchemy model are to a policy, and which of them none may read."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any, ClassVar, Literal, NewType
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    ColumnProperty,
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    MappedAsDataclass,
    WriteOnlyMapped,
    aliased,
    attribute_keyed_dict,
    column_property,
    composite,
    mapped_column,
    registry,
    relationship,
    synonym,
)

from limen import resource, subject
from limen.authz.policy.models import shape_of
from limen.authz.policy.shapes import FieldShape, Kind
from limen.core.errors import ConfigurationError


class Status(Enum):
    OPEN = "o"


class Channel(StrEnum):
    WEB = "web"


OrderId = NewType("OrderId", int)


def mapped(**columns: Any) -> type[Any]:
    """Return a model with columns, in a registry of its own."""

    class Base(DeclarativeBase):
        pass

    return type(
        "Order", (Base,), {"__tablename__": "orders", "id": mapped_column(sa.Integer, primary_key=True), **columns}
    )


def shape_in(kind: Any) -> FieldShape:
    """Return what a column of a type is."""
    return shape_of(mapped(it=mapped_column(kind))).fields["it"]


class Upper(sa.types.TypeDecorator[str]):
    impl = sa.String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value.upper()


class Exact(sa.types.TypeDecorator[datetime]):
    """A time in UTC, as many applications store it."""

    impl = sa.DateTime
    cache_ok = True
    limen_type = datetime

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Turned(sa.types.TypeDecorator[str]):
    """A text that is stored backwards: equal where the values are, and ordered otherwise."""

    impl = sa.String
    cache_ok = True
    limen_type = str

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return None if value is None else value[::-1]


class Cents(sa.types.TypeDecorator[Decimal]):
    """An amount that is stored as an integer."""

    impl = sa.Integer
    cache_ok = True
    limen_type = Decimal

    def process_bind_param(self, value: Decimal | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else int(value * 100)


class Automatic(sa.types.TypeDecorator[str]):
    """Leaves values as they are."""

    impl = sa.String
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return sa.String(50)


class Surprising(Automatic):
    """Is another type on PostgreSQL."""

    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> Any:
        return postgresql.CITEXT() if dialect.name == "postgresql" else sa.String()


class Louder(sa.String):
    """Binds in a way of its own, and is no decorator."""

    def bind_processor(self, dialect: sa.Dialect) -> Any:
        return lambda value: value.upper()


class Folding(ColumnProperty.Comparator[str]):
    """Compares without case, as SQLAlchemy's manual shows it."""

    def __eq__(self, other: Any) -> Any:
        return sa.func.lower(self.__clause_element__()) == sa.func.lower(other)

    __hash__ = ColumnProperty.Comparator.__hash__


class Folded(sa.types.TypeDecorator[str]):
    impl = postgresql.CITEXT
    cache_ok = True
    limen_type = str


KINDS: dict[str, tuple[Any, Kind]] = {
    "Boolean": (sa.Boolean, Kind.BOOLEAN),
    "Integer": (sa.Integer, Kind.INTEGER),
    "BigInteger": (sa.BigInteger, Kind.INTEGER),
    "SmallInteger": (sa.SmallInteger, Kind.INTEGER),
    "Numeric": (sa.Numeric(10, 2), Kind.DECIMAL),
    "Numeric as float": (sa.Numeric(10, 2, asdecimal=False), Kind.FLOAT),
    "Float": (sa.Float, Kind.FLOAT),
    "Float as Decimal": (sa.Float(asdecimal=True), Kind.DECIMAL),
    "Double": (sa.Double, Kind.FLOAT),
    "DOUBLE_PRECISION": (postgresql.DOUBLE_PRECISION, Kind.FLOAT),
    "String": (sa.String(50), Kind.TEXT),
    "Text": (sa.Text, Kind.TEXT),
    "Unicode": (sa.Unicode, Kind.TEXT),
    "String in C": (sa.String(collation="C"), Kind.TEXT),
    "String in BINARY": (sa.String(collation="BINARY"), Kind.TEXT),
    "String in de_DE": (sa.String(collation="de_DE.utf8"), Kind.TEXT),
    "String in und-x-icu": (sa.String(collation="und-x-icu"), Kind.TEXT),
    "LargeBinary": (sa.LargeBinary, Kind.BYTES),
    "BYTEA": (postgresql.BYTEA, Kind.BYTES),
    "DateTime": (sa.DateTime, Kind.NAIVE),
    "DateTime with a zone": (sa.DateTime(timezone=True), Kind.AWARE),
    "TIMESTAMP with a zone": (postgresql.TIMESTAMP(timezone=True), Kind.AWARE),
    "Date": (sa.Date, Kind.DATE),
    "Time": (sa.Time, Kind.TIME),
    "Interval": (sa.Interval, Kind.DURATION),
    "Uuid": (sa.Uuid, Kind.UUID),
    "UUID": (postgresql.UUID, Kind.UUID),
    "Enum": (sa.Enum(Status), Kind.ENUM),
    "ENUM": (postgresql.ENUM(Status, name="status"), Kind.ENUM),
    "Enum by value": (sa.Enum(Channel, values_callable=lambda kind: [each.value for each in kind]), Kind.ENUM),
    "Enum of texts": (sa.Enum("web", "shop"), Kind.TEXT),
    "a variant of one kind": (sa.Text().with_variant(sa.String(50), "postgresql"), Kind.TEXT),
    "a decorator that says its type": (Exact, Kind.AWARE),
    "a decorator without code": (Automatic, Kind.TEXT),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_type_of_a_column_has_a_kind(name: str) -> None:
    """What compares the same in Python, SQLite and PostgreSQL is read, whatever the annotation."""
    kind, expected = KINDS[name]
    shape = shape_in(kind)
    assert (shape.kind, shape.refused) == (expected, "")


FOLDS = "may call two texts equal that differ; keep a column in lower case, without a collation"
OTHERWISE = "does not compare the same in Python, SQLite and PostgreSQL; write python(…, sql=…)"
UNREADABLE: dict[str, tuple[Any, str]] = {
    "NOCASE": (
        sa.String(collation="NOCASE"),
        f"its collation NOCASE {FOLDS}",
    ),
    "RTRIM": (
        sa.Text(collation="RTRIM"),
        f"its collation RTRIM {FOLDS}",
    ),
    "nondeterministic": (
        sa.String(collation="case_insensitive"),
        f"its collation case_insensitive {FOLDS}",
    ),
    "utf8mb4_general_ci": (
        sa.String(collation="utf8mb4_general_ci"),
        f"its collation utf8mb4_general_ci {FOLDS}",
    ),
    "CITEXT": (postgresql.CITEXT, "it is CITEXT, which ignores case; keep a column in lower case, of type String"),
    "CITEXT as a variant": (
        sa.String().with_variant(postgresql.CITEXT(), "postgresql"),
        "on postgresql, it is CITEXT, which ignores case; keep a column in lower case, of type String",
    ),
    "CITEXT in a decorator": (Folded, "it is CITEXT, which ignores case; keep a column in lower case, of type String"),
    "CHAR": (sa.CHAR(5), "it is CHAR, which pads with spaces; write String"),
    "REAL": (sa.REAL, "it has single precision, so that 0.1 is not 0.1; write Double()"),
    "Float(24)": (sa.Float(24), "it has single precision, so that 0.1 is not 0.1; write Double()"),
    "Time with a zone": (
        sa.Time(timezone=True),
        "a time of day with a zone has no order that all databases share; write Time()",
    ),
    "Uuid as text": (
        sa.Uuid(as_uuid=False),
        "its values are texts in Python and UUIDs in the database; write Uuid()",
    ),
    "JSON": (sa.JSON, f"its type JSON {OTHERWISE}"),
    "JSONB": (postgresql.JSONB, f"its type JSONB {OTHERWISE}"),
    "INET": (postgresql.INET, f"its type INET {OTHERWISE}"),
    "MONEY": (postgresql.MONEY, f"its type MONEY {OTHERWISE}"),
    "TSRANGE": (postgresql.TSRANGE, f"its type TSRANGE {OTHERWISE}"),
    "ARRAY": (sa.ARRAY(sa.Integer), f"its type ARRAY {OTHERWISE}"),
    "ARRAY of PostgreSQL": (postgresql.ARRAY(sa.Text), f"its type ARRAY {OTHERWISE}"),
    "two kinds": (
        sa.String().with_variant(sa.Integer(), "postgresql"),
        "it is text, and on postgresql integer; give it one type",
    ),
    "PickleType": (sa.PickleType, f"its type PickleType {OTHERWISE}"),
    "a decorator that is CITEXT on PostgreSQL": (
        Surprising,
        "it is CITEXT, which ignores case; keep a column in lower case, of type String",
    ),
    "a decorator of numbers": (
        Cents,
        "limen compares no decimal that Cents stores in a way of its own; write python(…, sql=…)",
    ),
    "a type that binds in its own way": (
        Louder,
        (
            "limen cannot see whether what Louder stores is equal and ordered as its values are; where it is, write "
            "limen_type = str (or UUID, datetime, …) in Louder"
        ),
    ),
    "a decorator": (
        Upper,
        (
            "limen cannot see whether what Upper stores is equal and ordered as its values are; where it is, write "
            "limen_type = str (or UUID, datetime, …) in Upper"
        ),
    ),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_column_that_compares_otherwise_is_refused(name: str) -> None:
    """A collation, padding or precision that the check does not share would make the list disagree with it."""
    kind, why = UNREADABLE[name]
    order = resource(mapped(it=mapped_column(kind)))
    reads: list[Callable[[], object]] = [lambda: order.it == "a", order.it.is_null, lambda: order.it.contains("a")]
    for read in reads:
        with pytest.raises(ConfigurationError) as caught:
            read()
        assert str(caught.value) == f"Order.it cannot be part of a policy: {why}."


TWO_COLUMNS = (
    "Order.it == Order.title: two columns are compared as they are stored, and a type of your own stores one of them. "
    "Write python(…, sql=…)."
)


def test_a_type_of_one_s_own_is_compared_by_what_is_bound() -> None:
    """It promises that equal values are stored alike; of parts of texts and of other columns it says nothing."""
    order = resource(mapped(it=mapped_column(Turned), title=mapped_column(sa.String)))
    assert repr(order.it.in_(["a"]) & (order.it != subject().name)) == (
        "<condition Order.it.in_(['a']) & (Order.it != subject.name)>"
    )
    refused: dict[str, Callable[[], object]] = {
        TWO_COLUMNS: lambda: order.it == order.title,
        "Order.it is stored by a type of your own, which tells nothing about parts. Write python(…, sql=…).": lambda: (
            order.it.starts_with("a")
        ),
        "Order.it < 'b': texts are ordered as they are stored, by a type of your own. Write == or .in_([…]).": lambda: (
            order.it < "b"
        ),
    }
    for words, write in refused.items():
        with pytest.raises(ConfigurationError) as caught:
            write()
        assert str(caught.value) == words


def test_a_comparator_of_one_s_own_is_refused() -> None:
    """SQLAlchemy lets a column compare without case; the check would not."""

    class Base(DeclarativeBase):
        pass

    class Word(Base):
        __tablename__ = "words"

        id: Mapped[int] = mapped_column(primary_key=True)
        text = column_property(sa.Column("text", sa.String), comparator_factory=Folding)

    assert shape_of(Word).fields["text"].refused == "it compares by a comparator of your own; write python(…, sql=…)"
    assert shape_of(Word).fields["id"].refused == ""


class Base(DeclarativeBase):
    type_annotation_map: ClassVar = {OrderId: sa.Integer}


class Place:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


class Team(Base):
    __tablename__ = "teams"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[OrderId] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str]
    label: Mapped[str] = synonym("title")
    note: Mapped[str | None] = mapped_column(deferred=True)
    folded: Mapped[str] = mapped_column(sa.String(collation="NOCASE"))
    loud: Mapped[str] = synonym("folded")
    count: Mapped[int] = column_property(sa.select(sa.func.count(Team.id)).scalar_subquery())
    x: Mapped[int]
    y: Mapped[int]
    place: Mapped[Place] = composite(Place, "x", "y")
    team_id: Mapped[int | None] = mapped_column(sa.ForeignKey("teams.id"))
    team: Mapped[Team | None] = relationship()
    lines: Mapped[list["Line"]] = relationship(back_populates="order")
    teams: Mapped[list[Team]] = relationship(secondary="order_teams", viewonly=True)
    by_number: Mapped[dict[int, "Line"]] = relationship(collection_class=attribute_keyed_dict("number"), viewonly=True)
    asked: DynamicMapped["Line"] = relationship(viewonly=True)
    written: WriteOnlyMapped["Line"] = relationship(viewonly=True)
    prices: AssociationProxy[list[Decimal]] = association_proxy("lines", "price")
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "order"}  # noqa: RUF012 - its way

    @hybrid_property
    def is_large(self) -> bool:
        return self.x > 5

    @property
    def shouted(self) -> str:
        return self.title.upper()


sa.Table(
    "order_teams",
    Base.metadata,
    sa.Column("order_id", sa.ForeignKey("orders.id"), primary_key=True),
    sa.Column("team_id", sa.ForeignKey("teams.id"), primary_key=True),
)


class Line(Base):
    __tablename__ = "lines"

    order_id: Mapped[int] = mapped_column(sa.ForeignKey("orders.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    price: Mapped[Decimal]
    order: Mapped[Order] = relationship(back_populates="lines")


class Export(Order):
    """Joined inheritance: a table of its own."""

    __tablename__ = "exports"

    id: Mapped[OrderId] = mapped_column(sa.ForeignKey("orders.id"), primary_key=True)
    country: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "export"}  # noqa: RUF012 - its way


class Sample(Order):
    """Single-table inheritance: columns of the parent's table."""

    reason: Mapped[str | None]
    __mapper_args__ = {"polymorphic_identity": "sample"}  # noqa: RUF012 - its way


def test_what_the_mapping_makes_of_columns() -> None:
    """Synonyms stand for their column; deferred columns are read; keys may be of several columns."""
    order = resource(Order)
    assert repr(order.label == "a") == "<condition Order.title == 'a'>"
    assert repr(order.note.is_null()) == "<condition Order.note.is_null()>"
    assert repr((resource(Line).order_id == 1) & (resource(Line).number == 2)) == (
        "<condition (Line.order_id == 1) & (Line.number == 2)>"
    )
    assert not shape_of(Order).fields["title"].nullable


def test_inherited_columns_are_fields() -> None:
    """Joined or in one table: the subclass has the columns of its parent, the parent none of the subclass."""
    assert repr((resource(Export).title == "a") & (resource(Export).country == "b")) == (
        "<condition (Export.title == 'a') & (Export.country == 'b')>"
    )
    assert repr(resource(Sample).reason.is_null()) == "<condition Sample.reason.is_null()>"
    assert repr(resource(Export).team.name == "a") == "<condition Export.team.name == 'a'>"
    with pytest.raises(ConfigurationError, match=r"Order has no field country\."):
        _ = resource(Order).country


def test_relations_lead_to_one_or_to_many() -> None:
    """To one by a step, to many by a question; over a table between as well."""
    order, line = resource(Order), resource(Line)
    assert repr(order.team.name == "a") == "<condition Order.team.name == 'a'>"
    assert repr(line.order.team.name == "a") == "<condition Line.order.team.name == 'a'>"
    assert repr(order.lines.any(line.price > 1)) == "<condition Order.lines.any(Line.price > Decimal('1'))>"
    assert repr(order.teams.any(resource(Team).name == "a")) == "<condition Order.teams.any(Team.name == 'a')>"


NO_COLUMNS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "hybrid": (
        lambda order: order.is_large,
        (
            "Order.is_large cannot be part of a policy: it is a hybrid, whose Python and SQL may disagree; compare its "
            "columns, or write python(…, sql=…)."
        ),
    ),
    "association proxy": (
        lambda order: order.prices.contains(5),
        (
            "Order.prices cannot be part of a policy: it is a proxy of lines.price; write .lines.any(…), or "
            ".lines.price where it leads to one."
        ),
    ),
    "composite": (
        lambda order: order.place == 5,
        "Order.place cannot be part of a policy: it is made of several columns; compare x and y.",
    ),
    "expression": (
        lambda order: order["count"] > 5,
        ("Order.count cannot be part of a policy: it is an expression and no column; write python(…, sql=…)."),
    ),
    "property": (
        lambda order: order.shouted == "A",
        "Order.shouted is no field but code. Compare the fields that it reads, or write python(…).",
    ),
    "synonym of a column that is refused": (
        lambda order: order.loud == "a",
        (
            "Order.folded cannot be part of a policy: its collation NOCASE may call two texts equal that differ; keep "
            "a column in lower case, without a collation."
        ),
    ),
    "dynamic": (
        lambda order: order.asked.any(resource(Line).price > 1),
        "Order.asked cannot be part of a policy: its rows are never loaded (lazy='dynamic'); write python(…, sql=…).",
    ),
    "write only": (
        lambda order: order.written.any(resource(Line).price > 1),
        (
            "Order.written cannot be part of a policy: its rows are never loaded (lazy='write_only'); write "
            "python(…, sql=…)."
        ),
    ),
    "mapping": (
        lambda order: order.by_number.any(resource(Line).price > 1),
        (
            "Order.by_number cannot be part of a policy: its collection is neither a list nor a set; write "
            "python(…, sql=…)."
        ),
    ),
}


@pytest.mark.parametrize("name", NO_COLUMNS)
def test_what_is_no_column_is_refused(name: str) -> None:
    """Code beside the columns may say one thing in Python and another in SQL; each refusal says what to write."""
    written, words = NO_COLUMNS[name]
    with pytest.raises(ConfigurationError) as caught:
        ~written(resource(Order))
    assert str(caught.value) == words


def annotated(annotation: Any, kind: Any) -> FieldShape:
    """Return what a column is that is annotated with a type, and holds another."""
    model = mapped(it=mapped_column(kind), __annotations__={"it": annotation})
    return shape_of(model).fields["it"]


@pytest.mark.parametrize(
    ("annotation", "kind", "words"),
    [
        (Mapped[int], sa.String(), "it is annotated as integer, and its column holds text"),
        (Mapped[str | None], sa.Integer(), "it is annotated as text, and its column holds integer"),
        (Mapped[float], sa.Numeric(), "it is annotated as float, and its column holds decimal"),
        (Mapped[Decimal], sa.Float(), "it is annotated as decimal, and its column holds float"),
        (Mapped[Status], sa.String(), "it is annotated as Status, and its column holds text"),
        (Mapped[str], sa.Enum(Channel), "it is annotated as text, and its column holds Channel"),
        (Mapped[Status], sa.Enum(Channel), "it is annotated as Status, and its column holds Channel"),
        (Mapped[str], sa.Uuid(), "it is annotated as text, and its column holds UUID"),
    ],
    ids=["int-str", "str-int", "float-numeric", "decimal-float", "enum-str", "str-enum", "enum-enum", "str-uuid"],
)
def test_an_annotation_that_disagrees_with_its_column_is_refused(annotation: Any, kind: Any, words: str) -> None:
    """What a type checker reads and what the database holds must be one thing."""
    assert annotated(annotation, kind).refused == f"{words}; write one type in both"


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        (Mapped[OrderId], sa.Integer()),
        (Mapped[datetime], sa.DateTime()),
        (Mapped[datetime], sa.DateTime(timezone=True)),
        (Mapped[UUID | None], sa.Uuid()),
        (Mapped[Literal["a"]], sa.String()),
        (Mapped[Any], sa.String()),
        ("Mapped[Nowhere]", sa.String()),
        (Mapped[Channel], sa.Enum(Channel)),
    ],
    ids=["NewType", "naive", "aware", "uuid", "Literal", "Any", "unknown name", "enum"],
)
def test_an_annotation_that_agrees_is_not_in_the_way(annotation: Any, kind: Any) -> None:
    """Another name for the same type is no disagreement, nor is one that cannot be read."""
    if annotation == "Mapped[Nowhere]":
        model = mapped(it=mapped_column(kind))
        model.__annotations__ = {"it": annotation}
        assert shape_of(model).fields["it"].refused == ""
        return
    assert annotated(annotation, kind).refused == ""


def test_other_ways_to_map() -> None:
    """Models that are dataclasses as well, and classes that are mapped to a table by hand, have their columns."""

    class Mapping(MappedAsDataclass, DeclarativeBase):
        pass

    class Item(Mapping):
        __tablename__ = "items"

        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(sa.String(collation="NOCASE"))

    class Plain:
        pass

    table = sa.Table("plain", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Text))
    registry().map_imperatively(Plain, table)
    assert shape_of(Item).is_mapped
    assert shape_of(Item).fields["name"].refused
    assert shape_of(Plain).fields["n"].kind is Kind.TEXT


def test_a_model_is_one_table() -> None:
    """A list of something else than the rows of a table, or of tables that only look like one, is not filtered."""

    class Base(DeclarativeBase):
        pass

    class Parent(Base):
        __tablename__ = "parents"

        id: Mapped[int] = mapped_column(primary_key=True)
        __mapper_args__ = {"polymorphic_identity": "parent"}  # noqa: RUF012 - its way

    class Child(Parent):
        __tablename__ = "children"

        id: Mapped[int] = mapped_column(primary_key=True)
        __mapper_args__ = {"concrete": True}  # noqa: RUF012 - its way

    class Chosen(Base):
        __table__ = sa.select(Parent.__table__).where(Parent.id > 5).subquery()
        __mapper_args__ = {"primary_key": [__table__.c.id]}  # noqa: RUF012 - its way

    for model in (Parent, Child, Chosen):
        with pytest.raises(ConfigurationError) as caught:
            resource(model)
        assert str(caught.value) == (
            f"{model.__name__} is mapped to no table of its own alone: to an expression, or by concrete inheritance. "
            "Write a model of the table, or of joined or single-table inheritance."
        )


def test_models_must_all_be_there() -> None:
    """A relation to a model that was not imported is told by its name; so is a base without a table."""

    class Alone(DeclarativeBase):
        pass

    class Half(Alone):
        __tablename__ = "halves"

        id: Mapped[int] = mapped_column(primary_key=True)
        other_id: Mapped[int] = mapped_column(sa.ForeignKey("others.id"))
        others: Mapped[list["Nowhere"]] = relationship()  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(ConfigurationError) as caught:
        resource(Half)
    assert str(caught.value).startswith("The models of Half cannot be put together: ")
    assert "'Nowhere'" in str(caught.value)
    assert str(caught.value).endswith(" Import all of them before the policies.")
    with pytest.raises(ConfigurationError, match=r"Alone declares no fields\. Write"):
        resource(Alone)
    with pytest.raises(ConfigurationError, match="is no class"):
        resource(aliased(Order))


def test_a_relation_that_came_later_is_found() -> None:
    """A model that is imported after the first policy may bring a relation along for the other side."""

    class Late(DeclarativeBase):
        pass

    class One(Late):
        __tablename__ = "ones"

        id: Mapped[int] = mapped_column(primary_key=True)

    one = resource(One)
    with pytest.raises(ConfigurationError, match="One has no field many"):
        _ = one.many

    class Many(Late):
        __tablename__ = "manies"

        id: Mapped[int] = mapped_column(primary_key=True)
        one_id: Mapped[int] = mapped_column(sa.ForeignKey("ones.id"))
        one: Mapped[One] = relationship(backref="many")

    assert repr(one.many.any(resource(Many).id == 1)) == "<condition One.many.any(Many.id == 1)>"


def test_the_width_of_an_integer_is_the_column_s() -> None:
    """A constant that the column cannot hold is refused: PostgreSQL would fail at every list."""
    for kind, bits in ((sa.SmallInteger, 16), (sa.Integer, 32), (sa.BigInteger, 64)):
        order = resource(mapped(it=mapped_column(kind)))
        assert repr(order.it < 2 ** (bits - 1) - 1)
        assert repr(order.it > -(2 ** (bits - 1)))
        for value in (2 ** (bits - 1), -(2 ** (bits - 1)) - 1):
            with pytest.raises(ConfigurationError) as caught:
                _ = order.it == value
            assert str(caught.value) == (
                f"Order.it holds integers of {bits} bits, and {value} is none. Write another, or widen the column."
            )
