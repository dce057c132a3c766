"""With which values a guard was made: they are part of a lock, and nothing secret is among them."""

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.security import HTTPBearer
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, Response

from limen.checklist import lock
from limen.checklist.routes.made_with import made_with, of_options
from limen.checklist.routes.reading import read_application


class Level(enum.IntEnum):
    """Levels with names."""

    STAFF = 1
    OWNER = 2


@dataclasses.dataclass(frozen=True)
class Demand:
    """What is demanded, with a secret beside it."""

    level: int
    signing_key: str = "s3cr3t-of-a-demand"


def me(request: Request) -> int:
    """Refuse whoever shows nothing."""
    if request.headers.get("authorization") != "x":
        raise HTTPException(401)
    return 1


def closing_over(**given: Any) -> Callable[[], object]:
    """Return a function that closes over one value."""
    ((_, wanted),) = given.items()
    return lambda: wanted


class Need:
    """A guard that keeps its argument under a name of its own."""

    floor: ClassVar[int] = 3

    def __init__(self, wanted: object, **more: Any) -> None:
        """Keep what is handed."""
        self.wanted = wanted
        self.__dict__.update(more)

    def __call__(self, level: int = Depends(me)) -> None:
        """Refuse whoever is another."""
        if level != self.wanted:
            raise HTTPException(403)


class Slotted:
    """A guard without a dictionary."""

    __slots__ = ("minimum",)

    def __init__(self, minimum: int) -> None:
        """Keep what is handed."""
        self.minimum = minimum

    def check(self) -> int:
        """Return it."""
        return self.minimum


class Scheme(HTTPBearer):
    """A scheme of FastAPI's with an argument of its own."""

    def __init__(self, minimum: int) -> None:
        """Keep what is handed."""
        super().__init__(auto_error=False)
        self.minimum = minimum


def base(minimum: int, level: int = Depends(me)) -> None:
    """Refuse whoever is too low."""
    if level < minimum:
        raise HTTPException(403)


def nested(minimum: int) -> Callable[[], bool]:
    """Return a function that closes over one that closes over the value."""

    def inner() -> int:
        return minimum

    return lambda: inner() > 0


def decorated(minimum: int, handler: Callable[[], object]) -> Callable[[], object]:
    """Return a wrapper with a value of its own."""

    @functools.wraps(handler)
    def wrapper() -> object:
        return minimum and handler()

    return wrapper


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (closing_over(wanted=9), ("wanted=9",)),
        (closing_over(wanted=0.5), ("wanted=0.5",)),
        (closing_over(wanted=True), ("wanted=true",)),
        (closing_over(wanted=Level.OWNER), ("wanted=OWNER",)),
        (closing_over(wanted=(1, "b", Level.STAFF)), ("wanted=1|b|STAFF",)),
        (closing_over(wanted=frozenset({"b", "a"})), ("wanted=a|b",)),
        (closing_over(wanted={"level": 9, "api_key": "abcdefgh"}), ("wanted.level=9",)),
        (closing_over(wanted=Demand(9)), ("wanted.level=9",)),
        (closing_over(wanted=["x"] * 14), ("wanted=" + "|".join(["x"] * 12) + "|and 2 more",)),
        (Need("admin"), ("floor=3", "wanted=admin")),
        (Need(None, floor=4), ("floor=4",)),
        (Slotted(9).check, ("minimum=9",)),
        (Scheme(9), ("minimum=9",)),
        (functools.partial(base, 5), ("minimum=5",)),
        (functools.partial(base, minimum=6), ("minimum=6",)),
        (nested(9), ("minimum=9",)),
        (decorated(9, nested(1)), ("minimum=9",)),
        (Need, ("floor=3",)),
        (me, ()),
    ],
    ids=[
        *("a number", "half a number", "a switch", "an enum", "a tuple", "a set", "a table", "a dataclass", "many"),
        *("an attribute", "an attribute over that of its class", "a slot", "of a scheme", "a partial", "by name"),
        *("nested", "a decorator and not what it wraps", "of a class", "a plain function"),
    ],
)
def test_what_a_guard_was_made_with(call: object, told: tuple[str, ...]) -> None:
    """Plain values are told by their names, wherever a guard keeps them."""
    assert made_with(call) == told


@pytest.mark.parametrize(
    "given",
    [
        {"password": "swordfish"},
        {"api_key": "swordfish"},
        {"expected": "swordfish"},
        {"pin": 4711},
        {"other": "Tr0ub4dor"},
        {"other": "correct horse battery"},
        {"other": "c2VjcmV0LW9mLXNvbWVib2R5LXZlcnktbG9uZy1pbmRlZWQ"},
        {"other": ["admin", "Tr0ub4dor"]},
        {"other": 1_794_000_000},
        {"other": b"swordfish"},
        {"other": "of-the-environment"},
        {"other": object()},
        {"other": None},
    ],
    ids=[
        *(
            "a password",
            "a key",
            "what is compared",
            "a PIN",
            "letters and digits",
            "a sentence",
            "at random",
            "in a list",
        ),
        *("a time", "bytes", "of the environment", "an object", "nothing"),
    ],
)
def test_what_may_be_a_secret_is_not_told(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]) -> None:
    """A value that is called as a secret is, looks like one, or is one of the environment stays where it is."""
    monkeypatch.setenv("SOME_API_KEY", "of-the-environment")
    assert made_with(Need(None, **given)) == ("floor=3",)
    assert of_options(given) == ()


def test_a_table_without_an_end_has_one() -> None:
    """What holds itself is told to a depth, and no error."""
    table: dict[str, Any] = {"level": 9}
    table["again"] = table
    assert made_with(closing_over(wanted=table)) == ("wanted.again.level=9", "wanted.level=9")


class Gate(BaseHTTPMiddleware):
    """A guard around an application, with an option."""

    def __init__(self, app: Any, minimum: int) -> None:
        """Keep what is handed."""
        super().__init__(app)
        self.minimum = minimum

    async def dispatch(self, request: Request, call_next: Any) -> Response:
        """Refuse whoever shows nothing."""
        if request.headers.get("authorization") != "x":
            return JSONResponse({}, status_code=401)
        response: Response = await call_next(request)
        return response


def level(wanted: int) -> Callable[..., None]:
    """Return a guard."""

    def check(level: int = Depends(me)) -> None:
        if level < wanted:
            raise HTTPException(403)

    return check


def locked(*guards: Any, gate: int = 0) -> dict[str, Any]:
    """Return the lock of an application whose one route has these guards."""
    app = FastAPI(openapi_url=None)
    if gate:
        app.add_middleware(Gate, minimum=gate)

    @app.get("/a", dependencies=[Depends(each) for each in guards])
    def a() -> None: ...

    return lock.lock_of(read_application(app, "made:app"))


@pytest.mark.parametrize(
    ("before", "after", "label"),
    [
        (locked(level(9)), locked(level(1)), "changed"),
        (locked(level(9), level(5)), locked(level(5)), "loosened"),
        (locked(me), locked(level(5)), "tightened"),
        (locked(Need("admin")), locked(Need("guest")), "changed"),
        (locked(functools.partial(base, 9)), locked(functools.partial(base, 1)), "changed"),
        (locked(gate=9), locked(gate=1), "changed"),
        (locked(level(9)), locked(level(9)), ""),
    ],
    ids=["a number", "one of two", "a guard more", "an attribute", "a partial", "a middleware's option", "the same"],
)
def test_a_guard_that_is_made_with_another_value_is_another_one(
    before: dict[str, Any], after: dict[str, Any], label: str
) -> None:
    """The lock shows the value; whether another one lets more in is for people to say."""
    assert [each.label.value for each in lock.changes(before, after)] == ([label] if label else [])


def test_the_lock_shows_the_value() -> None:
    """A reader of the difference sees what became of the guard."""
    (change,) = lock.changes(locked(level(9)), locked(level(1)))
    assert (change.before, change.after) == ("level(wanted=9) + me (code)", "level(wanted=1) + me (code)")
