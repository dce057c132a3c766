"""One file as the rules see it: its syntax tree, what its names mean, and what stands around each node."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeVar

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_Node = TypeVar("_Node", bound=ast.AST)

_LARGEST: Final = 2 * 1024 * 1024


class Module:
    """A file.

    Attributes:
        file: its path.
        tree: its syntax.
        lines: its text.
        functions: every function, nested ones and methods too.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.tree = ast.parse(text, file)
        self.lines = text.splitlines()
        self._imports: dict[str, str] = {}
        self._constants: dict[str, ast.expr] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._by_kind: dict[type[ast.AST], list[ast.AST]] = {}
        for parent in ast.walk(self.tree):
            self._by_kind.setdefault(type(parent), []).append(parent)
            for child in ast.iter_child_nodes(parent):
                self._parents[child] = parent
        self._read_names()

    @classmethod
    def read(cls, file: str) -> "Module | None":
        """Return a file as a module; None where it is no Python source that can be read."""
        try:
            path = Path(file)
            if path.stat().st_size > _LARGEST:
                return None
            return cls(file, path.read_text(encoding="utf-8"))
        except (OSError, SyntaxError, ValueError, RecursionError):
            return None

    def _read_names(self) -> None:
        for each in self.all(ast.Import):
            for alias in each.names:
                self._imports[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        for node in self.all(ast.ImportFrom):
            for alias in node.names:
                root = "." * node.level + (node.module or "")
                self._imports[alias.asname or alias.name] = f"{root}.{alias.name}"
        for statement in self.tree.body:
            if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
                target = statement.targets[0]
                if isinstance(target, ast.Name):
                    self._constants[target.id] = statement.value
            elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
                self._constants[statement.target.id] = statement.value

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

        ``from hashlib import md5 as quick`` makes of ``quick`` the name ``hashlib.md5``.
        """
        if isinstance(expression, ast.Name):
            return self._imports.get(expression.id, expression.id)
        if isinstance(expression, ast.Attribute):
            inner = self.name_of(expression.value)
            return f"{inner}.{expression.attr}" if inner else f"?.{expression.attr}"
        if isinstance(expression, ast.Call):
            inner = self.name_of(expression.func)
            return f"{inner}()" if inner else ""
        if isinstance(expression, ast.Await):
            return self.name_of(expression.value)
        return ""

    def parent(self, node: ast.AST) -> ast.AST | None:
        """Return what a node stands in."""
        return self._parents.get(node)

    def function_around(self, node: ast.AST) -> FunctionNode | None:
        """Return the innermost function that a node stands in."""
        above = self._parents.get(node)
        while above is not None and not isinstance(above, ast.FunctionDef | ast.AsyncFunctionDef):
            above = self._parents.get(above)
        return above

    def statement_around(self, node: ast.AST) -> ast.AST:
        """Return the statement that a node is part of."""
        while not isinstance(node, ast.stmt) and node in self._parents:
            node = self._parents[node]
        return node

    def values_of(self, name: str, function: FunctionNode | None) -> list[ast.expr]:
        """Return everything that a name is assigned in a function, or else in the module; what a loop takes, too."""
        found: list[ast.expr] = []
        for each in ast.walk(function) if function is not None else ():
            if isinstance(each, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in each.targets):
                found.append(each.value)
            elif isinstance(each, ast.For | ast.comprehension) and last_name(each.target) == name:
                found += each.iter.elts if isinstance(each.iter, ast.Tuple | ast.List | ast.Set) else [each.iter]
        if not found and name in self._constants and not (function is not None and _is_argument(name, function)):
            return [self._constants[name]]
        return found

    def imports(self, *roots: str) -> bool:
        """Tell whether the file imports one of these packages."""
        return any(each.lstrip(".").split(".")[0] in roots for each in self._imports.values())


def _is_argument(name: str, function: FunctionNode) -> bool:
    arguments = function.args
    return any(each.arg == name for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """Return the keyword argument of a call, or None."""
    return next((each.value for each in call.keywords if each.arg == name), None)


def is_constant(expression: ast.AST | None, value: object) -> bool:
    """Tell whether an expression is this very constant."""
    return isinstance(expression, ast.Constant) and expression.value is value


def text_of(expression: ast.AST | None) -> str | None:
    """Return the text of a constant; None where it is no text."""
    return expression.value if isinstance(expression, ast.Constant) and isinstance(expression.value, str) else None


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
    if called.attr == "get" and call.args:
        return text_of(call.args[0]) or ""
    return last_name(called.value) if called.attr in {"encode", "decode", "strip", "get_secret_value", "lower"} else ""
