"""Secrets that are compared byte by byte."""

import ast
import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.looks import is_written_secret
from limen.checklist.source.module import Module, called_name, last_name, text_of
from limen.checklist.source.scopes import arguments_of, defaults_of
from limen.checklist.source.words import is_secret, plain

_QUERIES: Final = frozenset(
    {
        "where",
        "filter",
        "filter_by",
        "and_",
        "or_",
        "not_",
        "on",
        "having",
        "join",
        "outerjoin",
        "update",
        "delete",
        "case",
    }
    | {"find", "find_one", "get_or_none", "exists", "select", "col", "order_by"}
)
_TWICE: Final = re.compile(
    r"confirm|repeat|again|_?[12]$|new|old|last|prev|cached|previous|original|current_\w*password"
)
_EXPECTED: Final = re.compile(
    r"expected|valid|stored|correct|known|actual|real|configured|settings|config|environ|env|db|\brow\b|secret"
)
_NO_SECRET: Final = re.compile(
    r"(^|_)(default|sentinel|mask\w*|placeholder|empty|unset|redacted|missing|user_?name|login|email)(_|$)"
)
_CONSTANTS: Final = re.compile(r"Settings$|Config$")


def compared_secrets(module: Module) -> Iterator[Finding]:
    """Find secrets that are compared with == (LC111).

    Settings that are compared with each other at a start are left alone: nobody measures how long that takes.
    """
    if module.imports("typer", "click", "argparse"):
        return  # a command compares what its caller has anyway
    if {"settings", "config", "conf"} & {PurePath(each).stem for each in PurePath(module.file).parts[-2:]}:
        return
    for compare in module.all(ast.Compare):
        if len(compare.ops) != 1 or not isinstance(compare.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = (compare.left, compare.comparators[0])
        if any(_is_harmless(module, each) for each in sides) or _is_elsewhere(module, compare, sides):
            continue
        secret = next((name for each in sides if (name := _compared_secret(module, each))), None)
        if secret is not None and not _is_weak(module, sides):
            yield found_at(rules.COMPARED, module, compare, f"{secret} is compared with {_op(compare)}", secret)


def _is_harmless(module: Module, side: ast.expr) -> bool:
    """Tell whether a side is no secret, whatever the other is called."""
    if isinstance(side, ast.Constant):
        return not isinstance(side.value, str) or not is_written_secret("password", side.value)
    if isinstance(side, ast.List | ast.Tuple | ast.Dict | ast.Set) or _NO_SECRET.search(plain(last_name(side))):
        return True
    if isinstance(side, ast.Name):
        return _is_known(module, side)
    if isinstance(side, ast.Attribute) and isinstance(side.value, ast.Name) and _is_type(side.value.id):
        return True  # a member of an enumeration, or a column
    # Another spelling of the same value: what is encoded again, to see whether it was canonical.
    return any(isinstance(each, ast.Call) and "b64encode" in called_name(each) for each in ast.walk(side))


def _is_known(module: Module, name: ast.Name) -> bool:
    """Tell whether a variable was made here just now, or is a word that everybody may know."""
    values = module.values_of(name)
    if any(isinstance(each, ast.Call) and module.name_of(each.func).startswith("secrets.") for each in values):
        return True
    return bool(values) and all(isinstance(each, ast.Constant) and not _is_random(each) for each in values)


def _is_random(constant: ast.Constant) -> bool:
    return isinstance(constant.value, str) and is_written_secret("api_key", constant.value)


def _is_type(name: str) -> bool:
    return name[:1].isupper() and not name.isupper() and not _CONSTANTS.search(name)


def _is_elsewhere(module: Module, compare: ast.Compare, sides: tuple[ast.expr, ast.expr]) -> bool:
    """Tell whether the database compares, or nobody learns anything: a cache that looks whether it is still right."""
    for outer in module.above(compare):
        if isinstance(outer, ast.Call) and called_name(outer) in _QUERIES:
            return True
        if isinstance(outer, ast.stmt):
            break
    statement = module.statement_around(compare)
    if isinstance(statement, ast.If):
        spelled = {ast.unparse(each) for each in sides}
        targets = [target for each in statement.body if isinstance(each, ast.Assign) for target in each.targets]
        if spelled & {ast.unparse(each) for each in targets}:
            return True
    # The second field of a form is no secret to whoever filled it in.
    if isinstance(statement, ast.Assert):
        return True
    if all(_is_of_caller(module, each) for each in sides):
        return True
    return any(_TWICE.search(plain(last_name(each))) for each in sides)


def _is_of_caller(module: Module, side: ast.expr) -> bool:
    """Tell whether a value came with the request: it is compared with what came beside it."""
    if isinstance(side, ast.Name):
        taker = module.taking(side.id, side)
        if taker is None:
            return False
        told = [ast.unparse(each.annotation) for each in arguments_of(taker) if each.arg == side.id and each.annotation]
        told += [ast.unparse(each) for taken, each in defaults_of(taker) if taken.arg == side.id]
        return any(re.search(r"\b(Depends|Security|Header|Cookie|Query|Form)\b", each) for each in told)
    return bool(re.match(r"(request|websocket|req)\.(cookies|headers|query_params)\b", ast.unparse(side)))


def _compared_secret(module: Module, side: ast.expr) -> str:
    """Return the name of the secret that a side is; empty where it is none."""
    if isinstance(side, ast.JoinedStr) and isinstance(side.values[-1], ast.FormattedValue):
        side = side.values[-1].value  # f"Bearer {token}"
    elif isinstance(side, ast.BinOp):
        side = side.right
    if isinstance(side, ast.Call) and re.search(r"^hmac\.(new|digest)", module.name_of(side.func)):
        return "an hmac"
    if isinstance(side, ast.Subscript) and isinstance(side.slice, ast.Slice):
        return ""
    name = plain(last_name(side))
    return name if _is_compared(module, side, name) else ""


def _is_compared(module: Module, side: ast.expr, name: str) -> bool:
    if re.search(r"(^|_)(hmac|signature)(_(sha)?\d+|_hex)?$", name):
        return module.imports("hmac", "hashlib") or not module.imports("inspect")
    if re.search(r"(^|_)(digest|mac)$", name):
        return module.imports("hmac")
    if re.search(r"(hashed_password|password_hash|pwd_hash|hashed_pwd)$", name):
        other = ast.unparse(_other(module, side)).lower()
        return re.search(r"hash\w*\(|digest|crypt|sha\d|md5", other) is not None
    return is_secret(name) and not name.endswith("authorization")


def _other(module: Module, side: ast.expr) -> ast.expr:
    """Return what a side is compared with; of a variable what it was given."""
    compare = module.parent(side)
    if not isinstance(compare, ast.Compare):
        return side
    other = compare.comparators[0] if compare.left is side else compare.left
    values = module.values_of(other) if isinstance(other, ast.Name) else []
    return values[0] if values else other


def _is_weak(module: Module, sides: tuple[ast.expr, ast.expr]) -> bool:
    """Tell whether it is only called ``token``, as words of a text are, and the other side says no more."""
    names = [plain(last_name(each)) for each in sides]
    if names[0] == names[1] and names[0].endswith("signature") and not module.imports("hmac", "hashlib"):
        return True
    firm = [each for each in names if is_secret(each) and each not in {"token", "otp"}]
    if firm or not any(each in {"token", "otp"} for each in names):
        return False
    if names[0] == names[1]:
        return False
    other = next(side for side, name in zip(sides, names, strict=True) if name not in {"token", "otp"})
    return not _EXPECTED.search(plain(ast.unparse(other))) and text_of(other) is None


def _op(compare: ast.Compare) -> str:
    return "==" if isinstance(compare.ops[0], ast.Eq) else "!="
