"""What runs a function that it is handed, as thread pools, tasks and partials do, where somebody waits for its end."""

import abc
import functools
import types
from dataclasses import replace
from typing import Any, Final

from limen.checklist.routes.code import MISSING
from limen.checklist.routes.handing import (
    Bound,
    Called,
    Later,
    Named,
    Rest,
    Tasks,
    item_of,
    live_partial,
    partial_of,
)
from limen.checklist.routes.libraries import is_own
from limen.checklist.routes.states import State
from limen.checklist.routes.taking import Taking
from limen.checklist.routes.values import Instance, Nested, mixed

_IN_A_THREAD: Final = {"run_in_threadpool": 0, "to_thread": 0, "run_sync": 0, "run_in_executor": 1, "submit": 0}
"""Where the function stands among the arguments of what runs it elsewhere, and is waited for, or is not."""

_ON_THE_WAY: Final = frozenset(
    {"create_task", "ensure_future", "shield", "wait_for", "wrap_future", "run_coroutine_threadsafe"}
)
"""What hands back what it was given, to be waited for."""

_OPTIONS: Final = frozenset({"limiter", "cancellable", "abandon_on_cancel"})


class Threads(Taking):
    """The calls of what runs other functions."""

    @abc.abstractmethod
    def invoke(self, called: Called, state: State) -> Any:
        """Return what a call ends in whose parts are known."""

    def awaited(self, value: Any, state: State) -> Any:
        """Run through what somebody waits for here."""
        if not isinstance(value, Later):
            return value
        found = [self.invoke(each, state) for each in value.calls]
        return found[0] if len(found) == 1 else MISSING

    def _on_what_is_handed(self, called: Called, state: State) -> Any:
        """Take a call of, or on, a partial, a task, or what is left of arguments."""
        base, callee, name = called.base, called.callee, called.name.rpartition(".")[2]
        if isinstance(base, Later):
            return self.awaited(base, state) if name == "result" else MISSING
        if isinstance(base, Rest | Named):
            is_item = name in {"get", "pop"} and called.args
            return item_of(base, called.args[0]) if is_item else mixed(called.values)
        if isinstance(callee, Bound):
            return self._bound(called, callee, state)
        if callee is functools.partial and called.args:
            return partial_of(called)
        if isinstance(callee, functools.partial):
            return self.invoke(live_partial(called, callee), state)
        return NotImplemented

    def _bound(self, called: Called, bound: Bound, state: State) -> Any:
        inner = called.of(bound, called.args, called.named)
        if bound.waits is None:
            return self.invoke(replace(inner, handed=called.handed), state)
        return Later((inner,)) if bound.waits else self.awaited(self.invoke(inner, state), state)

    def _in_threads(self, called: Called, state: State) -> Any:  # noqa: PLR0911 - a line for each way
        """Take a call of what runs a function: what an application's own does is read, not known by its name."""
        name, args = called.name.rpartition(".")[2], called.args
        if name == "create_task_group":
            return Tasks()
        if _is_group(called.base) and args:
            return self._of_group(called, state)
        if not args or is_own(called.callee):
            return NotImplemented
        first, module = args[0], str(getattr(called.callee, "__module__", ""))
        if name in _IN_A_THREAD:
            return self._in_a_thread(called, name, module, state)
        if name == "gather":
            is_quiet = called.named.get("return_exceptions", False) is not False  # errors are handed back as values
            found = [] if is_quiet else [each for each in args if isinstance(each, Later)]
            return Later(tuple(every for each in found for every in each.calls)) if found else mixed(args)
        if name in _ON_THE_WAY and isinstance(first, Later):
            return first
        if name == "run_until_complete" or (name == "run" and module.split(".", maxsplit=1)[0] in {"asyncio", "anyio"}):
            is_function = is_callable(first)
            return self.awaited(self.invoke(called.of(first, args[1:]), state) if is_function else first, state)
        if name in {"sync_to_async", "asyncify", "async_to_sync", "syncify"} and is_callable(first):
            return Bound(called.of(first, ()), waits=name in {"sync_to_async", "asyncify"})
        return NotImplemented

    def _in_a_thread(self, called: Called, name: str, module: str, state: State) -> Any:
        place = _IN_A_THREAD[name]
        given = called.args[place] if len(called.args) > place else MISSING
        if not is_callable(given):
            return NotImplemented
        args = called.args[place + 1 :]
        if name == "run_sync" and not module.startswith("anyio"):
            args = [MISSING, *args]  # a session of a database hands itself over first
        inner = called.of(given, args, {key: each for key, each in called.named.items() if key not in _OPTIONS})
        return self.invoke(inner, state) if module == "anyio.from_thread" else Later((inner,))

    def _of_group(self, called: Called, state: State) -> Any:
        """Take a task of a group: at the end of the group's block it has ended, or the block has failed."""
        name, first = called.name, called.args[0]
        if name == "create_task":
            return self.awaited(first, state)
        if name in {"start_soon", "start"} and is_callable(first):
            return self.awaited(self.invoke(called.of(first, called.args[1:]), state), state)
        return MISSING


def is_callable(value: Any) -> bool:
    """Tell whether a value is a function that can be followed where it is called."""
    return isinstance(value, Bound | Nested | types.FunctionType | types.MethodType | functools.partial)


def _is_group(base: Any) -> bool:
    return isinstance(base, Tasks) or (isinstance(base, Instance) and base.kind.__name__ == "TaskGroup")
