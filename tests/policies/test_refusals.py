"""What a policy cannot mean is refused where it is written: what is wrong, and how it is written.

`refusals.txt` has both: a line as somebody may write it, and under it the words of the refusal. `conditions.txt` has
what is understood, and how it is told again.
"""

import copy
import functools
import itertools
import operator
import pickle
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import pytest

import limen
from limen.authz.policy.conditions import DEEPEST, MOST_LEAVES, Condition
from limen.authz.policy.nodes import And
from limen.core.errors import ConfigurationError
from tests.policies import written
from tests.policies.written import Level, Line, O, Order, State, U

NAMES: Final = {
    **{name: getattr(limen, name) for name in limen.__all__},
    **vars(written),
    **{each.__name__: each for each in (Decimal, UUID, date, datetime, itertools, time, timedelta, timezone)},
    "UTC": UTC,
}


def evaluated(text: str) -> Any:
    """Return what a line means."""
    return eval(text, dict(NAMES))  # noqa: S307 - lines of the tests' own files


def pairs(name: str) -> Iterator[tuple[str, str]]:
    """Return the lines of a file, each with the indented one below it."""
    lines = [line for line in (Path(__file__).parent / name).read_text("utf-8").splitlines() if line and line[0] != "#"]
    return zip(lines[::2], (line.strip() for line in lines[1::2]), strict=True)


REFUSED = dict(pairs("refusals.txt"))
UNDERSTOOD = dict(pairs("conditions.txt"))


@pytest.mark.parametrize("text", REFUSED)
def test_it_is_refused_with_the_right_spelling(text: str) -> None:
    """The words of every refusal: one sentence says what is wrong, one how it is written."""
    with pytest.raises(ConfigurationError) as caught:
        evaluated(text)
    assert str(caught.value) == REFUSED[text]
    assert len(str(caught.value).split(". ")) >= 2 or ": " in str(caught.value)


@pytest.mark.parametrize("text", UNDERSTOOD)
def test_it_is_understood(text: str) -> None:
    """What a comparison becomes, constants in the kind of their field."""
    assert repr(evaluated(text)) == f"<condition {UNDERSTOOD[text]}>"


def test_no_tree_is_too_deep_for_python() -> None:
    """A condition of many levels or comparisons is refused; nothing that a program can build ends in RecursionError."""
    with pytest.raises(ConfigurationError, match=f"more than {DEEPEST} levels is read by nobody. Write several rules"):
        functools.reduce(lambda one, other: ~(one & other), [~O.paid] * 10_000)
    with pytest.raises(ConfigurationError, match=rf"more than {MOST_LEAVES} comparisons is data. Write .in_\(\[…\]\)"):
        functools.reduce(operator.or_, (O.number == each for each in range(10_000)))
    with pytest.raises(ConfigurationError, match=r"more than 8 relations\. Keep the field nearer"):
        functools.reduce(lambda field, _: field.whole, range(10_000), O.whole)
    with pytest.raises(ConfigurationError, match=f"more than {DEEPEST} levels"):
        _nested(10_000)
    with pytest.raises(ConfigurationError, match=f"more than {DEEPEST} levels"):
        functools.reduce(lambda one, _: ~one, range(10_000), ~O.paid)


def _nested(levels: int) -> Condition:
    """Return a question about parts of parts of parts."""
    condition = limen.resource(Order, "part0").paid == True  # noqa: E712
    for level in range(1, levels):
        condition = limen.resource(Order, f"part{level}").parts.any(condition)
    return condition


async def _asked(user: Any, order: Any, about: Any) -> bool:
    return bool(user and order and about)


def _yielding(user: Any, order: Any, about: Any) -> Iterator[bool]:
    yield bool(user and order and about)


class _Called:
    async def __call__(self, user: Any, order: Any, about: Any) -> bool:
        return bool(user and order and about)


@pytest.mark.parametrize("function", [_asked, _yielding, _Called()], ids=["async", "generator", "object"])
def test_a_function_that_waits_is_refused(function: Any) -> None:
    """A coroutine and a generator are true, whatever they would say; deciding never waits for them."""
    with pytest.raises(ConfigurationError) as caught:
        limen.python(function)
    assert str(caught.value) == (
        "python(function) is given a function that waits, and deciding never does. Write def check(subject, resource, "
        "context), which returns at once."
    )


def test_a_long_chain_is_one_level() -> None:
    """Joins of one kind are merged, so that a list of conditions is as deep as one of them."""
    many = functools.reduce(operator.and_, [O.number == each for each in range(MOST_LEAVES)])
    assert isinstance(many.node, And)
    assert len(many.node.parts) == MOST_LEAVES
    both = (O.paid & (O.pages == 1)) & ((O.pages == 2) & O.paid)
    assert repr(both) == (
        "<condition (Order.paid == True) & (Order.pages == 1) & (Order.pages == 2) & (Order.paid == True)>"
    )


def test_an_index_is_as_good_as_a_name() -> None:
    """A field is reached by an item where Python, or limen, has another use for its name."""
    assert repr(O["paid"]) == "Order.paid"
    assert repr(O.team["node"]) == "Order.team.node"
    assert repr(O.team["_row"]) == "Order.team._row"
    assert repr(limen.subject()["has_role"]) == "subject.has_role"
    with pytest.raises(AttributeError, match=r"a field of that name is Order.team\['_row'\]"):
        _ = O.team._row
    with pytest.raises(AttributeError, match=r"a field of that name is an item: \['_row'\]"):
        _ = O._row


@pytest.mark.parametrize("one", [O, U, O.team, O.amount, O.amount > 5, O.paid & U.active], ids=repr)
def test_they_are_copied_and_pickled_like_any_value(one: Any) -> None:
    """Protocols that ask for dunder names get AttributeError, so that copies and pickles work, and mean the same."""
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):  # noqa: S301 - pickled here
        assert repr(other) == repr(one)
        assert type(other) is type(one)
    assert not hasattr(one, "__fspath__")
    assert not hasattr(one, "__html__")
    assert not hasattr(O, "__wrapped__")


def test_nothing_is_set() -> None:
    """A field is not assigned to: that would be lost in silence."""
    with pytest.raises(AttributeError):
        O.amount = 5  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        O.amount.limit = 5  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        O["amount"] = 5  # type: ignore[operator]


def test_the_constant_may_stand_on_the_left() -> None:
    """Python turns ``5 < field`` round, and the condition is the same."""
    assert repr(5 < O.amount) == repr(O.amount > 5)  # noqa: SIM300
    assert repr(5 >= O.pages) == repr(O.pages <= 5)  # noqa: SIM300
    assert repr(datetime(2026, 1, 1, tzinfo=UTC) < O.made_at) == repr(O.made_at > datetime(2026, 1, 1, tzinfo=UTC))
    assert repr(State.OPEN == O.state) == repr(O.state == State.OPEN)  # noqa: SIM300
    assert repr(Level.LOW != O.pages) == repr(O.pages != 1)  # noqa: SIM300


def test_a_set_of_options_is_read_once() -> None:
    """Any iterable is taken, a generator as well, and the order does not matter."""
    assert repr(O.pages.in_(each for each in (3, 1, 1))) == "<condition Order.pages.in_([1, 3])>"
    assert repr(O.pages.in_([])) == "<condition Order.pages.in_([])>"
    assert repr(O.pages.not_in(())) == "<condition Order.pages.not_in([])>"
    assert repr(O.state.in_(State)) == "<condition Order.state.in_([State.CLOSED, State.OPEN])>"


def test_a_relation_to_itself_takes_a_second_name() -> None:
    """The row that a relation leads to is told from the one where it begins."""
    part = limen.resource(Order, "part")
    line = limen.resource(Line)
    told = O.parts.any((part.amount > 5) & part.lines.any(line.price > 1))
    assert repr(told) == (
        "<condition Order.parts.any((part.amount > Decimal('5')) & part.lines.any(Line.price > Decimal('1')))>"
    )
