"""What a call ends in: code that can be followed is run through, libraries are known, the rest is unknown."""

import ast
import inspect
import re
import types
from dataclasses import replace
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from limen.checklist.routes.code import MISSING, function_of
from limen.checklist.routes.handing import HANDED, Bound, Called, Home, Later, Named, Rest, bound_to, owner_in
from limen.checklist.routes.libraries import error_of_token, is_closed_book, reads_token, skips_signature
from limen.checklist.routes.raising import Error, error_of, sounds_like_a_check, sounds_like_refusal, status_in
from limen.checklist.routes.states import Ended, Exit, State, Summary
from limen.checklist.routes.threads import Threads, is_callable
from limen.checklist.routes.values import ONWARD, Answer, Carrier, Instance, Nested, Sign, is_flag, is_tainted, mixed
from limen.checklist.syntax import unparsed

_STORE_VERBS: Final = frozenset(
    {
        *("execute", "scalar", "scalars", "query", "find_one", "get_or_none", "fetchone", "fetchrow", "fetchval"),
        *("fetchall", "fetch_one", "fetch_row", "fetch_val", "fetch_all"),
    }
)
_STORES: Final = re.compile(
    r"(^|_)(db|session|database|conn|connection|crud|repo|repository|dao|store|users?_?(db|repo|service))$"
)
_LOGIN: Final = re.compile(r"log_?in|sign_?in", re.IGNORECASE)
_FORGETS: Final = frozenset(
    {
        *("add_task", "create_task", "start_soon", "submit", "call_soon", "call_later", "add_done_callback", "delay"),
        *("apply_async", "register", "subscribe", "connect", "add_event_handler", "add_listener", "append", "spawn"),
    }
)
"""What keeps a function for later, and refuses nobody."""


class Calling(Threads):
    """The calls of one function."""

    def call(self, node: ast.Call, state: State) -> Any:
        """Return what a call returns, and run through what it runs.

        Raises:
            Ended: it never returns.
        """
        func = node.func
        if isinstance(func, ast.Attribute) and unparsed(func.value) == "super()":
            return self._of_base(node, func.attr, state)
        each = self._of_each(node, state) if self.reading.asked is not None else None
        if each is not None:
            return each
        called = self._called(node, state)
        self._note_store(called.name, func)
        return self.invoke(called, state)

    def invoke(self, called: Called, state: State) -> Any:
        """Return what a call returns whose parts are known already.

        Raises:
            Ended: it never returns.
        """
        if self._hands_on(called):
            return self._handed_on(state)
        if reads_token(called.callee, called.base, called.name):
            return self._token(called, state)
        for known in (
            *(self._on_a_place, self._on_what_is_handed, self._on_a_carrier, self._on_a_sign, self._on_a_connection),
            *(self._builtin, self._special, self._in_threads),
        ):
            found = known(called, state)
            if found is not NotImplemented:
                return found
        return self._function(called, state)

    def _called(self, node: ast.Call, state: State) -> Called:
        func, base = node.func, None
        if isinstance(func, ast.Attribute):
            base, name = self.eval(func.value, state), func.attr
            callee = self.attribute(base, name)
        else:
            callee, name = self.eval(func, state), unparsed(func)
        args = [given for each in node.args for given in self._given(each, node, state)]
        named: dict[Any, Any] = {}
        for word in node.keywords:
            value = self._handed(word.value, node, state)
            named |= value.values if word.arg is None and isinstance(value, Named) else {word.arg: value}
        return Called(node, name, base, callee, args, named)

    def _given(self, node: ast.expr, call: ast.Call, state: State) -> list[Any]:
        """Return what an argument hands over: of one with a star, each part."""
        if not isinstance(node, ast.Starred):
            return [self._handed(node, call, state)]
        if isinstance(node.value, ast.Tuple | ast.List):
            return [given for each in node.value.elts for given in self._given(each, call, state)]
        value = self.eval(node.value, state)
        return list(value.values if isinstance(value, Rest) else value if isinstance(value, tuple) else [value])

    def _handed(self, node: ast.expr, call: ast.Call, state: State) -> Any:
        """Return what is handed over; a function of an object or of this function keeps what it belongs to."""
        if isinstance(node, ast.Attribute):
            base = self.eval(node.value, state)
            return bound_to(base, node.attr, self.attribute(base, node.attr), call)
        value = self.eval(node, state)
        if isinstance(value, Nested) and value.home is None:
            return replace(value, home=Home(self.function, state.env))
        return value

    def _special(self, called: Called, state: State) -> Any:
        """Take a class, a response, and a function inside this one."""
        callee = called.callee
        if inspect.isclass(callee):
            return self._made(called, callee, state)
        if isinstance(callee, Answer):
            state.answered = callee.status
            return MISSING
        return self._inline(called, callee, state) if isinstance(callee, Nested) else NotImplemented

    def _of_base(self, node: ast.Call, name: str, state: State) -> Any:
        """Return what a method of a base class returns."""
        if self.reading.is_middleware and name in {"__call__", "dispatch"}:
            return self._handed_on(state)
        if name == "get_route_handler":
            return ONWARD
        code = self.function.__code__
        owner = state.env.get(code.co_varnames[0]) if code.co_argcount else None
        kind = owner.kind if isinstance(owner, Instance) else owner if inspect.isclass(owner) else type(owner)
        function = function_of(_in_bases(kind, name, code))
        called = replace(self._called(node, state), base=None, callee=function or MISSING, owner=owner)
        return mixed(called.values) if function is None else self._function(called, state)

    def _note_store(self, name: str, func: ast.expr) -> None:
        if isinstance(func, ast.Attribute) and (
            name in _STORE_VERBS or (name in {"get", "first", "one"} and _STORES.search(unparsed(func.value)))
        ):
            self.facts.asks_store = True

    def _hands_on(self, called: Called) -> bool:
        """Tell whether what stands behind is called: the next application, or the function that is wrapped."""
        wrapped = self.reading.wrapped
        if called.callee is ONWARD:
            return True
        if isinstance(called.callee, HANDED):
            return False
        if wrapped is not None and any(each is wrapped for each in (called.callee, *called.args)):
            return True
        is_nested = isinstance(called.callee, Nested | types.FunctionType)
        return self.reading.is_middleware and not is_nested and called.name in {"app", "_app", "call_next", "inner"}

    def _handed_on(self, state: State) -> Any:
        if not state.gone:
            self.handed_on.append(state.copy())
            state.gone = True
        return MISSING

    def _made(self, called: Called, kind: type, state: State) -> Any:
        """Return what a class makes."""
        args, named, text = called.args, called.named, unparsed(called.node)
        if issubclass(kind, BaseException):
            given = named.get("status_code", named.get("code", args[0] if args else None))
            return error_of(kind, given, text)
        if issubclass(kind, Response):
            given = named.get("status_code", args[1] if len(args) > 1 else 200)
            status = int(given) if isinstance(given, int) else status_in(text)
            is_login = issubclass(kind, RedirectResponse) and _LOGIN.search(text)
            return Answer(401 if is_login else status if status >= 400 else 0)
        if issubclass(kind, Headers):
            return Carrier("headers")
        constructor = inspect.getattr_static(kind, "__init__", None)
        is_own = not issubclass(kind, HTTPConnection) and isinstance(constructor, types.FunctionType)
        if is_own and not is_closed_book(constructor):
            self._apply(self.reading.summary(constructor, Instance(kind), args, named, self.depth + 1), state)
        if kind.__module__ == "builtins":
            return mixed(called.values)
        tainted = [each for each in called.values if is_tainted(each)]
        is_given = all(each is Sign.GIVEN for each in tainted)
        holds = None if not tainted else Sign.GIVEN if is_given else Sign.DERIVED
        is_own = all(each is None or is_flag(each) for each in [*args, *named.values()])
        return Instance(kind, is_new=True, is_own=is_own, holds=holds)

    def _inline(self, called: Called, nested: Nested, state: State) -> Any:
        """Run through a function that stands inside this one, with its names."""
        if isinstance(nested.node, ast.AsyncFunctionDef) and not called.handed:
            return Later((replace(called, handed=True),))
        if self.depth > self.reading.deepest:
            self.facts.is_cut = True
            return MISSING
        return self._apply(self.reading.nested(self, nested, called.args, called.named, state), state)

    def _function(self, called: Called, state: State) -> Any:
        """Run through a function, as far as there is one to be read."""
        callee, values = called.callee, called.values
        is_known = callee is not MISSING and not isinstance(callee, Sign | Carrier | HANDED)
        function = function_of(callee) if is_known else None
        if function is None or self.reading.is_abstract(function):
            self._doubt(called, is_told=not is_known or function is not None, is_known=is_known)
            return mixed(values)
        is_scheme = (function.__module__ or "").startswith("fastapi.security")
        if is_closed_book(function):
            return mixed(values)
        if inspect.iscoroutinefunction(function) and not called.handed:
            return Later((replace(called, handed=True),))
        owner = called.owner if called.owner is not None else _owner_of(called)
        if is_scheme and function.__name__ == "__call__":
            return self._of_scheme(owner, state)
        is_wrapper = getattr(self.function, "__wrapped__", None) is function
        summary = self.reading.summary(function, owner, called.args, called.named, self.depth + (not is_wrapper))
        found = self._apply(summary, state)
        return mixed(values) if found is MISSING else found

    def _doubt(self, called: Called, *, is_told: bool, is_known: bool) -> None:
        """Note a check that cannot be followed, and one that is handed to what cannot."""
        if is_told and sounds_like_a_check(called.name):
            self.facts.doubtful.add(called.name)
        if is_known or called.name.rpartition(".")[2] in _FORGETS:
            return
        for each in called.args:
            name = each.called.name if isinstance(each, Bound) else getattr(each, "__name__", "")
            if is_callable(each) and sounds_like_a_check(name):
                self.facts.doubtful.add(name)

    def _of_scheme(self, owner: Any, state: State) -> Any:
        """Return what a security class of FastAPI's takes out of a request; most refuse who shows nothing."""
        if self.reading.shown:
            return Sign.GIVEN
        if getattr(owner, "auto_error", isinstance(owner, Instance) is False) is False:
            return Sign.ABSENT
        asked = state.copy()
        asked.asked = True
        raise Ended(Exit("refused", asked, status=401, exception=HTTPException, name="HTTPException"))

    def _token(self, called: Called, state: State) -> Any:
        """Take a call of a library that verifies tokens: it raises where there is none."""
        self.facts.reads_token = True
        if skips_signature(called.node):
            return Sign.ABSENT if Sign.ABSENT in called.args[:1] else Sign.GIVEN
        if any(each is Sign.ABSENT for each in called.values):
            error = error_of_token(called.callee)
            raise Ended(Exit("raised", state.copy(), exception=error, name=error.__name__))
        state.checked = True
        self.facts.named.add("a token that is verified")
        return Sign.DERIVED

    def _apply(self, summary: Summary, state: State) -> Any:
        """Take over what a function that was called ends in."""
        self.facts.add(summary.facts)
        if summary.is_onward:
            self.handed_on.extend(
                State({}, each.checked or state.checked, each.sure and state.sure, each.why | state.why)
                for each in summary.passes
            )
            state.gone = True
        if not summary.passes and not summary.is_onward:
            left = next((each for each in summary.ends if each.kind == "refused"), None) or next(
                iter(summary.ends), None
            )
            if left is not None:
                raise Ended(Exit(left.kind, state.copy(), status=left.status, exception=left.exception, name=left.name))
            return MISSING
        self.partly += [each for each in (*summary.ends, *summary.partly) if each.kind == "refused"]
        unchecked = [each for each in summary.passes if not each.checked]
        if not unchecked:
            state.checked = True
        else:
            state.why |= frozenset().union(*(each.why for each in unchecked))
        if isinstance(summary.value, Answer) and any(each.answered for each in summary.passes):
            state.answered = summary.value.status
        return summary.value

    def raised(self, expression: ast.expr | None, state: State) -> Exit:
        """Return what a ``raise`` is."""
        if expression is None:
            again = self.caught[-1][0] if self.caught and self.caught[-1] else None
            if again is None:
                return Exit("raised", state, name="raised again")
            return Exit(again.kind, state, status=again.status, exception=again.exception, name=again.name)
        value = self.eval(expression, state)
        if inspect.isclass(value) and issubclass(value, BaseException):
            value = error_of(value, None)
        elif isinstance(value, Instance) and issubclass(value.kind, BaseException):
            value = error_of(value.kind, None)
        elif isinstance(value, BaseException):
            value = error_of(type(value), getattr(value, "status_code", None))
        if not isinstance(value, Error):
            name = unparsed(expression.func if isinstance(expression, ast.Call) else expression)
            return Exit("refused" if sounds_like_refusal(name) else "raised", state, name=name)
        refuses = 400 <= value.status < 500 or (not value.status and sounds_like_refusal(value.name))
        return Exit("refused" if refuses else "raised", state, None, value.status, value.kind, value.name)


def _in_bases(kind: type, name: str, code: types.CodeType) -> object:
    """Return the method of the next class after the one that has this code."""
    is_behind = False
    for each in kind.__mro__:
        here = vars(each).get(name)
        if is_behind and here is not None:
            return here
        own = [getattr(every, "__code__", None) for every in list(vars(each).values())]
        is_behind = is_behind or code in own
    return None


def _owner_of(called: Called) -> Any:
    callee = called.callee
    if isinstance(callee, types.MethodType):
        return callee.__self__
    is_wrapper = isinstance(getattr(callee, "__wrapped__", None), types.FunctionType)  # a cache, in most cases
    if not isinstance(callee, types.FunctionType) and not is_wrapper:
        return callee
    return owner_in(called.base, callee.__name__ if called.base is None else called.name)
