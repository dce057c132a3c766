"""What a call ends in: code that can be followed is run through, libraries are known, the rest is unknown."""

import ast
import functools
import inspect
import re
import types
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse, Response

from limen.checklist.routes.code import MISSING, function_of
from limen.checklist.routes.evaluating import Evaluating
from limen.checklist.routes.libraries import error_of_token, is_closed_book, reads_token, skips_signature
from limen.checklist.routes.raising import (
    Error,
    error_of,
    sounds_like_a_check,
    sounds_like_refusal,
    status_in,
)
from limen.checklist.routes.states import Ended, Exit, State, Summary
from limen.checklist.routes.values import (
    ONWARD,
    Answer,
    Carrier,
    Instance,
    Nested,
    Sign,
    carried,
    is_flag,
    is_request,
    is_tainted,
    mixed,
)
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
_RUNS_WHAT_IT_IS_GIVEN: Final = frozenset(
    {"gather", "wait_for", "shield", "run", "run_sync", "to_thread", "run_in_threadpool"}
)
_SAME_TEXT: Final = frozenset(
    {
        *("split", "rsplit", "removeprefix", "strip", "replace", "encode", "decode", "partition", "lower"),
        *("get_secret_value", "get_authorization_scheme_param", "str", "cast"),
    }
)
_SOCKET: Final = re.compile(r"(^|_)(ws|web_?socket|socket)$")
_LOGIN: Final = re.compile(r"log_?in|sign_?in", re.IGNORECASE)
_REFUSING_CODES: Final = re.compile(r"1008|300[03]|44?0[13]|policy_violation|unauthorized|forbidden", re.IGNORECASE)


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
        handed: somebody awaits what it returns.
    """

    node: ast.Call
    name: str
    base: Any
    callee: Any
    args: list[Any]
    named: dict[Any, Any]
    handed: bool

    @property
    def values(self) -> list[Any]:
        """All that goes into it."""
        return [*self.args, *self.named.values(), *([self.base] if isinstance(self.base, Sign) else [])]


class Calling(Evaluating):
    """The calls of one function."""

    def call(self, node: ast.Call, state: State, *, handed: bool) -> Any:
        """Return what a call returns, and run through what it runs.

        Args:
            node: the call.
            state: where it stands.
            handed: somebody awaits what it returns.

        Raises:
            Ended: it never returns.
        """
        func = node.func
        if isinstance(func, ast.Attribute) and unparsed(func.value) == "super()":
            return self._of_base(node, func.attr, state, handed=handed)
        called = self._called(node, state, handed=handed)
        self._note_store(called.name, func)
        if self._hands_on(called):
            return self._handed_on(state)
        if reads_token(called.callee, called.base, node):
            return self._token(called, state)
        for known in (self._on_a_carrier, self._on_a_sign, self._on_a_connection, self._builtin, self._special):
            found = known(called, state)
            if found is not NotImplemented:
                return found
        return self._function(called, state)

    def _called(self, node: ast.Call, state: State, *, handed: bool) -> Called:
        func, base = node.func, None
        if isinstance(func, ast.Attribute):
            base, name = self.eval(func.value, state), func.attr
            callee = self.attribute(base, name)
        else:
            callee, name = self.eval(func, state), unparsed(func)
        # Whose errors are handed back as values, that refuses nobody.
        is_quiet = any(each.arg == "return_exceptions" for each in node.keywords)
        runs = name in _RUNS_WHAT_IT_IS_GIVEN and not is_quiet
        args = [self.eval(each, state, handed=runs) for each in node.args]
        named = {each.arg: self.eval(each.value, state, handed=runs) for each in node.keywords}
        return Called(node, name, base, callee, args, named, handed)

    def _special(self, called: Called, state: State) -> Any:
        """Take a class, a response, a function inside this one, and what runs what it is given."""
        callee = called.callee
        if callee is functools.partial and called.args:
            return called.args[0]
        if inspect.isclass(callee):
            return self._made(called, callee, state)
        if isinstance(callee, Answer):
            state.answered = callee.status
            return MISSING
        if isinstance(callee, Nested):
            return self._inline(called, callee, state)
        if called.name in _RUNS_WHAT_IT_IS_GIVEN and "return_exceptions" not in called.named:
            return self._run_given(called, state)
        return NotImplemented

    def _of_base(self, node: ast.Call, name: str, state: State, *, handed: bool) -> Any:
        """Return what a method of a base class returns."""
        args = [self.eval(each, state) for each in node.args]
        named = {each.arg: self.eval(each.value, state) for each in node.keywords}
        code = self.function.__code__
        owner = state.env.get(code.co_varnames[0]) if code.co_argcount else None
        if self.reading.is_middleware and name in {"__call__", "dispatch"}:
            return self._handed_on(state)
        kind = owner.kind if isinstance(owner, Instance) else owner if inspect.isclass(owner) else type(owner)
        function = function_of(_in_bases(kind, name, code))
        if function is not None and (function.__module__ or "").startswith("fastapi.security"):
            is_optional = getattr(owner, "auto_error", True) is False and not self.reading.shown
            return Sign.ABSENT if is_optional else Sign.GIVEN if name == "__call__" else MISSING
        if function is None or is_closed_book(function) or (inspect.iscoroutinefunction(function) and not handed):
            return mixed(args)
        return self._apply(self.reading.summary(function, owner, args, named, self.depth + 1), state)

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
        if wrapped is not None and any(each is wrapped for each in (called.callee, *called.args)):
            return True
        return self.reading.is_middleware and called.name in {"app", "_app", "call_next", "inner"}

    def _handed_on(self, state: State) -> Any:
        if not state.gone:
            self.handed_on.append(state.copy())
            state.gone = True
        return MISSING

    def _on_a_carrier(self, called: Called, state: State) -> Any:
        """Take what is read from headers, cookies and the like."""
        base, name, args = called.base, called.name, called.args
        if isinstance(base, Carrier):
            if name not in {"get", "getlist", "pop"} or not args:
                return base if name in {"copy", "items", "keys", "values"} else MISSING
            found = carried(base, args[0], self.reading.kind, shown=self.reading.shown)
            default = args[1] if len(args) > 1 else called.named.get("default")
            return MISSING if found is Sign.ABSENT and default and is_flag(default) else found
        if called.callee is getattr and len(args) > 1 and isinstance(args[1], str):
            return self.attribute(args[0], args[1])
        is_copied = called.callee in {dict, list, set, tuple} if inspect.isclass(called.callee) else False
        return args[0] if is_copied and len(args) == 1 and isinstance(args[0], Carrier) else NotImplemented

    def _on_a_sign(self, called: Called, state: State) -> Any:
        """Take what is made of a credential: a part of its text is as good as the whole."""
        base, name = called.base, called.name.rpartition(".")[2]
        if name == "get" and isinstance(base, dict) and len(called.args) > 1 and is_flag(called.args[1]):
            # What a table says of those whom it does not know.
            return called.args[1] if called.args[0] is Sign.ABSENT else MISSING
        if isinstance(base, Sign) and base is not Sign.WHO and sounds_like_a_check(name):
            self.facts.doubtful.add(name)
        if isinstance(base, Sign) and name in _SAME_TEXT:
            return base if base is not Sign.WHO else Sign.DERIVED
        if base is Sign.ABSENT:
            return Sign.ABSENT
        given = called.args[-1 if name == "cast" else 0] if called.args else None
        return given if name in _SAME_TEXT and isinstance(given, Sign) else NotImplemented

    def _on_a_connection(self, called: Called, state: State) -> Any:
        """Take what answers a request, or closes a WebSocket."""
        node, name = called.node, called.name
        message = node.args[0] if node.args else None
        if isinstance(message, ast.Dict):
            state.answered = self._status_sent(message, state) or state.answered
            return MISSING if name == "send" else NotImplemented
        is_socket = is_request(called.base)
        if called.base is MISSING and isinstance(node.func, ast.Attribute):
            is_socket = bool(_SOCKET.search(unparsed(node.func.value)))
        if not is_socket or name not in {"close", "accept"}:
            return NotImplemented
        told = " ".join(unparsed(each) for each in (*node.args, *(word.value for word in node.keywords)))
        if name == "accept":
            state.env[" accepted"] = True
        elif (_REFUSING_CODES.search(told) and state.asked) or not state.env.get(" accepted"):
            state.answered = 403
        return MISSING

    def _status_sent(self, message: ast.Dict, state: State) -> int:
        """Return the status of a message of ASGI that refuses; 0 of any other."""
        told = {
            key.value: self.eval(value, state)
            for key, value in zip(message.keys, message.values, strict=True)
            if isinstance(key, ast.Constant)
        }
        if told.get("type") in {"websocket.close", "websocket.http.response.start"}:
            return 403
        status = told.get("status")
        is_start = told.get("type") == "http.response.start"
        return int(status) if is_start and isinstance(status, int) and status >= 400 else 0

    def _builtin(self, called: Called, state: State) -> Any:
        """Take the few functions of Python's own whose answer is known."""
        args = called.args
        if called.callee is isinstance and args:
            return False if args[0] is Sign.ABSENT or args[0] is None else mixed(args[:1])
        if called.callee is bool and args:
            asked = self.test_of(called.node.args[0], args[0])
            return mixed(args) if asked.value is None else asked.value
        if called.name.endswith("compare_digest"):
            if args and all(isinstance(each, str) for each in args):
                return len(set(args)) == 1
            return False if any(each is Sign.ABSENT for each in args) else Sign.DERIVED
        if called.callee in (all, any) and called.node.args and self._of_nothing(called.node.args[0], state):
            return called.callee is all
        return NotImplemented

    def _of_nothing(self, node: ast.expr, state: State) -> bool:
        """Tell whether something is asked of each of none: ``all(… for each in roles)`` where no role was named."""
        if not isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
            return False
        listed = self.eval(node.generators[0].iter, state)
        return isinstance(listed, tuple) and not listed

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
        return Instance(kind)

    def _inline(self, called: Called, nested: Nested, state: State) -> Any:
        """Run through a function that stands inside this one, with its names."""
        if isinstance(nested.node, ast.AsyncFunctionDef) and not called.handed:
            return MISSING
        if self.depth > self.reading.deepest:
            self.facts.is_cut = True
            return MISSING
        return self._apply(self.reading.nested(self, nested, called.args, called.named, state), state)

    def _run_given(self, called: Called, state: State) -> Any:
        """Run through a function that is handed to what calls it, such as a thread pool."""
        node, args = called.node, called.args
        for position, each in enumerate(args):
            if isinstance(each, Nested):
                inner = Called(node, called.name, None, each, args[position + 1 :], {}, handed=True)
                return self._inline(inner, each, state)
            if isinstance(each, types.FunctionType | types.MethodType):
                given = ast.copy_location(ast.Call(node.args[position], node.args[position + 1 :], []), node)
                return self.call(given, state, handed=True)
        return args[0] if args and is_tainted(args[0]) else mixed(args)

    def _function(self, called: Called, state: State) -> Any:
        """Run through a function, as far as there is one to be read."""
        callee, values = called.callee, called.values
        is_known = callee is not MISSING and not isinstance(callee, Sign | Carrier)
        function = function_of(callee) if is_known else None
        if function is None or self.reading.is_abstract(function):
            if sounds_like_a_check(called.name) and (not is_known or function is not None):
                self.facts.doubtful.add(called.name)
            return mixed(values)
        if is_closed_book(function) or (inspect.iscoroutinefunction(function) and not self._is_awaited(called)):
            return mixed(values)
        owner = _owner_of(callee, called.base)
        summary = self.reading.summary(function, owner, called.args, called.named, self.depth + 1)
        found = self._apply(summary, state)
        return mixed(values) if found is MISSING else found

    def _is_awaited(self, called: Called) -> bool:
        """Tell whether what a call returns is awaited: there, or by code that asks whether it has to be."""
        return called.handed or bool({"iscoroutine", "isawaitable"} & set(self.function.__code__.co_names))

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


def _owner_of(callee: Any, base: Any) -> Any:
    if isinstance(callee, types.MethodType):
        return callee.__self__
    if not isinstance(callee, types.FunctionType):
        return callee
    return None if base is None or inspect.ismodule(base) or base is MISSING else base
