"""One file as the rules see it: its syntax tree, what its names mean, and what stands around each node."""

import ast
import warnings
from collections import deque
from collections.abc import Iterator
from typing import Final, TypeVar

from limen.checklist.source.scopes import FunctionNode, Scopes, is_argument

_Node = TypeVar("_Node", bound=ast.AST)
_ALIASES: Final = 5
"""How many names may stand for each other in a row."""


class Module:
    """A file.

    Attributes:
        file: its path.
        tree: its syntax.
        functions: every function, nested ones and methods too.
    """

    def __init__(self, file: str, text: str | bytes) -> None:
        """Read a text; bytes may say their encoding themselves (PEP 263).

        Raises:
            SyntaxError, ValueError, RecursionError, MemoryError: it is no Python.
        """
        self.file = file
        with warnings.catch_warnings():  # what the file's own escapes are worth is not asked here
            warnings.simplefilter("ignore")
            self.tree = ast.parse(text, file)
        self._imports: dict[str, str] = {}
        self._names: dict[ast.AST, str] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._by_kind: dict[type[ast.AST], list[ast.AST]] = {}
        waiting: deque[ast.AST] = deque([self.tree])
        while waiting:  # ast.walk, which would look for the children of each node twice
            parent = waiting.popleft()
            self._by_kind.setdefault(type(parent), []).append(parent)
            for child in ast.iter_child_nodes(parent):
                self._parents[child] = parent
                waiting.append(child)
        self._methods: dict[tuple[FunctionNode | None, str], list[ast.Call]] | None = None
        self._tests: dict[FunctionNode | None, list[ast.expr]] | None = None
        self._scopes = Scopes(self._by_kind, self._parents)
        self._read_imports()

    def _read_imports(self) -> None:
        for each in self.all(ast.Import):
            for alias in each.names:
                root = alias.name.split(".")[0]
                self._imports[alias.asname or root] = alias.name if alias.asname else root
        for node in self.all(ast.ImportFrom):
            for alias in node.names:
                root = "." * node.level + (node.module or "")
                self._imports[alias.asname or alias.name] = f"{root}.{alias.name}"

    def all(self, kind: type[_Node]) -> list[_Node]:
        """Return every node of a kind, in the order of a walk."""
        return self._by_kind.get(kind, [])  # type: ignore[return-value]

    @property
    def functions(self) -> Iterator[FunctionNode]:
        """Every function of the file."""
        yield from self.all(ast.FunctionDef)
        yield from self.all(ast.AsyncFunctionDef)

    def name_of(self, expression: ast.AST | None) -> str:
        """Return the full name that an expression of names and attributes stands for; empty where it is none.

        ``from hashlib import md5 as quick`` makes of ``quick`` the name ``hashlib.md5``, and so does
        ``quick = hashlib.md5``. What a call gives is told by parentheses: of ``client = httpx.Client()`` the name
        ``client.get`` is ``httpx.Client().get``.
        """
        return self._name_of(expression, _ALIASES)

    def _name_of(self, expression: ast.AST | None, hops: int) -> str:
        if expression is None:
            return ""
        if expression not in self._names:
            self._names[expression] = self._read_name(expression, hops)
        return self._names[expression]

    def _read_name(self, expression: ast.AST, hops: int) -> str:
        if isinstance(expression, ast.Name):
            return self._imports.get(expression.id) or self._alias(expression, hops) or expression.id
        if isinstance(expression, ast.Attribute):
            inner = self._alias(expression, hops)
            if inner:
                return inner
            inner = self._name_of(expression.value, hops)
            return f"{inner}.{expression.attr}" if inner else f"?.{expression.attr}"
        if isinstance(expression, ast.Call):
            inner = self._name_of(expression.func, hops)
            return f"{inner}()" if inner else ""
        if isinstance(expression, ast.Await):
            return self._name_of(expression.value, hops)
        return ""

    def _alias(self, expression: ast.Name | ast.Attribute, hops: int) -> str:
        """Return the name of the only thing that a variable, or an attribute of self, ever stands for."""
        if hops <= 0:
            return ""
        if isinstance(expression, ast.Name) and self.is_argument(expression.id, expression):
            return ""
        values = self.values_of(expression)
        if len(values) != 1 or not isinstance(values[0], ast.Name | ast.Attribute | ast.Call | ast.Await):
            return ""
        named = self._read_name(values[0], hops - 1)
        return named if "." in named.lstrip("?.") or named.removesuffix("()") in self._imports.values() else ""

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return what a node stands in."""
        return self._parents.get(node)

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node stands in, and what that stands in, up to the file."""
        upper = self._parents.get(node)
        while upper is not None:
            yield upper
            upper = self._parents.get(upper)

    def function_around(self, node: ast.AST) -> FunctionNode | None:
        """Return the innermost function that a node stands in."""
        return next((each for each in self.above(node) if isinstance(each, FunctionNode)), None)

    def class_around(self, node: ast.AST) -> ast.ClassDef | None:
        """Return the innermost class that a node stands in."""
        return next((each for each in self.above(node) if isinstance(each, ast.ClassDef)), None)

    def statement_around(self, node: ast.AST) -> ast.AST:
        """Return the statement that a node is part of."""
        while not isinstance(node, ast.stmt) and node in self._parents:
            node = self._parents[node]
        return node

    def values_of(self, expression: ast.Name | ast.Attribute) -> list[ast.expr]:
        """Return everything that a variable is given where it is seen from, or an attribute of ``self`` in its class.

        What a loop takes its values from is returned for them, and what ``with`` opens for its name.
        """
        if isinstance(expression, ast.Name):
            return self._scopes.values_of(expression.id, expression)
        if isinstance(expression.value, ast.Name) and expression.value.id in {"self", "cls"}:
            around = self.class_around(expression)
            return self._scopes.of_class(around, expression.attr) if around is not None else []
        return []

    def is_argument(self, name: str, at: ast.AST) -> bool:
        """Tell whether a name is handed to the function around, or to one around that."""
        return self.taking(name, at) is not None

    def taking(self, name: str, at: ast.AST) -> FunctionNode | ast.Lambda | None:
        """Return the function that a name is handed to; None where it is a variable of its own."""
        for each in self.above(at):
            if isinstance(each, FunctionNode | ast.Lambda):
                if is_argument(name, each):
                    return each
                if self._scopes.assigned(each, name):
                    return None
        return None

    def calls_on(self, name: str, function: FunctionNode | None) -> list[ast.Call]:
        """Return the calls of methods of a variable in a function, or in the file: ``parts.append(…)``."""
        if self._methods is None:
            self._methods = {}
            for call in self.all(ast.Call):
                if isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Name):
                    key = self.function_around(call), call.func.value.id
                    self._methods.setdefault(key, []).append(call)
        return self._methods.get((function, name), [])

    def tests_in(self, function: FunctionNode) -> list[ast.expr]:
        """Return what ``if``, ``assert`` and ``while`` of a function ask."""
        if self._tests is None:
            self._tests = {}
            asking: list[ast.If | ast.IfExp | ast.Assert | ast.While] = [*self.all(ast.If), *self.all(ast.IfExp)]
            for node in (*asking, *self.all(ast.Assert), *self.all(ast.While)):
                around = self.function_around(node)
                self._tests.setdefault(around, []).append(node.test)
            for made in self.all(ast.comprehension):
                self._tests.setdefault(self.function_around(made), []).extend(made.ifs)
        return self._tests.get(function, [])

    def class_named(self, name: str) -> ast.ClassDef | None:
        """Return a class of this file by its name."""
        return next((each for each in self.all(ast.ClassDef) if each.name == name), None)

    def imports(self, *roots: str) -> bool:
        """Tell whether the file imports one of these packages."""
        return any(each.lstrip(".").split(".")[0] in roots for each in self._imports.values())


def keyword(call: ast.Call, *names: str) -> ast.expr | None:
    """Return the first keyword argument of a call that has one of these names, or None."""
    return next((each.value for each in call.keywords if each.arg in names), None)


def is_constant(expression: ast.AST | None, value: object) -> bool:
    """Tell whether an expression is this very constant."""
    return isinstance(expression, ast.Constant) and expression.value is value


def text_of(expression: ast.AST | None) -> str | None:
    """Return the text of a constant; None where it is no text."""
    return expression.value if isinstance(expression, ast.Constant) and isinstance(expression.value, str) else None


def called_name(call: ast.Call) -> str:
    """Return the last part of what is called, as it is written."""
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def last_name(expression: ast.AST | None) -> str:
    """Return the name that a reader would call an expression by: the last attribute, the key, or the variable."""
    while isinstance(expression, ast.Await):
        expression = expression.value
    if isinstance(expression, ast.Subscript):
        return text_of(expression.slice) or last_name(expression.value)
    if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Attribute):
        return _name_of_call(expression, expression.func)
    return getattr(expression, "attr", "") or getattr(expression, "id", "")


def _name_of_call(call: ast.Call, called: ast.Attribute) -> str:
    """Return the name of what a call gives back unchanged: ``headers.get("token")``, ``secret.encode()``."""
    if called.attr in {"get", "getlist", "pop", "getenv"} and call.args:
        return text_of(call.args[0]) or ""
    return last_name(called.value) if called.attr in _UNCHANGED else ""


_UNCHANGED: Final = frozenset({"encode", "decode", "strip", "get_secret_value", "lower", "upper", "removeprefix"})
