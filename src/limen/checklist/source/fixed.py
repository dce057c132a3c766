"""Which values of a text are fixed by the source, or cannot carry text: constants, numbers, what a list allows."""

import ast
import re
from typing import Final

from limen.checklist.source.module import Module, called_name
from limen.checklist.source.scopes import FunctionNode, arguments_of, defaults_of
from limen.checklist.source.statements import parts_of

_DEEPEST: Final = 8
_NUMBERS: Final = frozenset({"len", "int", "float", "bool", "abs", "round", "sum", "ord", "id", "hash", "count"})
_PASSES: Final = frozenset(
    {
        "str",
        "sorted",
        "list",
        "tuple",
        "set",
        "frozenset",
        "dict",
        "reversed",
        "enumerate",
        "zip",
        "range",
        "min",
        "max",
    }
    | {"cast", "repr", "map", "iter", "next", "product", "chain"}
)
_METHODS: Final = frozenset(
    {
        "items",
        "keys",
        "values",
        "upper",
        "lower",
        "strip",
        "copy",
        "title",
        "format",
        "replace",
        "rstrip",
        "lstrip",
        "split",
    }
)
_QUOTES: Final = re.compile(r"quote|identifier|escape_ident|bindparam|placeholder|paramstyle", re.IGNORECASE)
_HARMLESS_TYPES: Final = frozenset(
    {"int", "float", "bool", "UUID", "date", "datetime", "timedelta", "Decimal", "Literal", "uuid", "decimal"}
    | {
        "None",
        "Optional",
        "Union",
        "list",
        "List",
        "Sequence",
        "Iterable",
        "set",
        "Set",
        "tuple",
        "Tuple",
        "Collection",
    }
    | {"NonNegativeInt", "PositiveInt", "conint", "UUID4", "Enum"}
)
_ENUMS: Final = frozenset({"Enum", "StrEnum", "IntEnum"})
NAMES: Final = re.compile(
    r"(\b(from|join|into|table|update|index|view|schema|database|exists|truncate|only|references|column|sequence|explain"
    r"|listen|notify|channel|user|role|extension|function|trigger|constraint|policy|search_path\s*(to|=))\s*"
    r"(if\s+(not\s+)?exists\s+)?|\.|table_info\()[\"`\[]?$",
    re.IGNORECASE,
)
"""What stands in front of the name of a table, a schema or a column."""
_OWN: Final = frozenset({"self", "cls", "settings", "config", "conf", "cfg"})
_DATABASE: Final = frozenset({"db", "database", "dialect", "engine", "bind", "preparer", "compiler"})
_LISTED: Final = re.compile(
    r"allow|valid|known|permit|whitelist|safe|column|field|sort|order|table|choice|option", re.IGNORECASE
)
_ASKED: Final = frozenset({"isidentifier", "isalnum", "isdigit", "isdecimal", "isnumeric", "fullmatch", "match"})


def is_fixed(module: Module, value: ast.expr, before: str = "", hops: int = 0) -> bool:
    """Tell whether a value that is put into a statement is fixed by the source text, or can be no SQL.

    Args:
        module: where it stands.
        value: what is put in.
        before: the text in front of it.
        hops: how many names were followed already.
    """
    if hops > _DEEPEST:
        return False
    if isinstance(value, ast.Attribute):
        return _is_fixed_attribute(module, value, before, hops)
    if isinstance(value, ast.Name):
        return _is_fixed_name(module, value, before, hops)
    if isinstance(value, ast.Call):
        return _is_fixed_call(module, value, before, hops)
    if isinstance(value, ast.Subscript):
        return is_fixed(module, value.value, before, hops + 1) or _is_allowed(module, value, hops)
    parts = _parts(value)
    return parts is not None and all(is_fixed(module, each, before, hops + 1) for each in parts)


def _parts(value: ast.expr) -> list[ast.expr] | None:
    """Return what an expression is made of; None where that is not known."""
    found: list[ast.expr] | None = None
    if isinstance(value, ast.Constant):
        found = []
    elif isinstance(value, ast.IfExp):
        found = [value.body, value.orelse]
    elif isinstance(value, ast.BinOp):
        found = [value.left, value.right]
    elif isinstance(value, ast.BoolOp):
        found = list(value.values)
    elif isinstance(value, ast.JoinedStr):
        found = [each.value for each in value.values if isinstance(each, ast.FormattedValue)]
    elif isinstance(value, ast.List | ast.Tuple | ast.Set):
        found = list(value.elts)
    elif isinstance(value, ast.Dict):
        found = [each for each in (*value.keys, *value.values) if each is not None]
    elif isinstance(value, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        found = [value.elt]
    elif isinstance(value, ast.DictComp):
        found = [value.key, value.value]
    elif isinstance(value, ast.Starred | ast.Await | ast.NamedExpr):
        found = [value.value]
    elif isinstance(value, ast.Compare):
        found = []
    return found


def _is_fixed_attribute(module: Module, value: ast.Attribute, before: str, hops: int) -> bool:
    # A constant of a class or a module by its name, a member of an enumeration, or the name of a mapped table.
    if value.attr.isupper() or value.attr.startswith("__") or "__table__" in ast.unparse(value):
        return True
    if value.attr in {"value", "name"} and is_fixed(module, value.value, before, hops + 1):
        return True
    values = module.values_of(value)
    if values and all(is_fixed(module, each, before, hops + 1) for each in values):
        return True
    # What a dialect calls a thing; ``db.timestamp_now``.
    if last(value.value) in _DATABASE:
        return True
    # A table or a schema that an object, or the settings, were given by whoever runs the service.
    return _root(value) in _OWN and bool(NAMES.search(before))


def _root(value: ast.expr) -> str:
    while isinstance(value, ast.Attribute | ast.Call):
        value = value.value if isinstance(value, ast.Attribute) else value.func
    return value.id if isinstance(value, ast.Name) else ""


def _is_fixed_name(module: Module, value: ast.Name, before: str, hops: int) -> bool:
    if _is_allowed(module, value, hops):
        return True
    values = module.values_of(value)
    if values:
        others = [each for each in values if not (isinstance(each, ast.Name) and each.id == value.id)]
        return bool(others) and all(is_fixed(module, each, before, hops + 1) for each in others)
    taker = module.taking(value.id, value)
    if taker is None:
        return value.id.isupper()
    annotation = next(each.annotation for each in arguments_of(taker) if each.arg == value.id)
    if annotation is not None and _is_harmless_type(module, annotation):
        return True
    given = _given(module, taker, value.id) if isinstance(taker, FunctionNode) else None
    return given is not None and all(is_fixed(module, each, before, hops + 3) for each in given)


def _is_harmless_type(module: Module, annotation: ast.expr) -> bool:
    """Tell whether what an annotation lets in has no room for SQL: a number, an id, a member of a list."""
    if isinstance(annotation, ast.Subscript) and last(annotation.value) == "Annotated":
        inner = annotation.slice
        annotation = inner.elts[0] if isinstance(inner, ast.Tuple) and inner.elts else annotation
    if isinstance(annotation, ast.Subscript) and last(annotation.value) == "Literal":
        return True
    names = {last(each) for each in ast.walk(annotation) if isinstance(each, ast.Name | ast.Attribute)}
    return bool(names - {"None", "Optional", "Union"}) and all(
        each in _HARMLESS_TYPES or _is_enum(module, each) for each in names
    )


def last(expression: ast.expr) -> str:
    """Return the last part of a dotted name."""
    return getattr(expression, "attr", "") or getattr(expression, "id", "")


def _is_enum(module: Module, name: str) -> bool:
    found = module.class_named(name)
    return found is not None and any(last(each) in _ENUMS for each in found.bases)


def _given(module: Module, function: FunctionNode, name: str) -> list[ast.expr] | None:
    """Return what all calls hand to an argument of a function that only this file calls; None where others may."""
    is_private = function.name.startswith("_") or module.function_around(function) is not None
    calls = [each for each in module.all(ast.Call) if called_name(each) == function.name] if is_private else []
    found: list[ast.expr] = []
    default = next((each for taken, each in defaults_of(function) if taken.arg == name), None)
    placed = [each.arg for each in (*function.args.posonlyargs, *function.args.args) if each.arg not in {"self", "cls"}]
    for call in calls:
        handed = next((each.value for each in call.keywords if each.arg == name), None)
        if handed is None and name in placed and placed.index(name) < len(call.args):
            handed = call.args[placed.index(name)]
        handed = handed or default
        if handed is None or isinstance(handed, ast.Starred):
            return None
        found.append(handed)
    return found or None


def _is_fixed_call(module: Module, call: ast.Call, before: str, hops: int) -> bool:
    name = called_name(call)
    if name in _NUMBERS or _QUOTES.search(name) or module.name_of(call.func).startswith(("uuid.", "time.", "secrets.")):
        return True
    asked = _asked(module, call, name)
    return asked is not None and all(is_fixed(module, each, before, hops + 1) for each in asked)


def _asked(module: Module, call: ast.Call, name: str) -> list[ast.expr] | None:
    """Return what has to be fixed so that the result of a call is; None where nobody can tell."""
    given = [*call.args, *(each.value for each in call.keywords)]
    if name in _PASSES:
        return given[1:] if name in {"map", "cast"} else given
    if not isinstance(call.func, ast.Attribute):
        return None
    if name == "join" and len(given) == 1:
        parts = parts_of(module, given[0])
        return given if parts is None else parts
    if last(call.func.value) in _DATABASE:
        return given
    if name == "get":  # of a table of texts that the source has
        return [call.func.value, *given[1:]]
    return [call.func.value, *given] if name in _METHODS else None


def _is_allowed(module: Module, value: ast.Name | ast.Subscript, hops: int) -> bool:
    """Tell whether the code around compares a value with a list first, and ends where it is not in it."""
    around = module.function_around(value)
    spelled = ast.dump(value)
    for test in module.tests_in(around) if around is not None else ():
        asked = [each for each in ast.walk(test) if _asks(module, each, spelled, hops)]
        owner = module.parent(test)
        if not asked:
            continue
        is_no = any(isinstance(each, ast.NotIn | ast.Not) for each in ast.walk(test))
        if isinstance(owner, ast.Assert | ast.comprehension) or (isinstance(owner, ast.If) and is_no and _ends(owner)):
            return True
        if isinstance(owner, ast.If | ast.IfExp):
            inside = owner.orelse if is_no else owner.body
            blocks = inside if isinstance(inside, list) else [inside]
            if any(each in blocks for each in (value, *module.above(value))):
                return True
    return False


def _ends(statement: ast.If) -> bool:
    """Tell whether the body of an ``if`` refuses, or sets something else instead."""
    return any(isinstance(each, ast.Raise | ast.Return | ast.Assign | ast.Continue) for each in statement.body)


def _asks(module: Module, test: ast.AST, spelled: str, hops: int) -> bool:
    if isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.In | ast.NotIn):
        listed = test.comparators[0]
        if ast.dump(test.left) != spelled:
            return False
        return bool(_LISTED.search(ast.unparse(listed))) or is_fixed(module, listed, hops=hops + 3)
    if isinstance(test, ast.Call) and called_name(test) in _ASKED:
        asked = [*test.args, test.func.value] if isinstance(test.func, ast.Attribute) else test.args
        return any(ast.dump(each) == spelled for each in asked)
    return False


def is_handed(module: Module, value: ast.expr, *, by_route: bool = False, hops: int = 0) -> bool:
    """Tell whether a value is one that a function takes as an argument, or that is made of one step by step.

    Args:
        module: where it stands.
        value: the value.
        by_route: only the arguments of handlers count.
        hops: how many names were followed already.
    """
    waiting: list[ast.AST] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, ast.Name):
            if each.id not in {"self", "cls"} and _is_taken(module, each, by_route=by_route):
                return True
            values = module.values_of(each) if hops < 3 else []
            if any(is_handed(module, inner, by_route=by_route, hops=hops + 1) for inner in values):
                return True
        if isinstance(each, ast.Call) and called_name(each) not in _PASSED:
            continue
        waiting += list(ast.iter_child_nodes(each))
    return False


_PASSED: Final = _METHODS | _PASSES | {"join", "get", "removeprefix", "casefold"}


def _is_taken(module: Module, name: ast.Name, *, by_route: bool) -> bool:
    taker = module.taking(name.id, name)
    if taker is None or not by_route:
        return taker is not None
    return isinstance(taker, FunctionNode) and any(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr in _ROUTES
        for each in taker.decorator_list
    )


_ROUTES: Final = frozenset({"get", "post", "put", "patch", "delete", "api_route", "websocket"})
