"""What a condition asks of who is calling, and on which of its two sides only those are who are known.

``token in KNOWN`` is a question whose one side vouches for somebody; its other side does not. ``token in REVOKED``
reads the same, and refuses on the other side: whoever was never revoked goes on, strangers before all.
"""

import ast
import re
import types
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from limen.checklist.routes.code import MISSING
from limen.checklist.syntax import unparsed

_ONLY_THE_SCHEME: Final = re.compile(
    r"\blen\(|enabled\b|\w*disabled\b|enable_|disable_|\bdebug|testing\b|scheme|startswith\(|endswith\("
    r"|['\"](bearer|basic|token) ?['\"]|\bisinstance\(|\.is(digit|alpha|alnum|numeric|decimal|ascii|identifier)\("
    r"|\bre\.|\.(full)?match\(|\bcallable\(|\bhasattr\(",
    re.IGNORECASE,
)
_OF_RIGHTS: Final = re.compile(
    r"role|admin|superuser|staff|(?<!conn\.)(?<!request\.)(?<!websocket\.)scope(?!_key)|permission|privilege|owner|tenant"
    r"|group|level|can_|allowed|member|right|forbid|need|require_|policy|acl|access",
    re.IGNORECASE,
)
_SAYS_NO: Final = re.compile(
    r"(^|_)(not|no|in_?valid|in_?correct|mis_?match\w*|bad|wrong|missing|err|errors?|problems?|failed|failures?|denied|deny"
    r"|forbidden|reject\w*|refus\w*|anonymous|guest|stranger|expired_or_\w+"
    r"|un_?(auth\w*|known|verified|signed|trusted|logged\w*|recogni[sz]ed|registered))(_|$)",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Test:
    """What a condition is.

    Attributes:
        value: decided, or None.
        why: switches and paths that it depends on.
        is_about_caller: it asks something of who is calling.
        is_tainted: a credential is in it.
        yes: whoever it holds for is somebody who is known.
        no: whoever it does not hold for is somebody who is known.
        worth: what the expression stands for besides its truth.
    """

    value: bool | None
    why: frozenset[str] = frozenset()
    is_about_caller: bool = False
    is_tainted: bool = False
    yes: bool = False
    no: bool = False
    worth: Any = MISSING

    def turned(self) -> "Test":
        """Return the test of the contrary."""
        value = None if self.value is None else not self.value
        return Test(value, self.why, self.is_about_caller, self.is_tainted, self.no, self.yes)


def is_weak(text: str) -> bool:
    """Tell whether a condition asks only of what kind a credential is."""
    return bool(_ONLY_THE_SCHEME.search(text))


def is_of_rights(node: ast.expr | None, function: types.FunctionType) -> bool:
    """Tell whether a condition, or what is caught, in this function is about what somebody may do."""
    text = "" if node is None else unparsed(node)
    return bool(_OF_RIGHTS.search(f"{text} {function.__qualname__}"))


def sides_of_truth(node: ast.expr) -> tuple[bool, bool]:
    """Return on which sides of ``if x`` somebody is known: where there is something, or where nothing is wrong."""
    while isinstance(node, ast.Await | ast.NamedExpr | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    says_no = bool(_SAYS_NO.search(name))
    return not says_no, says_no


def sides_of_comparison(op: ast.cmpop, values: Iterable[Any], *, is_right: bool) -> tuple[bool, bool]:
    """Return on which sides of a comparison somebody is known.

    Args:
        op: the operator.
        values: both sides of it.
        is_right: what is asked about stands on its right.
    """
    is_empty = any(each is None or each in {"", 0} for each in values if _is_plain(each))
    match op:
        case ast.Eq() | ast.Is():
            return not is_empty, is_empty
        case ast.NotEq() | ast.IsNot():
            return is_empty, not is_empty
        case ast.In():
            return True, False
        case ast.NotIn():
            return False, True
        case ast.Gt() | ast.GtE():
            return not is_right, is_right
    return is_right, not is_right


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | str)


def of_several(ends: bool, undecided: list[Test]) -> tuple[bool, bool]:
    """Return on which sides of ``a or b`` (``ends``) or ``a and b`` somebody is known.

    Whoever finds ``a and b`` not to hold may have failed the one that asks nothing of who they are.
    """
    one_yes, one_no = any(each.yes for each in undecided), any(each.no for each in undecided)
    all_yes, all_no = all(each.yes for each in undecided), all(each.no for each in undecided)
    return (all_yes, one_no) if ends else (one_yes, all_no)
