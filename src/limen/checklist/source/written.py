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
from limen.checklist.source.words import is_secret

_ENVIRONMENT: Final = re.compile(r"(^|\.)(getenv|environ\.(get|setdefault)|config|env|env\.str|get_env|getenv_str)$")
_WRAPS: Final = frozenset({"SecretStr", "SecretBytes", "Secret", "str", "bytes", "Field", "encode", "strip", "dedent"})
_EXAMPLES: Final = re.compile(r"example|schema_extra|openapi|responses|fixture|sample", re.IGNORECASE)


def secrets_in_code(module: Module) -> Iterator[Finding]:
    """Find secrets that are written down (LC106)."""
    told: set[int] = set()
    for node, name, value in _named(module):
        text = _text(value)
        line = getattr(node, "lineno", 0)
        if text is not None and line not in told and is_written_secret(name, text) and not _is_example(module, node):
            told.add(line)
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
            yield assignment, last_name(target), _default(module, assignment.value)
    for annotated in module.all(ast.AnnAssign):
        if annotated.value is not None:
            yield annotated, last_name(annotated.target), annotated.value
    yield from _handed(module)
    for table in module.all(ast.Dict):
        yield from ((value, _text(key) or "", value) for key, value in zip(table.keys, table.values, strict=True))
    for function in module.functions:
        yield from ((default, taken.arg, default) for taken, default in defaults_of(function))
    for compared in module.all(ast.Compare):
        if isinstance(compared.ops[0], ast.Eq) and len(compared.ops) == 1:
            # A key that is compared with a word is asked whether it is still the default.
            name = last_name(compared.left)
            yield compared, "password" if is_secret(name) else "", compared.comparators[0]


def _handed(module: Module) -> Iterator[tuple[ast.AST, str, ast.expr]]:
    """Yield what calls are handed: by a name, as a default of the environment, or as a key."""
    for call in module.all(ast.Call):
        yield from ((given.value, given.arg, given.value) for given in call.keywords if given.arg)
        if _ENVIRONMENT.search(module.name_of(call.func)) and call.args:
            default = call.args[1] if len(call.args) > 1 else keyword(call, "default")
            if default is not None:
                yield call, _text(call.args[0]) or "", default
        yield from _keys(module, call)
    for either in module.all(ast.BoolOp):
        first = either.values[0]
        if isinstance(first, ast.Call) and first.args and _ENVIRONMENT.search(module.name_of(first.func)):
            yield either, _text(first.args[0]) or "", either.values[-1]


def _default(module: Module, value: ast.expr) -> ast.expr:
    """Return what a variable of the environment is where it is not set; anything else as it is."""
    is_environment = isinstance(value, ast.Call) and bool(_ENVIRONMENT.search(module.name_of(value.func)))
    return value.args[1] if is_environment and isinstance(value, ast.Call) and len(value.args) > 1 else value


def _keys(module: Module, call: ast.Call) -> Iterator[tuple[ast.AST, str, ast.expr]]:
    """Yield the key that a token is signed with, or something encrypted: it needs no name."""
    name = module.name_of(call.func)
    if re.match(r"(jwt|jose\.jwt)\.(en|de)code$", name) and len(call.args) > 1:
        yield call.args[1], "secret_key", call.args[1]
    elif name == "cryptography.fernet.Fernet" and call.args:
        yield call.args[0], "encryption_key", call.args[0]


def _text(value: ast.expr | None) -> str | None:
    """Return the text that a value is made of: of a default, of ``SecretStr("…")``, of ``… or "…"``."""
    text: str | None = None
    if isinstance(value, ast.Constant):
        content = value.value
        text = (
            content.decode("latin-1") if isinstance(content, bytes) else content if isinstance(content, str) else None
        )
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = _text(value.left), _text(value.right)
        text = None if left is None or right is None else left + right
    elif isinstance(value, ast.BoolOp) and isinstance(value.op, ast.Or):
        text = _text(value.values[-1])
    elif isinstance(value, ast.Call) and called_name(value) in _WRAPS:
        is_method = isinstance(value.func, ast.Attribute) and not value.args
        inner = getattr(value.func, "value", None) if is_method else next(iter(value.args), None)
        text = _text(keyword(value, "default") or inner)
    return text


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
