"""SQL that is put together from text, and who it is about."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import FunctionNode, Module, last_name, text_of

_RUNS: Final = frozenset(
    {
        *(
            "execute",
            "executemany",
            "executescript",
            "exec_driver_sql",
            "raw",
            "scalar",
            "scalars",
            "fetch",
            "fetchrow",
        ),
        *("fetchval", "fetch_all", "fetch_one", "read_sql", "read_sql_query", "query", "text"),
    }
)
_SQL: Final = re.compile(
    r"^\s*(\(?\s*select\b.+\bfrom\b|insert\s+into\b|update\b.+\bset\b|delete\s+from\b|drop\s+(table|index|schema|database|user)\b"
    r"|alter\s+table\b|create\s+(table|index|user|database|schema)\b|with\b.+\bselect\b|truncate\b|grant\b.+\bto\b)",
    re.IGNORECASE | re.DOTALL,
)
_WHO: Final = frozenset({"user_id", "userid", "owner_id", "account_id", "author_id", "customer_id", "uid", "member_id"})
_DEEPEST: Final = 4
_ROUTES: Final = frozenset({"get", "post", "put", "patch", "delete", "api_route", "websocket"})


def sql_from_text(module: Module) -> Iterator[Finding]:
    """Find statements whose text has values in it (LC101)."""
    for call in module.all(ast.Call):
        name = module.name_of(call.func).rsplit(".", 1)[-1]
        if name not in _RUNS or not call.args:
            continue
        function = module.function_around(call)
        statement = call.args[0]
        if isinstance(statement, ast.Name):
            values = module.values_of(statement.id, function)
            if not any(_is_dynamic(each, module, function) for each in values):
                continue
        elif not _is_dynamic(statement, module, function):
            continue
        yield found_at(rules.SQL_TEXT, module, call, f"the statement that {name}() runs has values in its text")


def _is_dynamic(expression: ast.expr, module: Module, function: FunctionNode | None) -> bool:
    """Tell whether an expression is the text of a statement with something in it that is not constant."""
    text, parts = _template(expression)
    return bool(_SQL.search(text)) and any(not _is_fixed(each, module, function) for each in parts)


def _template(expression: ast.expr) -> tuple[str, list[ast.expr]]:
    """Return the constant text of an expression, and what is put into it."""
    if isinstance(expression, ast.JoinedStr):
        text, parts = "", list[ast.expr]()
        for each in expression.values:
            if isinstance(each, ast.FormattedValue):
                text += " x "
                parts.append(each.value)
            else:
                text += text_of(each) or ""
        return text, parts
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Mod):
        values = expression.right.elts if isinstance(expression.right, ast.Tuple) else [expression.right]
        return text_of(expression.left) or "", list(values)
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Add):
        left, right = _template(expression.left), _template(expression.right)
        return left[0] + right[0], left[1] + right[1]
    if (
        isinstance(expression, ast.Call)
        and isinstance(expression.func, ast.Attribute)
        and expression.func.attr == "format"
    ):
        return text_of(expression.func.value) or "", [*expression.args, *(each.value for each in expression.keywords)]
    text_here = text_of(expression)
    return (text_here, []) if text_here is not None else (" x ", [expression])


def _is_fixed(expression: ast.expr, module: Module, function: FunctionNode | None, hops: int = 0) -> bool:
    """Tell whether a value is one that the source text fixes: constants, and placeholders that were joined."""
    if isinstance(expression, ast.Attribute):
        # A constant of a class or a module by its name, or the name of a mapped table.
        return expression.attr.isupper() or expression.attr in {"__tablename__", "__table__"}
    if isinstance(expression, ast.Name) and hops < _DEEPEST:
        values = module.values_of(expression.id, function)
        return (
            all(_is_fixed(each, module, function, hops + 1) for each in values) if values else expression.id.isupper()
        )
    if isinstance(expression, ast.Call):
        if isinstance(expression.func, ast.Attribute) and expression.func.attr == "join" and len(expression.args) == 1:
            return _is_placeholders(expression.args[0], module, function, hops)
        return module.name_of(expression.func) in {"len", "int"}
    parts = _parts(expression)
    return parts is not None and all(_is_fixed(each, module, function, hops + 1) for each in parts)


def _parts(expression: ast.expr) -> list[ast.expr] | None:
    """Return what an expression is made of; None where that is not known."""
    if isinstance(expression, ast.Constant):
        return []
    if isinstance(expression, ast.IfExp):
        return [expression.body, expression.orelse]
    if isinstance(expression, ast.BinOp):
        return [expression.left, expression.right]
    if isinstance(expression, ast.JoinedStr):
        return [each.value for each in expression.values if isinstance(each, ast.FormattedValue)]
    return None


def _is_placeholders(expression: ast.expr, module: Module, function: FunctionNode | None, hops: int) -> bool:
    if isinstance(expression, ast.BinOp) and isinstance(expression.op, ast.Mult):
        return any(
            text_of(each) is not None or isinstance(each, ast.List) for each in (expression.left, expression.right)
        )
    if isinstance(expression, ast.GeneratorExp | ast.ListComp):
        return _is_fixed(expression.elt, module, function, hops + 1)
    if isinstance(expression, ast.List | ast.Tuple):
        return all(_is_fixed(each, module, function, hops + 1) for each in expression.elts)
    return False


def ids_from_body(module: Module) -> Iterator[Finding]:
    """Find handlers that look an account up by an id of the body (LC112)."""
    for function in module.functions:
        if not any(_registers(each) for each in function.decorator_list):
            continue
        models = {each.arg for each in (*function.args.args, *function.args.kwonlyargs) if _is_model(each.annotation)}
        for each in ast.walk(function) if models else ():
            if not isinstance(each, ast.Attribute) or each.attr not in _WHO or last_name(each.value) not in models:
                continue
            if _is_looked_up(module, each):
                what = f"{function.name}() looks for {ast.unparse(each)}, which the caller wrote"
                yield found_at(rules.BODY_ID, module, each, what, each.attr)
                break


def _registers(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute) and decorator.func.attr in _ROUTES
    )


def _is_model(annotation: ast.expr | None) -> bool:
    return (
        isinstance(annotation, ast.Name)
        and annotation.id[:1].isupper()
        and annotation.id not in {"Request", "WebSocket"}
    )


def _is_looked_up(module: Module, node: ast.AST) -> bool:
    above: ast.AST | None = node
    while above is not None and not isinstance(above, ast.stmt):
        above = module.parent(above)
        if isinstance(above, ast.Call):
            name = last_name(above.func) if not isinstance(above.func, ast.Attribute) else above.func.attr
            if name in {"get", "where", "filter", "filter_by", "find_one", "get_by_id", "one"} or name.startswith(
                "get_"
            ):
                return True
    return False
