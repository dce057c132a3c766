"""Filter by default: whatever statement is written, a bound session shows a principal what it may read, or refuses."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event, func, select
from sqlalchemy.exc import NoResultFound
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import (
    Session,
    aliased,
    contains_eager,
    immediateload,
    joinedload,
    lazyload,
    make_transient_to_detached,
    selectin_polymorphic,
    selectinload,
    subqueryload,
)
from sqlalchemy.orm.exc import ObjectDeletedError

from limen import PolicySet, allow, deny, resource
from limen.authz.compilers.sql.bind import bind
from limen.authz.compilers.sql.statements import UNFILTERED, StatementNotFiltered
from limen.authz.engine import Policies
from limen.core.errors import ConfigurationError
from tests.policies.shop import (
    Base,
    Contract,
    Line,
    Order,
    Paper,
    Tag,
    Team,
    asynchronous,
    database,
    somebody,
    tagging,
)
from tests.policies.statements import POLICIES, READS, REFUSED, TAGGED, TRUTHS, UNASKED, U, foreign, rows


@pytest.fixture(scope="module")
def shop() -> Iterator[sa.Engine]:
    """A shop in SQLite's memory."""
    engine = sa.create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        for row in rows():
            session.add(row)
            session.flush()
        session.execute(tagging.insert(), TAGGED)
        session.commit()
    yield engine
    engine.dispose()


@pytest.fixture
def session(shop: sa.Engine) -> Iterator[Session]:
    """A session that shows what ``me`` may read; what it changes is taken back."""
    with Session(shop) as found:
        bind(found, POLICIES, somebody())
        yield found
        found.rollback()


# Before 2.1 SQLAlchemy does not filter a class that stands in WHERE alone: there such a statement is refused.
MAY_REFUSE = (StatementNotFiltered,) if sa.__version__.startswith("2.0.") else ()


class TestReads:
    @pytest.mark.parametrize("name", READS)
    def test_nothing_of_somebody_elses(self, session: Session, name: str) -> None:
        """However it is written, a statement returns own rows, and at least one of them where there is one."""
        try:
            found = session.execute(READS[name]).unique().all()
        except MAY_REFUSE:
            return
        assert foreign(found) == []
        assert found or name in {"IN a subquery", "a recursive one"}

    @pytest.mark.parametrize("name", READS)
    def test_a_statement_that_was_looked_at_is_filtered_for_the_next(self, shop: sa.Engine, name: str) -> None:
        """A statement that ran for one principal has the values of the next one, and shows nothing of the first's."""
        for who, other in (("me", "you"), ("you", "me"), ("nobody", "you")):
            with Session(shop) as session:
                bind(session, POLICIES, somebody(who))
                try:
                    found = session.execute(READS[name]).unique().all()
                except MAY_REFUSE:
                    continue
                values = [value for row in found for value in row]
                assert other not in [getattr(value, "owner", getattr(value, "lead", value)) for value in values]

    @pytest.mark.parametrize("name", TRUTHS)
    def test_nothing_is_learned_of_somebody_elses(self, session: Session, name: str) -> None:
        """Counts and EXISTS are of what may be read."""
        statement, answer = TRUTHS[name]
        try:
            assert session.scalar(statement) == answer
        except MAY_REFUSE:
            return

    @pytest.mark.parametrize("name", REFUSED)
    def test_what_cannot_be_filtered_is_refused(self, session: Session, name: str) -> None:
        """A statement that says for itself which rows it reads is not run."""
        with pytest.raises(StatementNotFiltered, match=UNFILTERED):
            session.execute(REFUSED[name])

    def test_unless_it_says_so(self, session: Session) -> None:
        """The option with the long name runs a statement as it is, and no other one with it."""
        assert session.scalar(select(func.count()).select_from(Order), execution_options=UNASKED) == 6
        assert session.scalar(sa.text("SELECT count(*) FROM orders"), execution_options=UNASKED) == 6
        assert session.scalar(select(func.count()).select_from(Order)) == 3

    def test_a_value_that_is_only_like_true_is_no_such_option(self, session: Session) -> None:
        """Only True is that option."""
        with pytest.raises(StatementNotFiltered):
            session.execute(sa.text("SELECT 1"), execution_options={UNFILTERED: "yes"})

    def test_the_older_query(self, session: Session) -> None:
        """`Session.query` is filtered as well: rows, counts, and by key."""
        assert foreign(session.query(Order).all()) == []
        assert session.query(Order).count() == 3
        assert session.query(Order).filter(Order.id == 2).first() is None
        assert session.get(Order, 2) is None

    def test_by_key(self, session: Session) -> None:
        """Somebody else's row is not there, by key neither, and not after it was asked for twice."""
        assert session.get(Order, 2) is None
        assert session.get(Order, 2, populate_existing=True) is None
        with pytest.raises(NoResultFound):
            session.get_one(Order, 2)
        assert session.get_one(Order, 1).id == 1

    def test_policies_see_what_the_principal_does_not(self, shop: sa.Engine) -> None:
        """A deny about rows that the principal may not read holds all the same."""
        lines = resource(Line)
        order = resource(Order)
        rules = [allow("Order:read", id="a"), deny("Order:read", order.lines.any(lines.owner == "you"), id="d")]
        hidden = Policies.load(PolicySet(rules, reads={Order: "Order:read"}))
        with Session(shop) as session:
            bind(session, hidden, somebody())
            assert session.scalar(select(func.count()).select_from(Line)) == 0
            clean = session.scalars(select(Order.id).order_by(Order.id)).all()
        assert clean == [4, 5, 6]


LOADERS: dict[str, Callable[[Any], Any]] = {
    "lazily": lazyload, "joined": joinedload, "by IN": selectinload, "by a subquery": subqueryload,
    "at once": immediateload,
}  # fmt: skip


class TestRelations:
    @pytest.mark.parametrize("name", LOADERS)
    def test_however_they_are_loaded(self, session: Session, name: str) -> None:
        """Rows at the other end of a relation are filtered, however they are loaded, in both directions."""
        load = LOADERS[name]
        options = [load(Order.lines), load(Order.tags), load(Order.team), load(Order.before), load(Order.after)]
        orders = session.scalars(select(Order).options(*options).order_by(Order.id)).unique().all()
        assert [order.id for order in orders] == [1, 3, 5]
        assert {tag.owner for order in orders for tag in order.tags} == {"me"}
        assert {line.owner for order in orders for line in order.lines} == {"me"}
        assert {order.team.lead for order in orders if order.team} == {"me"}
        assert [order.before for order in orders] == [None, None, None]
        assert [order.after for order in orders] == [[], [], []]

    def test_through_two_of_them(self, session: Session) -> None:
        """So are those behind the next relation."""
        options = joinedload(Order.team).joinedload(Team.orders).selectinload(Order.lines)
        found = session.scalars(select(Order).options(options)).unique().all()
        reached = [order for each in found if each.team for order in each.team.orders]
        assert reached
        assert foreign(reached) == []
        assert foreign([line for order in reached for line in order.lines]) == []

    def test_contains_eager(self, session: Session) -> None:
        """What a join brought along is filtered by the join."""
        statement = select(Team).outerjoin(Team.orders).options(contains_eager(Team.orders))
        teams = session.scalars(statement).unique().all()
        assert [team.lead for team in teams] == ["me"]
        assert foreign([order for team in teams for order in team.orders]) == []

    def test_write_only_collections(self, session: Session) -> None:
        """The statements of a write-only relation are statements of the session."""
        order = session.get_one(Order, 1)
        assert foreign(session.scalars(order.stream.select()).all()) == []
        assert session.execute(sa.update(Line).where(Line.id.in_([2, 4])).values(price=1)).rowcount == 0  # type: ignore[attr-defined]

    def test_heirs_loaded_one_by_one(self, session: Session) -> None:
        """Columns of heirs that are loaded by a second statement are those of rows that may be read."""
        found = session.scalars(select(Paper).options(selectin_polymorphic(Paper, [Contract]))).all()
        assert [(paper.id, getattr(paper, "text", None)) for paper in found] == [(1, None), (4, "y")]

    def test_heirs_columns_later(self, session: Session) -> None:
        """So are those that are loaded when they are first asked for."""
        found = session.scalars(select(Paper).order_by(Paper.id)).all()
        assert [getattr(paper, "text", None) for paper in found] == [None, "y"]


class TestRefresh:
    def test_a_row_that_is_no_longer_readable(self, session: Session) -> None:
        """What may not be read any more is not refreshed: the object is as if it were deleted."""
        order = session.get_one(Order, 1)
        session.execute(sa.update(Order).where(Order.id == 1).values(owner="you"), execution_options=UNASKED)
        session.expire_all()
        with pytest.raises(ObjectDeletedError):
            session.refresh(order)
        with pytest.raises(ObjectDeletedError):
            _ = order.note

    def test_an_object_made_of_a_key(self, session: Session) -> None:
        """An object that claims to stand for somebody else's row gets nothing of it."""
        order = Order(id=2)
        make_transient_to_detached(order)
        session.add(order)
        with pytest.raises(ObjectDeletedError):
            _ = order.owner

    def test_an_heir_of_which_only_a_part_is_missing(self, session: Session) -> None:
        """Nor are single columns of an heir's own table."""
        contract = session.get_one(Contract, 4)
        session.execute(sa.update(Paper).where(Paper.id == 4).values(owner="you"), execution_options=UNASKED)
        session.expire(contract, ["text"])
        with pytest.raises(ObjectDeletedError):
            _ = contract.text

    def test_what_may_be_read_is_refreshed(self, session: Session) -> None:
        """A row that may be read is refreshed as ever, an heir's as well."""
        order, contract = session.get_one(Order, 1), session.get_one(Contract, 4)
        session.expire_all()
        session.refresh(order, ["amount"])
        assert (order.amount, order.owner, contract.text) == (1, "me", "y")

    def test_merge_brings_nothing_in(self, session: Session) -> None:
        """An object merged under somebody else's key is a new one, which its key then refuses."""
        session.merge(Order(id=2, owner="me"))
        with pytest.raises(sa.exc.IntegrityError):
            session.flush()


class TestWrites:
    def test_bulk_changes_reach_own_rows_only(self, session: Session) -> None:
        """UPDATE and DELETE of many rows change those that may be read, and return no others."""
        changed = session.execute(sa.update(Order).values(note="x").returning(Order.id))
        assert sorted(changed.scalars()) == [1, 3, 5]
        gone = session.execute(sa.delete(Line).where(Line.id > 0).returning(Line.id))
        assert sorted(gone.scalars()) == [1, 3, 5, 7]

    @pytest.mark.parametrize("how", ["auto", "fetch", False])
    def test_however_the_session_is_kept_in_step(self, session: Session, how: Any) -> None:
        """The way SQLAlchemy looks for objects in memory changes nothing about which rows are changed."""
        session.scalars(select(Order)).all()
        statement = sa.update(Order).values(note="x").execution_options(synchronize_session=how)
        assert session.execute(statement).rowcount == 3  # type: ignore[attr-defined]

    def test_values_from_a_subquery(self, session: Session) -> None:
        """What is written is read through the filter as well."""
        newest = select(func.max(Order.id)).scalar_subquery()
        session.execute(sa.update(Team).values(size=newest))
        assert session.scalars(select(Team.size)).all() == [5]

    def test_insert_from_select(self, session: Session) -> None:
        """Rows that are copied are own rows."""
        copied = select(Order.id + 100, Order.owner)
        session.execute(sa.insert(Tag).from_select(["id", "owner"], copied))
        assert session.scalar(select(func.count()).select_from(Tag), execution_options=UNASKED) == 5

    @pytest.mark.parametrize("name", ["by key", "mappings", "objects", "dml_strategy"])
    def test_changes_by_key_are_refused(self, session: Session, name: str) -> None:
        """What changes rows by their key alone would change somebody else's."""
        bulk = {"id": 2, "note": "x"}
        core = sa.update(Order).values(note="x").execution_options(dml_strategy="core_only")
        ways: dict[str, Callable[[], Any]] = {
            "by key": lambda: session.execute(sa.update(Order), [bulk]),
            "mappings": lambda: session.bulk_update_mappings(sa.inspect(Order), [bulk]),
            "objects": lambda: session.bulk_save_objects([Order(id=2, note="x")]),
            "dml_strategy": lambda: session.execute(core),
        }
        with pytest.raises(StatementNotFiltered):
            ways[name]()

    def test_the_unit_of_work_writes(self, session: Session) -> None:
        """Objects are added, changed and deleted as ever; who may, is asked by the check."""
        order = session.get_one(Order, 1)
        order.note = "changed"
        session.add(Order(id=50, owner="you"))
        session.add(Order(id=51, owner="me"))
        session.delete(session.get_one(Line, 1))
        session.flush()
        session.expire_all()
        assert session.scalars(select(Order.id).where(Order.id >= 50)).all() == [51]
        assert session.get_one(Order, 1).note == "changed"


class TestBinding:
    def test_a_connection_runs_anything(self, session: Session) -> None:
        """The session's connection is handed out only to whoever says what that means."""
        with pytest.raises(StatementNotFiltered, match="connection"):
            session.connection()
        connection = session.connection(execution_options=UNASKED)
        assert connection.scalar(sa.text("SELECT count(*) FROM orders")) == 6

    def test_not_twice(self, session: Session) -> None:
        """A session is one principal's for as long as it lives, and the same binding again changes nothing."""
        bind(session, POLICIES, somebody())
        for who, policies in (
            (somebody("you"), POLICIES),
            (somebody(limit=1), POLICIES),
            (somebody(), Policies.load([])),
        ):
            with pytest.raises(ConfigurationError, match="stays so"):
                bind(session, policies, who)
        session.close()
        assert session.scalar(select(func.count()).select_from(Order)) == 3

    def test_not_late(self, shop: sa.Engine) -> None:
        """Objects that a session holds were filtered by nobody, so it cannot be bound any more."""
        with Session(shop) as late:
            kept = late.get_one(Order, 2)
            with pytest.raises(ConfigurationError, match="holds objects"):
                bind(late, POLICIES, somebody())
            assert kept.id == 2
            late.expunge_all()
            late.add(Order(id=60))
            with pytest.raises(ConfigurationError, match="holds objects"):
                bind(late, POLICIES, somebody())

    def test_other_sessions_are_left_alone(self, session: Session, shop: sa.Engine) -> None:
        """A session of the same engine beside it is not filtered."""
        assert session.scalar(select(func.count()).select_from(Order)) == 3
        with Session(shop) as other:
            assert other.scalar(select(func.count()).select_from(Order)) == 6

    def test_a_condition_of_the_same_policies_beside(self, session: Session) -> None:
        """`where` can stand in a statement of a bound session: both hold."""
        contracts = POLICIES.where(somebody(), "Paper:read", Paper)
        assert session.scalars(select(Paper.id).where(contracts).order_by(Paper.id)).all() == [1, 4]

    def test_an_attribute_that_changes_changes_no_other_session(self, shop: sa.Engine) -> None:
        """Two sessions of one statement and two limits each have their own, whatever was compiled first."""
        order = resource(Order)
        limited = Policies.load(
            PolicySet([allow("Order:read", order.amount <= U.limit, id="a")], reads={Order: "Order:read"})
        )
        later = aliased(Order)
        for limit in (2, 4, 0, 3):
            with Session(shop) as session:
                bind(session, limited, somebody(limit=limit))
                assert len(session.scalars(select(Order.id)).all()) == limit
                assert len(session.execute(select(later.id, Order.id).join(Order, later.id == Order.id)).all()) == limit

    def test_rules_without_end(self, shop: sa.Engine) -> None:
        """Where everything may be read, everything is, and a class without an action still has no rows."""
        free = Policies.load(PolicySet([allow("Order:read", id="a")], reads={Order: "Order:read"}))
        with Session(shop) as session:
            bind(session, free, somebody())
            assert session.scalar(select(func.count()).select_from(Order)) == 6
            assert session.scalar(select(func.count()).select_from(Team)) == 0

    def test_every_statement_is_filtered(self, session: Session, shop: sa.Engine) -> None:
        """Of all that reaches the database while objects are loaded, no SELECT reads orders without its owner."""
        said: list[str] = []
        event.listen(shop, "before_cursor_execute", lambda *told: said.append(told[2]))
        for order in session.scalars(select(Order).options(selectinload(Order.after), subqueryload(Order.tags))):
            _ = order.lines, order.team, order.before
        assert len(said) >= 3
        assert all("owner = ?" in each or "lead = ?" in each for each in said)


class TestAsynchronous:
    @pytest.fixture(params=["sqlite", "postgresql"])
    async def engine(self, request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
        """A shop with rows in either database."""
        lite = "sqlite+aiosqlite://"
        url = lite if request.param == "sqlite" else asynchronous(request.getfixturevalue("postgres_url"))
        async with database(url) as found:
            async with AsyncSession(found) as session:
                for row in rows():
                    session.add(row)
                    await session.flush()
                await session.execute(tagging.insert(), TAGGED)
                await session.commit()
            yield found

    async def test_every_read(self, engine: AsyncEngine) -> None:
        """All statements of this module say the same in an asynchronous session, on both databases."""
        for name, statement in READS.items():
            async with AsyncSession(engine) as session:
                bind(session, POLICIES, somebody())
                try:
                    found = (await session.execute(statement)).unique().all()
                except MAY_REFUSE:
                    continue
                assert foreign(found) == [], name
        for name, (statement, answer) in TRUTHS.items():
            async with AsyncSession(engine) as session:
                bind(session, POLICIES, somebody())
                try:
                    assert await session.scalar(statement) == answer, name
                except MAY_REFUSE:
                    continue

    async def test_every_refusal(self, engine: AsyncEngine) -> None:
        """And what is refused is refused there."""
        async with AsyncSession(engine) as session:
            bind(session, POLICIES, somebody())
            for statement in REFUSED.values():
                with pytest.raises(StatementNotFiltered):
                    await session.execute(statement)
            with pytest.raises(StatementNotFiltered):
                _ = await session.connection()

    async def test_streams_and_keys(self, engine: AsyncEngine) -> None:
        """Streams, keys, refreshes and relations are filtered in an asynchronous session."""
        async with AsyncSession(engine) as session:
            bind(session, POLICIES, somebody())
            streamed = await session.stream_scalars(select(Order).execution_options(yield_per=1))
            assert [order.id async for order in streamed] == [1, 3, 5]
            assert await session.get(Order, 2) is None
            order = await session.get_one(Order, 1, options=[selectinload(Order.lines)])
            assert foreign(order.lines) == []
            await session.execute(sa.update(Order).values(owner="you"), execution_options=UNASKED)
            with pytest.raises(ObjectDeletedError):
                await session.refresh(order)
