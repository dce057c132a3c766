"""Checks whose errors are swallowed."""

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, is_constant, last_name
from limen.checklist.source.scopes import FunctionNode
from limen.checklist.source.words import is_check

_WIDE: Final = frozenset({"Exception", "BaseException"})
_REFUSALS: Final = re.compile(
    r"(HTTPException|HTTPError|JWTError|JWSError|JOSEError|JoseError|PyJWTError|InvalidTokenError|InvalidSignature\w*"
    r"|ExpiredSignature\w*|BadSignature|BadData|DecodeError|AuthenticationError|AuthError|Unauthorized\w*|Forbidden\w*"
    r"|PermissionDenied\w*|PermissionError|AccessDenied\w*|NotAuthenticated|InvalidToken\w*)$"
)
_ENDS: Final = re.compile(
    r"^(exit|_exit|close|abort|fail|skip|reject|deny|refuse|unauthorized|forbidden|redirect\w*|send_error|raise_\w+|send"
    r"|\w+_(unauthorized|forbidden|error_response))$"
)
_PASSES_ON: Final = frozenset(
    {"call_next", "app", "handler", "func", "fn", "function", "endpoint", "f", "wrapped", "view"}
)
_READS: Final = re.compile(r"^(jwt|jose|authlib|joserfc|itsdangerous)\.(\w+(\(\))?\.)*(decode|loads|unsign)$")


def swallowed_checks(module: Module) -> Iterator[Finding]:
    """Find wide excepts around a check, after which the code goes on (LC108)."""
    for node in module.all(ast.Try):
        check = _check_in(module, node.body)
        if check is not None and any(
            isinstance(each, ast.Return) and is_constant(each.value, True) for each in node.finalbody
        ):
            what = f"whatever {_name(check)} says, the end is a yes"
            yield found_at(rules.SWALLOWED, module, node, what, _name(check))
            continue
        if check is None or _is_needed(module, node, check):
            continue
        for handler in node.handlers:
            if _catches(module, handler, check) and _lets_pass(module, node, check, handler):
                what = f"an error of {_name(check)} is swallowed"
                yield found_at(rules.SWALLOWED, module, handler, what, _name(check))
                break
    withs: list[ast.With | ast.AsyncWith] = [*module.all(ast.With), *module.all(ast.AsyncWith)]
    for block in withs:
        check = _check_in(module, block.body) if any(_suppresses(module, each) for each in block.items) else None
        if check is not None and not _is_needed(module, block, check):
            yield found_at(rules.SWALLOWED, module, block, f"an error of {_name(check)} is swallowed", _name(check))


def _is_yes(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Return) and is_constant(statement.value, True)


def _suppresses(module: Module, item: ast.withitem) -> bool:
    call = item.context_expr
    if not isinstance(call, ast.Call) or module.name_of(call.func) not in {"contextlib.suppress", "suppress"}:
        return False
    return any(_is_wide(module, each) or _REFUSALS.search(last_name(each)) for each in call.args)


def _lets_pass(module: Module, node: ast.Try, check: ast.Call | ast.Raise, handler: ast.ExceptHandler) -> bool:
    return _goes_on(module, handler.body) and _opens(module, node, check, handler)


def _name(check: ast.Call | ast.Raise) -> str:
    return f"{ast.unparse(check.func)}()" if isinstance(check, ast.Call) else "the refusal"


def _check_in(module: Module, body: list[ast.stmt]) -> ast.Call | ast.Raise | None:
    """Return the first check of a block; what a function in it does is not done there."""
    for each in _walk(body):
        if isinstance(each, ast.Call) and (is_check(called_name(each)) or _READS.match(module.name_of(each.func))):
            return each
        if isinstance(each, ast.Raise) and _refuses(each):
            return each
    return None


def _walk(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield what stands in a block, without the functions in it and without tries that have handlers of their own."""
    waiting = list(body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | ast.Try):
            waiting = [*ast.iter_child_nodes(node), *waiting]


def _refuses(statement: ast.Raise) -> bool:
    raised = statement.exc
    if not isinstance(raised, ast.Call) or "HTTPException" not in called_name(raised):
        return False
    given = ast.unparse(raised)
    return bool(re.search(r"\b40[13]\b|HTTP_40[13]|UNAUTHORIZED|FORBIDDEN", given))


def _is_wide(module: Module, kind: ast.expr | None) -> bool:
    return kind is None or module.name_of(kind) in _WIDE


def _catches(module: Module, handler: ast.ExceptHandler, check: ast.Call | ast.Raise) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if any(_is_wide(module, each) for each in kinds):
        return True
    names = [last_name(each) for each in kinds]
    if isinstance(check, ast.Raise):
        return any("HTTPException" in each for each in names)
    return any(_REFUSALS.search(each) for each in names)


def _goes_on(module: Module, body: list[ast.stmt]) -> bool:
    """Tell whether nothing in a handler refuses: it raises nothing, ends nothing, and returns no no."""
    for each in _walk(body):
        if isinstance(each, ast.Raise | ast.Continue | ast.Break):
            return False
        if isinstance(each, ast.Return):
            return is_constant(each.value, True) or _passes_on(each.value)
        if isinstance(each, ast.Call) and (_ENDS.match(called_name(each)) or _raises(module, called_name(each))):
            return False
    return not _collects(body)


def _collects(body: list[ast.stmt]) -> bool:
    """Tell whether a handler keeps the error as the result of what failed: ``failed.append(str(error))``."""
    return any(
        isinstance(each, ast.Call) and called_name(each) in {"append", "add", "put", "put_nowait"}
        for each in _walk(body)
    )


def _passes_on(value: ast.expr | None) -> bool:
    """Tell whether a value is the answer of what stands behind the check: ``await call_next(request)``."""
    value = value.value if isinstance(value, ast.Await) else value
    return isinstance(value, ast.Call) and last_name(value.func) in _PASSES_ON


def _raises(module: Module, name: str) -> bool:
    """Tell whether a function of this file does nothing but raise in the end."""
    found = next((each for each in module.functions if each.name == name), None)
    return found is not None and isinstance(found.body[-1], ast.Raise)


def _is_needed(module: Module, node: ast.stmt, check: ast.Call | ast.Raise) -> bool:
    """Tell whether the code behind cannot do without what the check gives: ``user = verify(token)``.

    Where the error is swallowed there is no such name, or the one from before: None.
    """
    statement = module.statement_around(check)
    if not isinstance(check, ast.Call) or not isinstance(statement, ast.Assign | ast.AnnAssign | ast.Return):
        return False
    if isinstance(statement, ast.Return):
        return not any(_says_yes(each) for each in getattr(node, "handlers", ()))
    names = _names_of(statement)
    function = module.function_around(node)
    for each in ast.walk(function) if function is not None else ():
        if not isinstance(each, ast.Assign) or each is statement or not names & _names_of(each):
            continue
        if not _is_nothing(each.value):
            return False
    handlers = getattr(node, "handlers", ())
    return not any(_says_yes(each) for each in handlers)


def _names_of(statement: ast.Assign | ast.AnnAssign) -> set[str]:
    """Return the names that a statement gives something; those of a tuple, too."""
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    each_of = [inner for each in targets for inner in getattr(each, "elts", [each])]
    return {last_name(each) for each in each_of}


def _is_nothing(value: ast.expr) -> bool:
    """Tell whether a value is a no: None, False, nothing; or has one in it: ``ok, why = False, str(error)``."""
    if isinstance(value, ast.Tuple):
        return any(_is_nothing(each) for each in value.elts)
    return isinstance(value, ast.Constant) and not value.value


def _says_yes(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler lets pass: it returns True, or calls what stands behind the check."""
    return any(
        isinstance(each, ast.Return) and (is_constant(each.value, True) or _passes_on(each.value))
        for each in _walk(handler.body)
    )


def _opens(module: Module, node: ast.Try, check: ast.Call | ast.Raise, handler: ast.ExceptHandler) -> bool:
    """Tell whether something is reached behind the handler that the check was to close."""
    if _says_yes(handler) or _sets_a_no(module, node, handler):
        return _says_yes(handler)
    function = module.function_around(node)
    after = list(_after(module, node, function))
    if after:
        return not isinstance(after[-1], ast.Raise) and not _is_no(after[0])
    # Nothing comes after it. What was protected stands behind the check in the try, and is left with it.
    inside = module.statement_around(check)
    if function is not None and re.search(r"dummy|timing|constant_time", function.name):
        return False
    is_last = _is_in(module, node.body[-1], inside)
    is_guard = function is not None and is_check(function.name)
    return is_guard or (is_last and not node.orelse)


def _is_in(module: Module, statement: ast.stmt, inner: ast.AST) -> bool:
    return inner is statement or statement in module.above(inner)


def _after(module: Module, node: ast.AST, function: FunctionNode | None) -> Iterator[ast.stmt]:
    """Yield the statements that run after a statement, up to the end of its function."""
    inner = node
    for outer in module.above(node):
        for field in ("body", "orelse", "finalbody"):
            block = getattr(outer, field, None)
            if isinstance(block, list) and inner in block:
                yield from block[block.index(inner) + 1 :]
        if outer is function:
            return
        inner = outer


def _is_no(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Return) and (
        statement.value is None or (isinstance(statement.value, ast.Constant) and not statement.value.value)
    )


def _sets_a_no(module: Module, node: ast.Try, handler: ast.ExceptHandler) -> bool:
    """Tell whether the handler sets what the code behind it asks: ``user = None``."""
    assigned = [each for each in _walk(handler.body) if isinstance(each, ast.Assign) and _is_nothing(each.value)]
    names = {name for each in assigned for name in _names_of(each)}
    function = module.function_around(node)
    return any(
        isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Load) and last_name(each) in names
        for statement in _after(module, node, function)
        for each in ast.walk(statement)
    )
