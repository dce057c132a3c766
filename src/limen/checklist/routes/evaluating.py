"""What expressions stand for, for a request that shows nothing or nothing verified."""

import ast
import operator
import types
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from limen.checklist.routes.code import MISSING, attribute_of, resolved
from limen.checklist.routes.handing import HANDED, Bound, Later, Named, Rest, item_of
from limen.checklist.routes.places import Spot, compared, in_scope
from limen.checklist.routes.questions import Test, is_weak, of_several, sides_of_comparison, sides_of_truth
from limen.checklist.routes.raising import Error
from limen.checklist.routes.states import Ended, Exit, Facts, Looped, State
from limen.checklist.routes.values import (
    IDENTITY,
    Answer,
    Carrier,
    Instance,
    Nested,
    Sign,
    attribute_annotation,
    attribute_of_instance,
    attribute_of_request,
    carried,
    is_always_there,
    is_flag,
    is_made,
    is_request,
    is_tainted,
    is_there,
    joined,
    mixed,
    plain,
)
from limen.checklist.syntax import unparsed


class Evaluating:
    """The expressions of one function.

    Attributes:
        exits: how the function is left, as far as it was read.
        facts: what was seen.
        handed_on: the states in which the request was handed on to what stands behind.
        caught: what an ``except`` has caught, the innermost last.
        partly: refusals in what is called, of which nobody knows whether they are met.
    """

    def __init__(self, reading: Any, function: types.FunctionType, role: str, depth: int) -> None:
        self.reading, self.function, self.role, self.depth = reading, function, role, depth
        self.exits: list[Exit] = []
        self.facts = Facts()
        self.handed_on: list[State] = []
        self.caught: list[list[Exit]] = []
        self.partly: list[Exit] = []
        self.looped = Looped()

    def block(self, statements: list[ast.stmt], state: State) -> State | None:
        """Run through statements; `limen.checklist.routes.running` does."""
        raise NotImplementedError

    def call(self, node: ast.Call, state: State) -> Any:
        """Return what a call returns; `limen.checklist.routes.calling` does."""
        raise NotImplementedError

    def awaited(self, value: Any, state: State) -> Any:
        """Run through what somebody waits for; `limen.checklist.routes.threads` does."""
        raise NotImplementedError

    def left(self, state: State, value: Any) -> None:
        """Take a return, or a yield; `limen.checklist.routes.running` does."""
        raise NotImplementedError

    def refuses(self, left: Exit, asked: Test) -> bool:
        """Tell whether who goes on past a condition was asked; `limen.checklist.routes.running` does."""
        raise NotImplementedError

    def eval(self, node: ast.expr, state: State) -> Any:
        """Return what an expression stands for, and run through the calls in it.

        Raises:
            Ended: it never has a value.
        """
        value = self._value(node, state)
        if value is Sign.ABSENT or value is Sign.GIVEN:
            self.facts.sees_credential = True
        return value

    def _value(self, node: ast.expr, state: State) -> Any:  # noqa: PLR0911 - a line for each kind
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self._name(node.id, state)
            case ast.Attribute():
                base = self.eval(node.value, state)
                return self.written(base, node.attr, state) or self.attribute(base, node.attr)
            case ast.Await():
                return self.awaited(self.eval(node.value, state), state)
            case ast.Yield() | ast.YieldFrom():
                value = self.eval(node.value or ast.Constant(None), state)
                # What comes after a dependency's yield refuses nobody.
                self.left(state.copy(), value)
                state.gone = True
                return value
            case ast.Call():
                return self.call(node, state)
            case ast.Subscript():
                return self._item(self.eval(node.value, state), self.eval(node.slice, state), state)
            case ast.NamedExpr():
                value = self.eval(node.value, state)
                self.bind(node.target, value, state)
                return value
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(op=ast.Not()):
                return self._condition(node, state)
            case ast.IfExp():
                return self._either(node, state)
            case ast.Lambda():
                return Nested(node)
        return self._whole(node, state)

    def _whole(self, node: ast.expr, state: State) -> Any:
        """Return what is made of several values: a text, a sum, a list."""
        if isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            inner = state.copy()
            for each in node.generators:
                listed = self.eval(each.iter, inner)
                self.bind(each.target, listed if listed is Sign.PROTOCOL else mixed([listed]), inner)
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            conditions = [every for each in node.generators for every in each.ifs]
            found = [self.eval(each, inner) for each in (*parts, *conditions)]
            return found[0] if len(found) == 1 and found[0] is Sign.PROTOCOL else mixed(found)
        if (
            isinstance(node, ast.Tuple | ast.List | ast.Set)
            and node.elts
            and all(isinstance(each, ast.Constant) for each in node.elts)
        ):
            return tuple(each.value for each in node.elts if isinstance(each, ast.Constant))
        if isinstance(node, ast.Dict) and node.keys and all(isinstance(each, ast.Constant) for each in node.values):
            return Instance(dict, is_new=True, is_own=True)
        if not isinstance(node, WHOLE):
            self.cannot_tell(node, state)
        parts = [plain(self.eval(each, state)) for each in _parts(node)]
        is_own = isinstance(node, ast.BinOp) and not any(
            each is MISSING or isinstance(each, Sign | Instance) for each in parts
        )
        return Sign.OWN if is_own else mixed(parts)

    def written(self, base: Any, key: Any, state: State) -> Any:
        """Return what the code itself has put under a name of a session or a state; None where it has not."""
        found = state.env.get(f" {base.name}.{key}") if isinstance(base, Carrier) and isinstance(key, str) else None
        if found is None and isinstance(base, Carrier) and base.name in {"state", "session"}:
            self.facts.reads.add(f"{base.name}.{key}")
        return found

    def cannot_tell(self, node: ast.AST, state: State) -> None:
        """Take what is of a kind that is not known here: whoever it may be may go on from there."""
        self.facts.doubtful.add(f"what it does in line {getattr(node, 'lineno', 0)} cannot be read")
        aside = state.copy()
        aside.sure = False
        self.exits.append(Exit("return", aside, MISSING))

    def _name(self, name: str, state: State) -> Any:
        if name in state.env:
            return state.env[name]
        return resolved(ast.Name(name, ast.Load()), self.function)

    def attribute(self, base: Any, name: str) -> Any:  # noqa: C901, PLR0911 - a line for each kind of value
        """Return what an attribute of a value is."""
        if isinstance(base, Sign):
            return Sign.DERIVED if base is Sign.WHO else base
        if isinstance(base, Spot):
            return Spot("url.path") if base.part == "url" and name == "path" else Sign.PLACE
        if isinstance(base, HANDED):
            return MISSING
        if isinstance(base, Carrier):
            key: Any = name
            return self.carried(base, key) if base.name == "state" else MISSING
        if is_request(base):
            found = attribute_of_request(name)
            if self.reading.asked is not None and name in {"url", "method"}:
                return Spot("url" if name == "url" else "method")
            if found is Sign.ABSENT:
                self.facts.reads.add(f"request.{name}")
            if found is not MISSING:
                return found
        if isinstance(base, Instance):
            found = attribute_of_instance(base.kind, name)
            if found is MISSING and base.is_own:
                return Sign.OWN
            return found if found is not MISSING or base.holds is None else self._held(base, name)
        if base is MISSING:
            if name in {"headers", "cookies", "session", "query_params"}:
                return Carrier(name)
            return Sign.PLACE if name == "url" else Sign.DERIVED if name in {"user", "current_user"} else MISSING
        return attribute_of(base, name)

    def _held(self, made: Instance, name: str) -> Any:
        """Return what is in an object that was made of a credential: a part that is always there was given."""
        is_text = attribute_annotation(made.kind, name) in {str, bytes, int, UUID, "str", "bytes", "int", "UUID"}
        return Sign.GIVEN if is_text and (made.holds is Sign.GIVEN or self.reading.shown) else Sign.DERIVED

    def _item(self, base: Any, key: Any, state: State) -> Any:
        if isinstance(base, Rest | Named):
            return item_of(base, key)
        if isinstance(base, Carrier):
            written = self.written(base, key, state)
            if written is not None:
                return written
            found = self.carried(base, key)
            if found is Sign.ABSENT and base.name != "scope":
                raise Ended(Exit("raised", state, exception=KeyError, name="KeyError"))
            return found
        if base is Sign.WHO or isinstance(base, Spot):
            return Sign.DERIVED if base is Sign.WHO else Sign.PLACE
        if isinstance(base, Instance) and base.is_own:
            return Sign.OWN
        return base if isinstance(base, Sign) else mixed([key])

    def bind(self, target: ast.expr, value: Any, state: State) -> None:
        """Give a name its value; of what is unpacked, each part has what the whole has."""
        if isinstance(target, ast.Name):
            state.env[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            for each in target.elts:
                self.bind(each, plain(value) if isinstance(value, Sign | Spot) else MISSING, state)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, MISSING, state)
        elif isinstance(target, ast.Attribute | ast.Subscript):
            self._changed(target, value, state)

    def _changed(self, target: ast.Attribute | ast.Subscript, value: Any, state: State) -> None:
        """Take what is put into something: an object has in it from now on what was put there."""
        base = self.eval(target.value, state)
        key: Any = target.attr if isinstance(target, ast.Attribute) else self.eval(target.slice, state)
        if isinstance(base, Carrier) and isinstance(key, str):
            state.env[f" {base.name}.{key}"] = value
            if (is_made(value) or value is Sign.DOUBTFUL) and not state.is_known:
                self.facts.writes.add(f"{base.name}.{key}")
        if isinstance(base, Instance) and base.is_own and isinstance(target.value, ast.Name):
            made = replace(base, is_own=False)
            state.env[target.value.id] = value if is_tainted(value) else made if value is MISSING else base

    def _either(self, node: ast.IfExp, state: State) -> Any:
        asked = self.truth(node.test, state)
        if asked.value is not None:
            state.why |= asked.why
            return self.eval(node.body if asked.value else node.orelse, state)
        arms = ((node.body, asked.no), (node.orelse, asked.yes))
        return joined(
            [self._aside(each, state, asked, is_asked=other) for each, other in arms],
            [(side and asked.is_about_caller) or state.checked for side in (asked.yes, asked.no)],
        )

    def _aside(self, node: ast.expr, state: State, asked: Test, *, is_asked: bool) -> Any:
        """Return the value of an expression that is perhaps not asked for.

        Where it refuses, those are checked who go on without it, if they were asked on their side.
        """
        try:
            return self.eval(node, state)
        except Ended as ended:
            self.exits.append(ended.left)
            ended.left.state.sure = False
            if is_asked and self.refuses(ended.left, asked):
                state.checked = True
            return MISSING

    def _condition(self, node: ast.expr, state: State) -> Any:
        asked = self.truth(node, state)
        if isinstance(node, ast.BoolOp) and asked.worth is not MISSING:
            return asked.worth  # ``x or default`` has a value besides its truth
        if asked.value is not None:
            return asked.value
        return Sign.DERIVED if asked.is_tainted else Sign.PLACE if "the path" in asked.why else MISSING

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

    def carried(self, carrier: Carrier, key: Any) -> Any:
        """Return what a carrier has under a key."""
        spot = in_scope(key) if carrier.name == "scope" and self.reading.asked is not None else None
        return spot or carried(carrier, key, self.reading.kind, shown=self.reading.shown)

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


_WHY: Final = {Sign.PLACE: frozenset({"the path"}), Sign.SETTING: frozenset({"the environment"})}
_ASK_NOTHING: Final = frozenset({Sign.PLACE, Sign.SETTING, Sign.OWN})
_ORDER: Final = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
WHOLE: Final = (
    *(ast.BinOp, ast.Dict, ast.FormattedValue, ast.JoinedStr, ast.List, ast.Set, ast.Slice, ast.Starred, ast.Tuple),
    ast.UnaryOp,
)


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


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.expr):
            yield each
        elif isinstance(each, ast.FormattedValue):
            yield each.value
