"""Where a reading stands: what names are, whether somebody has been asked, and how a function is left."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from limen.checklist.routes.code import MISSING
from limen.checklist.routes.values import joined


@dataclass(slots=True)
class State:
    """One point of a function.

    Attributes:
        env: what its local names are.
        checked: whoever may not has been refused before this point.
        sure: a request that shows this comes here, whatever else it has in it.
        why: switches and paths on which it depends whether it comes here.
        answered: the status of a refusal that was sent; 0 for none.
        asked: a condition about who is calling was passed on the way.
        gone: the request was handed on to what stands behind.
        vouched: it is on the side of a question on which only those are who are known.
    """

    env: dict[str, Any] = field(default_factory=dict)
    checked: bool = False
    sure: bool = True
    why: frozenset[str] = frozenset()
    answered: int = 0
    asked: bool = False
    gone: bool = False
    vouched: bool = False

    @property
    def is_known(self) -> bool:
        """Whether only those come here who are known."""
        return self.checked or (self.vouched and self.asked)

    def copy(self) -> "State":
        """Return another state for another arm."""
        return replace(self, env=dict(self.env))


@dataclass(slots=True)
class Exit:
    """One way in which a function is left.

    Attributes:
        kind: it returns, it refuses, or it raises something that is no refusal.
        state: the state there.
        value: what is returned.
        status: of the refusal; 0 where it has none.
        exception: the class that is raised, where it is known.
        name: what it is called.
        is_right: a 403 of it is about what somebody may do, and not about an account that is switched off.
    """

    kind: Literal["return", "refused", "raised"]
    state: State
    value: Any = None
    status: int = 0
    exception: type[BaseException] | None = None
    name: str = ""
    is_right: bool = True


@dataclass(slots=True)
class Looped:
    """The states in which the body of a loop is left by ``break`` and by ``continue``."""

    broken: list[State] = field(default_factory=list)
    continued: list[State] = field(default_factory=list)


class Ended(Exception):
    """An expression never has a value: it ends the function."""

    def __init__(self, left: Exit) -> None:
        super().__init__(left.name)
        self.left = left


@dataclass(slots=True)
class Facts:
    """What was seen in a function and in those that it calls.

    Attributes:
        statuses: of its refusals, 400 and above.
        named: refusals without a status, by the names of their exceptions.
        doubtful: calls that could not be followed and are named like a check.
        asks_store: some call asks a database.
        reads_token: a JWT is decoded.
        is_cut: something was too deep to be followed.
        asks_right: it asks what somebody may do, and not only who they are.
        sees_credential: something was looked at by which one could tell who is calling.
        reads: what it asks that other code has put into a session or a state, or in the place of the caller.
        writes: what it puts there although it does not know who is calling.
    """

    statuses: set[int] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    asks_store: bool = False
    reads_token: bool = False
    is_cut: bool = False
    asks_right: bool = False
    sees_credential: bool = False
    reads: set[str] = field(default_factory=set)
    writes: set[str] = field(default_factory=set)

    def add(self, other: "Facts") -> None:
        """Take over what was seen in a function that is called."""
        self.statuses |= other.statuses
        self.named |= other.named
        self.doubtful |= other.doubtful
        self.asks_store |= other.asks_store
        self.reads_token |= other.reads_token
        self.is_cut |= other.is_cut
        self.asks_right |= other.asks_right
        self.sees_credential |= other.sees_credential
        self.reads |= other.reads
        self.writes |= other.writes


@dataclass(slots=True)
class Summary:
    """What a call ends in.

    Attributes:
        passes: the states in which it lets its caller go on, or hands the request on.
        ends: the refusals and other exceptions that are certain where they stand.
        value: what it returns.
        facts: what was seen.
        is_onward: it hands the request on; then its passes are the states in which it does.
        skips: it may answer without handing the request on.
        partly: refusals in what it calls, of which nobody knows whether they are met, and which nothing catches.
    """

    passes: list[State]
    ends: list[Exit]
    value: Any
    facts: Facts
    is_onward: bool = False
    partly: list[Exit] = field(default_factory=list)
    skips: bool = False


def join(states: Iterable[State | None]) -> State | None:
    """Return the state after several arms; None where none of them goes on."""
    here = [each for each in states if each is not None]
    if len(here) < 2:
        return here[0] if here else None
    names = set().union(*(each.env for each in here))
    known = [each.is_known for each in here]
    return State(
        {name: joined([each.env.get(name, MISSING) for each in here], known) for name in names},
        all(each.checked for each in here),
        all(each.sure for each in here),
        frozenset().union(*(each.why for each in here)),
        min(each.answered for each in here),
        any(each.asked for each in here),
        all(each.gone for each in here),
        all(each.vouched for each in here),
    )
