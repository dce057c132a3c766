"""The source of live functions: their syntax trees, and what a name in them stands for.

Names are not guessed: the function is there, and so are its globals and what it closes over. A name is looked up as
Python would, so an alias, an import inside a package, or a method of an instance lead to the code that runs.
"""

import ast
import builtins
import functools
import inspect
import sys
import types
from pathlib import Path
from typing import Any, Final

from limen.checklist.syntax import statements, walk

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef

MISSING: Final = object()
"""What a name stands for that cannot be looked up."""

_LARGEST: Final = 4 * 1024 * 1024


@functools.cache
def tree_of(file: str) -> ast.Module | None:
    """Return the syntax tree of a file; None where it is no Python source that can be read."""
    try:
        path = Path(file)
        if path.stat().st_size > _LARGEST:
            return None
        return ast.parse(path.read_bytes(), file)
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None


@functools.cache
def _functions_of(file: str) -> dict[int, FunctionNode]:
    """Return the functions of a file by the line that Python calls their first: the top decorator's, or that of def."""
    tree = tree_of(file)
    found: dict[int, FunctionNode] = {}
    for node in statements(tree.body) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[first] = node
    return found


@functools.lru_cache(maxsize=16_384)
def nodes_of(node: FunctionNode) -> tuple[ast.AST, ...]:
    """Return everything inside a function, its decorators and arguments included; walked once."""
    return tuple(walk([node]))


@functools.lru_cache(maxsize=16_384)
def body_of(node: FunctionNode) -> tuple[ast.AST, ...]:
    """Return everything in the body of a function, and what it says that it returns."""
    return tuple(walk([*node.body, *([node.returns] if node.returns is not None else ())]))


def function_of(call: object) -> types.FunctionType | None:
    """Return the Python function that runs when something is called; None where it is no Python.

    Of a class that is its ``__init__``, of an object its ``__call__``.
    """
    for _ in range(16):
        if isinstance(call, types.FunctionType):
            return call
        if isinstance(call, functools.partial):
            call = call.func
        elif isinstance(call, types.MethodType):
            call = call.__func__
        elif not inspect.isclass(call) and isinstance(getattr(call, "__wrapped__", None), types.FunctionType):
            call = call.__wrapped__  # type: ignore[attr-defined]
        elif inspect.isclass(call):
            call = inspect.getattr_static(call, "__init__", None)
        elif isinstance(call, staticmethod | classmethod):
            call = call.__func__
        elif call is None or isinstance(call, types.BuiltinFunctionType | types.WrapperDescriptorType):
            return None
        else:
            call = inspect.getattr_static(type(call), "__call__", None)
    return None


def node_of(function: types.FunctionType) -> FunctionNode | None:
    """Return the syntax tree of a function; None for a lambda, or where its source is not there."""
    code = function.__code__
    node = _functions_of(code.co_filename).get(code.co_firstlineno)
    return node if node is not None and node.name == code.co_name else None


@functools.cache
def _lambdas_of(file: str) -> dict[int, list[ast.Lambda]]:
    tree = tree_of(file)
    found: dict[int, list[ast.Lambda]] = {}
    for node in walk([tree]) if tree is not None else ():
        if isinstance(node, ast.Lambda):
            found.setdefault(node.lineno, []).append(node)
    return found


def lambda_of(function: types.FunctionType) -> ast.Lambda | None:
    """Return the syntax tree of a lambda; None where several of a line cannot be told apart."""
    code = function.__code__
    if code.co_name != "<lambda>":
        return None
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    found = [
        each
        for each in _lambdas_of(code.co_filename).get(code.co_firstlineno, ())
        if tuple(every.arg for every in (*each.args.posonlyargs, *each.args.args, *each.args.kwonlyargs)) == names
    ]
    return found[0] if len(found) == 1 else None


@functools.lru_cache(maxsize=16_384)
def hints_of(function: types.FunctionType) -> dict[str, Any]:
    """Return the annotations of a function, those resolved that can be."""
    found: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        if isinstance(annotation, str):
            try:
                annotation = eval(annotation, function.__globals__)  # noqa: S307, PLW2901 - as the module itself would
            except Exception:  # noqa: S112 - whatever an annotation does
                continue
        found[name] = annotation
    return found


@functools.lru_cache(maxsize=1024)
def _swallows(function: types.FunctionType, name: str) -> bool:
    node = node_of(function)
    for each in body_of(node) if node is not None else ():
        if name == "__exit__" and isinstance(each, ast.Return):
            if ast.unparse(each.value or ast.Constant(None)) not in {"None", "False"}:
                return True
        elif name == "yield" and isinstance(each, ast.Try):
            yields = any(isinstance(one, ast.Yield) for one in walk(each.body))
            if yields and any(not isinstance(handler.body[-1], ast.Raise) for handler in each.handlers):
                return True
    return False


def swallows(manager: object) -> bool:
    """Tell whether a context manager of the application's own swallows exceptions: of a class, or of a generator."""
    if inspect.isclass(manager):
        found = [inspect.getattr_static(manager, name, None) for name in ("__exit__", "__aexit__")]
        return any(isinstance(each, types.FunctionType) and _swallows(each, "__exit__") for each in found)
    inner = inspect.unwrap(manager) if isinstance(manager, types.FunctionType) else None
    return isinstance(inner, types.FunctionType) and inner is not manager and _swallows(inner, "yield")


def place_of(call: object) -> tuple[str, int]:
    """Return file and line of what is called: the line of ``def`` or ``class``, not of a decorator."""
    if inspect.isclass(call):
        return _place_of_class(call)
    function = function_of(inspect.unwrap(call) if callable(call) else call)
    if function is None:
        return "", 0
    node = node_of(function)
    return function.__code__.co_filename, function.__code__.co_firstlineno if node is None else node.lineno


def _place_of_class(kind: type) -> tuple[str, int]:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return file, _classes_of(file).get(kind.__name__, 0) if file.endswith(".py") else 0


@functools.cache
def _classes_of(file: str) -> dict[str, int]:
    """Return the lines of the classes of a file by their names; of two of one name the outer one, or the first."""
    tree = tree_of(file)
    found: dict[str, int] = {}
    for node in statements(tree.body) if tree is not None else ():
        if isinstance(node, ast.ClassDef):
            found.setdefault(node.name, node.lineno)
    return found


def resolved(expression: ast.expr, function: types.FunctionType, owner: object = None) -> Any:
    """Return what an expression of names and attributes stands for inside a function; `MISSING` where nobody can tell.

    Args:
        expression: such as ``settings.http.HTTP_401_UNAUTHORIZED``.
        function: where it stands.
        owner: what ``self`` or ``cls`` is there.
    """
    if isinstance(expression, ast.Constant):
        return expression.value
    if isinstance(expression, ast.Await):
        return resolved(expression.value, function, owner)
    if isinstance(expression, ast.Name):
        return _name(expression.id, function, owner)
    if isinstance(expression, ast.Attribute):
        inside = resolved(expression.value, function, owner)
        return MISSING if inside is MISSING else attribute_of(inside, expression.attr)
    return MISSING


def _name(name: str, function: types.FunctionType, owner: object) -> Any:
    code = function.__code__
    if owner is not None and code.co_argcount and name == code.co_varnames[0]:
        return owner
    if name in code.co_freevars:
        try:
            return (function.__closure__ or ())[code.co_freevars.index(name)].cell_contents
        except (IndexError, ValueError):
            return MISSING
    if name in code.co_varnames:
        return MISSING
    if name in function.__globals__:
        return function.__globals__[name]
    return getattr(builtins, name, MISSING)


def attribute_of(owner: Any, name: str) -> Any:
    """Look an attribute up without running code of the application: no property, no ``__getattr__``."""
    try:
        found = inspect.getattr_static(owner, name)
    except AttributeError:
        return MISSING
    if isinstance(found, property | functools.cached_property):
        return MISSING
    if isinstance(found, staticmethod | classmethod):
        return found.__func__
    return found
