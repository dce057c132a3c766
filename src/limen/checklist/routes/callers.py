"""Whether the code of a handler uses who is calling, and which parameters of a path name an object."""

import ast
import enum
import inspect
import re
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from uuid import UUID

from limen.checklist.routes.code import FunctionNode

_LOGS: Final = re.compile(r"(^|[._]|get)log(ger|ging)?(\(.*\))?$", re.IGNORECASE)
_LEVELS: Final = frozenset(
    {"debug", "info", "warning", "warn", "error", "exception", "critical", "log", "trace", "success"}
)
_WHO: Final = frozenset({"user", "auth", "current_user", "principal", "user_id"})
_CARRIERS: Final = re.compile(
    r"(^|[._])(request|req|conn|connection|websocket|ws|state|self|cls|g|ctx|context|info|session)$", re.IGNORECASE
)
_PARAMETER: Final = re.compile(r"{([^}:]+)(?::([^}]*))?}")


def asks_who(node: FunctionNode, handed: Collection[str]) -> bool:
    """Tell whether code does anything with who is calling; to write it into a log is nothing.

    Args:
        node: the handler.
        handed: the names of its parameters that say who is calling.
    """
    for each in _said_nowhere(node):
        if isinstance(each, ast.Name) and each.id in handed and isinstance(each.ctx, ast.Load):
            return True
        if isinstance(each, ast.Attribute) and each.attr in _WHO and _CARRIERS.search(ast.unparse(each.value)):
            return True
    return False


def _said_nowhere(node: FunctionNode) -> Iterator[ast.AST]:
    """Yield what is in a function, without what is only written into a log, or thrown away."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Call) and _is_log(each):
            continue
        if isinstance(each, ast.Expr) and isinstance(each.value, ast.Name | ast.Attribute):
            continue
        if isinstance(each, ast.Assign) and all(isinstance(one, ast.Name) and one.id == "_" for one in each.targets):
            continue
        yield each
        waiting.extend(ast.iter_child_nodes(each))


def _is_log(call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in {"print", "pprint"}
    if not isinstance(call.func, ast.Attribute) or call.func.attr not in _LEVELS:
        return False
    return bool(_LOGS.search(ast.unparse(call.func.value)))


def parameters_of(path: str, dependant: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parameters of a path that may name an object, and those of them that are a UUID, which does.

    Args:
        path: such as ``/orders/{order_id}``.
        dependant: FastAPI's tree of dependencies, or None. What is declared as one of a few words names no object.
    """
    annotations = dict(_annotations(dependant)) if dependant is not None else {}
    found = [(name, kind) for name, kind in _PARAMETER.findall(path) if not _is_choice(annotations.get(name))]
    uuids = tuple(name for name, kind in found if kind == "uuid" or annotations.get(name) is UUID)
    return tuple(name for name, _ in found), uuids


def _annotations(dependant: Any) -> Iterator[tuple[str, Any]]:
    waiting = [dependant]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.dependencies)
        for field in node.path_params:
            yield field.alias, _plain(field.field_info.annotation)


def _plain(annotation: Any) -> Any:
    return _plain(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _is_choice(annotation: Any) -> bool:
    return get_origin(annotation) is Literal or (inspect.isclass(annotation) and issubclass(annotation, enum.Enum))
