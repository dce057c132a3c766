"""Whether code can raise for somebody who is not known: only then does the ``except`` around it refuse anybody.

``int(token)`` raises for what is no number, ``jwt.decode(token)`` for what is no token. ``TOKENS.get(token)`` raises
for nobody, and of ``users.find(token)`` nobody can tell whose code is not here: it may raise, or return None.
"""

import ast
import contextvars
import logging
import re
import types
from collections.abc import Iterable
from enum import IntEnum
from typing import Any, Final

from limen.checklist.routes.code import (
    MISSING,
    FunctionNode,
    attribute_of,
    function_of,
    hints_of,
    lambda_of,
    node_of,
    resolved,
)
from limen.checklist.routes.libraries import is_own
from limen.checklist.routes.values import Carrier, Instance, Nested, attribute_of_instance, is_request, of_annotation
from limen.checklist.syntax import walk

_DEEPEST: Final = 4
_LOOKS_UP: Final = re.compile(
    r"^(get|get_or_none|get_by_\w+|by_\w+|find\w*|first|look_?up\w*|search|query|select|where|filter|filter_by|execute"
    r"|exec|scalars?|scalar_one_or_none|one_or_none|all|fetch|fetch_?(one|row|val|all)|exists|hget|hgetall|smembers)$"
)
"""Calls that return nothing where there is nothing, in most libraries; some raise."""
_OF_TEXTS: Final = frozenset(
    {
        *("strip", "lstrip", "rstrip", "lower", "upper", "casefold", "removeprefix", "removesuffix", "split", "rsplit"),
        *("partition", "rpartition", "startswith", "endswith", "replace", "join", "format", "append", "add", "copy"),
    }
)
_LOGS: Final = frozenset({"debug", "info", "warning", "error", "exception"})
_SAFE: Final = (str, bool, repr, len, isinstance, hasattr, type, id, print, dict, list, set, tuple)


_OF_A_REQUEST: Final = frozenset({"state", "session", "user", "auth"})
_RAISE: Final = (ast.Subscript, ast.Raise, ast.Assert, ast.With, ast.AsyncWith)


class Fails(IntEnum):
    """How far it is known of some code that it raises."""

    NEVER = 0
    PERHAPS = 1
    LIKELY = 2


def fails(body: Iterable[ast.AST], function: types.FunctionType, env: dict[str, Any], depth: int = 0) -> Fails:
    """Return how far it is known that code raises for somebody who is not known.

    Args:
        body: statements of a function, or an expression.
        function: where they stand.
        env: what its names are, as far as that is known.
        depth: how many calls away this is.
    """
    inside = list(body)
    parts = list(walk(inside))
    called = {id(each.func): each for each in parts if isinstance(each, ast.Call)}
    made = {each.id for each in parts if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
    known = {name: value for name, value in env.items() if name not in made}
    most = Fails.NEVER
    for each in parts:
        found = Fails.NEVER
        if isinstance(each, ast.Call):
            found = _call(each, function, known, depth)
        elif isinstance(each, ast.Attribute) and id(each) not in called:
            found = Fails.LIKELY if _may_miss(each, made) else Fails.NEVER
        elif isinstance(each, _RAISE) or (isinstance(each, ast.Tuple | ast.List) and isinstance(each.ctx, ast.Store)):
            found = Fails.LIKELY
        most = max(most, found)
        if most is Fails.LIKELY:
            break
    return most


def _call(call: ast.Call, function: types.FunctionType, env: dict[str, Any], depth: int) -> Fails:  # noqa: PLR0911 - a line for each kind
    base, callee = _callee(call.func, function, env)
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if any(callee is each for each in _SAFE) or (callee is getattr and len(call.args) > 2):
        return Fails.NEVER
    if isinstance(callee, Nested) and depth < _DEEPEST:
        inner = callee.node.body
        return fails([inner] if isinstance(inner, ast.expr) else inner, function, env, depth + 1)
    node = _code_of(callee) if is_own(callee) else None
    if node is not None and depth < _DEEPEST:
        return _followed(callee, base, node, depth)
    if name == "get" and (isinstance(base, Carrier) or type(base) is dict):
        return Fails.NEVER
    if is_request(base) or isinstance(base, contextvars.ContextVar):
        return Fails.LIKELY
    if _LOOKS_UP.search(name):
        return Fails.PERHAPS
    of = call.func.value if isinstance(call.func, ast.Attribute) else None
    # Of what was looked up, which may be None, a part of its text is taken in vain.
    is_text = name in _OF_TEXTS and of is not None and not isinstance(of, ast.Call | ast.Await)
    is_log = name in _LOGS and isinstance(base, logging.Logger)
    return Fails.NEVER if is_log or (is_text and callee is MISSING) else Fails.LIKELY


def _code_of(callee: Any) -> FunctionNode | ast.Lambda | None:
    """Return the code of what is called; None where it cannot be read, or another class has to say what it does."""
    function = function_of(callee)
    node = None if function is None else node_of(function) or lambda_of(function)
    says_nothing = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and all(
        isinstance(each, ast.Pass) or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
        for each in node.body
    )
    return None if says_nothing else node


_read: dict[Any, tuple[Fails, object]] = {}


def _followed(callee: Any, base: Any, node: FunctionNode | ast.Lambda, depth: int) -> Fails:
    function = function_of(callee)
    if function is None:
        return Fails.LIKELY
    key = (id(callee), base if isinstance(base, Instance) else id(base), depth)
    known = _read.get(key)
    if known is None:
        env = {name: of_annotation(hint) for name, hint in hints_of(function).items()}
        names = function.__code__.co_varnames[: function.__code__.co_argcount]
        if names and base is not MISSING and not isinstance(base, types.ModuleType):
            env[names[0]] = callee.__self__ if isinstance(callee, types.MethodType) else base
        body = [node.body] if isinstance(node.body, ast.expr) else node.body
        # The call is kept alive with it: a freed object's id may be another's.
        known = _read[key] = (fails(body, function, env, depth + 1), (callee, base))
    return known[0]


def _callee(node: ast.expr, function: types.FunctionType, env: dict[str, Any]) -> tuple[Any, Any]:
    """Return what a call's function is an attribute of, and the function; `MISSING` where nobody can tell."""
    if isinstance(node, ast.Name):
        return MISSING, env[node.id] if node.id in env else resolved(node, function)
    if not isinstance(node, ast.Attribute):
        return MISSING, MISSING
    base = _callee(node.value, function, env)[1]
    if isinstance(base, Instance):
        is_carrier = is_request(base) and node.attr in {"headers", "cookies", "query_params"}
        return base, Carrier(node.attr) if is_carrier else attribute_of_instance(base.kind, node.attr)
    return base, MISSING if base is MISSING else attribute_of(base, node.attr)


def _may_miss(node: ast.Attribute, made: set[str]) -> bool:
    """Tell whether an attribute is perhaps not there: of what was looked up, which may be None, or of a state."""
    names = []
    root: ast.expr = node
    while isinstance(root, ast.Attribute):
        names.append(root.attr)
        root = root.value
    if isinstance(root, ast.Call | ast.Await) or (isinstance(root, ast.Name) and root.id in made):
        return True
    return "app" not in names and not _OF_A_REQUEST.isdisjoint(names)
