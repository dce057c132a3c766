"""What is handed on: functions with some of their arguments, what is left of arguments, and what runs only later."""

import ast
import functools
import inspect
import types
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from limen.checklist.routes.code import MISSING
from limen.checklist.routes.values import Answer, Instance, Nested, Sign, mixed


@dataclass(slots=True)
class Called:
    """A call, with what its parts stand for.

    Attributes:
        node: the call.
        name: of what is called, without what it is an attribute of.
        base: what it is an attribute of, or None.
        callee: what is called.
        args: what is handed over by position.
        named: what is handed over by name.
        handed: somebody waits for what it returns.
        owner: the object of a method, where it is not what the callee is an attribute of.
    """

    node: ast.Call
    name: str
    base: Any
    callee: Any
    args: list[Any]
    named: dict[Any, Any]
    handed: bool = False
    owner: Any = None

    @property
    def values(self) -> list[Any]:
        """All that goes into it."""
        base = [self.base] if isinstance(self.base, Sign) else []
        return [*_flat(self.args), *_flat(self.named.values()), *base]

    def of(self, callee: Any, args: Iterable[Any], named: dict[Any, Any] | None = None) -> "Called":
        """Return the call of something else that this one leads to."""
        bound = callee.called if isinstance(callee, Bound) else None
        if bound is not None:
            return replace(bound, args=[*bound.args, *args], named=bound.named | (named or {}), handed=False)
        name = str(getattr(callee, "__name__", self.name))
        return replace(self, name=name, base=None, callee=callee, args=[*args], named=named or {}, handed=False)


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A function with some of what it will be called with: a method of an object, a partial.

    Attributes:
        called: the call as far as it is known.
        waits: what it is when it is called: as the function itself, waited for there, or to be waited for.
    """

    called: Called
    waits: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Later:
    """What runs where somebody waits for it: a coroutine, a task, a future. Where nobody does, it refuses nobody."""

    calls: tuple[Called, ...]


@dataclass(frozen=True, slots=True)
class Rest:
    """What a function was handed by position besides its parameters: its ``*args``."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What a function was handed by name besides its parameters: its ``**kwargs``."""

    values: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """Where a function stands that is handed on: the function around it, and the names there."""

    function: types.FunctionType
    env: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tasks:
    """A group of tasks, at whose end all of them have ended."""


HANDED: Final = Bound | Later | Rest | Named | Tasks
"""The values of this module: none of them has attributes."""


def item_of(rest: Rest | Named, key: Any) -> Any:
    """Return what is handed under a name or at a position."""
    if isinstance(rest, Named):
        return rest.values.get(key, MISSING) if isinstance(key, str) else mixed(_flat([rest]))
    is_there = isinstance(key, int) and -len(rest.values) <= key < len(rest.values)
    return rest.values[key] if is_there else mixed(_flat([rest]))


def bound_to(base: Any, name: str, value: Any, node: ast.Call) -> Any:
    """Return a method together with its object, where a function is handed on that was found as an attribute."""
    if not isinstance(value, types.FunctionType) or owner_in(base, name) is None:
        return value
    return Bound(Called(node, name, base, value, [], {}))


def owner_in(base: Any, name: str) -> Any:
    """Return what the first parameter of a function is that was found as an attribute; None where it is its own."""
    if base is None or base is MISSING or isinstance(base, types.ModuleType | Sign):
        return None
    is_class = inspect.isclass(base)
    kind = base.kind if isinstance(base, Instance) else base if is_class else type(base)
    found = inspect.getattr_static(kind, name, None)
    if isinstance(found, classmethod):
        return kind
    is_of_object = not is_class and not isinstance(base, Instance) and name in getattr(base, "__dict__", {})
    return None if is_class or is_of_object or isinstance(found, staticmethod) else base


def partial_of(called: Called) -> Any:
    """Return what ``functools.partial`` makes."""
    return Bound(called.of(called.args[0], called.args[1:], called.named))


def live_partial(called: Called, callee: "functools.partial[Any]") -> Called:
    """Return the call that a call of a partial is which the application has made."""
    return called.of(callee.func, [*callee.args, *called.args], callee.keywords | called.named)


def waits(value: Any) -> bool | None:
    """Tell whether a value is to be waited for, or is a function whose value is; None where that is not known."""
    if isinstance(value, Bound):
        return waits(value.called.callee) if value.waits is None else value.waits
    if isinstance(value, Nested):
        return isinstance(value.node, ast.AsyncFunctionDef)
    if isinstance(value, types.FunctionType | types.MethodType | functools.partial):
        return inspect.iscoroutinefunction(value)
    return isinstance(value, Later) if isinstance(value, Later | Answer | Sign) else None


def rests_of(code: types.CodeType, args: Iterable[Any], named: dict[Any, Any]) -> dict[str, Any]:
    """Return the ``*args`` and ``**kwargs`` of a function.

    Args:
        code: the function's.
        args: all that is handed by position, the object of a method included.
        named: all that is handed by name.
    """
    count = code.co_argcount + code.co_kwonlyargcount
    names, rest = code.co_varnames[:count], iter(code.co_varnames[count:])
    found: dict[str, Any] = {}
    if code.co_flags & inspect.CO_VARARGS:
        found[next(rest)] = Rest(tuple(args)[code.co_argcount :])
    if code.co_flags & inspect.CO_VARKEYWORDS:
        found[next(rest)] = Named({name: each for name, each in named.items() if name and name not in names})
    return found


def env_of_nested(nested: Nested, args: list[Any], named: dict[Any, Any]) -> dict[str, Any]:
    """Return what the parameters of a function are that stands inside another."""
    told = nested.node.args
    by_place = [each.arg for each in (*told.posonlyargs, *told.args)]
    names = [*by_place, *(each.arg for each in told.kwonlyargs)]
    env: dict[str, Any] = dict.fromkeys(names, MISSING)
    for each, default in zip(by_place[::-1], told.defaults[::-1], strict=False):
        env[each] = default.value if isinstance(default, ast.Constant) else MISSING
    env |= dict(zip(by_place, args, strict=False))
    env |= {name: value for name, value in named.items() if name in names}
    if told.vararg is not None:
        env[told.vararg.arg] = Rest(tuple(args[len(by_place) :]))
    if told.kwarg is not None:
        env[told.kwarg.arg] = Named({name: each for name, each in named.items() if name and name not in names})
    return env


def _flat(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for each in values:
        if isinstance(each, Rest | Named):
            found += _flat(each.values if isinstance(each, Rest) else each.values.values())
        else:
            found.append(each)
    return found
