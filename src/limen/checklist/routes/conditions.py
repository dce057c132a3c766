"""Whether the conditions of a function hold, and who is known on which of their sides."""

import ast
import operator
from typing import Any, Final

from limen.checklist.routes.code import MISSING
from limen.checklist.routes.handing import Bound, Later
from limen.checklist.routes.places import compared
from limen.checklist.routes.questions import Test, is_weak, of_several, sides_of_comparison, sides_of_truth
from limen.checklist.routes.raising import Error
from limen.checklist.routes.states import Ended, State
from limen.checklist.routes.steps import Steps
from limen.checklist.routes.values import (
    IDENTITY,
    Answer,
    Carrier,
    Instance,
    Nested,
    Sign,
    carried,
    is_always_there,
    is_flag,
    is_made,
    is_tainted,
    is_there,
    joined,
    mixed,
    plain,
)
from limen.checklist.syntax import unparsed

_WHY: Final = {Sign.PLACE: frozenset({"the path"}), Sign.SETTING: frozenset({"the environment"})}
_ASK_NOTHING: Final = frozenset({Sign.PLACE, Sign.SETTING, Sign.OWN})
_ORDER: Final = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}


class Conditions(Steps):
    """The conditions of one function."""

    def truth(self, node: ast.expr, state: State) -> Test:
        """Return whether a condition holds, as far as it can be told."""
        match node:
            case ast.UnaryOp(op=ast.Not()):
                return self.truth(node.operand, state).turned()
            case ast.BoolOp():
                return self._several(node, state)
            case ast.Compare():
                return self._compared(node, state)
        value = self.eval(node, state)
        asked = self.test_of(node, value)
        asked.worth = value
        return asked

    def test_of(self, node: ast.expr, value: Any) -> Test:  # noqa: PLR0911 - a line for each kind of value
        """Return the truth of a value."""
        text, value = unparsed(node), plain(value)
        about = is_tainted(value) or bool(IDENTITY.search(text))
        if isinstance(value, Sign) and value in {Sign.ABSENT, Sign.GIVEN, Sign.WHO}:
            return Test(value is not Sign.ABSENT, is_about_caller=True, is_tainted=True)
        if value is None and isinstance(node, ast.Constant | ast.Name | ast.Call | ast.Await):
            return Test(False, is_about_caller=about)
        if is_flag(value) or is_there(value):
            return Test(is_there(value) or bool(value), self._switch(node), about)
        if isinstance(value, Instance) and value.is_new and is_always_there(value.kind):
            return Test(True, is_about_caller=about)
        is_none = isinstance(value, tuple) and not value  # roles, of which none was named
        if is_none or isinstance(value, Answer | Error | Nested | Bound | Later):
            return Test(not is_none)
        if isinstance(value, dict | list | set | frozenset | tuple):
            return Test(None)  # whether a table of the service's own is filled says nothing of who is calling
        why = _WHY.get(value, frozenset()) if isinstance(value, Sign) else frozenset()
        return Test(None, why, about, is_tainted(value), *self._sides(text, value, sides_of_truth(node)))

    def _sides(self, text: str, value: Any, sides: tuple[bool, bool]) -> tuple[bool, bool]:
        """Return on which sides of a condition somebody is known: of one that is known already, on both."""
        if value in _ASK_NOTHING if isinstance(value, Sign) else False:
            return False, False
        is_word = isinstance(value, Sign) and value in {Sign.DOUBTFUL, Sign.PROTOCOL}
        if is_word or (is_weak(text) and not (value is MISSING and self.reading.knows_who)):
            return False, False
        return (True, True) if self.reading.knows_who else sides

    def _switch(self, node: ast.expr) -> frozenset[str]:
        """Return the name of a setting on which a condition depends: elsewhere it may be another."""
        root: ast.expr = node
        while isinstance(root, ast.Attribute):
            root = root.value
        if not isinstance(root, ast.Name) or isinstance(node, ast.Constant):
            return frozenset()
        code = self.function.__code__
        is_local = root.id in code.co_varnames or root.id in code.co_freevars or root.id == "TYPE_CHECKING"
        return frozenset() if is_local else frozenset({unparsed(node)})

    def _several(self, node: ast.BoolOp, state: State) -> Test:
        ends = isinstance(node.op, ast.Or)
        whole = Test(not ends)
        undecided: list[Test] = []
        worth: list[Any] = []
        for each in node.values:
            if whole.value is None:
                inner = state.copy()
                known = of_several(ends, undecided)
                try:
                    asked = self.truth(each, inner)
                except Ended as ended:
                    self.exits.append(ended.left)
                    state.checked |= known[not ends] and self.refuses(ended.left, whole)
                    continue
                state.env = inner.env
                # Who goes on past ``this or that`` has this, or was asked there.
                state.checked |= ends and inner.checked and known[0]
            else:
                asked = self.truth(each, state)
            whole.is_about_caller |= asked.is_about_caller
            whole.is_tainted |= asked.is_tainted
            if asked.value is None or asked.value is ends or each is node.values[-1]:
                worth.append(_worth(each, asked))
            if asked.value is ends:
                about = (whole.is_about_caller, whole.is_tainted)
                return Test(ends, asked.why, *about, worth=_firm(ends, _one_of(node.values[0], worth), worth))
            if asked.value is None:
                whole.value = None
                undecided.append(asked)
            whole.why |= asked.why
        if undecided:
            whole.yes, whole.no = of_several(ends, undecided)
        whole.worth = _firm(whole.value, _one_of(node.values[0], worth), worth)
        return whole

    def _compared(self, node: ast.Compare, state: State) -> Test:
        left, right = self.eval(node.left, state), self.eval(node.comparators[0], state)
        for each in node.comparators[1:]:
            self.eval(each, state)
        op, text = node.ops[0], unparsed(node)
        if self.reading.kind == "websocket" and _is_word(left, right, node):
            return Test(None)
        negated = isinstance(op, ast.IsNot | ast.NotEq | ast.NotIn)
        placed = compared(self.reading.asked, left, right, op) if len(node.ops) == 1 else None
        if placed is not None:
            return Test(placed is not negated)
        left, right = plain(left), plain(right)
        tainted = is_tainted(left) or is_tainted(right)
        places = Sign.PLACE in {_sign(left), _sign(right)}
        if places and "OPTIONS" in {left if isinstance(left, str) else "", right if isinstance(right, str) else ""}:
            # What a browser asks beforehand never comes to a route.
            return Test(negated)
        is_set = Sign.SETTING in {_sign(left), _sign(right)} and Sign.GIVEN not in {_sign(left), _sign(right)}
        why = _WHY[Sign.PLACE] if places else _WHY[Sign.SETTING] if is_set else frozenset()
        about = tainted or bool(IDENTITY.search(text))
        same = None if len(node.ops) > 1 or is_set else self._same(left, right, op, state)
        if isinstance(op, ast.Eq | ast.NotEq) and unparsed(node.left) == unparsed(node.comparators[0]):
            same = True
        if same is None:
            value = Sign.PLACE if places else Sign.SETTING if is_set else mixed((left, right))
            is_chain = len(node.ops) > 1 and tainted
            is_part = isinstance(op, ast.In | ast.NotIn) and isinstance(right, str)
            value = Sign.DOUBTFUL if is_part or is_chain else value
            sides = sides_of_comparison(op, (left, right), is_right=is_tainted(right) and not is_tainted(left))
            return Test(None, why, about, tainted, *self._sides(text, value, sides))
        value = same is not negated
        switches = self._switch(node.left) if is_flag(left) else frozenset()
        return Test(value, switches, about, tainted)

    def _same(self, left: Any, right: Any, op: ast.cmpop, state: State) -> bool | None:  # noqa: PLR0911 - as above
        if isinstance(op, ast.In | ast.NotIn):
            return self._within(left, right, state)
        order = _ORDER.get(type(op))
        if order is not None:
            return bool(order(left, right)) if isinstance(left, int) and isinstance(right, int) else None
        if not isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            return None
        empty = right is None or (isinstance(right, str) and right == "") or right is False
        if empty and isinstance(left, Sign):
            return {Sign.ABSENT: True, Sign.GIVEN: False, Sign.WHO: False}.get(left)
        is_new = isinstance(left, Instance) and left.is_new
        if left is Sign.ABSENT or (right is None and (is_new or is_there(left))):
            return False
        if (left is None or is_flag(left)) and (right is None or is_flag(right)):
            return bool(left == right)
        return None

    def _within(self, left: Any, right: Any, state: State) -> bool | None:  # noqa: PLR0911 - a line for each
        if isinstance(right, Carrier) and isinstance(left, str):
            if self.written(right, left, state) is not None:
                return True
            found = carried(right, left, self.reading.kind, shown=self.reading.shown)
            return {Sign.ABSENT: False, Sign.GIVEN: True}.get(found) if isinstance(found, Sign) else None
        if isinstance(right, str):
            return left in right if isinstance(left, str) else None  # the empty text is in every text
        if left is Sign.ABSENT:
            is_table = isinstance(right, dict | set | list | tuple | frozenset)
            return bool(is_table and "" in right)  # what ``"".split(",")`` leaves lets in who shows nothing
        if is_flag(left) and isinstance(right, dict | set | list) and left in right:
            return True
        if is_flag(left) and isinstance(right, tuple | frozenset) and all(is_flag(each) for each in right):
            return left in right
        return None


def _is_word(left: Any, right: Any, node: ast.Compare) -> bool:
    """Tell whether a client is asked only for a word of a protocol: the name of one, or what a message is called.

    Code writes such a word down, so everybody can say it.
    """
    for one, other, written in ((left, right, node.comparators[0]), (right, left, node.left)):
        words = other if isinstance(other, tuple) else (other,)
        is_written = not any(isinstance(each, ast.Name | ast.Attribute | ast.Call) for each in ast.walk(written))
        is_named = isinstance(written, ast.Name | ast.Attribute) and "protocol" in unparsed(written).lower()
        if not ((is_written or is_named) and words and all(isinstance(each, str) and each for each in words)):
            continue
        asked = node.left if written is node.comparators[0] else node.comparators[0]
        if one is Sign.PROTOCOL or (one is MISSING and not IDENTITY.search(unparsed(asked))):
            return True
    return False


def _worth(node: ast.expr, asked: Test) -> Any:
    """Return what a part of ``a or b`` stands for."""
    if asked.worth is not MISSING or not isinstance(node, ast.Compare | ast.UnaryOp):
        return asked.worth
    return asked.value if asked.value is not None else Sign.DERIVED if asked.is_tainted else MISSING


def _one_of(first: ast.expr, worth: list[Any]) -> Any:
    """Return what ``a or b`` stands for."""
    if len(worth) > 1 and worth[0] is MISSING and IDENTITY.search(unparsed(first)) and is_made(worth[-1]):
        return Sign.DOUBTFUL
    return joined(worth) if worth else MISSING


def _firm(truth: bool | None, whole: Any, worth: list[Any]) -> Any:
    """Return what ``a or b`` stands for; ``a or True`` is true and ``a and False`` is false, whatever a setting is."""
    is_said = truth is not None and isinstance(worth[-1], bool)
    return truth if is_said and isinstance(whole, Sign) and whole in _ASK_NOTHING else whole


def _sign(value: Any) -> Sign | None:
    return value if isinstance(value, Sign) else None
