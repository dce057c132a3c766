"""Every kind of column that a policy may read says the same to the check and to both databases."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, synonym

from limen import Policies, allow, resource, subject
from tests.policies.shop import asynchronous, somebody

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
OURS, THEIRS = UUID(int=0xA5), UUID(int=0xB6)


class Status(Enum):
    OPEN = "o"
    CLOSED = "c"


class Channel(StrEnum):
    WEB = "web-shop"
    DESK = "desk"


class InUTC(sa.types.TypeDecorator[datetime]):
    """Stores times without their zone, as many applications do."""

    impl = sa.DateTime
    cache_ok = True
    limen_type = datetime

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "kinds_things"

    id: Mapped[int] = mapped_column(primary_key=True)
    flag: Mapped[bool | None]
    small: Mapped[int | None] = mapped_column(sa.SmallInteger)
    large: Mapped[int | None] = mapped_column(sa.BigInteger)
    price: Mapped[Decimal | None] = mapped_column(sa.Numeric(12, 2))
    weight: Mapped[float | None] = mapped_column(sa.Double)
    title: Mapped[str | None]
    name: Mapped[str | None] = synonym("title")
    channel: Mapped[str | None] = mapped_column(sa.Enum("web", "desk", name="kinds_texts"))
    status: Mapped[Status | None]
    by_value: Mapped[Channel | None] = mapped_column(
        sa.Enum(Channel, values_callable=lambda kind: [each.value for each in kind], name="kinds_values")
    )
    seal: Mapped[bytes | None]
    at: Mapped[datetime | None] = mapped_column(sa.DateTime(timezone=True))
    local: Mapped[datetime | None]
    decorated: Mapped[datetime | None] = mapped_column(InUTC)
    day: Mapped[date | None]
    opens: Mapped[time | None]
    lasts: Mapped[timedelta | None]
    owner: Mapped[UUID | None]


T, U = resource(Thing), subject()
AFTER_LUNCH = datetime(2026, 5, 4, 12, 30)  # noqa: DTZ001 - a column without a zone holds it
EASTERN = timezone(timedelta(hours=-5))
CONDITIONS = {
    "flag": T.flag,
    "not flag": ~T.flag,
    "flag == False": T.flag == False,  # noqa: E712
    "small": T.small > 5,
    "small, exact": T.small == 5.0,
    "small, of the user": T.small < U.number,
    "large": T.large >= 2**40,
    "large, negated": ~(T.large >= 2**40),
    "price": T.price <= Decimal("9.99"),
    "price, an int": T.price != 20,
    "weight": T.weight < 0.3,
    "weight, negated": ~(T.weight < 0.3),
    "title, in order": T.title > "a",
    "title holds signs": T.title.contains("%"),
    "title begins with signs": T.title.starts_with("a_"),
    "title, negated": ~T.title.contains("%"),
    "synonym": T.name == "a_c",
    "texts": T.channel == "web",
    "texts, in": T.channel.not_in(["web"]),
    "member": T.status == Status.OPEN,
    "members": T.status.not_in([Status.OPEN]),
    "member by value": T.by_value == Channel.WEB,
    "member of the user": T.status != U.status,
    "bytes": T.seal == b"\x00\x01",
    "at": T.at >= NOON,
    "at, elsewhere": T.at < datetime(2026, 5, 4, 7, tzinfo=EASTERN),
    "at, of the user": T.at == U.noon,
    "local": T.local < AFTER_LUNCH,
    "decorated": T.decorated > NOON,
    "decorated, elsewhere": T.decorated.in_([datetime(2026, 5, 4, 7, tzinfo=EASTERN)]),
    "day": T.day != date(2026, 5, 4),
    "opens": T.opens >= time(9),
    "lasts": T.lasts > timedelta(hours=1),
    "owner": T.owner == U.id,
    "owner, negated": T.owner != U.id,
    "owners": T.owner.in_([THEIRS]),
    "null": T.status.is_null(),
    "not null": T.at.is_not_null(),
    "none of none": T.title.not_in([]),
}


def rows() -> list[Thing]:
    """Return one thing with nothing, and two that differ in everything."""
    one = Thing(
        id=2, flag=True, small=5, large=2**40, price=Decimal("9.99"), weight=0.1 + 0.2, title="a_c", channel="web",
        status=Status.OPEN, by_value=Channel.WEB, seal=b"\x00\x01", at=NOON, local=AFTER_LUNCH - timedelta(hours=1),
        decorated=NOON, day=date(2026, 5, 4), opens=time(8, 59), lasts=timedelta(hours=1), owner=OURS,
    )  # fmt: skip
    other = Thing(
        id=3, flag=False, small=6, large=-1, price=Decimal(20), weight=-1.5, title="Z%", channel="desk",
        status=Status.CLOSED, by_value=Channel.DESK, seal=b"", at=NOON - timedelta(microseconds=1),
        local=AFTER_LUNCH + timedelta(hours=1), decorated=NOON + timedelta(microseconds=1), day=date(2024, 2, 29),
        opens=time(9), lasts=timedelta(days=400), owner=THEIRS,
    )  # fmt: skip
    return [Thing(id=1), one, other]


@pytest.fixture(params=["sqlite", "postgresql"])
async def session(request: pytest.FixtureRequest) -> AsyncIterator[AsyncSession]:
    """A session over the three things in either database."""
    url = "sqlite+aiosqlite://"
    if request.param == "postgresql":
        url = asynchronous(request.getfixturevalue("postgres_url"))
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        async with AsyncSession(engine) as found:
            found.add_all(rows())
            await found.commit()
            found.expunge_all()
            yield found
    finally:
        await engine.dispose()


# SQLite keeps a Decimal as a float, and SQLAlchemy says so.
@pytest.mark.filterwarnings("ignore:Dialect sqlite.* does .*not.* support Decimal:sqlalchemy.exc.SAWarning")
async def test_the_check_and_the_list_agree_on_every_kind(session: AsyncSession) -> None:
    """Of a thing with nothing only `is_null` is true; of the two others each condition is true of one, in both ways."""
    who: Any = somebody(str(OURS), number=6, status=Status.CLOSED, noon=datetime(2026, 5, 4, 7, tzinfo=EASTERN))
    things = (await session.scalars(sa.select(Thing))).all()
    for name, condition in CONDITIONS.items():
        policies = Policies.load([allow("thing:read", condition, id="condition")])
        checked = {thing.id for thing in things if policies.can(who, "thing:read", thing)}
        listed = set(await session.scalars(sa.select(Thing.id).where(policies.where(who, "thing:read", Thing))))
        assert listed == checked, name
        expected = {"null": [{1}], "not null": [{2, 3}], "none of none": [{2, 3}]}.get(name, [{2}, {3}])
        assert checked in expected, name
        assert policies.failures == 0, name
