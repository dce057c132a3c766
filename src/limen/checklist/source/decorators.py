"""Decorators in an order that loses a guard, or lets ``@public`` travel."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, text_of
from limen.checklist.source.scopes import FunctionNode
from limen.checklist.source.words import is_check

_REGISTERS: Final = frozenset(
    {"get", "post", "put", "patch", "delete", "head", "options", "trace", "api_route", "websocket", "route"}
    | {"websocket_route"}
)
_MARKS: Final = frozenset(
    {"roles", "permissions", "policy", "live", "guard", "rate_limit", "requires_approval", "interactive", "public"}
)
_GUARDS: Final = re.compile(
    r"^(requires?|requires?_\w+|needs?_\w+|protect(ed)?|guard(ed)?|secured?|authenticated?|authori[sz]ed?|\w+_required|\w+_only"
    r"|has_(role|permission|scope)s?\w*|check_\w*(auth|permission|role|access|token|scope)\w*|(jwt|token|api_key|basic)_auth"
    r"|auth_\w+|with_auth\w*)$"
)
_NO_GUARDS: Final = re.compile(
    r"^(requires?_(version|python|network|extra|package)\w*|internet_required|keyword_only|read_only)$"
)


def order_of_decorators(module: Module) -> Iterator[Finding]:
    """Find guards above the decorator that registers the route (LC110), and @public below another one (LC109)."""
    for function in module.functions:
        registered = [index for index, each in enumerate(function.decorator_list) if _registers(each)]
        if registered:
            yield from _above(module, function, registered)
        yield from _travelling(module, function, registered[-1] if registered else -1)
    for call in module.all(ast.Call):
        for each in call.args:
            inner = (isinstance(each, ast.Call) and module.name_of(each.func)) or ""
            if _last(inner) == "public" and inner.startswith("limen.") and not _takes_routes(call):
                what = f"public() is put into {ast.unparse(call.func)[:40]}()"
                yield found_at(rules.TRAVELLING_PUBLIC, module, call, what)


def _above(module: Module, function: FunctionNode, registered: list[int]) -> Iterator[Finding]:
    for index, decorator in enumerate(function.decorator_list[: registered[-1]]):
        if index in registered:
            continue
        written, full = _decorator(decorator, module)
        if _is_mark(full) or _is_guard(module, written, full):
            what = f"{function.name}() is registered before @{written} is put around it"
            yield found_at(rules.WRONG_ORDER, module, decorator, what, written)


def _travelling(module: Module, function: FunctionNode, below: int) -> Iterator[Finding]:
    for index, decorator in enumerate(function.decorator_list):
        _, full = _decorator(decorator, module)
        if _last(full) == "public" and full.startswith("limen.") and index > below + 1:
            between, _ = _decorator(function.decorator_list[below + 1], module)
            what = f"@public of {function.name}() is below @{between}"
            yield found_at(rules.TRAVELLING_PUBLIC, module, decorator, what, function.name)


def _decorator(decorator: ast.expr, module: Module) -> tuple[str, str]:
    """Return the name of a decorator as it is written, and in full."""
    called = decorator.func if isinstance(decorator, ast.Call) else decorator
    return getattr(called, "attr", "") or getattr(called, "id", ""), module.name_of(called)


def _last(full: str) -> str:
    return full.rsplit(".", 1)[-1]


def _is_mark(full: str) -> bool:
    return _last(full) in _MARKS and full.startswith("limen.")


def _is_guard(module: Module, written: str, full: str) -> bool:
    """Tell whether a decorator guards: by its name, by what this file's own code of it refuses, or it is slowapi's."""
    named = _last(full) or written
    if _NO_GUARDS.match(written) or _NO_GUARDS.match(named):
        return False
    if any(_GUARDS.match(each) or is_check(each) for each in (written, named)):
        return True
    if named == "limit" and "imiter" in full:
        return True
    made = next((each for each in module.functions if each.name == written), None)
    return made is not None and any(isinstance(each, ast.Raise) and _refuses(each) for each in ast.walk(made))


def _refuses(statement: ast.Raise) -> bool:
    return statement.exc is not None and bool(re.search(r"\b40[13]\b|HTTP_40[13]", ast.unparse(statement.exc)))


def _registers(decorator: ast.expr) -> bool:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return False
    if decorator.func.attr not in _REGISTERS:
        return False
    path = decorator.args[0] if decorator.args else None
    text = text_of(path)
    return bool(decorator.args or decorator.keywords) and (text is None or text[:1] in {"", "/", "{"})


def _takes_routes(call: ast.Call) -> bool:
    """Tell whether a call registers a handler, so that what it is given is the handler itself."""
    is_decorator = isinstance(call.func, ast.Call) and _registers(call.func)
    return is_decorator or called_name(call) in {
        "add_api_route",
        "add_route",
        "Route",
        "APIRoute",
        "add_api_websocket_route",
        "Mount",
    }
