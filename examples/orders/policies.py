"""Who may do what to which order: the rules that decide, filter lists, stand in the WHERE of an UPDATE, and say why.

The id of a deny is the ``detail`` of the refusal, for whoever may approve at all.
"""

from limen import PolicySet, allow, deny, expect, resource, subject

from .models import Order  # noqa: TID252 - works under any name
from .roles import Permission, Role  # noqa: TID252

LIMIT_OF_A_CHECKER = 100_000_00
"""In hundredths: above it a checker does not decide, whose role is only that."""

ONE_IS_ENOUGH = 500_000_00
"""In hundredths: above it two have to approve, each of whom sees every order; nobody has to be assigned."""

LIST = "order:list"
"""To find an order in the list."""

OPEN = "order:open"
"""To look at one order, as those may who may change it."""

U, O = subject(), resource(Order)  # noqa: E741 - who acts, and the order that is acted on

_sees_all = U.has_role(Role.SUPER_CHECKER) | U.has_role(Role.ADMIN)
_is_one_of_two = U.has_role(Role.SUPER_CHECKER) & (O.amount_cents > ONE_IS_ENOUGH)

_RULES = [
    allow(LIST, (O.maker_id == U.id) | (O.checker_id == U.id), id="own-or-assigned"),
    allow(LIST, _sees_all, id="sees-every-order"),
    allow((OPEN, Permission.UPDATE, Permission.DELETE), (O.maker_id == U.id) | U.has_role(Role.ADMIN), id="own"),
    allow(Permission.APPROVE, U.has_permission(Permission.APPROVE), id="checks-orders"),
    # Of several that hold, the first one is told: whether an order is above a limit, only to whoever is to check it.
    deny(Permission.APPROVE, O.maker_id == U.id, id="own_order"),
    # Else an administrator could write an order of their own into another's, and approve that alone.
    deny(Permission.APPROVE, O.changed_by_id.is_not_null() & (O.changed_by_id == U.id), id="changed_by_you"),
    deny(
        Permission.APPROVE,
        ~U.has_role(Role.ADMIN) & ~_is_one_of_two & (O.checker_id != U.id),
        id="not_assigned",
        # Where nobody is the checker, whoever asks is not.
        unknown="deny",
    ),
    deny(Permission.APPROVE, ~_sees_all & (O.amount_cents > LIMIT_OF_A_CHECKER), id="above_limit"),
]


def _order(amount_cents: int, checker_id: str | None, changed_by_id: str | None = None) -> dict[str, object]:
    """Return ann's order, for the tests below."""
    return {
        "maker_id": "ann",
        "checker_id": checker_id,
        "amount_cents": amount_cents,
        "changed_by_id": changed_by_id,
    }


_MAY = {Permission.APPROVE}
_SMALL, _MIDDLE, _LARGE = 120_00, LIMIT_OF_A_CHECKER + 1, ONE_IS_ENOUGH + 1

_TESTS = [
    expect(LIST, _order(_SMALL, "cho"), allowed=True, id="ann", by="own-or-assigned"),
    expect(LIST, _order(_SMALL, "cho"), allowed=True, id="cho", by="own-or-assigned"),
    expect(LIST, _order(_SMALL, None), allowed=False, id="cho", roles={Role.CHECKER}),
    expect(LIST, _order(_SMALL, None), allowed=True, id="sue", roles={Role.SUPER_CHECKER}, by="sees-every-order"),
    expect(OPEN, _order(_SMALL, "cho"), allowed=False, id="cho", roles={Role.CHECKER}),
    expect(Permission.UPDATE, _order(_SMALL, "cho"), allowed=True, id="ann", by="own"),
    expect(Permission.APPROVE, _order(_SMALL, "cho"), allowed=False, id="cho", roles={Role.CHECKER}),
    *(
        expect(
            Permission.APPROVE,
            _order(amount, checker),
            allowed=by == "checks-orders",
            id=who,
            roles={role},
            permissions=_MAY,
            by=by,
        )
        for amount, checker, who, role, by in [
            (_SMALL, "cho", "cho", Role.CHECKER, "checks-orders"),
            (_SMALL, "cho", "dan", Role.CHECKER, "not_assigned"),
            (_SMALL, None, "dan", Role.CHECKER, "not_assigned"),
            (_SMALL, None, "sue", Role.SUPER_CHECKER, "not_assigned"),
            (_SMALL, "sue", "sue", Role.SUPER_CHECKER, "checks-orders"),
            (_SMALL, None, "adm", Role.ADMIN, "checks-orders"),
            (_SMALL, None, "ann", Role.ADMIN, "own_order"),
            (LIMIT_OF_A_CHECKER, "cho", "cho", Role.CHECKER, "checks-orders"),
            (_MIDDLE, "cho", "cho", Role.CHECKER, "above_limit"),
            (_MIDDLE, "cho", "dan", Role.CHECKER, "not_assigned"),
            (_MIDDLE, "sue", "sue", Role.SUPER_CHECKER, "checks-orders"),
            (ONE_IS_ENOUGH, None, "sue", Role.SUPER_CHECKER, "not_assigned"),
            (_LARGE, None, "sue", Role.SUPER_CHECKER, "checks-orders"),
            (_LARGE, "cho", "cho", Role.CHECKER, "above_limit"),
            (_LARGE, None, "ann", Role.SUPER_CHECKER, "own_order"),
        ]
    ),
    *(
        expect(
            Permission.APPROVE,
            _order(amount, None, "adm"),
            allowed=by == "checks-orders",
            id=who,
            roles={Role.ADMIN},
            permissions=_MAY,
            by=by,
        )
        for amount, who, by in [
            (_SMALL, "adm", "changed_by_you"),
            (_LARGE, "adm", "changed_by_you"),
            (_SMALL, "ann", "own_order"),
            (_SMALL, "bob", "checks-orders"),
        ]
    ),
]

POLICIES = PolicySet(_RULES, reads={Order: LIST}, tests=_TESTS)
"""With tests of their own: an application whose rules answer otherwise does not start."""
