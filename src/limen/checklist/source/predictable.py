"""Secrets that a predictable generator makes."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, last_name, text_of
from limen.checklist.source.words import makes_secret

_DRAWS: Final = r"(choices?|random|randint|randrange|getrandbits|sample|randbytes|shuffle|uniform|integers|bytes)"
_PREDICTABLE: Final = re.compile(
    rf"^(random\.{_DRAWS}|random\.Random\(\)\.{_DRAWS}|(numpy|np)\.random\.(default_rng\(\)\.|RandomState\(\)\.)?{_DRAWS}"
    r"|uuid\.uuid1)$"
)
_CLOCK: Final = re.compile(r"^(time\.(time|time_ns|monotonic)|datetime\.(datetime\.)?(now|utcnow)(\(\)\.timestamp)?)$")
_ENDS: Final = re.compile(r"^(sleep|wait|uniform|[A-Z]\w*)$")
"""What a value goes into and does not come out of: a pause, an object that has it among others."""
_SENDS: Final = re.compile(r"send\w*_(sms|otp|code|pin|verification\w*)$")
_DIGESTS: Final = re.compile(r"^hashlib\.\w+$")


def predictable_secrets(module: Module) -> Iterator[Finding]:
    """Find secrets that the random module, or a clock, makes (LC103)."""
    for call in module.all(ast.Call):
        name = module.name_of(call.func)
        if not _PREDICTABLE.match(name) and not (_CLOCK.match(name) and _is_hashed(module, call)):
            continue
        named = next((each for each in _made(module, call) if makes_secret(each)), None)
        if named is not None:
            yield found_at(rules.PREDICTABLE, module, call, f"{named} comes from {name}", named)


def _is_hashed(module: Module, call: ast.Call) -> bool:
    """Tell whether a time goes into a digest: that hides it from nobody who knows about when it was."""
    for outer in module.above(call):
        if isinstance(outer, ast.stmt):
            return False
        if isinstance(outer, ast.Call) and _DIGESTS.match(module.name_of(outer.func)):
            return not any("secret" in name.lower() or "key" in name.lower() for name in _names(outer))
    return False


def _names(expression: ast.AST) -> Iterator[str]:
    for each in ast.walk(expression):
        if isinstance(each, ast.Name | ast.Attribute):
            yield last_name(each)


def _made(module: Module, node: ast.AST, hops: int = 0) -> Iterator[str]:
    """Yield the names of what a value becomes: variables, arguments, keys, and the function that returns it."""
    inner = node
    for outer in module.above(node):
        if isinstance(outer, ast.keyword) and outer.arg:
            yield outer.arg
        elif isinstance(outer, ast.Dict):
            yield from (
                text_of(key) or "" for key, value in zip(outer.keys, outer.values, strict=True) if value is inner
            )
        elif isinstance(outer, ast.Call) and inner is not outer.func and _ENDS.match(called_name(outer)):
            return
        elif isinstance(outer, ast.stmt):
            yield from _made_by(module, outer, hops)
            return
        inner = outer


def _made_by(module: Module, statement: ast.stmt, hops: int) -> Iterator[str]:
    """Yield what a statement makes; what a variable of it becomes later is followed."""
    function = module.function_around(statement)
    if isinstance(statement, ast.Return | ast.FunctionDef | ast.AsyncFunctionDef):
        yield getattr(statement, "name", "") or (function.name if function is not None else "")
        return
    is_shuffle = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
    if is_shuffle and called_name(statement.value) in {"append", "shuffle"}:  # type: ignore[attr-defined]
        names = [last_name(each) for each in (statement.value.func.value, *statement.value.args)]  # type: ignore[attr-defined]
    else:
        targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
        names = [last_name(each) for each in targets if each is not None]
    yield from names
    for name in names if function is not None and hops < 3 else ():
        for each in ast.walk(function):  # type: ignore[arg-type]
            if isinstance(each, ast.Name) and each.id == name and isinstance(each.ctx, ast.Load):
                yield from _onward(module, each, statement, hops)


def _onward(module: Module, read: ast.Name, statement: ast.stmt, hops: int) -> Iterator[str]:
    """Yield what a variable becomes where it is read, unless only a part or a comparison of it goes on."""
    for outer in module.above(read):
        if isinstance(outer, ast.Compare | ast.Subscript):
            return
        name = called_name(outer) if isinstance(outer, ast.Call) else "str"
        if _SENDS.search(name):
            yield "otp"
        if name not in {"join", "str", "hex", "format", "hexdigest"} and not name[:1].isupper():
            return
        if isinstance(outer, ast.stmt):
            if outer is statement or not isinstance(outer, ast.Return | ast.Assign | ast.AnnAssign):
                return
            break
    yield from _made(module, read, hops + 1)
