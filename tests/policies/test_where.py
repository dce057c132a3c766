"""Conditions in SQL: they say of every row what the check says of the instance, on both databases."""

import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from sqlalchemy.orm import aliased, joinedload, selectinload

from limen import PolicySet, allow, deny, python, resource, subject
from limen.authz.compilers.partial import Scope, bound
from limen.authz.compilers.sql.where import where
from limen.authz.engine import Policies
from limen.authz.policy.expressions import Expression
from limen.core.errors import ConfigurationError
from limen.core.principal import ANONYMOUS, Principal
from tests.policies import random_shop
from tests.policies.shop import (
    Animal,
    Contract,
    Dog,
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

ROUNDS = int(os.environ.get("LIMEN_TEST_POLICY_ROUNDS", "120"))
READ = "order:read"
U, L = subject(), resource(Line)
O = resource(Order)  # noqa: E741 - as one writes policies


@pytest.fixture(params=["sqlite", "postgresql"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[AsyncEngine]:
    """An empty shop in either database."""
    sqlite_url = "sqlite+aiosqlite://"
    url = sqlite_url if request.param == "sqlite" else asynchronous(request.getfixturevalue("postgres_url"))
    async with database(url) as found:
        yield found


@pytest.fixture
async def session(engine: AsyncEngine) -> AsyncIterator[AsyncSession]:
    """A session that nothing filters."""
    async with AsyncSession(engine) as found:
        yield found


async def fill(session: AsyncSession, *rows: Any) -> None:
    """Put rows into the database, one after the other, and forget them."""
    for row in rows:
        session.add(row)
        await session.flush()
    await session.commit()
    session.expunge_all()


def policies(*conditions: Expression, but: Expression | None = None) -> Policies:
    """Return policies that allow reading where one of the conditions holds, but not where the last one does."""
    rules = [allow(READ, condition, id=f"a{number}") for number, condition in enumerate(conditions)]
    return Policies.load(PolicySet([*rules, *([deny(READ, but, id="d")] if but is not None else [])]))


async def found(session: AsyncSession, condition: Expression | Policies, principal: Principal) -> set[int]:
    """Return the ids of the orders that the condition lets through."""
    loaded = condition if isinstance(condition, Policies) else policies(condition)
    answer = await session.scalars(sa.select(Order.id).where(loaded.where(principal, READ, Order)))
    return set(answer.all())


def sql(condition: Expression, principal: Principal, dialect: Any = None) -> str:
    """Return the text of a SELECT with a condition, in one line."""
    statement = sa.select(Order.id).where(where(bound(condition.node, principal), Order, principal))
    return " ".join(str(statement.compile(dialect=dialect or sqlite.dialect())).split())


class TestSameAnswer:
    @pytest.mark.parametrize("seed", [11, 12])
    async def test_random_policies_say_the_same_of_random_rows(self, session: AsyncSession, seed: int) -> None:
        """The check and WHERE agree on every row, whatever the policy, the subject's attributes and the rows are."""
        chance = random.Random(seed)
        for group in random_shop.rows(chance, 20):
            session.add_all(group)
            await session.flush()
        pairs = [(order, tag) for order in range(1, 21) for tag in (1, 2, 3) if chance.random() < 0.4]
        await session.execute(tagging.insert(), [{"order_id": order, "tag_id": tag} for order, tag in pairs])
        await session.commit()
        session.expunge_all()
        team = joinedload(Order.team)
        loaded = sa.select(Order).options(
            team.joinedload(Team.parent),
            team.selectinload(Team.orders).joinedload(Order.team),
            joinedload(Order.before),
            *map(selectinload, (Order.after, Order.lines, Order.tags)),
        )
        orders = (await session.scalars(loaded)).unique().all()
        yes = 0
        for _ in range(ROUNDS):
            try:
                given = random_shop.tree(chance, 2, lambda: random_shop.leaf(chance))
                but = random_shop.tree(chance, 1, lambda: random_shop.leaf(chance))
            except ConfigurationError:
                continue  # two kinds that are never compared
            asked = policies(given, but=but if chance.random() < 0.5 else None)
            who = somebody(
                chance.choice(["me", "a"]), *chance.choice([(), ("admin",)]), **random_shop.attributes(chance)
            )
            can = {order.id for order in orders if asked.can(who, READ, order)}
            assert await found(session, asked, who) == can, (asked.rules, who.attributes)
            yes += len(can)
        assert yes > ROUNDS

    async def test_what_is_missing_is_neither(self, session: AsyncSession) -> None:
        """NULL, and a principal without the value, are neither equal nor unequal, in nothing, and out of nothing."""
        await fill(session, Order(id=1), Order(id=2, owner="me"))
        for condition in (
            O.owner == U.id,
            O.owner != U.id,
            O.owner.in_(["me"]),
            O.owner.not_in(["x"]),
            ~(O.owner < "a"),
        ):
            assert 1 not in await found(session, condition, somebody())
        assert await found(session, O.owner.not_in([]), somebody()) == {2}
        for condition in (O.owner == U.id, O.owner != U.id, O.owner.contains(U.gone), ~(O.owner == U.gone)):
            assert await found(session, condition, ANONYMOUS) == set()

    async def test_half_a_text_meets_no_row(self, session: AsyncSession) -> None:
        """NUL and half a surrogate pair, which not every database takes, are met by no row and raise nothing."""
        await fill(session, Order(id=1, owner="a"))
        for text in ("a\0b", "\ud800"):
            who = somebody(x=text, xs=[text, "a"])
            for condition in (O.owner == U.x, O.owner != U.x, O.owner < U.x, O.owner.contains(U.x), O.owner.in_(U.xs)):
                assert await found(session, condition, who) == set()

    async def test_signs_of_like_are_signs(self, session: AsyncSession) -> None:
        """``%`` and ``_`` stand for themselves, and case counts."""
        await fill(
            session, *(Order(id=n, owner=text) for n, text in enumerate(["100%", "100x", "a_b", "aXb", "A_B"], 1))
        )
        assert await found(session, O.owner.contains("%"), somebody()) == {1}
        assert await found(session, O.owner.starts_with(U.x), somebody(x="a_")) == {3}
        assert await found(session, ~O.owner.contains("_"), somebody()) == {1, 2, 4}

    async def test_texts_are_ordered_by_code_point(self, session: AsyncSession) -> None:
        """``B`` comes before ``a``, and ``é`` after ``z``, whatever the database's collation is."""
        await fill(session, *(Order(id=n, owner=text) for n, text in enumerate(["B", "a", "z", "é"], 1)))
        assert await found(session, O.owner < "a", somebody()) == {1}
        assert await found(session, O.owner > "z", somebody()) == {4}

    async def test_times_with_a_zone(self, session: AsyncSession) -> None:
        """A moment is the same in every zone; SQLite keeps none, and what it gives back is UTC."""
        moment = datetime(2026, 1, 1, tzinfo=UTC)
        await fill(session, Order(id=1, made_at=moment), Order(id=2, made_at=moment + timedelta(hours=1)))
        elsewhere = moment.astimezone(timezone(timedelta(hours=9)))
        assert await found(session, O.made_at == elsewhere, somebody()) == {1}
        assert await found(session, O.made_at > U.since, somebody(since=elsewhere)) == {2}

    async def test_numbers_that_no_column_holds(self, session: AsyncSession) -> None:
        """Limits beyond 64 bits, infinite ones and fractions are compared as numbers, and no driver refuses them."""
        await fill(session, Order(id=1, amount=10, weight=0.5), Order(id=2, amount=11), Order(id=3))
        for limit in (10**30, float("inf"), 11.0, 11):
            assert await found(session, O.amount <= U.limit, somebody(limit=limit)) == {1, 2}
        for none in (-(10**30), float("-inf"), float("nan"), "11", True):
            assert await found(session, O.amount <= U.limit, somebody(limit=none)) == set()
        assert await found(session, O.amount < U.limit, somebody(limit=10.5)) == {1}
        assert await found(session, O.amount != U.limit, somebody(limit=10**30)) == {1, 2}
        assert await found(session, O.weight < U.limit, somebody(limit=10**400)) == {1}


async def test_not_a_number_is_missing_on_postgresql(postgres_url: str) -> None:
    """PostgreSQL's NaN, for it the greatest of all numbers and equal to itself, is met by nothing but `is_null`."""
    async with database(asynchronous(postgres_url)) as engine, AsyncSession(engine) as session:
        await fill(session, Order(id=1, weight=float("nan"), total="NaN"), Order(id=2, weight=1.0, total=1))
        for condition in (O.weight > 0, O.weight != 3.0, O.weight.not_in([3.0]), O.weight >= O.weight, O.total > 0):
            assert await found(session, condition, somebody()) == {2}
        assert await found(session, O.weight.is_null() & O.total.is_null(), somebody()) == {1}
        assert await found(session, O.weight.is_not_null() | O.total.is_not_null(), somebody()) == {2}


class TestRelations:
    async def test_no_row_is_no_answer(self, session: AsyncSession) -> None:
        """Across a relation to one both polarities need the row, so that a deny is not passed by having none."""
        await fill(session, Team(id=1, lead="me"), Team(id=2), *(Order(id=n, team_id=n) for n in (1, 2)), Order(id=3))
        assert await found(session, O.team.lead == U.id, somebody()) == {1}
        assert await found(session, ~(O.team.lead == U.id), somebody()) == set()
        assert await found(session, O.team.lead.is_null(), somebody()) == {2}
        everything = policies(O.id > 0, but=O.team.lead != U.id)
        assert await found(session, everything, somebody()) == {1}

    async def test_what_no_row_can_meet_is_no_product_of_tables(self, session: AsyncSession) -> None:
        """A leaf that is false beside two relations asks for no row at all; a warning would be an error here."""
        await fill(session, Team(id=1), Order(id=1, team_id=1))
        half = somebody(x="\ud800")
        assert await found(session, O.team.parent.lead == U.x, half) == set()
        assert await found(session, ~O.lines.any(L.owner == U.x), half) == {1}

    async def test_any_and_none(self, session: AsyncSession) -> None:
        """Of no rows none meets it; where it is unknown of one, it is not known that none does."""
        await fill(session, *(Order(id=n) for n in (1, 2, 3, 4)))
        await fill(session, Line(order_id=2, owner="me"), Line(order_id=3, owner="you"), Line(order_id=4))
        assert await found(session, O.lines.any(L.owner == U.id), somebody()) == {2}
        assert await found(session, ~O.lines.any(L.owner == U.id), somebody()) == {1, 3}

    async def test_an_alias_is_asked_about_its_own_rows(self, session: AsyncSession) -> None:
        """Of two rows of one class in a statement, the condition is about the one it was made for, relations too."""
        await fill(session, Team(id=1, lead="me"), Order(id=1, team_id=1), Order(id=2, before_id=1))
        later = aliased(Order)
        loaded = policies(O.team.lead == U.id)
        statement = sa.select(later.id, Order.id).join(Order, later.before_id == Order.id)
        first = await session.execute(statement.where(loaded.where(somebody(), READ, Order)))
        second = await session.execute(statement.where(loaded.where(somebody(), READ, later)))
        assert (first.all(), second.all()) == ([(2, 1)], [])

    async def test_counts_pages_and_subqueries(self, session: AsyncSession) -> None:
        """The condition stands wherever a condition may."""
        await fill(session, *(Order(id=n, owner="me" if n % 2 else "you") for n in range(1, 8)))
        mine = policies(O.owner == U.id).where(somebody(), READ, Order)
        assert await session.scalar(sa.select(sa.func.count()).select_from(Order).where(mine)) == 4
        page = await session.scalars(sa.select(Order.id).where(mine).order_by(Order.id).limit(2).offset(1))
        assert page.all() == [3, 5]
        inner = sa.select(Order.id).where(mine).subquery()
        assert await session.scalar(sa.select(sa.func.max(inner.c.id))) == 7

    async def test_of_two_principals_each_gets_their_own(self, session: AsyncSession) -> None:
        """A compiled statement that is used again has the values of whom it is run for."""
        await fill(session, Order(id=1, owner="me"), Order(id=2, owner="you"))
        loaded = policies((O.owner == U.id) & ~O.lines.any(L.owner != U.id) & O.owner.in_(U.names))
        for name, ids in (("me", {1}), ("you", {2}), ("me", {1}), ("nobody", set())):
            assert await found(session, loaded, somebody(name, names=["me", "you"])) == ids


class TestHeirs:
    async def test_each_row_by_the_rules_of_its_own_class(self, session: AsyncSession) -> None:
        """A deny about an heir in a table of its own takes its rows from a list of the class it inherits from."""
        await fill(session, Paper(id=1), Contract(id=2, secret=True), Contract(id=3, secret=False), Contract(id=4))
        contract = resource(Contract)
        loaded = Policies.load(
            PolicySet([allow(READ, resource(Paper).id > 0, id="a"), deny(READ, contract.secret, id="d")])
        )
        answer = await session.scalars(sa.select(Paper.id).where(loaded.where(somebody(), READ, Paper)))
        assert set(answer) == {1, 3}
        heirs = await session.scalars(sa.select(Contract.id).where(loaded.where(somebody(), READ, Contract)))
        assert set(heirs) == {3}
        assert loaded.scope(somebody(), READ, Paper) is Scope.SOME

    async def test_heirs_in_one_table(self, session: AsyncSession) -> None:
        """So does one about heirs in the same table; and nothing is allowed of a row that is of no known class."""
        await fill(session, Animal(id=1), Dog(id=2, tame=True), Dog(id=3, tame=False))
        await session.execute(sa.text("INSERT INTO animals (id, kind) VALUES (4, 'dragon')"))
        loaded = Policies.load(
            PolicySet([allow(READ, resource(Animal).id > 0, id="a"), deny(READ, ~resource(Dog).tame, id="d")])
        )
        assert set(await session.scalars(sa.select(Animal.id).where(loaded.where(somebody(), READ, Animal)))) == {1, 2}
        assert set(await session.scalars(sa.select(Dog.id).where(loaded.where(somebody(), READ, Dog)))) == {2}


class TestDecidesAtomically:
    async def test_the_update_decides(self, session: AsyncSession, engine: AsyncEngine) -> None:
        """What was checked may have changed when it is written; WHERE in the UPDATE sees what is written."""
        await fill(session, Order(id=1, owner="you", note="open"))
        loaded = policies(O.owner != U.id, but=O.note == "closed")
        order = await session.get_one(Order, 1)
        assert loaded.can(somebody(), READ, order)
        async with AsyncSession(engine) as other:
            if engine.dialect.name == "postgresql":
                await other.execute(sa.update(Order).values(note="closed"))
                await other.commit()
            else:  # of one connection, which sees its own
                await session.execute(
                    sa.update(Order).values(note="closed").execution_options(synchronize_session=False)
                )
        changed = await session.execute(
            sa.update(Order)
            .where(Order.id == 1, loaded.where(somebody(), READ, Order))
            .values(note="approved")
            .execution_options(synchronize_session=False)
        )
        assert loaded.can(somebody(), READ, order)
        assert changed.rowcount == 0  # type: ignore[attr-defined]

    async def test_update_and_delete_touch_what_is_allowed(self, session: AsyncSession) -> None:
        """A bulk UPDATE and a bulk DELETE change the allowed rows and no others, relations or not."""
        await fill(session, Team(id=1, lead="me"), Order(id=1, team_id=1), Order(id=2))
        mine = policies(O.team.lead == U.id).where(somebody(), READ, Order)
        changed = await session.execute(sa.update(Order).where(mine).values(note="x").returning(Order.id))
        assert changed.all() == [(1,)]
        gone = await session.execute(sa.delete(Order).where(mine).returning(Order.id))
        assert gone.all() == [(1,)]
        assert (await session.scalars(sa.select(Order.id))).all() == [2]


class TestPython:
    @pytest.mark.parametrize(("is_not", "ids"), [(False, {1}), (True, {2})])
    async def test_the_sql_of_a_function_has_three_answers(
        self, session: AsyncSession, is_not: bool, ids: set[int]
    ) -> None:
        """What the function's SQL does not know is neither true nor, where negated, false."""
        await fill(session, Order(id=1, amount=5), Order(id=2, amount=0), Order(id=3))
        asked = python(lambda *_: None, sql=lambda _who, model: ~sa.not_(model.amount > 1))
        assert await found(session, ~asked if is_not else asked, somebody()) == ids

    @pytest.mark.parametrize(("said", "ids"), [(None, set()), (True, {1}), (False, set())])
    async def test_it_may_answer_at_once(self, session: AsyncSession, said: bool | None, ids: set[int]) -> None:
        """True, False and None instead of a condition mean what they mean from the function."""
        await fill(session, Order(id=1))
        assert await found(session, python(lambda *_: None, sql=lambda *_: said), somebody()) == ids

    def test_without_sql_it_is_refused(self) -> None:
        """A function without SQL filters nothing, and says so."""
        with pytest.raises(ConfigurationError, match="sql="):
            sql(python(lambda *_: True, name="odd"), somebody())

    def test_within_any_it_is_refused(self) -> None:
        """Nor does a function about the rows of a relation."""
        inner = (L.price > 0) & python(lambda *_: True, sql=lambda *_: True, name="odd")
        with pytest.raises(ConfigurationError, match="rows of a relation"):
            sql(O.lines.any(inner), somebody())


class TestText:
    def test_each_database_in_its_words(self) -> None:
        """SQLite is asked with instr, PostgreSQL with strpos and starts_with; LIKE is nowhere."""
        condition = O.owner.contains("a") & O.owner.starts_with("b") & (O.owner < "c")
        lite, large = sql(condition, somebody()), sql(condition, somebody(), postgresql.asyncpg.dialect())  # type: ignore[no-untyped-call]
        assert "instr(orders.owner, ?) > 0" in lite
        assert "instr(orders.owner, ?) = 1" in lite
        assert "strpos(orders.owner, " in large
        assert "starts_with(orders.owner, " in large
        assert 'orders.owner COLLATE "C"' in large
        assert "LIKE" not in (lite + large).upper()
        assert '"C"' not in lite

    def test_what_is_known_is_no_part_of_it(self) -> None:
        """Branches that the principal settles are gone, and what is false for all is false in one word."""
        condition = (U.has_role("admin") | (O.owner == U.id)) & (U.kind == "person")
        assert sql(condition, somebody("me", "admin")).endswith("WHERE 1 = 1")
        assert sql(condition, somebody()).endswith("WHERE orders.owner = ?")
        assert sql(condition, ANONYMOUS).endswith("WHERE 0 = 1")

    def test_no_value_is_in_the_text(self) -> None:
        """Every value is a parameter."""
        condition = (O.owner == U.x) & O.note.contains(U.x) & O.owner.in_([U_TEXT]) & (O.amount < 77123)
        said = sql(condition, somebody(x=U_TEXT))
        assert U_TEXT not in said
        assert "77123" not in said

    def test_only_a_mapped_class_has_rows(self) -> None:
        """What is neither a mapped class nor an alias of one is refused."""
        with pytest.raises(ConfigurationError, match="neither a mapped class"):
            where(bound((O.owner == U.id).node, somebody()), dict, somebody())

    def test_the_tables_of_relations_bear_other_names(self) -> None:
        """A relation of a class to itself and one through a table between are asked of rows of their own."""
        tags = resource(Tag)
        said = sql((O.before.owner == U.id) & O.tags.any(tags.owner == U.id), somebody())
        assert "orders AS orders_1" in said
        assert "tagging AS tagging_1" in said


U_TEXT = "x'); DROP TABLE orders; --"
