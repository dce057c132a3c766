"""Tokens that are read and not verified."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, is_constant, keyword, last_name, text_of
from limen.checklist.source.scopes import FunctionNode
from limen.checklist.source.transport import pairs_of

_ROOTS: Final = frozenset({"jwt", "jose", "authlib", "joserfc", "itsdangerous"})
_READS: Final = frozenset({"decode", "decode_complete", "PyJWT", "JsonWebToken", "JWTRegistry"})
_UNVERIFIED: Final = frozenset({"get_unverified_claims", "decode_complete_unverified", "loads_unsafe", "load_payload"})
_SWITCHES: Final = frozenset({"verify_signature", "verify_exp"})
_LOGS: Final = re.compile(r"^(debug|info|warning|error|exception|critical)$")
_TOKEN: Final = re.compile(r"token|jwt|bearer|credential|authorization|assertion", re.IGNORECASE)


def unverified_tokens(module: Module) -> Iterator[Finding]:
    """Find tokens that are read and not verified (LC105)."""
    for call in module.all(ast.Call):
        fault = _fault(module, call)
        if fault and not _is_verified_too(module, call):
            yield found_at(rules.TOKEN_UNVERIFIED, module, call, fault)


def _fault(module: Module, call: ast.Call) -> str:
    name = module.name_of(call.func)
    last = called_name(call)
    if "b64decode" in last and _is_payload(module, call) and not _is_about_time(module, call):
        return "the claims of a token are read by hand"
    if name.split(".")[0] not in _ROOTS or not module.imports(*_ROOTS):
        return ""
    if name.rsplit(".", 1)[-1] in _UNVERIFIED:
        return f"{name.rsplit('.', 1)[-1]}() verifies nothing"
    if name.rsplit(".", 1)[-1] in _READS:
        return _switched_off(module, call) or _of_algorithms(module, call, is_decode=True)
    return _of_algorithms(module, call, is_decode=False) if name.rsplit(".", 1)[-1] == "encode" else ""


def _switched_off(module: Module, call: ast.Call) -> str:
    if is_constant(keyword(call, "verify"), False):
        return "verify=False"
    options = keyword(call, "options")
    tables = module.values_of(options) if isinstance(options, ast.Name | ast.Attribute) else [options]
    for table in tables:
        for key, value in pairs_of(table) if table is not None else ():
            if key in _SWITCHES and is_constant(value, False):
                return f"{key} is False"
    spelled = ast.unparse(options) if options is not None else ""
    for assignment in module.all(ast.Assign) if isinstance(options, ast.Name) else ():
        for target in assignment.targets:
            is_switch = isinstance(target, ast.Subscript) and ast.unparse(target.value) == spelled
            if is_switch and last_name(target) in _SWITCHES and is_constant(assignment.value, False):
                return f"{last_name(target)} is False"
    return ""


def _of_algorithms(module: Module, call: ast.Call, *, is_decode: bool) -> str:
    given = keyword(call, "algorithms", "algorithm")
    if given is None:
        index = 0 if called_name(call) == "JsonWebToken" else 2
        given = call.args[index] if len(call.args) > index else None
    if given is None:
        return ""
    if not is_decode and is_constant(given, None):
        return "«none» is an algorithm here"
    for listed in module.values_of(given) if isinstance(given, ast.Name) else [given]:
        elements = listed.elts if isinstance(listed, ast.List | ast.Tuple | ast.Set) else [listed]
        for each in elements:
            if (text_of(each) or "").lower() == "none":
                return "«none» is an algorithm here"
            if is_decode and _is_of_header(module, each):
                return "the token itself says which algorithm"
    return ""


def _is_of_header(module: Module, value: ast.expr, hops: int = 0) -> bool:
    """Tell whether a value comes out of the header of a token that nobody has verified yet."""
    for each in ast.walk(value):
        if isinstance(each, ast.Call) and called_name(each) == "get_unverified_header":
            return True
        values = module.values_of(each) if isinstance(each, ast.Name) and hops < 3 else []
        if any(_is_of_header(module, inner, hops + 1) for inner in values):
            return True
    return False


def _is_payload(module: Module, call: ast.Call) -> bool:
    """Tell whether the middle part of a token is decoded: ``b64decode(token.split(".")[1])``."""
    return any(_is_middle(module, each) for given in call.args for each in ast.walk(given))


def _is_about_time(module: Module, call: ast.Call) -> bool:
    """Tell whether a function only looks when its own token ends."""
    function = module.function_around(call)
    return function is not None and bool(re.search(r"exp(ir|$|_)|ttl|lifetime", function.name))


def _is_middle(module: Module, node: ast.AST, hops: int = 0) -> bool:
    if isinstance(node, ast.Subscript) and is_constant_index(node.slice, 1):
        inner = node.value
        if isinstance(inner, ast.Name):
            return any(_is_split(each) for each in module.values_of(inner))
        return _is_split(inner)
    if isinstance(node, ast.Name) and hops < 3:
        return any(
            _is_middle(module, inner, hops + 1) or (_is_split(each) and "payload" in node.id)
            for each in module.values_of(node)
            for inner in ast.walk(each)
        )
    return False


def is_constant_index(expression: ast.expr, index: int) -> bool:
    """Tell whether an expression is this number."""
    return isinstance(expression, ast.Constant) and expression.value == index


def _is_split(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr == "split"
        and bool(value.args)
        and text_of(value.args[0]) == "."
        and bool(_TOKEN.search(ast.unparse(value.func.value)))
    )


def _is_verified_too(module: Module, call: ast.Call) -> bool:
    """Tell whether the same function verifies a token as well: which issuer, which key, is read first."""
    function = module.function_around(call)
    if any(isinstance(each, ast.Call) and _LOGS.match(called_name(each)) for each in module.above(call)):
        return True  # it is told, and not believed
    return function is not None and any(
        each is not call and _verifies(module, each, function)
        for each in ast.walk(function)
        if isinstance(each, ast.Call)
    )


def _verifies(module: Module, call: ast.Call, function: FunctionNode) -> bool:
    name = module.name_of(call.func)
    if name.split(".")[0] in _ROOTS and name.rsplit(".", 1)[-1] in {"decode", "decode_complete", "loads"}:
        in_handler = any(isinstance(each, ast.ExceptHandler) for each in module.above(call))
        return not in_handler and not _switched_off(module, call) and not _of_algorithms(module, call, is_decode=True)
    is_named = re.match(r"_?(verify|validate)_\w*(token|signature|jwt)\w*$", called_name(call)) is not None
    return is_named and not any(
        each is function or isinstance(each, ast.Try) for each in _around(module, call, function)
    )


def _around(module: Module, call: ast.Call, function: FunctionNode) -> Iterator[ast.AST]:
    """Yield what a call stands in below its function; the function itself where it calls itself."""
    if function.name == called_name(call):
        yield function
    for each in module.above(call):
        if each is function:
            return
        yield each
