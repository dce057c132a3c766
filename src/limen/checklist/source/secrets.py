"""Passwords, tokens and keys in source text."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, keyword, last_name, text_of
from limen.checklist.source.words import is_password, is_secret, makes_secret

_FAST: Final = frozenset(
    f"hashlib.{each}" for each in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "new")
)
_PREDICTABLE: Final = frozenset(
    f"random.{each}"
    for each in ("choice", "choices", "random", "randint", "randrange", "getrandbits", "sample", "randbytes", "shuffle")
) | {"uuid.uuid1", "numpy.random.randint", "numpy.random.choice"}
_KNOWN_SECRETS: Final = re.compile(
    r"^(sk_live_|sk-[A-Za-z0-9]{20}|AKIA[A-Z0-9]{12}|ghp_|gho_|glpat-|xox[abp]-|-----BEGIN [A-Z ]*PRIVATE KEY|AIza)"
)
_DSN: Final = re.compile(r"^[a-z][a-z0-9+]*://[^/\s:@{}]+:([^/\s:@{}<>$*]+)@([^/\s:@]+)")
_NO_SECRET: Final = re.compile(
    # Templates, and the names of variables of an environment.
    r"^(|\*+|<.*>|\$\{?.*|%.*%|\{.*\}|[Nn]one|null|[Tt][Oo][Dd][Oo]|[Xx]+|[Yy]our[-_ ].*|[A-Z]+(_[A-Z0-9]+)+)$"
)
_LOGS: Final = frozenset({"debug", "info", "warning", "warn", "error", "exception", "critical", "log", "print"})
_WHOLE: Final = frozenset({"settings", "config", "environ", "headers", "cookies"})


def fast_hashes(module: Module) -> Iterator[Finding]:
    """Find passwords that are hashed fast, or kept as they are (LC102)."""
    for call in module.all(ast.Call):
        if module.name_of(call.func) in _FAST and any(_has_password(each) for each in call.args):
            yield found_at(rules.PASSWORD_STORAGE, module, call, f"a password goes into {module.name_of(call.func)}")
        for given in call.keywords:
            is_hash = given.arg is not None and "hash" in given.arg.lower() and not isinstance(given.value, ast.Call)
            if is_hash and is_password(last_name(given.value)):
                what = f"{given.arg} is given the password itself"
                yield found_at(rules.PASSWORD_STORAGE, module, call, what, str(given.arg))
    for assignment in module.all(ast.Assign):
        for target in assignment.targets:
            stored = isinstance(target, ast.Attribute) and re.search(r"passw", target.attr, re.IGNORECASE)
            is_own = (
                isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self"
            )
            if (
                stored
                and not is_own
                and isinstance(assignment.value, ast.Attribute)
                and is_password(assignment.value.attr)
            ):
                yield found_at(rules.PASSWORD_STORAGE, module, assignment, "a password is stored as it came")


def _has_password(expression: ast.expr) -> bool:
    return any(
        is_password(last_name(each)) for each in ast.walk(expression) if isinstance(each, ast.Name | ast.Attribute)
    )


def predictable_secrets(module: Module) -> Iterator[Finding]:
    """Find secrets that random makes (LC103)."""
    for call in module.all(ast.Call):
        if module.name_of(call.func) not in _PREDICTABLE:
            continue
        statement = module.statement_around(call)
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        function = module.function_around(call)
        names = [last_name(each) for each in targets] + ([function.name] if function is not None else [])
        named = [each for each in names if makes_secret(each)]
        if named:
            what = f"{named[0]} comes from {module.name_of(call.func)}"
            yield found_at(rules.PREDICTABLE, module, call, what, named[0])


def secrets_in_code(module: Module) -> Iterator[Finding]:
    """Find secrets that are written down (LC106)."""
    assignments: list[ast.Assign | ast.AnnAssign] = [*module.all(ast.Assign), *module.all(ast.AnnAssign)]
    for assignment in assignments:
        targets = assignment.targets if isinstance(assignment, ast.Assign) else [assignment.target]
        for target in targets:
            if _is_written(last_name(target), text_of(_default(assignment.value))):
                name = last_name(target)
                yield found_at(rules.SECRET_IN_CODE, module, assignment, f"{name} is written down", name)
    for call in module.all(ast.Call):
        for name, what in _written_in_call(module, call):
            yield found_at(rules.SECRET_IN_CODE, module, call, what, name)
    for constant in module.all(ast.Constant):
        text = text_of(constant) or ""
        is_secret_text = len(text) < 4000 and (_KNOWN_SECRETS.match(text) or _has_dsn_password(text))
        if is_secret_text and not isinstance(module.parent(constant), ast.Expr | ast.JoinedStr):
            what = "a key, or an address with a password, is written down"
            yield found_at(rules.SECRET_IN_CODE, module, constant, what)


def _default(value: ast.expr | None) -> ast.expr | None:
    """Return the default of pydantic's ``Field(…)``, or the value as it is."""
    if isinstance(value, ast.Call) and last_name(value.func) == "Field":
        return keyword(value, "default") or (value.args[0] if value.args else None)
    return value


def _written_in_call(module: Module, call: ast.Call) -> Iterator[tuple[str, str]]:
    for given in call.keywords:
        if given.arg and _is_written(given.arg, text_of(given.value)):
            yield given.arg, f"{given.arg}= is written down"
    if module.name_of(call.func) in {"os.getenv", "os.environ.get"} and len(call.args) > 1:
        name = text_of(call.args[0])
        if name and _is_written(name, text_of(call.args[1])):
            yield name, f"{name} has a default that is written down"


def _is_written(name: str, value: str | None) -> bool:
    if value is None or len(value) < 6 or len(value) > 4000 or not is_secret(name):
        return False
    if _NO_SECRET.match(value) or any(each in value for each in " \n/{}<>"):
        return False
    # What stands for itself is no secret: password = "password" in a table of names, token_type = "bearer".
    plain = value.lower().replace("-", "_")
    return plain not in {
        name.lower(),
        "bearer",
        "password",
        "access_token",
        "refresh_token",
        "api_key",
        "authorization",
    } and (
        any(character.isdigit() for character in value)
        or any(each in plain for each in ("secret", "change", "passw", "key"))
        or len(set(value)) >= 10
    )


def _has_dsn_password(text: str) -> bool:
    found = _DSN.match(text)
    if found is None:
        return False
    password, host = found.groups()
    is_local = host in {"localhost", "127.0.0.1", "db", "postgres", "redis", "host", "example.com"}
    return not is_local and password.lower() not in {"password", "pass", "pwd", "secret", "pw"}


def logged_secrets(module: Module) -> Iterator[Finding]:
    """Find secrets, and whole settings, requests and bodies, that are logged or printed (LC107)."""
    for call in module.all(ast.Call):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else last_name(call.func)
        if name not in _LOGS or not _is_log(module, call):
            continue
        for given in [*call.args, *(each.value for each in call.keywords)]:
            told = next((each for each in _shown(given) if _is_logged_secret(each)), None)
            if told is not None:
                what = f"{ast.unparse(told)[:60]} goes into a log"
                yield found_at(rules.SECRET_LOGGED, module, call, what, last_name(told))
                break


def _is_log(module: Module, call: ast.Call) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id == "print"
    owner = module.name_of(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    return "log" in owner.lower() or owner in {"logging", "loguru.logger"}


def _shown(expression: ast.expr) -> Iterator[ast.expr]:
    """Yield what an argument of a log call shows as it is: names in a text, in a dict, in a format."""
    if isinstance(expression, ast.Name | ast.Attribute | ast.Subscript):
        yield expression
    elif isinstance(expression, ast.Call):
        yield from _shown_by_call(expression)
    else:
        inner: list[ast.expr] = []
        if isinstance(expression, ast.JoinedStr):
            inner = [each.value for each in expression.values if isinstance(each, ast.FormattedValue)]
        elif isinstance(expression, ast.BinOp):
            inner = [expression.left, expression.right]
        elif isinstance(expression, ast.Tuple | ast.List):
            inner = expression.elts
        elif isinstance(expression, ast.Dict):
            inner = expression.values
        for each in inner:
            yield from _shown(each)


def _shown_by_call(call: ast.Call) -> Iterator[ast.expr]:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else last_name(call.func)
    if isinstance(call.func, ast.Attribute) and name in {"model_dump", "dict", "model_dump_json", "json"}:
        yield call.func.value
    elif name in {"format", "str", "repr", "dict", "vars"}:
        for each in call.args:
            yield from _shown(each)


def _is_logged_secret(expression: ast.expr) -> bool:
    name = last_name(expression)
    if name in _WHOLE and isinstance(expression, ast.Attribute | ast.Name):
        return not isinstance(expression, ast.Attribute) or name in {"environ", "headers", "cookies"}
    return is_secret(name)


def compared_secrets(module: Module) -> Iterator[Finding]:
    """Find secrets that are compared with == (LC111).

    Settings that are compared with each other at a start are left alone: nobody measures how long that takes.
    """
    if {"settings", "config", "conf"} & {Path(each).stem for each in Path(module.file).parts}:
        return
    for compare in module.all(ast.Compare):
        if len(compare.ops) != 1 or not isinstance(compare.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = (compare.left, compare.comparators[0])
        if any(_is_short(each) or _is_spelling(each) for each in sides):
            continue
        names = [last_name(each) for each in sides]
        secret = next((each for each in names if _is_compared_secret(each, module)), None)
        # The second field of a form is no secret to whoever filled it in.
        twice = any(re.search(r"confirm|repeat|again|_?2$|new|old", each, re.IGNORECASE) for each in names)
        if secret is not None and not twice:
            yield found_at(rules.COMPARED, module, compare, f"{secret} is compared with {_op(compare)}", secret)


def _is_short(expression: ast.expr) -> bool:
    """Tell whether it is a constant that is no secret: nothing, a number, a word."""
    is_text = isinstance(expression, ast.Constant) and isinstance(expression.value, str) and len(expression.value) > 7
    return isinstance(expression, ast.Constant) and not is_text


def _is_spelling(expression: ast.expr) -> bool:
    """Tell whether it is another spelling of the same value: what is encoded again, to see whether it was canonical."""
    return any(isinstance(each, ast.Call) and "b64encode" in last_name(each.func) for each in ast.walk(expression))


def _is_compared_secret(name: str, module: Module) -> bool:
    if re.search(r"(^|_)(hmac|signature)$", name):
        return True
    if re.search(r"(^|_)(digest|mac)$", name):
        return module.imports("hmac")
    return is_secret(name) and not name.endswith("authorization")


def _op(compare: ast.Compare) -> str:
    return "==" if isinstance(compare.ops[0], ast.Eq) else "!="
