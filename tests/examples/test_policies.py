"""The policies of the orders example: who may what, lists against the check, and what the command line says of them."""

import json
import secrets
import subprocess
from pathlib import Path

import pytest
from hypothesis import strategies as st
from sqlalchemy import create_engine

from examples.orders import POLICIES, ROLES, Order
from examples.orders.models import Base, OrderStatus
from examples.orders.policies import LIMIT_OF_A_CHECKER, LIST, ONE_IS_ENOUGH, OPEN
from examples.orders.roles import Permission, Role
from limen import Principal, PrincipalKind
from limen.testing.policies import assert_lists_agree, check_matrix
from tests.server.conftest import LIMEN

ROOT = Path(__file__).parents[2]
APPROVE = Permission.APPROVE


def somebody(name: str, *roles: Role) -> Principal:
    """Return a principal with these roles and what they give."""
    gives: frozenset[str] = frozenset().union(*(ROLES[role] for role in roles))
    return Principal(name, PrincipalKind.PERSON, frozenset(roles), gives)


ANN = somebody("ann", Role.MAKER)
CHO, DAN = somebody("cho", Role.CHECKER), somebody("dan", Role.CHECKER)
SUE, SAL = somebody("sue", Role.SUPER_CHECKER), somebody("sal", Role.SUPER_CHECKER)
ADM = somebody("adm", Role.ADMIN)
BOTH = somebody("ann", Role.MAKER, Role.CHECKER, Role.SUPER_CHECKER, Role.ADMIN)
PEOPLE = [ANN, CHO, DAN, SUE, SAL, ADM, BOTH, somebody("eve")]


def order(amount_cents: int = 120_00, checker_id: str | None = None, changed_by_id: str | None = None) -> Order:
    """Return an order of ann's."""
    return Order(
        item="oak", amount_cents=amount_cents, maker_id="ann", checker_id=checker_id, changed_by_id=changed_by_id
    )


def test_who_may_what() -> None:
    """The table of the example: by whose order it is, whom it is assigned to, and its amount."""
    assigned, free = order(checker_id="cho"), order()
    most, above = order(LIMIT_OF_A_CHECKER, "cho"), order(LIMIT_OF_A_CHECKER + 1, "cho")
    middle, large = order(ONE_IS_ENOUGH, "sue"), order(ONE_IS_ENOUGH + 1, "cho")
    check_matrix(
        POLICIES,
        [
            *((ANN, action, assigned, True) for action in (LIST, OPEN, Permission.UPDATE, Permission.DELETE)),
            *((ADM, action, assigned, True) for action in (LIST, OPEN, Permission.UPDATE, Permission.DELETE)),
            *((CHO, action, assigned, False) for action in (OPEN, Permission.UPDATE, Permission.DELETE)),
            *((SUE, action, assigned, False) for action in (OPEN, Permission.UPDATE, Permission.DELETE)),
            (CHO, LIST, assigned, True, "own-or-assigned"),
            (DAN, LIST, assigned, False),
            (CHO, LIST, free, False),
            (SUE, LIST, free, True, "sees-every-order"),
            (ANN, APPROVE, assigned, False),
            (CHO, APPROVE, assigned, True),
            (DAN, APPROVE, assigned, False, "not_assigned"),
            (CHO, APPROVE, free, False, "not_assigned"),
            (SUE, APPROVE, assigned, False, "not_assigned"),
            (ADM, APPROVE, free, True),
            (BOTH, APPROVE, free, False, "own_order"),
            (BOTH, APPROVE, large, False, "own_order"),
            (CHO, APPROVE, most, True),
            (CHO, APPROVE, above, False, "above_limit"),
            (DAN, APPROVE, above, False, "not_assigned"),
            (SUE, APPROVE, middle, True),
            (SAL, APPROVE, middle, False, "not_assigned"),
            (CHO, APPROVE, large, False, "above_limit"),
            (SUE, APPROVE, large, True),
            (SAL, APPROVE, large, True),
            (ADM, APPROVE, large, True),
            *((ADM, APPROVE, order(cents, None, "adm"), False, "changed_by_you") for cents in (1, ONE_IS_ENOUGH + 1)),
            (SUE, APPROVE, order(ONE_IS_ENOUGH, "sue", "adm"), True),
            (BOTH, APPROVE, order(1, None, "ann"), False, "own_order"),
        ],
    )


@pytest.mark.parametrize("action", [LIST, OPEN, APPROVE])
def test_lists_show_what_the_check_allows(action: str) -> None:
    """Of random orders, with and without a checker, at the limits and beside them, SQL says what Python says."""
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    columns = {
        Order: {
            "maker_id": st.sampled_from(["ann", "cho", "sue", "eve"]),
            "checker_id": st.sampled_from([None, "cho", "dan", "sue", "sal"]),
            "changed_by_id": st.sampled_from([None, "adm", "sue"]),
            "amount_cents": st.sampled_from(
                [1, LIMIT_OF_A_CHECKER, LIMIT_OF_A_CHECKER + 1, ONE_IS_ENOUGH, ONE_IS_ENOUGH + 1]
            ),
            "status": st.sampled_from(OrderStatus),
        }
    }
    assert_lists_agree(POLICIES, engine, Order, action, principals=PEOPLE, examples=40, columns=columns)
    engine.dispose()


def policy(tmp_path: Path, act: str, target: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `limen policy` in the checkout, with settings of its own."""
    environment = {
        "LIMEN_DATABASE_URL": f"sqlite:///{tmp_path / 'limen.db'}",
        "LIMEN_JWT_ACCESS_SECRET": secrets.token_urlsafe(48),
        "LIMEN_JWT_REFRESH_SECRET": secrets.token_urlsafe(48),
        "ORDERS_DATABASE": str(tmp_path / "orders.db"),
        "PATH": "/usr/bin:/bin",
    }
    command = [str(LIMEN), "policy", act, target, *options]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_the_rules_are_clean_and_the_lock_is_up_to_date(tmp_path: Path) -> None:
    """`limen policy lint` finds nothing, and the committed `policy.lock` says what the rules decide."""
    lock = "examples/orders/policy.lock"
    done = policy(tmp_path, "lint", "examples.orders:POLICIES", "--lock", lock, "--check", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["findings"], told["changes"], told["rules"]) == ([], [], len(POLICIES.rules))


def test_no_route_asks_for_a_permission_alone_where_the_order_counts(tmp_path: Path) -> None:
    """Of the whole application, with its routes and roles, `limen policy lint` finds nothing either."""
    done = policy(tmp_path, "lint", "examples.orders.main:application", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["findings"] == []


def test_the_rules_pass_their_own_tests(tmp_path: Path) -> None:
    """`limen policy test` runs the tests that the rules bring along, and all of them hold."""
    done = policy(tmp_path, "test", "examples.orders:POLICIES")
    assert (done.returncode, done.stdout.split(", ")[0]) == (0, f"{len(POLICIES.tests)} tests passed"), done.stderr
