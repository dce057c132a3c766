"""Guards in source text: swallowed checks, and decorators in an order that loses one."""

import ast
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, last_name
from limen.checklist.source.words import is_check

_REGISTERS: Final = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "options", "api_route", "websocket", "route"}
)
_MARKS: Final = frozenset(
    {"roles", "permissions", "policy", "live", "guard", "rate_limit", "requires_approval", "interactive"}
)
_GUARDS: Final = frozenset(
    {
        *(
            "login_required",
            "requires",
            "requires_auth",
            "auth_required",
            "jwt_required",
            "token_required",
            "admin_required",
        ),
        *(
            "authenticated",
            "permission_required",
            "role_required",
            "require_role",
            "require_permission",
            "require_auth",
        ),
    }
)


def swallowed_checks(module: Module) -> Iterator[Finding]:
    """Find wide excepts around a check, after which the code goes on (LC108)."""
    for node in module.all(ast.Try):
        inside = (each for statement in node.body for each in ast.walk(statement))
        check = next((each for each in inside if isinstance(each, ast.Call) and _is_check(each, module)), None)
        if check is None:
            continue
        for handler in node.handlers:
            if _is_wide(handler, module) and _goes_on(handler) and not _checked_later(node, handler):
                what = f"an error of {ast.unparse(check.func)}() is swallowed"
                yield found_at(rules.SWALLOWED, module, handler, what)


def _is_check(call: ast.Call, module: Module) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else last_name(call.func)
    return is_check(name) or module.name_of(call.func) in {"jwt.decode", "jose.jwt.decode"}


def _is_wide(handler: ast.ExceptHandler, module: Module) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(each is None or module.name_of(each) in {"Exception", "BaseException"} for each in kinds)


def _goes_on(handler: ast.ExceptHandler) -> bool:
    """Tell whether nothing in the handler refuses: it raises nothing, and returns no no."""
    for each in ast.walk(ast.Module(list(handler.body), [])):
        if isinstance(each, ast.Raise | ast.Continue | ast.Break):
            return False
        if isinstance(each, ast.Return):
            value = each.value
            return isinstance(value, ast.Constant) and value.value is True
        if isinstance(each, ast.Call) and last_name(each.func) in {"exit", "close", "abort", "fail", "skip"}:
            return False
    return True


def _checked_later(node: ast.Try, handler: ast.ExceptHandler) -> bool:
    """Tell whether the handler sets what the code behind it asks: ``user = None``."""
    return any(
        isinstance(each, ast.Assign)
        and isinstance(each.value, ast.Constant)
        and (each.value.value is None or each.value.value is False)
        for each in ast.walk(ast.Module(list(handler.body), []))
    )


def order_of_decorators(module: Module) -> Iterator[Finding]:
    """Find guards above the decorator that registers the route (LC110), and @public below another one (LC109)."""
    for function in module.functions:
        names = [_decorator(each, module) for each in function.decorator_list]
        registered = [index for index, each in enumerate(function.decorator_list) if _registers(each)]
        if registered:
            for index, (name, full) in enumerate(names[: registered[-1]]):
                if index not in registered and (_is_mark(name, full) or name in _GUARDS):
                    what = f"{function.name}() is registered before @{name} is put around it"
                    yield found_at(rules.WRONG_ORDER, module, function.decorator_list[index], what, name)
        for index, (name, full) in enumerate(names):
            below = registered[-1] if registered else -1
            if name == "public" and full.startswith("limen.") and index > below + 1:
                between = [each for each, _ in names[below + 1 : index]]
                what = f"@public of {function.name}() is below @{between[0]}"
                yield found_at(rules.TRAVELLING_PUBLIC, module, function.decorator_list[index], what, function.name)


def _decorator(decorator: ast.expr, module: Module) -> tuple[str, str]:
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (called.attr if isinstance(called, ast.Attribute) else last_name(called)), module.name_of(called)


def _is_mark(name: str, full: str) -> bool:
    return name in {*_MARKS, "public"} and full.startswith("limen.")


def _registers(decorator: ast.expr) -> bool:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Attribute)
        and decorator.func.attr in _REGISTERS
        and bool(decorator.args or decorator.keywords)
    )
