"""Secrets, and whole settings, requests and bodies, that are logged."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from limen.checklist import catalogue as rules
from limen.checklist.findings import Finding
from limen.checklist.source.found import found_at
from limen.checklist.source.module import Module, called_name, last_name
from limen.checklist.source.scopes import arguments_of
from limen.checklist.source.words import is_harmless, is_secret

_LOGS: Final = frozenset(
    {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log", "trace", "success", "msg"}
    | {"bind", "contextualize", "bind_contextvars", "adebug", "ainfo", "awarning", "aerror"}
)
_LOGGER: Final = re.compile(
    r"(^|[._])_*(log|logs|logger|logging|loguru|structlog|getlogger|get_logger|contextvars|contextlogger)_*(\(\))?$",
    re.IGNORECASE,
)
_PRINTS: Final = frozenset(
    {"print", "pprint", "pprint.pprint", "pprint.pp", "rich.print", "sys.stdout.write", "sys.stderr.write"}
)
_COMMAND_LINES: Final = ("argparse", "click", "typer", "getpass", "fire")
_SHOWS: Final = frozenset({"format", "str", "repr", "dict", "vars", "dumps", "pformat", "jsonable_encoder", "ascii"})
_DUMPS: Final = frozenset(
    {"model_dump", "dict", "model_dump_json", "json", "to_dict", "as_dict", "_asdict", "copy", "items"}
)
_REQUEST: Final = re.compile(r"^(req|request|websocket|ws|scope|connection)$")
_OF_REQUEST: Final = frozenset({"headers", "cookies", "body", "json", "form", "raw_headers"})
_SETTINGS: Final = re.compile(r"^_?((app|application|api|server|global|env|my)_)?settings$")
_CONFIG: Final = re.compile(r"^_?(config|conf|cfg)$")
_SETTINGS_CLASS: Final = re.compile(r"Settings|Config$|Configuration$")
_SECRET_MODEL: Final = re.compile(
    r"Login|Register|Signup|SignUp|Credential|Password|Token|Secret|UserCreate|CreateUser|AuthRequest|PasswordRequestForm"
)


def logged_secrets(module: Module) -> Iterator[Finding]:
    """Find secrets, and whole settings, requests and bodies, that are logged or printed (LC107)."""
    for call in module.all(ast.Call):
        if not _is_log(module, call):
            continue
        shown: list[ast.expr | ast.keyword] = [*call.args, *call.keywords]
        for given in shown:
            told = _told(module, given)
            if told is not None:
                what = f"{ast.unparse(told)[:60]} goes into a log"
                yield found_at(rules.SECRET_LOGGED, module, call, what, last_name(told))
                break


def _is_log(module: Module, call: ast.Call) -> bool:
    name = module.name_of(call.func)
    if name in _PRINTS:
        # What a command prints for whoever called it goes into no log.
        return not module.imports(*_COMMAND_LINES) and not _is_main(module, call)
    if called_name(call) not in _LOGS or not isinstance(call.func, ast.Attribute):
        return False
    owner = call.func.value
    return bool(_LOGGER.search(last_name(owner)) or _LOGGER.search(name.rsplit(".", 1)[0]))


def _is_main(module: Module, call: ast.Call) -> bool:
    return any(isinstance(each, ast.If) and "__main__" in ast.unparse(each.test) for each in module.above(call))


def _told(module: Module, given: ast.expr | ast.keyword) -> ast.expr | None:
    """Return the secret that an argument of a log call shows, or None."""
    if isinstance(given, ast.keyword):
        if given.arg in {"exc_info", "stack_info", "stacklevel", "file", "end", "sep"}:
            return None
        if given.arg and is_secret(given.arg) and isinstance(given.value, ast.Name | ast.Attribute):
            is_none = is_harmless(last_name(given.value)) or _is_masked(module, given.value)
            return None if is_none else given.value
        given = given.value
    return next((each for each in _shown(given) if _is_logged_secret(module, each)), None)


def _shown(expression: ast.expr) -> Iterator[ast.expr]:
    """Yield what an argument of a log call shows as it is: names in a text, in a dict, in a format."""
    while isinstance(expression, ast.Await | ast.Starred | ast.NamedExpr):
        expression = expression.value
    if isinstance(expression, ast.Subscript) and isinstance(expression.slice, ast.Slice):
        return  # the beginning of it
    if isinstance(expression, ast.Attribute) and expression.attr == "__dict__":
        yield from _shown(expression.value)
    elif isinstance(expression, ast.Name | ast.Attribute | ast.Subscript):
        yield expression
    elif isinstance(expression, ast.Call):
        yield from _shown_by_call(expression)
    else:
        for each in _parts(expression):
            yield from _shown(each)


def _parts(expression: ast.expr) -> list[ast.expr]:
    if isinstance(expression, ast.JoinedStr):
        return [each.value for each in expression.values if isinstance(each, ast.FormattedValue)]
    if isinstance(expression, ast.BinOp):
        return [expression.left, expression.right]
    if isinstance(expression, ast.BoolOp):
        return list(expression.values)
    if isinstance(expression, ast.IfExp):
        return [expression.body, expression.orelse]
    if isinstance(expression, ast.Tuple | ast.List):
        return list(expression.elts)
    return list(expression.values) if isinstance(expression, ast.Dict) else []


def _shown_by_call(call: ast.Call) -> Iterator[ast.expr]:
    name = called_name(call)
    if isinstance(call.func, ast.Attribute) and name in _DUMPS:
        owner = call.func.value
        is_request = bool(_REQUEST.match(last_name(owner)))
        yield call.func if is_request else owner
    elif isinstance(call.func, ast.Attribute) and name in {"body", "form", "get_secret_value"}:
        yield call.func if name != "get_secret_value" else call.func.value
    elif isinstance(call.func, ast.Attribute) and name == "get" and call.args:
        yield ast.Subscript(call.func.value, call.args[0], ast.Load())
    elif name in _SHOWS:
        for each in call.args:
            yield from _shown(each)
    elif name in {"get_settings", "locals", "globals"}:
        yield call.func


def _is_logged_secret(module: Module, expression: ast.expr) -> bool:
    name = last_name(expression)
    if isinstance(expression, ast.Name) and name in {"locals", "globals", "get_settings"}:
        return not module.values_of(expression) and not module.is_argument(name, expression)
    if isinstance(expression, ast.Attribute):
        owner = last_name(expression.value)
        if name in _OF_REQUEST and _REQUEST.match(owner):
            return True
        if name == "environ":
            return module.name_of(expression) == "os.environ"
        if _SETTINGS.search(name):
            return owner in {"self", "cls", "state"}
    if isinstance(expression, ast.Name) and _is_whole(module, expression):
        return True
    return is_secret(name) and not _is_masked(module, expression)


def _is_whole(module: Module, name: ast.Name) -> bool:
    """Tell whether a variable holds all settings, all headers, or a body with a secret in it."""
    kind = _class_of(module, name)
    if _SETTINGS.search(name.id):
        return kind is None or _has_secrets(module, kind, default=True)
    if _CONFIG.match(name.id):
        return kind is not None and bool(_SETTINGS_CLASS.search(kind)) and _has_secrets(module, kind, default=False)
    if name.id == "environ":
        return module.name_of(name) == "os.environ"
    if name.id in {"headers", "cookies"}:
        values = module.values_of(name)
        return any(_is_of_request(each) for each in values) or any(_has_key(each) for each in values)
    if name.id in {"body", "payload", "data"} and any(_is_of_request(each) for each in module.values_of(name)):
        return True
    return kind is not None and name.id not in {"self", "cls"} and _is_secret_body(module, name, kind)


def _is_of_request(value: ast.expr) -> bool:
    return any(
        isinstance(each, ast.Attribute) and each.attr in _OF_REQUEST and _REQUEST.match(last_name(each.value))
        for each in ast.walk(value)
    )


def _has_key(value: ast.expr) -> bool:
    return isinstance(value, ast.Dict) and any(
        isinstance(key, ast.Constant) and isinstance(key.value, str) and is_secret(key.value) for key in value.keys
    )


def _class_of(module: Module, name: ast.Name) -> str | None:
    """Return the class of a variable, by its annotation or by what it is made of; None where that is not seen."""
    taker = module.taking(name.id, name)
    if taker is not None:
        annotation = next(each.annotation for each in arguments_of(taker) if each.arg == name.id)
        names = (
            [last_name(each) for each in ast.walk(annotation) if isinstance(each, ast.Name | ast.Attribute)]
            if annotation
            else []
        )
        return next((each for each in names if each[:1].isupper() and each not in {"Annotated", "Optional"}), None)
    calls = [called_name(each) for each in module.values_of(name) if isinstance(each, ast.Call)]
    return next((each for each in calls if each[:1].isupper()), None)


def _has_secrets(module: Module, kind: str, *, default: bool) -> bool:
    """Tell whether a class of this file has a secret that its text shows."""
    found = module.class_named(kind)
    if found is None:
        return default
    fields = [each for each in found.body if isinstance(each, ast.AnnAssign)]
    return any(is_secret(last_name(each.target)) and "Secret" not in ast.unparse(each.annotation) for each in fields)


def _is_secret_body(module: Module, name: ast.Name, kind: str) -> bool:
    found = module.class_named(kind)
    if found is not None:
        is_model = any(last_name(each) in {"BaseModel", "Struct", "SQLModel"} for each in found.bases)
        return is_model and _has_secrets(module, kind, default=False)
    return bool(_SECRET_MODEL.search(kind)) and module.is_argument(name.id, name) and not is_secret(name.id)


def _is_masked(module: Module, expression: ast.expr) -> bool:
    """Tell whether what is shown is no secret any more: a text with stars, a SecretStr, the length of it."""
    if not isinstance(expression, ast.Name):
        return False
    taker = module.taking(expression.id, expression)
    if taker is not None:
        annotation = next(each.annotation for each in arguments_of(taker) if each.arg == expression.id)
        return annotation is not None and bool(re.search(r"Secret(Str|Bytes)|\b(int|bool)\b", ast.unparse(annotation)))
    values = module.values_of(expression)
    return bool(values) and all(
        isinstance(each, ast.Constant)
        or (
            isinstance(each, ast.Call)
            and re.search(r"mask|redact|hash|len|digest|obfuscate|censor|bool", called_name(each))
        )
        or (isinstance(each, ast.Subscript) and isinstance(each.slice, ast.Slice))
        for each in values
    )
