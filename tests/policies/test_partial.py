"""What is left of a condition for one principal: constants, and only what a row has to answer."""

from typing import Any
from uuid import UUID

import pytest

from limen import PolicySet, allow, context, deny, resource, subject
from limen.authz.compilers.partial import EveryRow, Scope, bound, condition_of_rules, scope_of
from limen.authz.engine import Policies
from limen.authz.policy.expressions import Expression
from limen.authz.policy.nodes import And, AnyRow, Compare, Constant, In, IsNull, Truth
from limen.authz.policy.shapes import Kind
from limen.core.principal import ANONYMOUS, Principal, PrincipalKind
from tests.policies.shop import Dog, Line, Order, somebody

U, L, C = subject(), resource(Line), context(address=str)
O = resource(Order)  # noqa: E741 - as one writes policies
YES, NO = Truth(True), Truth(False)


def left(condition: Expression, principal: Principal | None = None, **told: object) -> Any:
    """Return what is left of a condition."""
    return bound(condition.node, principal or somebody(), told)


class TestLeaves:
    def test_the_subjects_side_becomes_a_constant(self) -> None:
        """What the principal tells stands as a value, on the side where it was."""
        assert left(O.owner == U.id).right == Constant("me", Kind.TEXT)
        assert left(U.limit >= O.amount, somebody(limit=5)).left == Constant(5, Kind.INTEGER)

    @pytest.mark.parametrize("value", [None, float("nan"), "5", True, b"5", object()], ids=type)
    def test_what_is_missing_or_of_another_kind_is_false_both_ways(self, value: object) -> None:
        """A value that is not there, or never compared, makes a leaf false, negated or not."""
        who = somebody(limit=value)
        for leaf in (O.amount <= U.limit, O.amount == U.limit, O.amount != U.limit):
            assert (left(leaf, who), left(~leaf, who)) == (NO, NO)

    def test_attributes_that_nobody_loaded(self) -> None:
        """Nothing is known of them, not even that they are missing."""
        who = Principal("me", PrincipalKind.PERSON)
        for leaf in (O.owner == U.name, U.name.is_null(), U.name.is_not_null(), O.owner.not_in(U.names)):
            assert left(leaf, who) == NO

    def test_the_anonymous_principal_is_nobody(self) -> None:
        """An empty id equals nothing and differs from nothing."""
        assert (left(O.owner == U.id, ANONYMOUS), left(O.owner != U.id, ANONYMOUS)) == (NO, NO)

    def test_the_id_as_a_uuid(self) -> None:
        """``sub`` is read as a UUID where the column is one; where it is none, the leaf is false."""
        key = UUID(int=7)
        assert left(O.key == U.id, somebody(str(key))).right == Constant(key, Kind.UUID)
        assert left(O.key != U.id, somebody("me")) == NO

    def test_roles_permissions_and_the_context(self) -> None:
        """What no row is needed for is settled."""
        assert left(U.has_role("admin"), somebody("me", "admin")) == YES
        assert left(~U.has_role("admin"), somebody("me", "admin")) == NO
        assert left(~U.has_permission("a:b")) == YES
        assert left(C.address == "a", None, address="a") == YES
        assert left(C.address != "a") == NO
        assert left(U.name.contains("a") & U.name.starts_with("b"), somebody(name="ba")) == YES
        assert left(U.name.in_(U.names) & (U.a < U.b), somebody(name="a", names=["a"], a=1, b=2.5)) == YES

    def test_sets_of_the_subject(self) -> None:
        """What cannot be compared is left out of ``in``, and makes ``not in`` unknown; nothing is in an empty set."""
        assert left(O.amount.in_(U.ids), somebody(ids=[1, "a"])).options == Constant(frozenset({1}), Kind.INTEGER)
        assert left(O.amount.not_in(U.ids), somebody(ids=[1, "a"])) == NO
        assert left(O.amount.not_in(U.ids), somebody(ids=[1, None])) == NO
        assert left(O.amount.in_(U.ids), somebody(ids=[])) == NO
        assert isinstance(left(O.amount.not_in(U.ids), somebody(ids=[])), IsNull)
        assert left(O.amount.in_(U.ids), somebody(ids="12")) == NO
        assert isinstance(left(O.amount.not_in(U.ids), somebody(ids=frozenset({1}))), In)


class TestBranches:
    def test_what_settles_the_whole_is_the_whole(self) -> None:
        """A branch that cannot change the answer is gone, and so is what it stood beside."""
        assert left(U.has_role("admin") | (O.owner == U.id), somebody("me", "admin")) == YES
        assert isinstance(left(U.has_role("admin") | (O.owner == U.id)), Compare)
        assert left(U.has_role("admin") & (O.owner == U.id)) == NO
        assert isinstance(left((O.amount > 1) & (~U.has_role("x") & (O.owner == U.id))), And)

    def test_a_negated_relation_keeps_what_was_unknown_unknown(self) -> None:
        """«No row meets it» is bound as «every row is known not to»: an unknown leaf within does not turn true."""
        condition = O.lines.any(L.owner == U.gone)
        assert left(condition) == NO
        every = left(~condition)
        assert isinstance(every, EveryRow)
        assert every.condition == NO

    def test_a_relation_of_which_something_is_known(self) -> None:
        """A condition that holds of every row still asks whether there is one."""
        some = left(O.lines.any((L.owner == U.id) | U.has_role("admin")), somebody("me", "admin"))
        assert isinstance(some, AnyRow)
        assert some.condition == YES


class TestRules:
    def test_a_deny_that_is_unknown_denies(self) -> None:
        """Rules as one condition: some allow holds, and every deny is known not to."""
        rules = [allow("a:b", O.amount > 0, id="a"), deny("a:b", O.owner == U.gone, id="d")]
        assert bound(condition_of_rules(rules), somebody()) == NO
        assert condition_of_rules([]) == NO
        assert condition_of_rules(rules[1:]) == NO

    def test_a_deny_of_fields_is_no_deny_of_rows(self) -> None:
        """It takes away only the fields."""
        rules = [allow("a:b", id="a"), deny("a:b", id="d", fields=["note"])]
        assert condition_of_rules(rules) == YES

    def test_scope(self) -> None:
        """All rows, none, or some: what a menu asks."""
        rules = [
            allow("a:b", U.has_role("admin") | (O.owner == U.id), id="a"),
            deny("a:b", U.kind == "service", id="d"),
        ]
        policies = Policies.load(PolicySet(rules))
        service = Principal("me", PrincipalKind.SERVICE, frozenset({"admin"}), attributes={})
        assert policies.scope(somebody("me", "admin"), "a:b", Order) is Scope.ALL
        assert policies.scope(somebody(), "a:b", Order) is Scope.SOME
        assert policies.scope(ANONYMOUS, "a:b", Order) is Scope.NONE
        assert policies.scope(service, "a:b", Order) is Scope.NONE
        assert policies.scope(somebody("me", "admin"), "a:c", Order) is Scope.NONE
        assert scope_of(bound((resource(Dog).tame == U.gone).node, somebody())) is Scope.NONE
