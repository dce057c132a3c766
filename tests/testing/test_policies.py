"""What an application tests its policies with: it finds what is wrong, and finds nothing where nothing is."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, TypedDict

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.pool import StaticPool

from limen import PolicySet, allow, deny, python, resource, subject
from limen.authz.engine import Policies
from limen.core.errors import ConfigurationError
from limen.core.principal import ANONYMOUS
from limen.testing.policies import Asked, assert_lists_agree, check_matrix, instances
from tests.policies import shop
from tests.policies.shop import Animal, Dog, Line, Order, Paper, Tag, Team, asynchronous, somebody

READ = "order:read"
U, L, T = subject(), resource(Line), resource(Tag)
O = resource(Order)  # noqa: E741 - as one writes policies
ME, CLERK = somebody("me", limit=10, teams=["a", "b"]), somebody("clerk", "clerk", limit=None)
RULES = (
    allow(READ, O.owner == U.id, id="own"),
    allow(READ, (O.amount < U.limit) & (O.state != shop.State.CLOSED), id="small"),
    allow(READ, U.has_role("clerk") & (O.total <= Decimal("10.25")), id="clerks"),
    allow(READ, O.team.lead == U.id, id="lead"),
    allow(READ, O.lines.any(L.owner == U.id) | ~O.tags.any(T.owner.in_(U.teams)), id="lines"),
    deny(READ, O.team.parent.lead.in_(["x", "me"]), id="parent"),
    deny(READ, O.note == "secret", id="secret"),
)


class Base(DeclarativeBase):
    pass


class Owner(Base):
    """A key of text, and what the database itself looks at."""

    __tablename__ = "owners"

    name: Mapped[str] = mapped_column(sa.String(4), primary_key=True)
    level: Mapped[int] = mapped_column(sa.SmallInteger)
    __table_args__ = (sa.CheckConstraint("level BETWEEN 5 AND 6"),)


class Doc(Base):
    """It must have an owner, and a title that no other one has."""

    __tablename__ = "docs"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(sa.String(3), unique=True)
    owner_name: Mapped[str] = mapped_column(sa.ForeignKey("owners.name"))
    data: Mapped[dict[str, Any]] = mapped_column(sa.JSON)
    owner: Mapped[Owner] = relationship(lazy="raise")


@pytest.fixture
def database() -> Iterator[sa.Engine]:
    """An empty shop."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    shop.Base.metadata.create_all(engine)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


class Showing(Policies):
    """A broken engine: its lists show what has no owner."""

    def where(self, *asked: Any, **more: Any) -> Any:
        return super().where(*asked, **more) | Order.owner.is_(None)


class Allowing(Policies):
    """A broken engine: its check forgets the denies."""

    def can(self, principal: Any, action: Any, resource: Any = None, context: Any = None) -> bool:
        return super().can(principal, action, resource, context) or resource.note == "secret"


def _broken(engine: type[Policies], *rules: Any) -> Policies:
    return engine(Policies.load(rules).loaded)


class TestLists:
    def test_agree(self, database: sa.Engine) -> None:
        """Rules about columns, relations to one and to many agree; nothing of the examples is left behind."""
        assert_lists_agree(RULES, database, Order, READ, principals=[ME, CLERK], examples=30)
        with database.connect() as connection:
            counts = [connection.scalar(sa.select(sa.func.count()).select_from(each)) for each in (Order, Team, Line)]
        assert counts == [0, 0, 0]

    async def test_agree_on_postgresql(self, postgres_url: str) -> None:
        """So they do on PostgreSQL, beside rows that were there before."""
        engine = create_async_engine(asynchronous(postgres_url))
        async with engine.begin() as connection:
            await connection.run_sync(shop.Base.metadata.create_all)
            await connection.execute(sa.insert(Team).values(id=7, lead="me"))
            await connection.execute(sa.insert(Order).values(id=7, owner="me", team_id=7))
        async with engine.connect() as connection:
            await connection.run_sync(
                lambda own: assert_lists_agree(RULES, own, Order, READ, principals=[ME, CLERK], examples=15)
            )
            assert await connection.scalar(sa.select(sa.func.count()).select_from(Order)) == 1
        await engine.dispose()

    async def test_by_an_asynchronous_engine(self) -> None:
        """``run_sync`` hands in a connection, which will do; one that is in a transaction is refused."""
        engine = create_async_engine("sqlite+aiosqlite://")

        def prove(connection: sa.Connection) -> None:
            shop.Base.metadata.create_all(connection)
            connection.commit()
            assert_lists_agree(RULES, connection, Order, READ, principals=[ME], examples=10)
            with connection.begin(), pytest.raises(ConfigurationError, match="transaction"):
                assert_lists_agree(RULES, connection, Order, READ, principals=[ME])

        async with engine.connect() as connection:
            await connection.run_sync(prove)
        await engine.dispose()

    def test_find_a_list_that_shows_too_much(self, database: sa.Engine) -> None:
        """A row that only the list shows is told, with the principal and what the check says."""
        broken = _broken(Showing, allow(READ, O.owner == U.id, id="own"))
        with pytest.raises(AssertionError, match=r"denies it, and the list shows it") as caught:
            assert_lists_agree(broken, database, Order, READ, principals=[ME])
        assert "owner=None" in str(caught.value)

    def test_find_a_check_that_allows_too_much(self, database: sa.Engine) -> None:
        """A value that only a rule names is tried, so a check that forgets this rule is found."""
        broken = _broken(Allowing, allow(READ, O.amount > 5, id="a"), deny(READ, O.note == "secret", id="d"))
        with pytest.raises(AssertionError, match=r"allows it, and the list leaves it out"):
            assert_lists_agree(broken, database, Order, READ, principals=[ME])

    @pytest.mark.parametrize(
        ("function", "sql"),
        [
            (lambda _u, row, _c: row.amount is None or row.amount > 1, lambda _u, model: model.amount > 1),
            (lambda _u, row, _c: row.owner == "me", lambda _u, model: model.owner.ilike("me")),
            (lambda u, row, _c: row.owner != u.id, lambda u, model: model.owner != u.sub),
        ],
        ids=["null", "case", "raises"],
    )
    def test_find_functions_that_are_not_the_same(self, database: sa.Engine, function: Any, sql: Any) -> None:
        """A function of the application's own with another condition of SQL is found: NULL, case, or what it raises."""
        rules = [allow(READ, python(function, sql=sql) & (O.id > 0), id="own")]
        with pytest.raises(AssertionError, match="list and check differ"):
            assert_lists_agree(rules, database, Order, READ, principals=[ME, somebody("ME")], examples=200)

    @pytest.mark.parametrize("model", [Paper, Animal], ids=["joined", "single"])
    def test_of_heirs(self, database: sa.Engine, model: Any) -> None:
        """Rows of classes that inherit are made and compared as well."""
        rules = [allow(READ, resource(model).owner == U.id, id="own"), deny(READ, resource(Dog).tame, id="tame")]
        assert_lists_agree(rules, database, model, READ, principals=[ME], examples=20)

    def test_what_the_database_refuses(self, database: sa.Engine) -> None:
        """Columns that nothing is known of, and rows that a CHECK refuses, take a strategy; the message says so."""
        rules = [allow(READ, resource(Doc).owner.level == 5, id="five")]
        with pytest.raises(ConfigurationError, match=r"columns=\{Doc: \{'data'"):
            assert_lists_agree(rules, database, Doc, READ, principals=[ME])
        known: dict[type[Any], Any] = {Doc: {"data": st.just({})}}
        level = {Owner: {"level": st.just(1)}}
        with pytest.raises(ConfigurationError, match="takes no row of Doc"):
            assert_lists_agree(rules, database, Doc, READ, principals=[ME], columns={**known, **level}, examples=5)
        level = {Owner: {"level": st.sampled_from([5, 6])}}
        assert_lists_agree(rules, database, Doc, READ, principals=[ME], columns={**known, **level}, examples=20)

    def test_an_action_that_nobody_knows_proves_nothing(self, database: sa.Engine) -> None:
        """A name that is misspelt is a failure and no proof."""
        with pytest.raises(AssertionError, match="order:raed"):
            assert_lists_agree(RULES, database, Order, "order:raed", principals=[ME])


@dataclass
class Part:
    """A part of a bill."""

    price: Decimal
    note: str | None = None


@dataclass
class Bill:
    """A bill."""

    owner: str
    parts: list[Part]
    best: Part | None
    tags: frozenset[str]


class Wish(BaseModel):
    """A model that refuses most numbers."""

    size: Annotated[int, Field(ge=0)]
    by: str | None = Field(default=None, alias="wishedBy")


class Note(TypedDict, total=False):
    """A plain mapping."""

    text: str
    stars: int | None


class TestInstances:
    @settings(derandomize=True, database=None, max_examples=20, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        bill=instances(Bill), wish=instances(Wish), note=instances(Note), order=instances(Order), doc=instances(Owner)
    )
    def test_none_only_where_it_may_be(self, bill: Bill, wish: Wish, note: Note, order: Order, doc: Owner) -> None:
        """Every model is made, within its types; what must not be None is not."""
        assert isinstance(bill.owner, str)
        assert all(isinstance(part.price, Decimal) for part in bill.parts)
        assert isinstance(bill.tags, frozenset)
        assert wish.size >= 0
        assert set(note) <= {"text", "stars"}
        assert note.get("text", "") is not None
        assert isinstance(order.id, int)
        assert len(doc.name) <= 4

    @pytest.mark.parametrize(
        ("model", "is_found"),
        [
            (Order, lambda each: each.owner is None),
            (Order, lambda each: each.owner == "somebody"),
            (Bill, lambda each: each.best is None),
            (Bill, lambda each: each.best is not None and each.best.note is None),
            (Wish, lambda each: each.by is None),
            (Note, lambda each: "stars" not in each),
            (Note, lambda each: "stars" in each and each["stars"] is None),
        ],
        ids=["null", "named", "none", "within", "pydantic", "no-key", "key"],
    )
    def test_none_is_among_what_may_be_none(self, model: Any, is_found: Any) -> None:
        """What may be missing is missing now and then, and what is named comes up."""
        quietly = settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=500,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        assert is_found(find(instances(model, values=["somebody"]), is_found, settings=quietly))

    def test_a_field_of_ones_own(self) -> None:
        """A strategy for a field counts; one for a field that is none is refused."""
        quietly = settings(derandomize=True, database=None, deadline=None)
        assert find(instances(Bill, owner=st.just("x")), lambda _: True, settings=quietly).owner == "x"
        with pytest.raises(ConfigurationError, match="Bill has no field ower"):
            instances(Bill, ower=st.just("x"))


class TestMatrix:
    def test_right_rows_pass(self) -> None:
        """Tuples and named rows are asked, of rules and of a snapshot alike."""
        mine = Order(id=1, owner="me", note="")
        rules = PolicySet([allow(READ, O.owner == U.id, id="own"), deny(READ, O.note == "secret", id="secret")])
        rows = [
            (ME, READ, mine, True, "own"),
            (CLERK, READ, mine, False),
            Asked(ANONYMOUS, READ, mine, allowed=False),
        ]
        check_matrix(rules, rows)
        check_matrix(Policies.load(rules), rows)
        assert len(rows) == 3

    def test_all_that_is_wrong_is_told(self) -> None:
        """Another answer, another rule and an unknown action: each row is named, with the rule that decided."""
        mine = Order(id=1, owner="me", note="")
        rows = [(ME, READ, mine, False), (ME, READ, mine, True, "other"), (ME, "order:raed", mine, False)]
        with pytest.raises(AssertionError) as caught:
            check_matrix([allow(READ, O.owner == U.id, id="own")], rows)
        told = str(caught.value)
        assert "3 of 3" in told
        assert "row 1: me order:read" in told
        assert "allowed by own, and must be denied" in told
        assert "must be by other" in told
        assert "no such action" in told

    def test_no_rows_prove_nothing(self) -> None:
        """An empty table, such as a parametrization that lost its rows, fails."""
        with pytest.raises(AssertionError, match="no rows"):
            check_matrix(RULES, [])


def test_without_hypothesis_it_is_said_what_is_missing() -> None:
    """The table works without hypothesis, which is imported by none but those who need it; they say what to install."""
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from limen.core.errors import ConfigurationError\n"
        "from limen.testing.policies import instances\n"
        "try: instances(int)\n"
        "except ConfigurationError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "hypothesis, which is not installed" in done.stdout
