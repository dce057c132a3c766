"""What each name is given, and where: functions, classes and the file keep theirs apart."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cached_property

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef | None
"""Where a name belongs; None is the file."""

_KINDS = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr, ast.For, ast.AsyncFor, ast.comprehension)


class Scopes:
    """The names of a file.

    They are read when the first rule asks: most files have nothing that needs it.
    """

    def __init__(self, by_kind: Mapping[type[ast.AST], list[ast.AST]], parents: Mapping[ast.AST, ast.AST]) -> None:
        self._by_kind = by_kind
        self._parents = parents

    def values_of(self, name: str, at: ast.AST) -> list[ast.expr]:
        """Return what a name is given in the innermost scope that gives it something.

        Args:
            name: of a variable.
            at: the node that reads it.
        """
        for scope in self._around(at):
            found = self._given.get((scope, name))
            if found:
                return found
            if isinstance(scope, FunctionNode | ast.Lambda) and is_argument(name, scope):
                return []
        return []

    def of_class(self, scope: ast.ClassDef, name: str) -> list[ast.expr]:
        """Return what an attribute is given in the body of a class, and by ``self`` in its methods."""
        return self._given.get((scope, name), []) + self._given.get((scope, f"self.{name}"), [])

    def assigned(self, scope: Scope, name: str) -> bool:
        """Tell whether a scope gives a name something."""
        return (scope, name) in self._given

    def _around(self, at: ast.AST) -> Iterator[Scope]:
        """Yield the scopes that a node sees, the innermost first; what is in a class is not seen from its methods."""
        inside = False
        above: ast.AST | None = at
        while above is not None:
            if isinstance(above, FunctionNode | ast.Lambda):
                inside = True
                yield above
            elif isinstance(above, ast.ClassDef) and not inside:
                yield above
            above = self._parents.get(above)
        yield None

    def _scope_of(self, node: ast.AST) -> Scope:
        above = self._parents.get(node)
        while above is not None and not isinstance(above, FunctionNode | ast.Lambda | ast.ClassDef):
            above = self._parents.get(above)
        return above

    def _class_of(self, node: ast.AST) -> ast.ClassDef | None:
        above = self._parents.get(node)
        while above is not None and not isinstance(above, ast.ClassDef):
            above = self._parents.get(above)
        return above

    @cached_property
    def _given(self) -> dict[tuple[Scope, str], list[ast.expr]]:
        found: dict[tuple[Scope, str], list[ast.expr]] = defaultdict(list)
        for kind in _KINDS:
            for node in self._by_kind.get(kind, ()):
                for target, value in _pairs(node):
                    self._give(found, node, target, value)
        for node in (*self._by_kind.get(ast.With, ()), *self._by_kind.get(ast.AsyncWith, ())):
            assert isinstance(node, ast.With | ast.AsyncWith)
            for item in node.items:
                if item.optional_vars is not None:
                    self._give(found, node, item.optional_vars, item.context_expr)
        return dict(found)

    def _give(
        self, found: dict[tuple[Scope, str], list[ast.expr]], node: ast.AST, target: ast.expr, value: ast.expr
    ) -> None:
        if isinstance(target, ast.Name):
            found[self._scope_of(node), target.id].append(value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "self":
            owner = self._class_of(node)
            if owner is not None:
                found[owner, f"self.{target.attr}"].append(value)
        elif isinstance(target, ast.Tuple | ast.List):
            for inner in target.elts:
                self._give(found, node, inner, value)


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield what is given a value, and the value."""
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _matched(target, node.value)
    elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
        if node.value is not None:
            yield node.target, node.value
    elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension):
        listed = node.iter.elts if isinstance(node.iter, ast.Tuple | ast.List | ast.Set) else [node.iter]
        for each in listed:
            yield from _matched(node.target, each)


def _matched(target: ast.expr, value: ast.expr) -> Iterator[tuple[ast.expr, ast.expr]]:
    is_many = isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List)
    if is_many and len(target.elts) == len(value.elts):  # type: ignore[attr-defined]
        yield from zip(target.elts, value.elts, strict=True)  # type: ignore[attr-defined]
    else:
        yield target, value


def is_argument(name: str, function: FunctionNode | ast.Lambda) -> bool:
    """Tell whether a function takes an argument of this name."""
    return any(each.arg == name for each in arguments_of(function))


def arguments_of(function: FunctionNode | ast.Lambda) -> list[ast.arg]:
    """Return everything that a function takes, in the order it is written."""
    taken = function.args
    extra = [each for each in (taken.vararg, taken.kwarg) if each is not None]
    return [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, *extra]


def defaults_of(function: FunctionNode | ast.Lambda) -> Iterator[tuple[ast.arg, ast.expr]]:
    """Yield each argument that has a default, with it."""
    placed = [*function.args.posonlyargs, *function.args.args]
    defaults = function.args.defaults
    yield from zip(placed[len(placed) - len(defaults) :], defaults, strict=True)
    for taken, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        if default is not None:
            yield taken, default
