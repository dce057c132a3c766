"""What expressions stand for, for a request that shows nothing or nothing verified."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from limen.checklist.routes.code import MISSING, attribute_of, resolved
from limen.checklist.routes.conditions import Conditions
from limen.checklist.routes.handing import HANDED, Named, Rest, item_of
from limen.checklist.routes.places import Spot, in_scope
from limen.checklist.routes.questions import Test
from limen.checklist.routes.states import Ended, Exit, State
from limen.checklist.routes.values import (
    Carrier,
    Instance,
    Nested,
    Sign,
    attribute_annotation,
    attribute_of_instance,
    attribute_of_request,
    carried,
    is_made,
    is_request,
    is_tainted,
    joined,
    mixed,
    plain,
)


class Evaluating(Conditions):
    """The expressions of one function."""

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

    def carried(self, carrier: Carrier, key: Any) -> Any:
        """Return what a carrier has under a key."""
        spot = in_scope(key) if carrier.name == "scope" and self.reading.asked is not None else None
        return spot or carried(carrier, key, self.reading.kind, shown=self.reading.shown)


WHOLE: Final = (
    *(ast.BinOp, ast.Dict, ast.FormattedValue, ast.JoinedStr, ast.List, ast.Set, ast.Slice, ast.Starred, ast.Tuple),
    ast.UnaryOp,
)


def _parts(node: ast.expr) -> Iterator[ast.expr]:
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.expr):
            yield each
        elif isinstance(each, ast.FormattedValue):
            yield each.value
