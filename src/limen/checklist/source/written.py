"""Secrets that are written down in the code."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.looks import has_dsn_password, is_known_secret, is_written_secret
from limen.checklist.source.module import Module, called_name, keyword, last_name
from limen.checklist.source.scopes import defaults_of

_ENVIRONMENT: Final = re.compile(r"(^|\.)(getenv|environ\.(get|setdefault)|config|env|env\.str|get_env|getenv_str)$")
_WRAPS: Final = frozenset({"SecretStr", "SecretBytes", "Secret", "str", "bytes", "Field", "encode", "strip", "dedent"})
_EXAMPLES: Final = re.compile(r"example|schema_extra|openapi|responses|fixture|sample", re.IGNORECASE)


def secrets_in_code(module: Module) -> Iterator[Finding]:
    """Find secrets that are written down (LC106)."""
    told: set[int] = set()
    for node, name, value in _named(module):
        text = _text(value)
        if text is not None and is_written_secret(name, text) and not _is_example(module, node):
            told.add(getattr(node, "lineno", 0))
            yield found_at(rules.SECRET_IN_CODE, module, node, f"{name} is written down", name)
    for constant in module.all(ast.Constant):
        text = _text(constant) or ""
        if not 8 <= len(text) < 4000 or constant.lineno in told:
            continue
        if not is_known_secret(text) and not has_dsn_password(text, is_whole=not _is_piece(module, constant)):
            continue
        if not isinstance(module.parent(constant), ast.Expr) and not _is_example(module, constant):
            what = "a key, or an address with a password, is written down"
            yield found_at(rules.SECRET_IN_CODE, module, constant, what)


def _is_piece(module: Module, constant: ast.Constant) -> bool:
    return isinstance(module.parent(constant), ast.JoinedStr)


def _named(module: Module) -> Iterator[tuple[ast.AST, str, ast.expr]]:
    """Yield every value that stands beside a name, with the name."""
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            yield assignment, last_name(target), assignment.value
    for annotated in module.all(ast.AnnAssign):
        if annotated.value is not None:
            yield annotated, last_name(annotated.target), annotated.value
    for call in module.all(ast.Call):
        yield from ((given.value, given.arg, given.value) for given in call.keywords if given.arg)
        if _ENVIRONMENT.search(module.name_of(call.func)) and call.args:
            default = call.args[1] if len(call.args) > 1 else keyword(call, "default")
            if default is not None:
                yield call, _text(call.args[0]) or "", default
    for table in module.all(ast.Dict):
        yield from ((value, _text(key) or "", value) for key, value in zip(table.keys, table.values, strict=True))
    for function in module.functions:
        yield from ((default, taken.arg, default) for taken, default in defaults_of(function))
    for compared in module.all(ast.Compare):
        if isinstance(compared.ops[0], ast.Eq) and len(compared.ops) == 1:
            yield compared, last_name(compared.left), compared.comparators[0]


def _text(value: ast.expr | None) -> str | None:
    """Return the text that a value is made of: of a default, of ``SecretStr("…")``, of ``… or "…"``."""
    if isinstance(value, ast.Constant):
        if isinstance(value.value, bytes):
            return value.value.decode("latin-1")
        return value.value if isinstance(value.value, str) else None
    if isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
        return _text(value.values[-1])
    if isinstance(value, ast.Call) and called_name(value) in _WRAPS:
        if isinstance(value.func, ast.Attribute) and not value.args:
            return _text(value.func.value)
        return _text(keyword(value, "default") or (value.args[0] if value.args else None))
    return None


def _is_example(module: Module, node: ast.AST) -> bool:
    """Tell whether a value is there to be read by people: an example of a schema, a message, a name of a kind."""
    for outer in module.above(node):
        if isinstance(outer, ast.keyword) and outer.arg and _EXAMPLES.search(outer.arg):
            return True
        if isinstance(outer, ast.Assign) and any(_EXAMPLES.search(last_name(each)) for each in outer.targets):
            return True
        if isinstance(outer, ast.Dict) and any(_EXAMPLES.search(_text(key) or "") for key in outer.keys):
            return True
        if isinstance(outer, ast.ClassDef):
            return any("Enum" in last_name(each) for each in outer.bases)
    return False
