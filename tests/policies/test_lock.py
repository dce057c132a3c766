"""The lock of a policy: what a change means is told by what it decides, not by how it is written."""

import itertools
from dataclasses import dataclass

import pytest

from limen import PolicySet, Principal, PrincipalKind, allow, deny, resource, subject
from limen.authz.engine import Policies
from limen.authz.lock import FORMAT, Label, changes, lock_of, read_lock, written
from limen.authz.policy.rules import Rule
from limen.core.errors import ConfigurationError


@dataclass
class Paper:
    owner_id: str
    reader_id: str
    pages: int
    state: str


U, P = subject(), resource(Paper)
OWN = allow("paper:read", P.owner_id == U.id, id="own")


def locked(*rules: Rule) -> dict[str, object]:
    """Return the lock of rules, as it comes back from a file."""
    return read_lock(written(lock_of(Policies.load(PolicySet(rules, actions=["paper:read"])))))


SHORT = allow("paper:read", (P.owner_id == U.id) & (P.pages <= 10), id="own")
LONGER = allow("paper:read", (P.owner_id == U.id) & (P.pages <= 20), id="own")
OPEN = allow("paper:read", P.state.in_(["open"]), id="state")
OPEN_OR_NEW = allow("paper:read", P.state.in_(["open", "new"]), id="state")
NOT_VOID = deny("paper:read", P.state == "void", id="void")
LOOSER = [
    ([], [OWN]),
    ([OWN], [OWN, OPEN]),
    ([OWN, NOT_VOID], [OWN]),
    ([SHORT], [LONGER]),
    ([SHORT], [OWN]),
    ([OPEN], [OPEN_OR_NEW]),
    (
        [OWN, deny("paper:read", P.state.in_(["void", "lost"]), id="x")],
        [OWN, deny("paper:read", P.state.in_(["void"]), id="x")],
    ),
    ([allow("paper:read", U.has_role("a") & U.has_role("b"), id="x")], [allow("paper:read", U.has_role("a"), id="x")]),
    ([allow("paper:read", id="x", fields=["state"])], [allow("paper:read", id="x", fields=["state", "pages"])]),
    (
        [OWN, deny("paper:read", id="x", fields=["pages"])],
        [OWN, deny("paper:read", P.pages > 10, id="x", fields=["pages"])],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), LOOSER, ids=range(len(LOOSER)))
def test_a_change_is_loosened_one_way_and_tightened_the_other(before: list[Rule], after: list[Rule]) -> None:
    """Somebody may do more, and backwards somebody less."""
    one, other = locked(*before), locked(*after)
    assert [change.label for change in changes(one, other)] == [Label.LOOSENED]
    assert [change.label for change in changes(other, one)] == [Label.TIGHTENED]
    assert changes(one, one) == changes(other, other) == []


def test_what_decides_the_same_is_no_change() -> None:
    """A rule cut in two, and one whose parts change places, decide as before."""
    one = locked(allow("paper:read", (P.owner_id == U.id) | (P.reader_id == U.id), id="either"))
    cut = locked(OWN, allow("paper:read", P.reader_id == U.id, id="reader"))
    turned = locked(allow("paper:read", (P.reader_id == U.id) | (P.owner_id == U.id), id="either"))
    assert changes(one, cut) == changes(one, turned) == changes(cut, turned) == []
    assert changes(locked(OWN, NOT_VOID), locked(OWN, deny("paper:read", P.state.in_(["void"]), id="x"))) != []


def test_both_ways_is_changed() -> None:
    """Where somebody may do more and somebody less, neither word is said."""
    (change,) = changes(locked(OWN), locked(OPEN))
    assert change.label is Label.CHANGED
    assert (change.action, change.resource) == ("paper:read", "Paper")
    assert (change.before, change.after) == ("Paper.owner_id == subject.id", "Paper.state.in_(['open'])")


def test_a_leaf_and_its_opposite_are_never_true_together() -> None:
    """A branch that asks for both adds nothing."""
    never = allow("paper:read", (P.state == "void") & (P.state != "void"), id="never")
    assert changes(locked(OWN), locked(OWN, never)) == []


def test_too_many_leaves_are_only_a_change() -> None:
    """What would take too long to find out is not guessed."""
    many = [allow("paper:read", P.pages == number, id=f"n{number}") for number in range(20)]
    assert [change.label for change in changes(locked(OWN), locked(OWN, *many))] == [Label.CHANGED]


def test_it_is_the_same_text_each_time() -> None:
    """The order of rules and of sets does not show."""
    one, other = Policies.load([OPEN_OR_NEW, OWN]), Policies.load([OWN, OPEN_OR_NEW])
    assert lock_of(one)["rules"] == lock_of(other)["rules"]
    assert written(lock_of(one)) == written(lock_of(Policies.load([OPEN_OR_NEW, OWN])))


@pytest.mark.parametrize("text", ["", "[]", "{}", f'{{"format": {FORMAT + 1}, "decisions": []}}', '{"format": 1}'])
def test_what_is_no_lock_is_refused(text: str) -> None:
    """It says how to make one."""
    with pytest.raises(ConfigurationError, match="limen policy lint --lock"):
        read_lock(text)


def test_the_labels_are_true_to_the_engine() -> None:
    """Over every paper and person of a small world: loosened allows all that was allowed and more, and so on."""
    people = [Principal(sub, PrincipalKind.PERSON, roles=frozenset(roles)) for sub in "ab" for roles in ("", "a", "ab")]
    papers = [Paper(*each) for each in itertools.product("ab", "ab", (5, 15, 25), ("open", "new", "void"))]

    def allowed(rules: list[Rule]) -> set[tuple[int, int]]:
        policies = Policies.load(PolicySet(rules, actions=["paper:read"]))
        return {
            (who, what)
            for who, person in enumerate(people)
            for what, paper in enumerate(papers)
            if policies.can(person, "paper:read", paper)
        }

    for before, after in [
        (before, after) for before, after in LOOSER if not any(rule.fields for rule in before + after)
    ]:
        was, now = allowed(before), allowed(after)
        assert was <= now, (before, after)
    assert allowed([SHORT]) < allowed([LONGER]) < allowed([OWN])
