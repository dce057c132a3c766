"""Policies in the shadow: they decide beside those in force, change nothing, and what differs is counted and listed."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limen import (
    Limen,
    PolicySet,
    allow,
    deny,
    expect,
    python,
)
from limen.authz.engine import Policies
from limen.authz.shadow import LINES_A_MINUTE, MOST_KINDS, SAMPLES_A_KIND, Compared, Differences, DifferenceSample, Told
from limen.core import metrics
from limen.core.errors import ConfigurationError, PolicyDenied
from limen.features.roles.service import OPERATOR
from limen.guard.policies import LoadedPolicies
from limen.guard.shadow import ShadowedPolicies
from tests.policies.shadowed import (
    ME,
    MIDDLE,
    MINE,
    OLD,
    SECRET,
    SMALL,
    YOU,
    O,
    Order,
    Turned,
    U,
    gate_of,
    kinds_of,
)
from tests.support.gates import settings_for

NEW = (
    allow("order:approve", O.amount < 10, id="tiny"),
    allow("order:read", id="all_read"),
)


def _fails(*_: object) -> bool:
    raise RuntimeError(SECRET)


FAILING = (allow("order:approve", python(_fails), id="failing"),)


def _checks(gate: Limen, order: Order) -> bool:
    try:
        gate.check(ME, "order:approve", order)
    except PolicyDenied:
        return False
    return True


@pytest.mark.parametrize(
    "ask",
    [
        lambda gate, order: gate.can(ME, "order:approve", order),
        lambda gate, order: gate.decide(ME, "order:approve", order).allowed,
        lambda gate, order: gate.can_many(ME, "order:approve", iter([order]))[0],
        _checks,
    ],
    ids=["can", "decide", "can_many", "check"],
)
def test_the_answer_stays_that_in_force_and_the_difference_is_counted(
    tmp_path: Path, ask: Callable[[Limen, Order], bool]
) -> None:
    """However it is asked: looser and tighter are both listed with both rules, and what agrees is only counted."""
    gate = gate_of(tmp_path)
    gate.shadow_policies(NEW)
    assert [ask(gate, each) for each in (SMALL, MIDDLE, MINE, MIDDLE)] == [True, True, False, True]
    assert kinds_of(gate) == [
        ("order:approve", True, False, "small", "", 2),
        ("order:approve", False, True, "own_order", "tiny", 1),
    ]
    told = gate.policy_differences()
    assert told is not None
    assert (told.compared, told.failures, told.unlisted) == (4, 0, 0)


def test_a_difference_tells_when_and_who_and_never_a_value(tmp_path: Path) -> None:
    """First and last time by the gate's clock, both versions, and examples of principals and a class alone."""
    clock = Turned()
    gate = gate_of(tmp_path, clock=clock)
    gate.shadow_policies(NEW)
    begun, clock.now = clock.now, clock.now + 5
    gate.can(ME, "order:approve", MIDDLE)
    clock.now += 5
    for principal in (YOU, YOU, ME):
        gate.can(principal, "order:approve", MIDDLE)
    told = gate.policy_differences()
    assert told is not None
    (found,) = told.differences
    assert (told.version, told.since) == (gate.policies.version, int(begun * 1000))
    assert told.shadow_version == Policies.load(NEW, permissions=gate.catalogue.permissions).version
    assert (found.first_seen, found.last_seen) == (int(begun + 5) * 1000, int(begun + 10) * 1000)
    assert found.samples == (DifferenceSample("person", "me", "Order"), DifferenceSample("service", "you", "Order"))
    assert SECRET not in repr(told)


def test_a_shadow_that_fails_is_counted_and_reaches_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its failure is a no of its own: the answer stays, no failure is counted in force, the log says whose it was."""
    gate = gate_of(tmp_path)
    gate.shadow_policies(FAILING)
    with caplog.at_level(logging.WARNING, logger="limen"):
        assert gate.can(ME, "order:approve", SMALL) is True
    told = gate.policy_differences()
    assert told is not None
    assert (told.failures, gate.policies.failures) == (1, 0)
    assert kinds_of(gate) == [("order:approve", True, False, "small", None, 1)]
    assert [getattr(each, "policies", None) for each in caplog.records if each.message == "policy_failed"] == ["shadow"]
    assert SECRET not in caplog.text


def test_what_breaks_while_comparing_reaches_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is in the shadow: the answer in force is handed on, and what broke is counted and logged once."""
    policies = Policies.load(OLD)
    differences = Differences(policies, policies, Turned())
    broken: Any = object()
    compared = Compared(policies, broken, differences)
    with caplog.at_level(logging.ERROR, logger="limen"):
        assert compared.can_many(ME, "order:approve", [SMALL, MINE]) == [True, False]
        assert compared.decide(ME, "order:approve", SMALL).rule == "small"
    assert differences.snapshot().failures == 3
    assert [each.message for each in caplog.records] == ["policies in the shadow could not be asked"]


def test_without_a_shadow_the_gate_holds_the_same_object_as_ever(tmp_path: Path) -> None:
    """Nothing stands on the way of a decision: what is asked is the snapshot's own function, before and after."""
    gate = gate_of(tmp_path)
    before = gate.loaded_policies
    assert type(before) is LoadedPolicies
    assert before.can == gate.policies.can
    gate.shadow_policies(NEW)
    assert type(gate.loaded_policies) is ShadowedPolicies
    gate.shadow_policies(None)
    assert gate.loaded_policies is before
    assert gate.policy_differences() is None


async def test_a_shadow_that_does_not_load_is_refused_and_shows(tmp_path: Path) -> None:
    """The one in force is untouched, the shadow of before stays, and /readyz tells until there is another, or none."""
    async with gate_of(tmp_path).running() as gate:
        in_force = gate.policies
        for good in (NEW, None):
            with pytest.raises(ConfigurationError, match="order:aprove"):
                gate.shadow_policies([*NEW, deny("order:aprove", id="misspelt")])
            assert gate.policies is in_force
            assert await gate.ready() == {"shadow_policies": "refused"}
            gate.shadow_policies(good)
            assert await gate.ready() == {}
        gate.shadow_policies(NEW)
        with pytest.raises(ConfigurationError, match=r"read limit .* attributes="):
            gate.shadow_policies([allow("order:approve", O.amount <= U.limit, id="limited")])
        gate.can(ME, "order:approve", MIDDLE)
        assert len(kinds_of(gate)) == 1


def test_there_is_no_shadow_of_nothing(tmp_path: Path) -> None:
    """A gate without policies has nothing to compare with."""
    with pytest.raises(ConfigurationError, match="policies="):
        gate_of(tmp_path, None).shadow_policies(NEW)


async def test_a_shadow_follows_the_roles(tmp_path: Path) -> None:
    """It is loaded at the start with those in force, and again as roles change; counts of the same versions go on."""
    gate = Limen(settings_for(tmp_path), default_roles={"checker": ["order:approve"]}, policies=OLD)
    shadow = [*OLD, deny("order:*", U.kind == "service", id="people_only")]
    gate.shadow_policies(shadow)
    assert gate.policy_differences() is None
    async with gate.running():
        assert gate.can(YOU, "order:approve", SMALL) is True
        first = gate.policy_differences()
        assert first is not None
        assert len(first.differences) == 1
        await gate.roles.put(OPERATOR, "reader", permissions=["report:read"])
        assert "report:read" in gate.policies.actions
        assert gate.policy_differences() == first
        await gate.roles.put(OPERATOR, "clerk", permissions=["order:archive"])
        second = gate.policy_differences()
        assert second is not None
        assert second.shadow_version != first.shadow_version
        assert second.compared == 0


async def test_a_shadow_that_roles_make_unusable_is_left_out(tmp_path: Path) -> None:
    """Where its wildcard stands for nothing any more, those in force decide on alone, and /readyz tells."""
    stored = {"checker": ["order:approve"], "biller": ["invoice:write"]}
    gate = Limen(settings_for(tmp_path), default_roles=stored, policies=OLD)
    async with gate.running():
        gate.shadow_policies([*OLD, deny("invoice:*", id="no_invoices")])
        assert gate.policy_differences() is not None
        await gate.roles.put(OPERATOR, "biller", permissions=["report:read"])
        assert gate.policy_differences() is None
        assert gate.can(ME, "order:approve", SMALL) is True
        assert await gate.ready() == {"shadow_policies": "refused"}
        await gate.roles.put(OPERATOR, "biller", permissions=["invoice:write"])
        assert gate.policy_differences() is not None
        assert await gate.ready() == {}


def test_other_policies_in_force_begin_at_0(tmp_path: Path) -> None:
    """What is counted is about two versions; their failures are none of the shadow's."""
    gate = gate_of(tmp_path)
    gate.shadow_policies(NEW)
    gate.can(ME, "order:approve", MIDDLE)
    gate.load_policies([*OLD, allow("order:list", id="lists")])
    told = gate.policy_differences()
    assert told is not None
    assert (told.version, told.compared, told.differences) == (gate.policies.version, 0, ())
    gate.shadow_policies(NEW)
    assert gate.can(ME, "order:list") is True
    assert kinds_of(gate) == [("order:list", True, False, "lists", "", 1)]


def test_a_shadow_whose_own_test_raises_is_refused_when_it_is_set(tmp_path: Path) -> None:
    """The tests of a set are run before it stands in the shadow."""
    gate = gate_of(tmp_path)
    tested = PolicySet(NEW, tests=[expect("order:approve", SMALL, sub="x", allowed=False)])
    with pytest.raises(ConfigurationError, match="order:approve"):
        gate.shadow_policies(tested)
    assert gate.policy_differences() is None


def test_lists_and_explanations_are_those_in_force(tmp_path: Path) -> None:
    """What is not compared asks the policies in force alone."""
    gate = gate_of(tmp_path)
    before = (gate.explain(ME, "order:approve", MIDDLE), gate.scope(ME, "order:approve", Order))
    fields = gate.fields(ME, "order:approve", MIDDLE)
    gate.shadow_policies(NEW)
    assert (gate.explain(ME, "order:approve", MIDDLE), gate.scope(ME, "order:approve", Order)) == before
    assert gate.fields(ME, "order:approve", MIDDLE) == fields == {"maker_id", "amount", "note"}
    told = gate.policy_differences()
    assert told is not None
    assert told.compared == 0


def test_what_is_kept_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    """Kinds, examples and lines of log have a limit each; what is beyond is counted, and told when there is time."""
    policies, clock = Policies.load(OLD), Turned()
    differences = Differences(policies, policies, clock)

    def note(kind: int, who: int = 0) -> None:
        differences.note(True, Told(f"order:{kind}", "a", "b", DifferenceSample("person", str(who), "")))

    with caplog.at_level(logging.WARNING, logger="limen"):
        for kind in range(MOST_KINDS + 7):
            note(kind)
        for who in range(SAMPLES_A_KIND * 2):
            note(0, who)
        found = differences.snapshot()
        assert (len(found.differences), found.unlisted) == (MOST_KINDS, 7)
        assert found.differences[0].count == 1 + SAMPLES_A_KIND * 2
        assert [each.id for each in found.differences[0].samples] == [str(who) for who in range(SAMPLES_A_KIND)]
        assert len(caplog.records) == LINES_A_MINUTE
        clock.now += 61
        note(0)
        note(LINES_A_MINUTE)
        note(LINES_A_MINUTE)
        assert len(caplog.records) == LINES_A_MINUTE + 1
    line: Any = caplog.records[-1]
    assert (line.action, line.allowed, line.shadow_allowed) == (f"order:{LINES_A_MINUTE}", True, False)
    assert (line.rule, line.shadow_rule, line.version) == ("a", "b", policies.version)


def test_threads_lose_no_count(tmp_path: Path) -> None:
    """Handlers run in threads; every comparison and every difference of theirs is counted."""
    gate = gate_of(tmp_path)
    gate.shadow_policies(NEW)

    def ask() -> None:
        for _ in range(200):
            gate.can(ME, "order:approve", MIDDLE)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    told = gate.policy_differences()
    assert told is not None
    # A thread may have had the number of one that ended; no two had the same at once.
    assert (told.compared, told.differences[0].count) == (800, 800)


def test_the_metric_counts_by_what_the_shadow_says(tmp_path: Path) -> None:
    """Whoever watches several processes adds up one number each."""
    gate = gate_of(tmp_path)
    gate.shadow_policies(NEW)

    def counted() -> dict[str, Any]:
        return {labels[0]: value for labels, value in metrics.POLICY_DIFFERENCES.read().samples}

    before = counted()
    gate.can_many(ME, "order:approve", [MIDDLE, MIDDLE, MINE])
    assert {label: value - before[label] for label, value in counted().items()} == {"denied": 2, "allowed": 1}
