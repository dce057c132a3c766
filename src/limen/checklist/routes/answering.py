"""Whether a handler makes its answer itself: a response, or nothing that a model could filter."""

import ast
import inspect
import types
from collections.abc import Iterator
from typing import Any, Final

from starlette.responses import Response

from limen.checklist.routes.code import MISSING, FunctionNode, function_of, hints_of, node_of, resolved
from limen.checklist.syntax import walk

_DEEPEST: Final = 6
_MISSING: Final = object()
_NESTED: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_PLAIN: Final = frozenset({None, type(None), bool, int, float, str, bytes})


def answers_itself(endpoint: Any) -> bool:
    """Tell whether a handler makes its answer itself, or answers nothing that a model could filter.

    Args:
        endpoint: what was registered; decorators are looked through.
    """
    call = inspect.unwrap(endpoint) if callable(endpoint) else None
    function = function_of(call)
    if function is None:
        return False
    returned = _annotated(function)
    if returned is not _MISSING:
        return _is_plain(returned) or _is_kind_of_response(returned)
    owner = getattr(endpoint, "__self__", None)
    shown = _Answers(function, owner, ()).shown()
    return shown is not None and False not in shown


def _makes(function: types.FunctionType, owner: object, outer: tuple[types.FunctionType, ...]) -> bool:
    """Tell whether every answer of a function that a handler calls is a response."""
    returned = _annotated(function)
    if returned is not _MISSING:
        return _is_kind_of_response(returned)
    shown = _Answers(function, owner, outer).shown()
    # One that returns nothing may be one that another class is to write.
    return shown is not None and False not in shown and True in shown


def _annotated(function: types.FunctionType) -> Any:
    return hints_of(function).get("return", _MISSING) if "return" in function.__annotations__ else _MISSING


def _is_plain(kind: Any) -> bool:
    return (inspect.isclass(kind) or kind is None) and kind in _PLAIN


def _is_kind_of_response(kind: Any) -> bool:
    return inspect.isclass(kind) and issubclass(kind, Response)


class _Answers:
    """What the returns of one function are.

    Args:
        function: the function.
        owner: what ``self`` is in it, or None.
        outer: the functions whose answers depend on this one's: one that calls itself adds nothing to its answers.
    """

    def __init__(self, function: types.FunctionType, owner: object, outer: tuple[types.FunctionType, ...]) -> None:
        self._function, self._owner, self._outer = function, owner, (*outer, function)
        self._node = node_of(function)
        self._nodes = [] if self._node is None else list(_own(self._node))
        self._given: dict[str, list[ast.expr | None]] = {}
        for each in self._nodes:
            for name, value in _assigned(each):
                self._given.setdefault(name, []).append(value)

    def shown(self) -> list[bool | None] | None:
        """Return of each value that is returned whether it is a response; None for a constant, and for no source."""
        if self._node is None or any(isinstance(each, ast.Yield | ast.YieldFrom) for each in self._nodes):
            return None
        values = [each.value for each in self._nodes if isinstance(each, ast.Return) and each.value is not None]
        return [None if _is_constant(each) else self._is_response(each, ()) for each in values]

    def _is_response(self, node: ast.expr, names: tuple[str, ...]) -> bool:
        if isinstance(node, ast.Await):
            node = node.value
        if isinstance(node, ast.IfExp):
            return self._is_response(node.body, names) and self._is_response(node.orelse, names)
        if isinstance(node, ast.Name):
            return self._is_named_response(node.id, names)
        return isinstance(node, ast.Call) and self._calls_for_response(node)

    def _is_named_response(self, name: str, names: tuple[str, ...]) -> bool:
        given = [each for each in self._given.get(name, ()) if not (each is not None and _is_constant(each))]
        if name in names:
            return False
        if not given:
            return _is_kind_of_response(hints_of(self._function).get(name))
        return all(each is not None and self._is_response(each, (*names, name)) for each in given)

    def _calls_for_response(self, node: ast.Call) -> bool:
        callee = resolved(node.func, self._function, self._owner)
        if _is_kind_of_response(callee):
            return True
        function = None if callee is MISSING or inspect.isclass(callee) else function_of(inspect.unwrap(callee))
        if function in self._outer:
            return True
        if function is not None and len(self._outer) < _DEEPEST:
            base = node.func.value if isinstance(node.func, ast.Attribute) else None
            owner = MISSING if base is None else resolved(base, self._function, self._owner)
            return _makes(function, None if owner is MISSING else owner, self._outer)
        return ast.unparse(node.func).endswith("Response")


def _own(node: FunctionNode) -> Iterator[ast.AST]:
    """Yield what is in the body of a function, and not in functions inside it."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        each = waiting.pop()
        if isinstance(each, _NESTED):
            continue
        yield each
        waiting.extend(ast.iter_child_nodes(each))


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the names that a statement gives a value, and the value where it is known."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            else:
                yield from _bound(target)
    elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
        if node.value is not None:
            yield node.target.id, node.value
    elif isinstance(node, ast.For | ast.AsyncFor):
        yield from _bound(node.target)
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield from _bound(node.optional_vars)


def _bound(target: ast.expr) -> Iterator[tuple[str, None]]:
    for each in walk([target]):
        if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store):
            yield each.id, None


def _is_constant(node: ast.expr) -> bool:
    return all(isinstance(each, ast.Constant | ast.Dict | ast.List | ast.Tuple) for each in walk([node]))
