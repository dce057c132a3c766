"""Conditions that were made ready say the same as those that are made from nothing for each principal."""

import os
import random
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from limen import PolicySet, allow, python, resource, subject
from limen.authz.compilers.partial import bound
from limen.authz.compilers.sql.where import where
from limen.authz.engine import Policies
from limen.core.errors import ConfigurationError
from limen.core.principal import ANONYMOUS, Principal
from tests.policies import random_shop
from tests.policies.shop import Dog, Order, somebody

ROUNDS = int(os.environ.get("LIMEN_TEST_POLICY_ROUNDS", "120"))
READ = "order:read"
U = subject()
O = resource(Order)  # noqa: E741 - as one writes policies
DIALECTS = [sqlite.dialect(), postgresql.asyncpg.dialect()]  # type: ignore[no-untyped-call]


def policies(condition: Any) -> Policies:
    """Return policies that allow reading where a condition holds."""
    return Policies.load(PolicySet([allow(READ, condition, id="a")]))


def said(condition: Any) -> list[tuple[str, list[str]]]:
    """Return text and values of a condition for each database."""
    statements = [sa.select(Order.id).where(condition).compile(dialect=dialect) for dialect in DIALECTS]
    return [(str(each), [f"{type(value)} {value!r}" for value in each.params.values()]) for each in statements]


def anew(loaded: Policies, principal: Principal) -> Any:
    """Return the condition as it is made from nothing."""
    left = bound(loaded.condition(READ, Order), principal, loaded.told(None))
    return where(left, Order, principal)


@pytest.mark.parametrize("seed", [21, 22])
def test_random_conditions_are_the_same(seed: int) -> None:
    """Text, values and their types are the same, whoever asks first and whoever asks next; so is what is refused."""
    chance = random.Random(seed)
    texts = set()
    for _ in range(ROUNDS):
        try:
            loaded = policies(random_shop.tree(chance, 2, lambda: random_shop.leaf(chance)))
        except ConfigurationError:
            continue  # two kinds that are never compared
        for name, roles in (("me", ()), ("a", ("admin",)), ("b\0", ()), ("me", ("admin",))):
            who = somebody(name, *roles, **random_shop.attributes(chance))
            made = said(loaded.where(who, READ, Order))
            assert made == said(anew(loaded, who)), (loaded.rules, who.attributes)
            texts.add(made[0][0])
        assert said(loaded.where(ANONYMOUS, READ, Order)) == said(anew(loaded, ANONYMOUS))
    assert len(texts) > ROUNDS // 2


def test_each_value_is_judged_anew() -> None:
    """A value that is compared in another way, or not at all, is so after one that is usual, and before one."""
    loaded = policies((O.amount <= U.limit) & (U.name > O.owner) & (O.key == U.id))
    key = "00000000-0000-0000-0000-000000000001"
    for limit in (5, 10**30, 2.5, True, None, float("nan"), 5, -(2**63), 2**63):
        for name in ("a", "\0", "\ud800", 5, None, "b"):
            for sub in (key, "me"):
                who = somebody(sub, limit=limit, name=name)
                assert said(loaded.where(who, READ, Order)) == said(anew(loaded, who))


def test_nothing_of_a_principal_stays() -> None:
    """What was made for one is another object for the next, with their value alone, and keeps its own."""
    loaded = policies(O.owner == U.id)
    mine, yours = (loaded.where(somebody(name), READ, Order) for name in ("me", "you"))
    assert (mine.right.value, yours.right.value) == ("me", "you")
    assert mine.right.key != yours.right.key
    both = said(sa.or_(mine, yours))
    assert [values for _, values in both] == [["<class 'str'> 'me'", "<class 'str'> 'you'"]] * 2


def test_a_branch_that_is_gone_is_not_compiled() -> None:
    """A function without SQL is refused only for whom it would decide."""
    loaded = policies(python(lambda *_: True, name="odd") & U.has_role("admin") | (O.owner == U.id))
    assert said(loaded.where(somebody(), READ, Order)) == said(anew(loaded, somebody()))
    with pytest.raises(ConfigurationError, match="sql="):
        loaded.where(somebody("me", "admin"), READ, Order)
    assert said(loaded.where(somebody("you"), READ, Order)) == said(anew(loaded, somebody("you")))


def test_classes_share_no_condition() -> None:
    """One rule about several classes is a condition about each."""
    loaded = policies(U.has_role("reader"))
    reader = somebody("me", "reader")
    assert str(loaded.where(reader, READ, Order)) == str(loaded.where(reader, READ, Dog)) == "true"
    assert "owner" in str(policies(O.owner == "x").where(reader, READ, Order))
    assert str(policies(O.note == "x").where(reader, READ, Dog)) == "false"
