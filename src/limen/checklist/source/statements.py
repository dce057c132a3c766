"""How a text is put together: its constant parts, and what is put between them."""

import ast
import re
from typing import Final

from msgspec import Struct

from limen.checklist.source.module import Module, called_name, text_of

_UNCHANGED: Final = frozenset(
    {"strip", "lstrip", "rstrip", "lower", "upper", "dedent", "cleandoc", "text", "SQL", "str", "encode", "decode"}
)
_GATHERS: Final = frozenset({"append", "extend", "insert", "add"})
_DEEPEST: Final = 6
_PLACEHOLDER: Final = re.compile(r"%(?:\(\w+\))?[sdr]|\{[^{}]*\}")
HOLE: Final = "\x00"
"""Stands in a text for a value that is put into it."""


class Statement(Struct):
    """A text with holes.

    Attributes:
        text: what is constant of it; each value is a `HOLE`.
        values: what is put into the holes, in their order.
    """

    text: str = ""
    values: list[ast.expr] = []

    def __add__(self, other: "Statement") -> "Statement":
        return Statement(self.text + other.text, [*self.values, *other.values])

    def before(self, index: int) -> str:
        """Return the text before a hole, back to the one before it."""
        return self.text.split(HOLE)[index]


def read_statement(module: Module, expression: ast.expr, hops: int = 0) -> Statement:
    """Return an expression as a text with holes: f-strings, ``+``, ``%``, ``format``, ``join``, variables."""
    if hops > _DEEPEST:
        return _hole(expression)
    told: Statement | None = None
    if isinstance(expression, ast.JoinedStr):
        told = _of_f_string(module, expression, hops)
    elif isinstance(expression, ast.BinOp):
        told = _of_operation(module, expression, hops)
    elif isinstance(expression, ast.IfExp):
        told = read_statement(module, expression.body, hops) + read_statement(module, expression.orelse, hops)
    elif isinstance(expression, ast.Call):
        told = _of_call(module, expression, hops)
    elif isinstance(expression, ast.Name | ast.Attribute):
        told = _of_name(module, expression, hops)
    elif (text := text_of(expression)) is not None:
        told = Statement(text)
    return _hole(expression) if told is None else told


def _of_operation(module: Module, operation: ast.BinOp, hops: int) -> Statement | None:
    if isinstance(operation.op, ast.Add):
        return read_statement(module, operation.left, hops) + read_statement(module, operation.right, hops)
    if isinstance(operation.op, ast.Mod):
        return _filled(module, operation.left, _operands(operation.right), hops)
    return None


def _hole(expression: ast.expr) -> Statement:
    return Statement(HOLE, [expression])


def _of_f_string(module: Module, expression: ast.JoinedStr, hops: int) -> Statement:
    told = Statement()
    for each in expression.values:
        if isinstance(each, ast.FormattedValue):
            told += read_statement(module, each.value, hops + 1)
        else:
            told += Statement(text_of(each) or "")
    return told


def _filled(module: Module, template: ast.expr, values: list[ast.expr], hops: int) -> Statement:
    """Return a template with its values where it says; at its end where their number is another one."""
    told = read_statement(module, template, hops)
    inner = [read_statement(module, each, hops + 1) for each in values]
    texts = _PLACEHOLDER.split(told.text)
    if told.values or len(texts) != len(inner) + 1:
        return told + _all(inner)
    return _all(
        [Statement(texts[0]), *(piece for pair in zip(inner, map(Statement, texts[1:]), strict=True) for piece in pair)]
    )


def _all(statements: list[Statement]) -> Statement:
    return sum(statements, Statement())


def _operands(right: ast.expr) -> list[ast.expr]:
    if isinstance(right, ast.Tuple):
        return list(right.elts)
    return list(right.values) if isinstance(right, ast.Dict) else [right]


def _of_call(module: Module, call: ast.Call, hops: int) -> Statement:
    name = called_name(call)
    if isinstance(call.func, ast.Attribute):
        if name in {"format", "format_map"}:
            return _filled(module, call.func.value, [*call.args, *(each.value for each in call.keywords)], hops)
        if name == "replace" and len(call.args) == 2:
            return _filled(module, call.func.value, [call.args[1]], hops)
        if name == "join" and len(call.args) == 1 and text_of(call.func.value) is not None:
            return _joined(module, call.args[0], hops)
        if name in _UNCHANGED and not call.args:
            return read_statement(module, call.func.value, hops)
    if name in _UNCHANGED and len(call.args) == 1:
        return read_statement(module, call.args[0], hops)
    return _of_own_function(module, call, hops) or _hole(call)


def _of_own_function(module: Module, call: ast.Call, hops: int) -> Statement | None:
    """Return what a function of this file returns, where that is a text."""
    is_own = isinstance(call.func, ast.Name) or (
        isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name) and call.func.value.id == "self"
    )
    made = [each for each in module.functions if each.name == called_name(call)] if is_own else []
    if len(made) != 1:
        return None
    told = Statement()
    for each in ast.walk(made[0]):
        if isinstance(each, ast.Return) and each.value is not None and module.function_around(each) is made[0]:
            told += read_statement(module, each.value, hops + 2)
    return told if told.text.strip(HOLE + " ") else None


def _joined(module: Module, listed: ast.expr, hops: int) -> Statement:
    """Return what ``" AND ".join(…)`` makes: every part, one after another."""
    told = Statement()
    parts = parts_of(module, listed)
    if parts is None:
        return _hole(listed)
    for each in parts:
        told += Statement(" ") + read_statement(module, each, hops + 1)
    return told


def parts_of(module: Module, listed: ast.expr) -> list[ast.expr] | None:
    """Return what a list is made of, where that is seen; None where it is not.

    A list in a variable has what it is made with, and what ``append`` and ``+=`` put into it.
    """
    if isinstance(listed, ast.List | ast.Tuple | ast.Set):
        return list(listed.elts)
    if isinstance(listed, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        return [listed.elt]
    if isinstance(listed, ast.BinOp) and isinstance(listed.op, ast.Mult):
        sides = [listed.left, listed.right]
        return next((list(each.elts) for each in sides if isinstance(each, ast.List)), sides[:1])
    if not isinstance(listed, ast.Name) or module.is_argument(listed.id, listed):
        return None
    values = module.values_of(listed)
    found: list[ast.expr] = []
    for each in values:
        if isinstance(each, ast.Name) or (inner := parts_of(module, each)) is None:
            return None
        found += inner
    return [*found, *_gathered(module, listed)] if values else None


def _gathered(module: Module, listed: ast.Name) -> list[ast.expr]:
    """Return what is put into a list later on."""
    around = module.function_around(listed)
    found: list[ast.expr] = []
    for each in module.calls_on(listed.id, around):
        if called_name(each) in _GATHERS and each.args:
            last = each.args[-1]
            found += list(last.elts) if isinstance(last, ast.List | ast.Tuple) else [last]
    return found


def _of_name(module: Module, expression: ast.Name | ast.Attribute, hops: int) -> Statement:
    """Return what a variable has been given, all of it one after another: it grows in steps."""
    values = module.values_of(expression)
    if not values or (isinstance(expression, ast.Name) and _is_of_itself(expression.id, values)):
        return _hole(expression)
    told = Statement()
    for each in values:
        told += _without(read_statement(module, each, hops + 2), expression)
    return told if told.text.strip(HOLE + " ") else _hole(expression)


def _is_of_itself(name: str, values: list[ast.expr]) -> bool:
    """Tell whether all that a name is given is made of itself: then it came from somewhere else."""
    return all(any(isinstance(inner, ast.Name) and inner.id == name for inner in ast.walk(each)) for each in values)


def _without(statement: Statement, name: ast.Name | ast.Attribute) -> Statement:
    """Leave a name out of its own text: ``query = query + " LIMIT 1"``."""
    left = [each for each in statement.values if ast.dump(each) != ast.dump(name)]
    if len(left) == len(statement.values):
        return statement
    return Statement(statement.text.replace(HOLE, "", len(statement.values) - len(left)), left)
