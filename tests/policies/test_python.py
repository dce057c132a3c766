"""The compiled functions: against a second reading of the same trees, and against whatever may stand in them."""

import builtins
import os
import random
import threading
from dataclasses import make_dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, TypedDict
from uuid import UUID, uuid5

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from limen import allow, deny, resource, subject
from limen.authz.compilers.python import Access, Surroundings, condition
from limen.authz.engine import Policies
from limen.authz.policy import nodes as n
from limen.authz.policy.expressions import Expression, python
from limen.authz.policy.normal_form import negated, normal_form
from limen.authz.policy.rules import Effect, Rule
from limen.authz.policy.shapes import FieldShape, Kind
from tests.policies.kleene import truth
from tests.policies.orders import Base, Item, Line, Order, Sheet, Status, Team, loaded, order, person

CASES = int(os.environ.get("LIMEN_TEST_POLICY_CASES", "1500"))
SURROUNDINGS = Surroundings(lambda: datetime(2026, 1, 1, tzinfo=UTC), lambda: None)
S, U = resource(Sheet), subject()
I = resource(Item)  # noqa: E741 - as one writes policies


class Text(str):
    """A text that is not exactly a str."""

    __slots__ = ()


class Colour(StrEnum):
    RED = "a"


NAN = float("nan")
KEY = UUID(int=7)
EAST = timezone(timedelta(hours=3))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ODD: list[Any] = [
    None, True, False, 0, 1, 2, -1, 1.0, 1.5, NAN, Decimal(1), Decimal("1.5"), Decimal("NaN"), "", "a", "b", "ab",
    Text("a"), Colour.RED, KEY, str(KEY), NOON, NOON.replace(tzinfo=None), NOON.astimezone(EAST), Status.OPEN,
    Status.CLOSED, b"a", frozenset(), frozenset({"a"}), ("a", None), ["b", 1], object(),
]  # fmt: skip
LIKELY: dict[str, list[Any]] = {
    "text": ["a", "b", "ab", "", Text("a"), None],
    "number": [0, 1, 2, None],
    "ratio": [1.0, 1.5, NAN, 1, None],
    "price": [Decimal(1), Decimal("1.5"), Decimal("NaN"), 1, None],
    "flag": [True, False, None],
    "status": [Status.OPEN, Status.CLOSED, None],
    "key": [KEY, UUID(int=8), None],
    "moment": [NOON, NOON.replace(tzinfo=None), NOON + timedelta(seconds=1), None],
    "tags": [frozenset(), frozenset({"a"}), frozenset({"a", "b"}), None],
}
CONSTANTS: dict[str, list[Any]] = {
    "text": ["a", "ab", ""], "number": [0, 1, 2], "ratio": [1.0, 1.5], "price": [Decimal(1), Decimal("1.5")],
    "flag": [True, False], "status": [Status.OPEN, Status.CLOSED], "key": [KEY], "moment": [NOON],
}  # fmt: skip
SIGNS = ["__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"]
ORDERED = {"text", "number", "ratio", "price", "moment"}


def attribute(name: str, kind: Kind) -> n.Attribute:
    """Return a field of a sheet as part of a tree, where it cannot be written."""
    return n.Attribute(n.Source.RESOURCE, (name,), FieldShape(name, kind), n.Row(Sheet, "Sheet"))


def some_leaf(rng: random.Random) -> Expression:
    """Return a leaf."""
    name = rng.choice(list(CONSTANTS))
    field = getattr(S.parent if rng.random() < 0.2 else S, name)
    sign = rng.choice(SIGNS if name in ORDERED else SIGNS[:2])
    match rng.randrange(12):
        case 0 | 1 | 2:
            made: Expression = getattr(field, sign)(rng.choice(CONSTANTS[name]))
        case 3 | 4:
            made = getattr(field, sign)(getattr(U, name))
        case 5:
            made = getattr(field, sign)(getattr(S, name))
        case 6:
            listed = [each for each in CONSTANTS[name] if rng.random() < 0.6]
            made = field.in_(listed) if rng.random() < 0.5 else field.not_in(listed)
        case 7:
            made = rng.choice(
                [S.text.in_(U.tags), S.text.not_in(S.tags), S.tags.contains("a"), S.tags.contains(U.text)]
            )
        case 8:
            made = rng.choice([field.is_null(), field.is_not_null(), getattr(U, name).is_null()])
        case 9:
            made = rng.choice([S.text.contains("a"), S.text.starts_with("a"), S.text.contains(U.text)])
        case 10:
            made = S.items.any(rng.choice([(I.name == U.text) | (I.count > 0) & (I.name != "b"), I.name.in_([])]))
        case _:
            made = U.has_role("admin")
    return made


def some_condition(rng: random.Random, depth: int = 0) -> Expression:
    """Return a condition of a few levels."""
    if depth > 3 or rng.random() < 0.3:
        return some_leaf(rng)
    one = some_condition(rng, depth + 1)
    match rng.randrange(3):
        case 0:
            return ~one
        case 1:
            return one & some_condition(rng, depth + 1)
        case _:
            return one | some_condition(rng, depth + 1)


def some_values(rng: random.Random) -> dict[str, Any]:
    """Return values for every field, now and then of no kind that was declared."""
    return {name: rng.choice(ODD if rng.random() < 0.15 else likely) for name, likely in LIKELY.items()}


def some_sheet(rng: random.Random, depth: int = 0) -> Sheet:
    """Return a resource."""
    items = [Item(rng.choice(["a", "b", None]), rng.choice([0, 1, None])) for _ in range(rng.randrange(3))]
    parent = some_sheet(rng, 1) if depth == 0 and rng.random() < 0.6 else None
    return Sheet(**some_values(rng), items=items, parent=parent)


def as_mapping(sheet: Sheet) -> dict[str, Any]:
    """Return the same as plain mappings."""
    told = dict(vars(sheet))
    told["items"] = [vars(item) for item in sheet.items]
    told["parent"] = as_mapping(sheet.parent) if sheet.parent is not None else None
    return told


def test_what_is_compiled_says_what_three_valued_logic_says() -> None:
    """True where the condition is true, and false where it is false or unknown, in both polarities (R153)."""
    rng = random.Random(20261122)
    for _ in range(CASES):
        tree = some_condition(rng).node
        holds = condition(normal_form(tree), Access.PLAIN, SURROUNDINGS)
        fails = condition(negated(tree), Access.PLAIN, SURROUNDINGS)
        of_mapping = condition(normal_form(tree), Access.MAPPING, SURROUNDINGS)
        for _ in range(6):
            who = person(rng.choice(["", "carla"]), roles=rng.choice([(), ("admin",)]), **some_values(rng))
            sheet = some_sheet(rng)
            expected = truth(tree, who, sheet)
            assert holds(who, sheet, None) is (expected is True), (tree, who.attributes, sheet)
            assert fails(who, sheet, None) is (expected is False), (tree, who.attributes, sheet)
            assert of_mapping(who, as_mapping(sheet), None) is (expected is True)


def test_a_deny_wins_wherever_it_is_not_known_to_fail() -> None:
    """Allowed is: some allow is true, and every deny is false. An unknown deny denies (R153)."""
    rng = random.Random(4)
    for _ in range(CASES // 10):
        allows = [some_condition(rng) for _ in range(rng.randrange(3))]
        denies = [some_condition(rng) for _ in range(rng.randrange(3))]
        rules = [allow("sheet:read", each, id=f"a{i}") for i, each in enumerate(allows)]
        rules += [deny("sheet:read", each, id=f"d{i}") for i, each in enumerate(denies)]
        rng.shuffle(rules)
        policies = Policies.load(rules, permissions=["sheet:read"])
        for _ in range(6):
            who, sheet = person(**some_values(rng)), some_sheet(rng)
            expected = any(truth(each.node, who, sheet) is True for each in allows)
            expected = expected and all(truth(each.node, who, sheet) is False for each in denies)
            assert policies.can(who, "sheet:read", sheet) is expected
            decision = policies.decide(who, "sheet:read", sheet)
            assert decision.allowed is expected
            assert policies.explain(who, "sheet:read", sheet).allowed is expected
            assert not expected or decision.rule.startswith("a")
        assert policies.failures == 0


def test_a_missing_value_is_neither_equal_nor_unequal() -> None:
    """The classical hole: nobody's team is not everybody's team without one."""
    for tree in (S.text == U.text, S.text != U.text, ~(S.text == U.text), S.text.in_([]), S.text.not_in([])):
        holds = condition(normal_form(tree.node), Access.PLAIN, SURROUNDINGS)
        assert holds(person(text=None), Sheet(text=None), None) is False
    unequal = condition(normal_form((S.text != U.id).node), Access.PLAIN, SURROUNDINGS)
    assert unequal(person(""), Sheet(text="a"), None) is False, "the anonymous principal is not «somebody else»"
    assert unequal(person("b"), Sheet(text=1), None) is False, "a number is no id that differs"  # type: ignore[arg-type]
    assert unequal(person("b"), Sheet(text="a"), None) is True


Fields = TypedDict("Fields", {"__class__": str, "a b": str, "def": str, "café": str, "x); import os": str})  # fmt: skip


@pytest.mark.parametrize("name", sorted(Fields.__annotations__))
def test_a_field_may_be_called_anything(name: str) -> None:
    """A name is never parsed: not as code, not as an attribute of something else."""
    F = resource(Fields)  # noqa: N806
    policies = loaded(allow("f:read", F[name] == "yes", id="one"))
    assert policies.can(person(), "f:read", {name: "yes"}) is True
    assert policies.can(person(), "f:read", {name: "no"}) is False
    assert policies.can(person(), "f:read", {}) is False


@pytest.mark.parametrize("name", ["__dict__", "__class__", "_private", "lambda", "ﬁeld"])
def test_attributes_of_any_name_are_read_by_that_name(name: str) -> None:
    """Python would fold the ligature in ``ﬁeld``, and take a keyword for itself; a tree does not."""
    tree = n.Compare(n.Comparison.EQUAL, attribute(name, Kind.TEXT), n.Constant("x", Kind.TEXT))
    holds = condition(tree, Access.PLAIN, SURROUNDINGS)
    thing = SimpleNamespace(**({name: "x"} if not name.startswith("__") else {}))
    assert holds(person(), thing, None) is (not name.startswith("__"))


@pytest.mark.parametrize(
    "text",
    ["'", '"', "\\", "'''", "\n", "\x00", "${x}", "{0.__class__}", "%s", "k0", "v0); raise SystemExit(1) #", "\ud800"],
)
def test_a_constant_may_hold_anything(text: str) -> None:
    """A constant is a value of the namespace; nobody reads it as code."""
    field, constant = attribute("text", Kind.TEXT), n.Constant(text, Kind.TEXT)
    tree = n.Or(
        (
            n.Compare(n.Comparison.EQUAL, field, constant),
            n.In(field, n.Constant(frozenset({text, "z"}), Kind.TEXT)),
            n.TextMatch(n.Match.STARTS_WITH, field, constant),
        )
    )
    policies = loaded(Rule("one", Effect.ALLOW, ("sheet:read",), tree, field.row))
    assert policies.can(person(), "sheet:read", Sheet(text=text)) is True
    assert policies.can(person(), "sheet:read", Sheet(text="another")) is False
    assert policies.failures == 0


def test_compiled_functions_reach_no_builtins() -> None:
    """What is compiled can name nothing but what was bound for it."""
    tree = normal_form(((S.text != U.id) & (S.number < U.number) & S.parent.text.is_null()).node)
    function: Any = condition(tree, Access.PLAIN, SURROUNDINGS)
    assert function.__globals__["__builtins__"] == {}
    assert not set(function.__code__.co_names) & (set(dir(builtins)) - {"type"})


def test_a_large_condition_compiles() -> None:
    """Thousands of alternatives, and more levels than can be written, are an expression like another."""
    number, row = attribute("number", Kind.INTEGER), n.Row(Sheet, "Sheet")
    equal = [n.Compare(n.Comparison.EQUAL, number, n.Constant(each, Kind.INTEGER)) for each in range(3000)]
    deep: n.Node = n.Compare(n.Comparison.EQUAL, attribute("flag", Kind.BOOLEAN), n.Constant(True, Kind.BOOLEAN))
    for each in range(60):
        deep = n.Not(n.And((deep, equal[each])))
    policies = loaded(
        Rule("wide", Effect.ALLOW, ("sheet:read",), n.Or(tuple(equal)), row),
        Rule("deep", Effect.ALLOW, ("sheet:write",), deep, row),
    )
    assert policies.can(person(), "sheet:read", Sheet(number=2999)) is True
    assert policies.can(person(), "sheet:read", Sheet(number=3000)) is False
    assert policies.can(person(), "sheet:write", Sheet(flag=True, number=16)) in {True, False}
    assert policies.failures == 0


def test_a_uuid_is_compared_with_sub() -> None:
    """``sub`` is text; where the other side is a UUID it is read as one, and what is none is unknown."""
    L = resource(Line)  # noqa: N806
    policies = loaded(
        allow("line:read", L.owner == U.id, id="own"),
        allow("line:write", L.owner != U.id, id="others"),
    )
    key = uuid5(KEY, "x")
    assert policies.can(person(str(key)), "line:read", Line(owner=key)) is True
    assert policies.can(person(str(key)), "line:write", Line(owner=key)) is False
    assert policies.can(person(str(key)), "line:write", Line(owner=KEY)) is True
    for sub in ("", "carla", key.hex, "{" + str(key) + "}", f"urn:uuid:{key}"):
        assert policies.can(person(sub), "line:write", Line(owner=KEY)) is False, sub


def test_only_what_was_loaded_is_read(tmp_path: Any) -> None:
    """An expired instance, a deferred column and a relation not yet followed are a no, and no statement is sent."""
    O = resource(Order)  # noqa: E741, N806
    policies = loaded(
        allow("order:read", O.status == "open", id="open"),
        allow("order:lead", O.team.lead_id == U.id, id="lead"),
        deny("order:lead", O.lines.any(resource(Line).item == "secret"), id="no-secrets"),
    )
    engine = create_engine(f"sqlite:///{tmp_path}/orders.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(order(team=Team(lead_id="carla"), lines=[Line(item="pen")]))
        session.commit()
        stored = session.scalars(select(Order)).one()
        statements: list[str] = []
        from sqlalchemy import event

        event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
        assert policies.can(person(), "order:read", stored) is True
        assert policies.can(person(), "order:lead", stored) is False
        assert policies.explain(person(), "order:lead", stored).code == "policy.not_loaded"
        assert policies.explain(person(), "order:lead", stored).failed[0].field == "Order.team"
        assert statements == []
        assert stored.team is not None
        assert len(stored.lines) == 1
        statements.clear()
        assert policies.can(person(), "order:lead", stored) is True
        session.expire(stored)
        assert policies.can(person(), "order:read", stored) is False
        assert statements == []
    engine.dispose()


def test_of_a_new_instance_what_was_not_set_is_none() -> None:
    """There is no row yet that it could be loaded from."""
    O = resource(Order)  # noqa: E741, N806
    policies = loaded(
        allow("order:read", O.checker_id.is_null(), id="unchecked"),
        allow("order:write", ~O.lines.any(resource(Line).item == "x"), id="without-x"),
        allow("order:lead", O.team.lead_id != U.id, id="somebody-else-leads"),
        allow("order:null", O.team.lead_id.is_null(), id="without-a-lead"),
    )
    assert policies.can(person(), "order:read", Order(maker_id="a")) is True
    assert policies.can(person(), "order:write", Order()) is True
    assert policies.can(person(), "order:write", Order(lines=[Line(item="x")])) is False
    assert policies.can(person(), "order:write", Order(lines=[Line(item=None)])) is False, "that one may be it"
    assert policies.can(person(), "order:lead", Order()) is False, "without a team nobody else leads it"
    assert policies.can(person(), "order:null", Order()) is False, "and it is not one that lacks a lead"
    assert policies.can(person(), "order:null", Order(team=Team())) is True


@pytest.mark.parametrize("answer", [None, 1, 0, "yes", [], object()])
def test_a_function_that_answers_anything_else_cannot_tell(answer: object) -> None:
    """Only True is a yes, and only False makes its negation one."""
    told = python(lambda *_: answer)  # type: ignore[arg-type]
    policies = loaded(allow("sheet:read", told, id="yes"), allow("sheet:write", ~told, id="no"))
    assert policies.can(person(), "sheet:read", Sheet()) is False
    assert policies.can(person(), "sheet:write", Sheet()) is False


def test_functions_are_given_subject_resource_and_context() -> None:
    """In this order; without a context they get an empty one."""
    seen: list[Any] = []

    def see(*told: Any) -> bool:
        seen.append(told)
        return True

    policies = loaded(allow("sheet:read", python(see), id="seen"))
    who, sheet = person(), Sheet()
    assert policies.can(who, "sheet:read", sheet, {"a": 1}) is True
    assert policies.can(who, "sheet:read") is True
    assert seen == [(who, sheet, {"a": 1}), (who, None, {})]


def test_compiling_at_once_in_many_threads_gives_one_answer() -> None:
    """The first askers all at the same time, each with another principal and amount (R151)."""
    for _ in range(5):
        policies = loaded(allow("sheet:read", (S.number <= U.limit) & (S.text == U.id), id="own-small"))
        start = threading.Barrier(6)
        wrong: list[Any] = []

        def ask(number: int, policies: Policies = policies, start: Any = start, wrong: Any = wrong) -> None:
            who = person(f"p{number}", limit=number)
            start.wait(30)
            for amount in range(200):
                mine = policies.can(who, "sheet:read", Sheet(number=amount % 8, text=f"p{number}"))
                other = policies.can(who, "sheet:read", Sheet(number=0, text=f"p{number + 1}"))
                if mine is not (amount % 8 <= number) or other:
                    wrong.append((number, amount))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert wrong == []


def test_a_class_that_lacks_a_declared_field_is_a_no() -> None:
    """A pydantic model that was made without validation, say."""
    Loose = make_dataclass("Loose", [("text", str)])  # noqa: N806
    policies = loaded(allow("loose:read", resource(Loose).text.is_null(), id="one"))
    assert policies.can(person(), "loose:read", object.__new__(Loose)) is False
    assert policies.failures == 1
