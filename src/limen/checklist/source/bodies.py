"""Who a handler is about: the caller, or whoever the caller wrote into the body."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, last_name, text_of
from limen.checklist.source.scopes import FunctionNode, arguments_of, defaults_of

_ROUTES: Final = frozenset({"post", "put", "patch", "delete", "get", "api_route", "websocket"})
_WHO: Final = re.compile(
    r"^(user|owner|account|author|customer|member|patient|employee|sender|from_account)_?id$|^uid$", re.IGNORECASE
)
_NO_BODY: Final = frozenset({"Depends", "Security", "Query", "Path", "Header", "Cookie", "File"})
_BODY: Final = frozenset({"Body", "Form"})
_HANDED: Final = re.compile(
    r"^(Request|WebSocket|HTTPConnection|Response|BackgroundTasks|SecurityScopes|UploadFile|Session|AsyncSession)$"
    r"|(Dep|Deps|User|Principal|Account|Session|Service|Repository|Repo|Manager|Client|Db|DB|Connection)$|^Current"
)
_NAMED: Final = re.compile(
    r"^(body|payload|data|item|request|req|form|input|params|dto|\w+_(in|data|body|create|update|request))$"
)
_LOOKS: Final = re.compile(
    r"^(get|where|filter|filter_by|find|find_one|one|first|fetch\w*|load|lookup|execute|scalar\w*|get_\w+|find_\w+|load_\w+)$"
)
_MIGHTY: Final = re.compile(
    r"admin|superuser|staff|permission|require|role|scope|internal|service|policy", re.IGNORECASE
)
_CALLER: Final = re.compile(
    r"(^|_)(me|user|caller|principal|identity|claims|current\w*|account|token|session|sub)($|_)"
)


def ids_from_body(module: Module) -> Iterator[Finding]:
    """Find handlers that look an account up by an id of the body (LC112)."""
    for function in module.functions:
        decorators = [each for each in function.decorator_list if _registers(each)]
        if not decorators or _is_mighty(function):
            continue
        bodies = _bodies(module, function)
        for each in ast.walk(function) if bodies else ():
            if not isinstance(each, ast.Attribute | ast.Subscript | ast.Name) or not _is_who(module, each, bodies):
                continue
            if _is_looked_up(module, each) and not _is_compared(function, each):
                what = f"{function.name}() looks for {ast.unparse(each)}, which the caller wrote"
                yield found_at(rules.BODY_ID, module, each, what, last_name(each))
                break


def _registers(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.func.attr in _ROUTES
    )


def _is_mighty(function: FunctionNode) -> bool:
    """Tell whether a role, a permission or a policy is asked: who may act for others is decided there."""
    told = [*function.decorator_list, *(each for _, each in defaults_of(function))]
    told += [each.annotation for each in arguments_of(function) if each.annotation is not None]
    if any(
        isinstance(each, ast.Call)
        and re.match(r"authorize|enforce|require_|check_perm|check_access", called_name(each))
        for each in ast.walk(function)
    ):
        return True
    return any(_MIGHTY.search(ast.unparse(each)) for each in told)


def _bodies(module: Module, function: FunctionNode) -> set[str]:
    """Return the names that hold what the caller wrote into the body."""
    defaults = {taken.arg: default for taken, default in defaults_of(function)}
    found = {each.arg for each in arguments_of(function) if _is_body(module, each, defaults.get(each.arg))}
    for each in ast.walk(function):
        if (
            isinstance(each, ast.Assign)
            and isinstance(each.value, ast.Await)
            and isinstance(each.value.value, ast.Call)
        ) and called_name(each.value.value) in {"json", "form"}:
            found |= {last_name(target) for target in each.targets}
    return found


def _is_body(module: Module, taken: ast.arg, default: ast.expr | None) -> bool:
    annotation = taken.annotation
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        try:
            annotation = ast.parse(annotation.value, mode="eval").body
        except SyntaxError:
            return False
    names = (
        {last_name(each) for each in ast.walk(annotation) if isinstance(each, ast.Name | ast.Attribute)}
        if annotation
        else set()
    )
    marks = names | {called_name(default)} if isinstance(default, ast.Call) else names
    if marks & _NO_BODY or annotation is None:
        return False
    if marks & _BODY:
        return True
    kinds = {
        each for each in names if each[:1].isupper() and each not in {"Annotated", "Optional", "Union", "Any", "List"}
    }
    if any(_is_model(module, each) for each in kinds):
        return True
    return (
        bool(kinds or names & {"dict", "Dict"})
        and not any(_HANDED.search(each) for each in kinds)
        and (
            bool(_NAMED.match(taken.arg))
            or any(
                re.search(r"(In|Create|Update|Request|Input|Body|Payload|Form|Schema|DTO|Dto)$", each) for each in kinds
            )
        )
    )


def _is_model(module: Module, name: str) -> bool:
    found = module.class_named(name)
    return found is not None and any(last_name(each) in {"BaseModel", "Struct", "SQLModel"} for each in found.bases)


def _is_who(module: Module, node: ast.Attribute | ast.Subscript | ast.Name, bodies: set[str]) -> bool:
    if not _WHO.match(last_name(node)):
        return False
    if isinstance(node, ast.Name):
        if not isinstance(node.ctx, ast.Load):
            return False
        values = module.values_of(node)
        return node.id in bodies or any(_is_part(each, bodies) for each in values)
    return _is_part(node, bodies)


def _is_part(node: ast.expr, bodies: set[str]) -> bool:
    """Tell whether a value is read out of a body: an attribute, a key, ``get("user_id")``."""
    if isinstance(node, ast.Call) and called_name(node) in {"get", "int", "str", "UUID"}:
        inner = node.func.value if isinstance(node.func, ast.Attribute) else node.args[0] if node.args else None
        return inner is not None and (last_name(inner) in bodies or _is_part(inner, bodies))
    if isinstance(node, ast.Attribute | ast.Subscript):
        return (isinstance(node.value, ast.Name) and node.value.id in bodies) or _is_part(node.value, bodies)
    return False


def _is_looked_up(module: Module, node: ast.expr) -> bool:
    """Tell whether something is found by it: a query, a call that gets, a key of a table."""
    for outer in module.above(node):
        if isinstance(outer, ast.stmt):
            return False
        if isinstance(outer, ast.Subscript) and outer.value is not node and isinstance(outer.ctx, ast.Load):
            return isinstance(outer.value, ast.Name | ast.Attribute) and outer is not node
        if isinstance(outer, ast.Call) and _LOOKS.match(called_name(outer)):
            statement = text_of(outer.args[0]) if outer.args else None
            return not (statement or "").lstrip().lower().startswith("insert")
    return False


def _is_compared(function: FunctionNode, node: ast.expr) -> bool:
    """Tell whether the handler compares the id with who is calling."""
    name = last_name(node)
    for each in ast.walk(function):
        if isinstance(each, ast.Compare) and len(each.comparators) == 1:
            sides = (each.left, each.comparators[0])
            spelled = [ast.unparse(side) for side in sides]
            if any(last_name(side) == name for side in sides) and any(
                _CALLER.search(other.split(".")[0].split("[")[0]) for other in spelled
            ):
                return True
    return False
