"""Compiles conditions into Python functions: one function decides one action about one kind of resource.

The function is built as a syntax tree and never as text. Names of fields stand in it as strings or as attributes of the
tree, constants of policies only as values of its namespace: whatever they hold, none of it is parsed. Every attribute
is read once, first, so that whether an instance was loaded is answered the same for everybody.
"""

import ast
import keyword
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from types import FunctionType
from typing import Any, Final
from uuid import UUID

from limen.authz.compilers.leaves import asking, comparing, including, matching, null
from limen.authz.compilers.reading import NO_CONTEXT, OWN_FIELDS, Untold, completed, plain, step
from limen.authz.policy.models import shape_of
from limen.authz.policy.nodes import (
    And,
    AnyRow,
    Attribute,
    Compare,
    Comparison,
    Constant,
    HasPermission,
    HasRole,
    In,
    IsNull,
    Match,
    Node,
    Operand,
    Or,
    PythonLeaf,
    Source,
    TextMatch,
    Truth,
)
from limen.authz.policy.normal_form import negated, normal_form
from limen.authz.policy.shapes import Kind, Model
from limen.authz.policy.values import ABSENT, enum_of, uuid_of

Decide = Callable[[Any, Any, Any], Any]
"""Is given principal, resource and context."""


def never(_principal: object, _resource: object, _context: object) -> bool:
    """Answer no, whatever is asked."""
    return False


class Access(Enum):
    """How the fields of an instance are read."""

    MAPPED = "loaded attributes of a mapped class"
    PLAIN = "attributes"
    MAPPING = "items"


def access_to(model: Model) -> Access:
    """Return how the instances of a model are read."""
    shape = shape_of(model)
    if shape.is_mapping:
        return Access.MAPPING
    return Access.MAPPED if shape.is_mapped else Access.PLAIN


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What compiled functions need beside their arguments.

    Attributes:
        now: answers the time, in UTC.
        untold: is called where the subject's attributes were needed and not loaded.
    """

    now: Callable[[], Any]
    untold: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Branch:
    """One step of a function: where the condition, in normal form, holds or does not, it answers."""

    condition: Node
    holds: bool
    answer: object


def condition(node: Node, access: Access, surroundings: Surroundings) -> Decide:
    """Return a function that tells whether a condition in normal form is true: True or False, and nothing else.

    The function raises what a function of the application's raises, and NotLoaded.
    """
    writer = _Writer(access, surroundings)
    return writer.function([ast.Return(writer.node(node))])


def cases(branches: Iterable[Branch], otherwise: object, access: Access, surroundings: Surroundings) -> Decide:
    """Return a function that goes through branches, and answers as the first one that applies says."""
    writer = _Writer(access, surroundings)
    body: list[ast.stmt] = []
    for branch in branches:
        test = writer.node(branch.condition)
        test = test if branch.holds else ast.UnaryOp(ast.Not(), test)
        body.append(ast.If(test, [ast.Return(writer.bound(branch.answer))], []))
    body.append(ast.Return(writer.bound(otherwise)))
    return writer.function(body)


_OPERATORS: Final[Mapping[Comparison, type[ast.cmpop]]] = {
    Comparison.EQUAL: ast.Eq,
    Comparison.NOT_EQUAL: ast.NotEq,
    Comparison.LESS: ast.Lt,
    Comparison.LESS_OR_EQUAL: ast.LtE,
    Comparison.GREATER: ast.Gt,
    Comparison.GREATER_OR_EQUAL: ast.GtE,
}

_EXACT: Final[Mapping[Kind, type]] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.FLOAT: float,
    Kind.UUID: UUID,
    Kind.BYTES: bytes,
    Kind.DATE: date,
    Kind.DURATION: timedelta,
}
"""The kinds of which values of exactly this type are compared as Python does, without asking anything else."""

_ONE_IS_ENOUGH: Final = frozenset({str, UUID, bytes})
"""The types whose values equal only what is of their kind, so that of an equality one side is looked at."""


def exact_type(left: Operand, right: Operand) -> type | None:
    """Return the type that both sides of a comparison usually are exactly; None where there is no such type."""
    one, other = left.kind, right.kind
    kind = other if one is Kind.ANY else one
    if other not in {kind, Kind.ANY}:
        return None
    if kind is Kind.ENUM:
        return enum_of(right if one is Kind.ANY else left)
    return _EXACT.get(kind)


def _load(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _call(function: ast.expr, *arguments: ast.expr) -> ast.Call:
    return ast.Call(function, list(arguments), [])


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _is_plain_name(name: str) -> bool:
    """Tell whether an attribute may be named so in a syntax tree: what Python would read as this very name."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and not name.startswith("__")


class _Writer:
    """Writes one function."""

    def __init__(self, access: Access, surroundings: Surroundings) -> None:
        self._access = access
        self._surroundings = surroundings
        self._namespace: dict[str, object] = {}
        self._locals: dict[object, str] = {}
        self._subject: list[ast.stmt] = []
        self._resource: dict[str, tuple[str, bool]] = {}
        self._later: list[ast.stmt] = []

    # --- names

    def bound(self, value: object, called: str = "k") -> ast.Name:
        """Return the name under which the function finds a value; nothing of the value is in the name."""
        name = f"{called}{len(self._namespace)}"
        self._namespace[name] = value
        return _load(name)

    def _builtin(self, value: Callable[..., Any], called: str) -> ast.Name:
        self._namespace[called] = value
        return _load(called)

    def _local(self, key: object) -> tuple[str, bool]:
        """Return the local variable of something that is read once, and whether it is a new one."""
        found = self._locals.get(key)
        if found is not None:
            return found, False
        name = self._locals[key] = f"v{len(self._locals)}"
        return name, True

    # --- reading

    def operand(self, operand: Operand) -> ast.expr:
        """Return what an operand is in the function; an attribute is a local variable, read before anything else."""
        if isinstance(operand, Constant):
            return self.bound(operand.value)
        name = self._first(operand)
        for depth in range(2, len(operand.path) + 1):
            further, is_new = self._local((operand.source, operand.path[:depth]))
            if is_new:
                called = _call(self._builtin(step, "step"), _load(name), ast.Constant(operand.path[depth - 1]))
                self._later.append(_assign(further, called))
            name = further
        if operand.cast is not None:
            cast, is_new = self._local((operand.source, operand.path, operand.cast))
            if is_new:
                self._later.append(_assign(cast, _call(self._builtin(uuid_of, "uuid_of"), _load(name))))
            name = cast
        return _load(name)

    def _first(self, attribute: Attribute) -> str:
        field = attribute.path[0]
        name, is_new = self._local((attribute.source, field))
        if not is_new:
            return name
        if attribute.source is Source.RESOURCE:
            to_many = attribute.shape.to_many and len(attribute.path) == 1
            self._resource[field] = name, to_many
        elif attribute.source is Source.CONTEXT:
            self._of_context(name, field)
        else:
            self._of_subject(name, field)
        return name

    def _of_context(self, name: str, field: str) -> None:
        given, is_new = self._local("context")
        if is_new:
            context = ast.IfExp(
                ast.Compare(_load("c"), [ast.Is()], [ast.Constant(None)]),
                self._builtin(NO_CONTEXT, "NO_CONTEXT"),  # type: ignore[arg-type]
                _load("c"),
            )
            self._subject.append(_assign(given, context))
        get = ast.Attribute(_load(given), "get", ast.Load())
        if field != "now":
            # What nobody told is neither null nor not: a deny that asks either must not be passed by leaving it out.
            absent = self._builtin(ABSENT, "ABSENT")  # type: ignore[arg-type]
            self._subject.append(_assign(name, _call(get, ast.Constant(field), absent)))
        else:
            self._subject.append(_assign(name, _call(get, ast.Constant(field))))
            now = _assign(name, _call(self._builtin(self._surroundings.now, "now")))
            self._subject.append(ast.If(_is_none(name), [now], []))

    def _of_subject(self, name: str, field: str) -> None:
        if field == "id":
            # The anonymous principal's is empty, and an empty one is nobody's: missing.
            sub = ast.BoolOp(ast.Or(), [ast.Attribute(_load("p"), "sub", ast.Load()), ast.Constant(None)])
            self._subject.append(_assign(name, sub))
        elif field in OWN_FIELDS:
            self._subject.append(_assign(name, ast.Attribute(_load("p"), field, ast.Load())))
        else:
            told, is_new = self._local("attributes")
            if is_new:
                self._subject.append(_assign(told, ast.Attribute(_load("p"), "attributes", ast.Load())))
                untold = self.bound(Untold(self._surroundings.untold))
                self._subject.append(ast.If(_is_none(told), [_assign(told, untold)], []))
            get = ast.Attribute(_load(told), "get", ast.Load())
            self._subject.append(_assign(name, _call(get, ast.Constant(field))))

    def _reading_resource(self) -> list[ast.stmt]:
        if not self._resource:
            return []
        if self._access is Access.MAPPING:
            get = ast.Attribute(_load("r"), "get", ast.Load())
            return [_assign(name, _call(get, ast.Constant(field))) for field, (name, _) in self._resource.items()]
        if self._access is Access.PLAIN:
            return [_assign(name, self._plain(field)) for field, (name, _) in self._resource.items()]
        items = [
            _assign(name, ast.Subscript(_load("d"), ast.Constant(field), ast.Load()))
            for field, (name, _) in self._resource.items()
        ]
        fields = self.bound(tuple(self._resource))
        relations = self.bound(tuple(field for field, (_, to_many) in self._resource.items() if to_many))
        complete = _call(self._builtin(completed, "completed"), _load("r"), fields, relations)
        handler = ast.ExceptHandler(self._builtin(KeyError, "KeyError"), None, [_assign("d", complete), *items])
        loaded = ast.Attribute(_load("r"), "__dict__", ast.Load())
        return [_assign("d", loaded), ast.Try(items, [handler], [], [])]

    def _plain(self, field: str) -> ast.expr:
        if _is_plain_name(field):
            return ast.Attribute(_load("r"), field, ast.Load())
        return _call(self._builtin(plain, "plain"), _load("r"), ast.Constant(field))

    # --- conditions

    def node(self, node: Node) -> ast.expr:
        """Return the expression of a condition in normal form; it is True or False."""
        match node:
            case And(parts):
                return ast.BoolOp(ast.And(), [self.node(part) for part in parts])
            case Or(parts):
                return ast.BoolOp(ast.Or(), [self.node(part) for part in parts])
            case _:
                return self._leaf(node)

    def _leaf(self, leaf: Node) -> ast.expr:  # noqa: PLR0911 - one for each kind of node
        match leaf:
            case Truth(value):
                return ast.Constant(value)
            case HasRole(role, is_not):
                return self._held("roles", role, is_not=is_not)
            case HasPermission(permission, is_not):
                return self._held("permissions", permission, is_not=is_not)
            case Compare():
                return self._compare(leaf)
            case In():
                return self._in(leaf)
            case TextMatch():
                return self._match(leaf)
            case IsNull():
                return self._null(leaf)
            case AnyRow():
                return self._any_row(leaf)
            case PythonLeaf():
                context = ast.BoolOp(ast.Or(), [_load("c"), self._builtin(NO_CONTEXT, "NO_CONTEXT")])  # type: ignore[arg-type]
                return _call(self.bound(asking(leaf)), _load("p"), _load("r"), context)
            case _:
                raise TypeError(f"{type(leaf).__name__} is not in normal form")

    def _held(self, field: str, name: str, *, is_not: bool) -> ast.expr:
        sign = ast.NotIn() if is_not else ast.In()
        return ast.Compare(self.bound(name), [sign], [ast.Attribute(_load("p"), field, ast.Load())])

    def _compare(self, leaf: Compare) -> ast.expr:
        left, right = self.operand(leaf.left), self.operand(leaf.right)
        if leaf.left.kind is Kind.BOOLEAN and isinstance(leaf.right, Constant) and type(leaf.right.value) is bool:
            # A truth is that very object; unequal to one is the other one, and not what is no truth at all.
            wanted = leaf.right.value is (leaf.comparison is Comparison.EQUAL)
            return ast.Compare(left, [ast.Is()], [ast.Constant(wanted)])
        slow = _call(self.bound(comparing(leaf.comparison, leaf.left, leaf.right)), left, right)
        exact = exact_type(leaf.left, leaf.right)
        if exact is None or (exact is float and leaf.comparison is Comparison.NOT_EQUAL):
            return slow
        sides = [(side, where) for side, where in ((leaf.left, left), (leaf.right, right)) if _is_read(side)]
        if any(isinstance(side, Constant) and type(side.value) is not exact for side in (leaf.left, leaf.right)):
            return slow
        if leaf.comparison is Comparison.EQUAL and exact in _ONE_IS_ENOUGH:
            sides = sides[:1]
        fast = ast.Compare(left, [_OPERATORS[leaf.comparison]()], [right])
        return self._where_exact(exact, [where for _, where in sides], fast, slow)

    def _in(self, leaf: In) -> ast.expr:
        item, options = self.operand(leaf.item), self.operand(leaf.options)
        slow = _call(self.bound(including(leaf)), item, options)
        if not isinstance(leaf.options, Constant) or not _is_read(leaf.item):
            return slow
        types = {type(value) for value in leaf.options.value}
        example = Constant(next(iter(leaf.options.value), None), leaf.options.kind)
        exact = exact_type(leaf.item, example)
        if exact is None or types != {exact}:
            return slow
        if exact is float and leaf.negated:
            return slow
        fast = ast.Compare(item, [ast.NotIn() if leaf.negated else ast.In()], [options])
        return self._where_exact(exact, [item], fast, slow)

    def _match(self, leaf: TextMatch) -> ast.expr:
        text, part = self.operand(leaf.text), self.operand(leaf.part)
        slow = _call(self.bound(matching(leaf)), text, part)
        read = [where for side, where in ((leaf.text, text), (leaf.part, part)) if _is_read(side)]
        if leaf.match is Match.STARTS_WITH or (isinstance(leaf.part, Constant) and type(leaf.part.value) is not str):
            return slow
        fast = ast.Compare(part, [ast.NotIn() if leaf.negated else ast.In()], [text])
        return self._where_exact(str, read, fast, slow)

    def _null(self, leaf: IsNull) -> ast.expr:
        value, attribute = self.operand(leaf.operand), leaf.operand
        may_be_absent = len(attribute.path) > 1 or attribute.source is not Source.RESOURCE
        if may_be_absent or attribute.kind in {Kind.FLOAT, Kind.DECIMAL, Kind.ANY}:
            return _call(self.bound(null(leaf)), value)
        return ast.Compare(value, [ast.IsNot() if leaf.negated else ast.Is()], [ast.Constant(None)])

    def _any_row(self, leaf: AnyRow) -> ast.expr:
        rows = self.operand(leaf.relation)
        return _call(self.bound(_Rows(leaf, self._surroundings)), rows, _load("p"), _load("c"))

    def _where_exact(self, exact: type, read: list[ast.expr], fast: ast.expr, slow: ast.expr) -> ast.expr:
        """Return the quick comparison where values are exactly of the type, and else the one that knows every value."""
        kind = self._builtin(type, "type")
        tests: list[ast.expr] = [
            ast.Compare(_call(kind, where), [ast.Is()], [self._builtin(exact, _called(exact))]) for where in read
        ]
        return ast.IfExp(tests[0] if len(tests) == 1 else ast.BoolOp(ast.And(), tests), fast, slow)

    # --- the function

    def function(self, body: list[ast.stmt]) -> Decide:
        """Return the function with this body, after all that it reads."""
        reading = [*self._reading_resource(), *self._subject, *self._later]
        parameters = ast.arguments([], [ast.arg("p"), ast.arg("r"), ast.arg("c")], None, [], [], None, [])
        defined = ast.FunctionDef("decide", parameters, [*reading, *body], [])
        module = ast.fix_missing_locations(ast.Module([defined], []))
        code = compile(module, "<policy>", "exec", dont_inherit=True)
        made = next(each for each in code.co_consts if hasattr(each, "co_code"))
        return FunctionType(made, {"__builtins__": {}, **self._namespace}, "decide")


def _is_none(name: str) -> ast.expr:
    return ast.Compare(_load(name), [ast.Is()], [ast.Constant(None)])


def _is_read(operand: Operand) -> bool:
    return not isinstance(operand, Constant)


def _called(exact: type) -> str:
    # Two enumerations may bear one name.
    return f"t{id(exact)}"


class _Rows:
    """Asks the rows at the other end of a relation; compiled when a row of their sort is first met."""

    __slots__ = ("_access", "_condition", "_every", "_functions", "_model", "_surroundings")

    def __init__(self, leaf: AnyRow, surroundings: Surroundings) -> None:
        self._every = leaf.negated
        self._condition = negated(leaf.condition) if leaf.negated else normal_form(leaf.condition)
        self._model = leaf.row.model
        self._access = access_to(leaf.row.model)
        self._surroundings = surroundings
        self._functions: dict[Access, Decide] = {}

    def __call__(self, rows: Any, principal: Any, context: Any) -> bool:
        """Tell whether some row meets the condition, or where negated, every row its opposite.

        Where it is not known which rows there are, neither is true.
        """
        if rows is None or rows is ABSENT:
            return False
        values = rows.values() if isinstance(rows, Mapping) else rows
        asked = (self._holds(row, principal, context) for row in values)
        return all(asked) if self._every else any(asked)

    def _holds(self, row: Any, principal: Any, context: Any) -> bool:
        access = self._access
        if isinstance(row, Mapping):
            access = Access.MAPPING
        elif access is Access.MAPPING or not isinstance(row, self._model):
            return False
        function = self._functions.get(access)
        if function is None:
            function = self._functions[access] = condition(self._condition, access, self._surroundings)
        return bool(function(principal, row, context))
