"""Writes an honest application of 200 files and 1 000 routes, as people write them, for `limen check` to look at.

Forty areas, each a package of five files: tables, schemas, services, routes, routes for the staff. Routers are nested
three deep; who is calling is a chain of dependencies that ends in a token; a service asks SQLAlchemy and another
company's service by httpx. It depends on nothing but FastAPI, SQLAlchemy, httpx and PyJWT.
"""

from pathlib import Path
from typing import Final

AREAS: Final = 40
"""How many areas the whole application has."""

_THINGS: Final = (
    "order", "invoice", "customer", "product", "shipment", "refund", "coupon", "ticket", "review", "supplier",
    "contract", "quote", "payment", "parcel", "return", "warranty", "claim", "budget", "expense", "report",
    "project", "task", "meeting", "document", "template", "campaign", "lead", "channel", "message", "notice",
    "device", "sensor", "alarm", "route", "vehicle", "driver", "depot", "stock", "batch", "recipe",
)  # fmt: skip

_CORE: Final = {
    "__init__.py": '"""The shop."""\n',
    "database.py": '''"""The database: one engine, one session a request."""

from collections.abc import Iterator

from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from shop.settings import settings

engine = create_engine(settings.database_url)
Sessions = sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """What tables derive from."""


def session() -> Iterator[Session]:
    """Yield a session, and close it."""
    with Sessions() as opened:
        yield opened
''',
    "settings.py": '''"""Settings, from the environment."""

import os
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """What the shop is told."""

    database_url: str = field(default_factory=lambda: os.environ.get("SHOP_DATABASE_URL", "sqlite://"))
    token_key: str = field(default_factory=lambda: os.environ.get("SHOP_TOKEN_KEY", ""))
    rates_url: str = field(default_factory=lambda: os.environ.get("SHOP_RATES_URL", "https://rates.example"))


settings = Settings()
''',
    "security.py": '''"""Who is calling, and what they may do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import jwt
from fastapi import Depends, HTTPException, status
from fastapi.security import OAuth2PasswordBearer
from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.database import session
from shop.people import Person
from shop.settings import settings

scheme = OAuth2PasswordBearer(tokenUrl="token")
Opened = Annotated[Session, Depends(session)]


@dataclass
class Claims:
    """What a token says."""

    subject: int
    scopes: frozenset[str]


def claims(token: Annotated[str, Depends(scheme)]) -> Claims:
    """Return what the token says."""
    try:
        told = jwt.decode(token, settings.token_key, algorithms=["HS256"], audience="shop")
    except jwt.InvalidTokenError:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED, headers={"WWW-Authenticate": "Bearer"}) from None
    return Claims(int(told["sub"]), frozenset(told.get("scopes", ())))


def current_person(told: Annotated[Claims, Depends(claims)], db: Opened) -> Person:
    """Return who is calling, as the database knows them."""
    person = db.scalar(select(Person).where(Person.id == told.subject))
    if person is None or person.is_blocked:
        raise HTTPException(status.HTTP_401_UNAUTHORIZED)
    return person


Me = Annotated[Person, Depends(current_person)]


def role(name: str) -> Callable[..., Person]:
    """Return a dependency that asks for a role."""

    def holder(me: Me) -> Person:
        if name not in me.roles.split(","):
            raise HTTPException(status.HTTP_403_FORBIDDEN, f"{name} is required")
        return me

    return holder
''',
    "people.py": '''"""People."""

from sqlalchemy.orm import Mapped, mapped_column

from shop.database import Base


class Person(Base):
    """Somebody with an account."""

    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    roles: Mapped[str] = mapped_column(default="")
    is_blocked: Mapped[bool] = mapped_column(default=False)
''',
}

_TABLES: Final = '''"""Tables of @thing@s."""

from datetime import UTC, datetime
from decimal import Decimal

from sqlalchemy import ForeignKey, Index, Numeric, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shop.database import Base


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class @Thing@(Base):
    """One @thing@."""

    __tablename__ = "@thing@s"
    __table_args__ = (Index("ix_@thing@s_owner", "owner_id", "created_at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(ForeignKey("people.id"))
    name: Mapped[str] = mapped_column(String(120))
    state: Mapped[str] = mapped_column(String(20), default="new")
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2), default=Decimal(0))
    currency: Mapped[str] = mapped_column(String(3), default="EUR")
    notes: Mapped[str] = mapped_column(String(4000), default="")
    created_at: Mapped[datetime] = mapped_column(default=now)
    changed_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    lines: Mapped[list["@Thing@Line"]] = relationship(back_populates="whole", cascade="all, delete-orphan")
    events: Mapped[list["@Thing@Event"]] = relationship(back_populates="whole", cascade="all, delete-orphan")

    @property
    def is_open(self) -> bool:
        """Tell whether it may still be changed."""
        return self.state in {"new", "open", "waiting"}

    def total(self) -> Decimal:
        """Return the sum of the lines."""
        return sum((line.amount * line.number for line in self.lines), start=Decimal(0))


class @Thing@Line(Base):
    """One line of a @thing@."""

    __tablename__ = "@thing@_lines"
    id: Mapped[int] = mapped_column(primary_key=True)
    @thing@_id: Mapped[int] = mapped_column(ForeignKey("@thing@s.id"))
    text: Mapped[str] = mapped_column(String(400))
    number: Mapped[int] = mapped_column(default=1)
    amount: Mapped[Decimal] = mapped_column(Numeric(12, 2))
    whole: Mapped[@Thing@] = relationship(back_populates="lines")


class @Thing@Event(Base):
    """Something that happened to a @thing@."""

    __tablename__ = "@thing@_events"
    id: Mapped[int] = mapped_column(primary_key=True)
    @thing@_id: Mapped[int] = mapped_column(ForeignKey("@thing@s.id"))
    kind: Mapped[str] = mapped_column(String(40))
    detail: Mapped[str] = mapped_column(String(400), default="")
    happened_at: Mapped[datetime] = mapped_column(default=now)
    whole: Mapped[@Thing@] = relationship(back_populates="events")

    def describe(self) -> str:
        """Return it as people read it."""
        when = self.happened_at.strftime("%d.%m.%Y %H:%M")
        if self.detail:
            return f"{when} {self.kind}: {self.detail}"
        return f"{when} {self.kind}"


STATES = {
    "new": ("open", "cancelled"),
    "open": ("waiting", "done", "cancelled"),
    "waiting": ("open", "cancelled"),
    "done": (),
    "cancelled": (),
}


def may_follow(before: str, after: str) -> bool:
    """Tell whether a state may come after another."""
    return after in STATES.get(before, ())
'''

_SCHEMAS: Final = '''"""What comes in and goes out about @thing@s."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator


class In(BaseModel):
    """What comes in: nothing that is not declared."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class Out(BaseModel):
    """What goes out."""

    model_config = ConfigDict(from_attributes=True)


Amount = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]
State = Literal["new", "open", "waiting", "done", "cancelled"]


class @Thing@LineIn(In):
    """A line that is added."""

    text: Annotated[str, Field(min_length=1, max_length=400)]
    number: Annotated[int, Field(ge=1, le=10_000)] = 1
    amount: Amount


class @Thing@In(In):
    """A new @thing@."""

    name: Annotated[str, Field(min_length=1, max_length=120)]
    currency: Literal["EUR", "USD", "CHF"] = "EUR"
    notes: Annotated[str, Field(max_length=4_000)] = ""
    lines: Annotated[list[@Thing@LineIn], Field(max_length=200)] = []

    @field_validator("name")
    @classmethod
    def is_printable(cls, value: str) -> str:
        """Refuse what nobody can read."""
        if not value.isprintable():
            raise ValueError("a name is made of letters")
        return value


class @Thing@Change(In):
    """What may be changed later."""

    name: Annotated[str, Field(min_length=1, max_length=120)] | None = None
    notes: Annotated[str, Field(max_length=4_000)] | None = None


class @Thing@Move(In):
    """Another state."""

    state: State
    reason: Annotated[str, Field(max_length=400)] = ""


class @Thing@LineOut(Out):
    """A line."""

    id: int
    text: str
    number: int
    amount: Decimal


class @Thing@EventOut(Out):
    """Something that happened."""

    kind: str
    detail: str
    happened_at: datetime


class @Thing@Brief(Out):
    """A @thing@ in a list."""

    id: int
    name: str
    state: State
    amount: Decimal


class @Thing@Out(@Thing@Brief):
    """A @thing@ with everything."""

    currency: str
    notes: str
    created_at: datetime
    changed_at: datetime
    lines: list[@Thing@LineOut]
    events: list[@Thing@EventOut]


class @Thing@Page(BaseModel):
    """Some of many."""

    found: list[@Thing@Brief]
    total: int


class @Thing@Figures(BaseModel):
    """How many there are, and what they are worth."""

    by_state: dict[str, int]
    worth: Decimal
'''

_SERVICES: Final = '''"""What can be done with @thing@s."""

import logging
from decimal import Decimal

import httpx
from fastapi import HTTPException, status
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, selectinload

from shop.@thing@s.schemas import @Thing@Change, @Thing@In, @Thing@LineIn, @Thing@Move
from shop.@thing@s.tables import @Thing@, @Thing@Event, @Thing@Line, may_follow
from shop.people import Person
from shop.settings import settings

log = logging.getLogger(__name__)


class @Thing@s:
    """The @thing@s that somebody may see."""

    def __init__(self, db: Session, me: Person) -> None:
        self.db = db
        self.me = me

    def own(self, number: int) -> @Thing@:
        """Return one that is the caller's own."""
        found = self.db.scalar(
            select(@Thing@)
            .where(@Thing@.id == number, @Thing@.owner_id == self.me.id)
            .options(selectinload(@Thing@.lines), selectinload(@Thing@.events))
        )
        if found is None:
            raise HTTPException(status.HTTP_404_NOT_FOUND)
        return found

    def listed(self, state: str | None, offset: int, limit: int) -> tuple[list[@Thing@], int]:
        """Return some of the caller's own, and how many there are."""
        query = select(@Thing@).where(@Thing@.owner_id == self.me.id)
        if state is not None:
            query = query.where(@Thing@.state == state)
        total = self.db.scalar(select(func.count()).select_from(query.subquery())) or 0
        found = self.db.scalars(query.order_by(@Thing@.created_at.desc()).offset(offset).limit(limit))
        return list(found), total

    def add(self, given: @Thing@In) -> @Thing@:
        """Add one."""
        made = @Thing@(owner_id=self.me.id, name=given.name, currency=given.currency, notes=given.notes)
        made.lines = [@Thing@Line(text=each.text, number=each.number, amount=each.amount) for each in given.lines]
        made.amount = made.total()
        made.events.append(@Thing@Event(kind="added", detail=f"{len(made.lines)} lines"))
        self.db.add(made)
        self.db.commit()
        log.info("added", extra={"number": made.id})
        return made

    def change(self, number: int, given: @Thing@Change) -> @Thing@:
        """Change name and notes."""
        found = self.own(number)
        if not found.is_open:
            raise HTTPException(status.HTTP_409_CONFLICT, "it is closed")
        for name, value in given.model_dump(exclude_unset=True).items():
            setattr(found, name, value)
        self.db.commit()
        return found

    def add_line(self, number: int, given: @Thing@LineIn) -> @Thing@:
        """Add a line."""
        found = self.own(number)
        found.lines.append(@Thing@Line(text=given.text, number=given.number, amount=given.amount))
        found.amount = found.total()
        self.db.commit()
        return found

    def move(self, number: int, given: @Thing@Move) -> @Thing@:
        """Give it another state."""
        found = self.own(number)
        if not may_follow(found.state, given.state):
            raise HTTPException(status.HTTP_409_CONFLICT, f"not after {found.state}")
        found.state = given.state
        found.events.append(@Thing@Event(kind=given.state, detail=given.reason))
        self.db.commit()
        return found

    def remove(self, number: int) -> None:
        """Remove one."""
        self.db.delete(self.own(number))
        self.db.commit()

    def figures(self) -> tuple[dict[str, int], Decimal]:
        """Return how many there are of each state, and their worth."""
        rows = self.db.execute(
            select(@Thing@.state, func.count()).where(@Thing@.owner_id == self.me.id).group_by(@Thing@.state)
        )
        worth = self.db.scalar(select(func.sum(@Thing@.amount)).where(@Thing@.owner_id == self.me.id))
        return {state: number for state, number in rows}, worth or Decimal(0)

    def close_all(self, before: str) -> int:
        """Close what is in a state."""
        done = self.db.execute(
            update(@Thing@).where(@Thing@.owner_id == self.me.id, @Thing@.state == before).values(state="done")
        )
        self.db.commit()
        return done.rowcount

    async def converted(self, number: int, currency: str) -> Decimal:
        """Return the amount in another currency."""
        found = self.own(number)
        async with httpx.AsyncClient(base_url=settings.rates_url, timeout=5) as client:
            answer = await client.get("/rates", params={"from": found.currency, "to": currency})
            answer.raise_for_status()
        return found.amount * Decimal(answer.json()["rate"])
'''

_ROUTES_HEAD: Final = '''"""Routes of @thing@s@for_whom@."""

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Query, status

from shop.@thing@s.schemas import (
    @Thing@Change,
    @Thing@EventOut,
    @Thing@Figures,
    @Thing@In,
    @Thing@LineIn,
    @Thing@LineOut,
    @Thing@Move,
    @Thing@Out,
    @Thing@Page,
)
from shop.@thing@s.services import @Thing@s
from shop.security import Me, Opened, role

router = APIRouter(prefix="@prefix@", tags=["@thing@s"]@dependencies@)
lines = APIRouter(prefix="/{number}/lines")


def service(db: Opened, me: Me) -> @Thing@s:
    """Return what can be done for the caller."""
    return @Thing@s(db, me)


Service = Annotated[@Thing@s, Depends(service)]


@router.get("", response_model=@Thing@Page)
def listed(
    mine: Service, state: str | None = None, offset: int = 0, limit: Annotated[int, Query(le=100)] = 20
) -> object:
    """List some."""
    found, total = mine.listed(state, offset, limit)
    return {"found": found, "total": total}


@router.post("", status_code=status.HTTP_201_CREATED)
def add(mine: Service, given: @Thing@In) -> @Thing@Out:
    """Add one."""
    return @Thing@Out.model_validate(mine.add(given))


@router.get("/figures")
def figures(mine: Service) -> @Thing@Figures:
    """Tell how many there are."""
    by_state, worth = mine.figures()
    return @Thing@Figures(by_state=by_state, worth=worth)


@router.get("/{number}")
def read(mine: Service, number: int) -> @Thing@Out:
    """Read one."""
    return @Thing@Out.model_validate(mine.own(number))


@router.patch("/{number}")
def change(mine: Service, number: int, given: @Thing@Change) -> @Thing@Out:
    """Change one."""
    return @Thing@Out.model_validate(mine.change(number, given))


@router.delete("/{number}", status_code=status.HTTP_204_NO_CONTENT, dependencies=[Depends(role("keeper"))])
def remove(mine: Service, number: int) -> None:
    """Remove one."""
    mine.remove(number)


@router.post("/{number}/state")
def move(mine: Service, number: int, given: @Thing@Move) -> @Thing@Out:
    """Give it another state."""
    return @Thing@Out.model_validate(mine.move(number, given))


@router.get("/{number}/events")
def events(mine: Service, number: int) -> list[@Thing@EventOut]:
    """Read what happened."""
    return [@Thing@EventOut.model_validate(each) for each in mine.own(number).events]


@router.get("/{number}/amount")
async def amount(mine: Service, number: int, currency: str = "EUR") -> Decimal:
    """Read the amount in another currency."""
    return await mine.converted(number, currency)


@lines.get("")
def listed_lines(mine: Service, number: int) -> list[@Thing@LineOut]:
    """List the lines."""
    return [@Thing@LineOut.model_validate(each) for each in mine.own(number).lines]


@lines.post("", status_code=status.HTTP_201_CREATED)
def add_line(mine: Service, number: int, given: @Thing@LineIn) -> @Thing@Out:
    """Add a line."""
    return @Thing@Out.model_validate(mine.add_line(number, given))

'''

_ROUTES_REST: Final = {
    "routes": '''
@router.post("/{number}/copy", status_code=status.HTTP_201_CREATED)
def copy(mine: Service, number: int) -> @Thing@Out:
    """Add one that is the same."""
    found = @Thing@Out.model_validate(mine.own(number))
    return @Thing@Out.model_validate(mine.add(@Thing@In(name=found.name, notes=found.notes)))


router.include_router(lines)
''',
    "staff": '''
@router.post("/closing", dependencies=[Depends(role("closer"))])
def close_all(mine: Service, before: str) -> int:
    """Close what is in a state."""
    return mine.close_all(before)


@lines.get("/{line}")
def read_line(mine: Service, number: int, line: int) -> list[@Thing@LineOut]:
    """Read one line."""
    return [@Thing@LineOut.model_validate(each) for each in mine.own(number).lines if each.id == line]


router.include_router(lines)
''',
}


def write_shop(folder: Path, areas: int = AREAS) -> int:
    """Write the application ``shop.main:app`` into a folder.

    Args:
        folder: where it goes; it is the current folder of who checks it.
        areas: how many packages of five files and 25 routes.

    Returns:
        the number of files with code in them.
    """
    package = folder / "shop"
    package.mkdir(parents=True)
    for name, text in _CORE.items():
        (package / name).write_text(text, encoding="utf-8")
    things = _THINGS[:areas]
    for thing in things:
        _write_area(package / f"{thing}s", thing)
    (package / "main.py").write_text(_main(things), encoding="utf-8")
    return len(_CORE) + 5 * len(things)


def _write_area(area: Path, thing: str) -> None:
    area.mkdir()
    (area / "__init__.py").write_text("", encoding="utf-8")
    routes = {"routes": ("", f"/{thing}s", ""), "staff": (" for the staff", f"/staff/{thing}s", _STAFF)}
    texts = {"tables": _TABLES, "schemas": _SCHEMAS, "services": _SERVICES}
    for name, (for_whom, prefix, dependencies) in routes.items():
        head = _ROUTES_HEAD.replace("@for_whom@", for_whom).replace("@prefix@", prefix)
        texts[name] = head.replace("@dependencies@", dependencies) + _ROUTES_REST[name]
    for name, text in texts.items():
        filled = text.replace("@thing@", thing).replace("@Thing@", thing.title())
        (area / f"{name}.py").write_text(filled, encoding="utf-8")


_STAFF: Final = ', dependencies=[Depends(role("staff"))]'


def _main(things: tuple[str, ...]) -> str:
    imports = "".join(
        f"from shop.{each}s import routes as {each}_routes\nfrom shop.{each}s import staff as {each}_staff\n"
        for each in sorted(things)
    )
    included = "".join(
        f"everybody.include_router({each}_routes.router)\nstaff.include_router({each}_staff.router)\n"
        for each in things
    )
    return f'''"""The shop."""

from fastapi import APIRouter, Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

{imports}from shop.security import current_person

app = FastAPI(title="Shop")
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"], allow_methods=["*"])
everybody = APIRouter(dependencies=[Depends(current_person)])
staff = APIRouter(dependencies=[Depends(current_person)])
{included}app.include_router(everybody, prefix="/v1")
app.include_router(staff, prefix="/v1")


@app.get("/health")
def health() -> dict[str, str]:
    """Tell that it is there."""
    return {{"status": "ok"}}
'''
