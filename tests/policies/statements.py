"""Statements of every kind about the shop: what they must show, what they may tell, and those that are refused."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import exists, func, literal, select
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import (
    aliased,
    with_loader_criteria,
    with_polymorphic,
)

from limen import PolicySet, allow, deny, resource, subject
from limen.authz.compilers.sql.statements import UNFILTERED
from limen.authz.engine import Policies
from tests.policies.shop import (
    Animal,
    Base,
    Contract,
    Dog,
    Line,
    Note,
    Order,
    Paper,
    Tag,
    Team,
    tagging,
)

U = subject()
OWNED: list[Any] = [Order, Line, Tag, Paper, Animal]


def declared() -> PolicySet:
    """Whoever owns a row reads it, but no secret contract; a team is read by its lead; of notes nothing is said."""
    rules = [allow(f"{cls.__name__}:read", resource(cls).owner == U.id, id=cls.__name__) for cls in OWNED]
    rules += [allow("Team:read", resource(Team).lead == U.id, id="team")]
    rules += [deny("Paper:read", resource(Contract).secret, id="secret", unknown="deny")]
    return PolicySet(rules, reads={cls: f"{cls.__name__}:read" for cls in [*OWNED, Team]})


POLICIES = Policies.load(declared())
TABLE = Base.metadata.tables["orders"]
UNASKED = {UNFILTERED: True}


def rows() -> list[Any]:
    """Rows of two owners: of everything, what is even is somebody else's."""
    owners = {number: "me" if number % 2 else "you" for number in range(1, 9)}
    teams = [Team(id=number, lead=owners[number]) for number in (1, 2)]
    orders = [
        Order(id=number, owner=owner, team_id=1 + (number // 2) % 2, amount=number, before_id=number - 1 or None)
        for number, owner in owners.items()
        if number <= 6
    ]
    lines = [Line(id=number, owner=owner, order_id=1 + number // 3) for number, owner in owners.items()]
    others: list[Any] = [Tag(id=1, owner="me"), Tag(id=2, owner="you"), Note(id=1, order_id=1)]
    papers = [Paper(id=1, owner="me"), Contract(id=2, owner="me", secret=True, text="x"), Paper(id=3, owner="you")]
    papers += [Contract(id=4, owner="me", secret=False, text="y"), Contract(id=5, owner="you", secret=False)]
    animals = [Animal(id=1, owner="me"), Dog(id=2, owner="me", tame=True), Dog(id=3, owner="you", tame=True)]
    return [*teams, *orders, *lines, *others, *papers, *animals]


TAGGED = [{"order_id": order, "tag_id": tag} for order in range(1, 7) for tag in (1, 2)]


def foreign(found: Any) -> list[Any]:
    """Return what of a result is somebody else's; of numbers, the even ones are."""
    values = [value for row in found for value in (row if isinstance(row, tuple | sa.Row) else (row,))]
    owners = [getattr(value, "owner", getattr(value, "lead", value)) for value in values]
    return [owner for owner in owners if owner == "you" or (isinstance(owner, int) and owner % 2 == 0)]


OTHER, LATER, MEMBER = aliased(Order), aliased(Order), aliased(Team)
INNER = select(Order).subquery()
OF_INNER = aliased(Order, INNER)
COMMON = select(Order.id, Order.owner).cte()
CHAIN = select(Order.id, Order.before_id).where(Order.id == 6).cte(recursive=True)
CHAIN = CHAIN.union_all(select(OTHER.id, OTHER.before_id).join(CHAIN, OTHER.id == CHAIN.c.before_id))

READS: dict[str, Any] = {
    "a class": select(Order),
    "columns alone": select(Order.id),
    "an expression": select(func.coalesce(Order.owner, "")),
    "a label": select(Order.owner.label("x")),
    "an alias": select(OTHER),
    "columns of an alias": select(OTHER.owner),
    "two of one class": select(Order.id, OTHER.id).join(OTHER, OTHER.id >= Order.id),
    "a subquery": select(INNER.c.id),
    "an alias of a subquery": select(OF_INNER.id),
    "a common table expression": select(COMMON),
    "a recursive one": select(CHAIN.c.id),
    "a union": sa.union_all(select(Order.id), select(OTHER.id)),
    "a union within": select(sa.union(select(Order.id), select(OTHER.id)).subquery()),
    "except": sa.except_(select(Order.id), select(OTHER.id).where(OTHER.id == 1)),
    "a join": select(Team.lead, Order.id).join(Team.orders),
    "an outer join": select(Order.id).select_from(Team).outerjoin(Team.orders).where(Order.id.is_not(None)),
    "a join of an alias": select(MEMBER.lead, OTHER.id).join(OTHER, OTHER.team_id == MEMBER.id),
    "a join through a table between": select(Tag.owner).join(Order.tags),
    "one that is in WHERE alone": select(Team.lead).where(Team.id == Order.team_id),
    "a subquery as a column": select(select(func.max(Order.owner)).scalar_subquery()),
    "a correlated one": select(
        Team.lead, select(func.max(Order.id)).where(Order.team_id == Team.id).scalar_subquery()
    ),
    "a function of a subquery": select(
        Team.lead, func.coalesce(select(func.max(Order.owner)).scalar_subquery(), "me")
    ),
    "IN a subquery": select(Line.owner).where(Line.order_id.in_(select(Order.id).where(Order.owner == "you"))),
    "a window": select(func.max(Order.owner).over(order_by=Order.id)),
    "groups": select(Order.owner).group_by(Order.owner).having(func.count(Order.id) > 0),
    "a subquery of each row": select(
        select(Order.owner).where(Order.team_id == Team.id).limit(1).scalar_subquery()
    ).select_from(Team),
    "heirs in tables of their own": select(Paper.owner),
    "an heir": select(Contract.owner),
    "all heirs at once": select(with_polymorphic(Paper, "*")),
    "heirs in one table": select(Animal.owner),
    "one of these": select(Dog),
    "somebody's own criteria beside": select(Order).options(with_loader_criteria(Order, Order.id > 0)),
    "a condition that is always true": select(Order).where(sa.or_(sa.true(), Order.owner == "me")),
    "or": select(Order).where((Order.owner == "me") | (Order.owner == "you")),
    "fresh values": select(Order).execution_options(populate_existing=True),
    "a page": select(Order).order_by(Order.id).limit(3).offset(1),
    "a lock": select(Order).with_for_update(),
    "a bundle": select(sa.orm.Bundle("b", Order.owner)),
    "DISTINCT": select(Order.owner).distinct(),
}  # fmt: skip

TRUTHS: dict[str, tuple[Any, Any]] = {
    "count": (select(func.count()).select_from(Order), 3),
    "count of a column": (select(func.count(Order.id)), 3),
    "count of a subquery": (select(func.count()).select_from(select(Order.id).subquery()), 3),
    "EXISTS": (select(exists().where(Order.owner == "you")), False),
    "EXISTS of a SELECT": (select(exists(select(Order.id).where(Order.owner == "you"))), False),
    "EXISTS in WHERE": (select(func.count(Team.id)).where(exists().where(Order.owner == "you")), 0),
    "any": (select(func.count(Team.id)).where(Team.orders.any(Order.owner == "you")), 0),
    "has": (select(func.count(Order.id)).where(Order.team.has(Team.lead == "you")), 0),
    "any across a table between": (select(func.count(Order.id)).where(Order.tags.any(Tag.owner == "you")), 0),
    "NOT any": (select(func.count(Team.id)).where(~Team.orders.any()), 0),
    "WHERE alone": (select(literal(1)).where(Order.owner == "you"), None),
    "max": (select(func.max(Order.id)), 5),
    "what no policy names": (select(func.count()).select_from(Note), 0),
    "a join with what no policy names": (select(func.count(Order.id)).join(Note, Note.order_id == Order.id), 0),
}

PRICE = select(func.max(Line.__table__.c.price)).scalar_subquery()
ROWS = sa.values(sa.column("x", sa.Integer), name="v").data([(PRICE,)])
READ_ROWS = sa.values(sa.column("x", sa.Integer), name="w").data([(select(func.max(Line.price)).scalar_subquery(),)])

REFUSED: dict[str, Any] = {
    "a table in a function": select(Order.id, func.coalesce(PRICE, 1)),
    "a table in a function alone": select(func.coalesce(PRICE, 1)).select_from(Order),
    "a table in a function in ORDER BY": select(Order.id).order_by(func.coalesce(PRICE, 1)),
    "a table in a function in GROUP BY": select(func.count(Order.id)).group_by(func.coalesce(PRICE, 1)),
    "a table in a function in a CTE": select(select(Order.id, func.coalesce(PRICE, 1)).cte()),
    "a table in several rows": sa.insert(Line).values([{"id": 90, "price": PRICE}]),
    "a class in several rows": sa.insert(Line).values([{"id": 90}, {"id": select(Order.id).scalar_subquery()}]),
    "a table in rows of values": select(Order.id, ROWS.c.x).select_from(Order).join(ROWS, sa.true()),
    "a class in rows of values": select(Order.id, READ_ROWS.c.x).select_from(Order).join(READ_ROWS, sa.true()),
    "a table in IN of values": select(Order.id).where(Order.id.in_(ROWS.scalar_values())),
    "a hint of a statement": select(Order.id).with_statement_hint("UNION ALL SELECT id FROM orders"),
    "a hint within": select(select(Order.id).with_statement_hint("UNION ALL SELECT id FROM orders").subquery()),
    "a hint of a table": select(Order.id).with_hint(Order, "JOIN lines", "sqlite"),
    "a hint in INSERT": sa.insert(Line).values(id=90).with_hint("x"),
    "a hint in UPDATE": sa.update(Order).values(note="x").with_hint("x"),
    "a hint in DELETE": sa.delete(Order).with_hint("x"),
    "a prefix in INSERT": sa.insert(Order).values(id=2, owner="me").prefix_with("OR REPLACE"),
    "a prefix in UPDATE": sa.update(Order).values(id=2).prefix_with("OR REPLACE"),
    "a table in LIMIT": select(Order.id).limit(select(func.max(Line.__table__.c.id)).scalar_subquery()),
    "a table in ORDER BY": select(Order.id).order_by(select(func.max(Line.__table__.c.id)).scalar_subquery()),
    "a table in a condition of a join": select(Order.id).join(
        Order.lines.and_(exists(select(Note.__table__.c.id)))
    ),
    "a table in a CTE beside": select(Order.id).add_cte(select(Line.__table__).cte("beside")),
    "text in a prefix": select(Order.id).prefix_with(sa.text("(SELECT 1),")),
    "a table in VALUES": sa.update(Order).values(note=select(func.max(Line.__table__.c.owner)).scalar_subquery()),
    "a table in RETURNING": sa.update(Order).values(note="x").returning(
        select(func.max(Line.__table__.c.owner)).scalar_subquery()
    ),
    "a changing CTE": select(Order.id).add_cte(sa.delete(Line).returning(Line.id).cte("gone")),
    "a table": select(Order.__table__),
    "columns of a table": select(Order.__table__.c.owner),
    "a table beside a class": select(Order.id).join(Line.__table__, sa.true()),
    "a table in a subquery": select(Order.id).where(Order.id.in_(select(Line.__table__.c.order_id))),
    "a table in EXISTS": select(Order.id).where(exists(select(Line.__table__.c.id))),
    "a table in a CTE": select(Order.id).join(select(Line.__table__).cte(), sa.true()),
    "an alias of a table": select(Order.id, Line.__table__.alias().c.owner),
    "a table between": select(tagging),
    "a table between, counted": select(func.count(Order.id)).join(tagging, sa.true()),
    "columns of a table between": select(Order.id, tagging.c.tag_id).where(tagging.c.order_id == Order.id),
    "the table of an heir": select(Paper.id, Contract.__table__.c.text).join(Contract.__table__, sa.true()),
    "text": sa.text("SELECT owner FROM orders"),
    "text as a class": select(Order).from_statement(sa.text("SELECT * FROM orders")),
    "a statement as a class": select(Order).from_statement(select(Order)),
    "text in WHERE": select(Order.id).where(sa.text("1 IN (SELECT 1 FROM notes)")),
    "text as a column": select(Order.id, sa.text("(SELECT max(owner) FROM orders)")),
    "a literal column": select(Order.id, sa.literal_column("(SELECT max(owner) FROM orders)")),
    "text in FROM": select(sa.text("owner")).select_from(sa.text("orders")),
    "text with columns": select(Order.id).join(sa.text("SELECT 1 AS a").columns(sa.column("a")).subquery(), sa.true()),
    "a name for a table": select(Order.id, sa.table("lines", sa.column("owner")).c.owner),
    "FULL JOIN": select(Team.id, Order.id).join(Order, sa.false(), full=True),
    "a join that forgets": select(Team.id).select_from(sa.orm.outerjoin(Team, OTHER, OTHER.team_id == Team.id)),
    "UPDATE … FROM": sa.update(Team).where(Team.id == Order.team_id).values(size=1),
    "DELETE … USING": sa.delete(Team).where(Team.id == Order.team_id),
    "UPDATE of a table": sa.update(TABLE).values(note="x"),
    "DELETE of a table": sa.delete(TABLE),
    "INSERT from a table": sa.insert(Tag).from_select(
        ["id", "owner"], select(Line.__table__.c.id, Line.__table__.c.owner)
    ),
    "INSERT or change": upsert(Order).values(id=2, owner="me").on_conflict_do_update(["id"], set_={"owner": "me"}),
    "UPDATE of joined tables": sa.update(Contract).values(text="z"),
    "DDL": sa.DDL("DROP TABLE orders"),  # type: ignore[no-untyped-call]
}  # fmt: skip
