"""What calls end in that need no following: carriers and texts of credentials, responses, sockets, Python's own."""

import ast
import contextvars
import inspect
import os
import re
from typing import Any, Final, cast

from pydantic import SecretStr

from limen.checklist.routes.code import MISSING
from limen.checklist.routes.evaluating import Evaluating
from limen.checklist.routes.handing import Called, waits
from limen.checklist.routes.libraries import is_own
from limen.checklist.routes.places import Spot, texts_of
from limen.checklist.routes.raising import sounds_like_a_check
from limen.checklist.routes.states import State
from limen.checklist.routes.values import (
    Carrier,
    Instance,
    Sign,
    is_flag,
    is_made,
    is_request,
    is_tainted,
    joined,
    mixed,
)
from limen.checklist.syntax import unparsed

_SAME_TEXT: Final = frozenset(
    {
        *("split", "rsplit", "removeprefix", "strip", "replace", "encode", "decode", "partition", "lower"),
        *("get_secret_value", "get_authorization_scheme_param", "str", "cast"),
    }
)
_SOCKET: Final = re.compile(r"(^|_)(ws|web_?socket|socket)$")
_REFUSING_CODES: Final = re.compile(r"1008|300[03]|44?0[13]|policy_violation|unauthorized|forbidden", re.IGNORECASE)


class Taking(Evaluating):
    """The calls whose answer is known without any code of theirs."""

    def _on_a_place(self, called: Called, state: State) -> Any:
        """Take what is made or asked of the path or the method of a request."""
        base, name, args = called.base, called.name.rpartition(".")[2], called.args
        if called.callee is str and len(args) == 1 and isinstance(args[0], Spot):
            return args[0] if args[0].part != "url" else Sign.PLACE
        if name in {"match", "search", "fullmatch"} and args and isinstance(args[-1], Spot):
            return self._matched(called, name)
        if not isinstance(base, Spot):
            return NotImplemented
        if name in {"startswith", "endswith"} and len(args) == 1:
            listed = (args[0],) if isinstance(args[0], str) else texts_of(args[0])
            is_known = listed is not None and isinstance(args[0], str | tuple) and base.part != "url"
            found = self.reading.asked.decide(base, name, listed) if is_known else None
            return Sign.PLACE if found is None else found
        made = base.made(name, args) if base.part != "url" else None
        return Sign.PLACE if made is None else made

    def _matched(self, called: Called, name: str) -> Any:
        """Return what a pattern finds in a path: a match, or None."""
        base, args, pattern = called.base, called.args, None
        if isinstance(base, re.Pattern) and isinstance(base.pattern, str) and len(args) == 1:
            pattern = (base.pattern, base.flags)
        elif called.callee is getattr(re, name) and len(args) == 2 and isinstance(args[0], str):
            pattern = (args[0], 0)
        if pattern is None or called.named or args[-1].part == "url":
            return Sign.PLACE
        found = self.reading.asked.decide(args[-1], name, pattern)
        return Sign.PLACE if found is None else Instance(re.Match, is_new=True) if found else None

    def _of_each(self, node: ast.Call, state: State) -> bool | None:
        """Return what ``any(path.startswith(each) for each in CONSTANTS)`` is; None where the route decides not."""
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        inside = node.args[0] if len(node.args) == 1 else None
        if name not in {"any", "all"} or not isinstance(inside, ast.GeneratorExp | ast.ListComp):
            return None
        loop = inside.generators[0]
        if len(inside.generators) > 1 or loop.ifs or loop.is_async or not isinstance(loop.target, ast.Name):
            return None
        found = []
        for each in texts_of(self.eval(loop.iter, state)) or ():
            inner = state.copy()
            inner.env[loop.target.id] = each
            asked = self.truth(inside.elt, inner)
            found.append(asked.value if not asked.why and not asked.is_tainted else None)
        if not found or (None in found and (name == "any") not in found):
            return None
        return any(found) if name == "any" else all(found)

    def _on_a_carrier(self, called: Called, state: State) -> Any:
        """Take what is read from headers, cookies and the like."""
        base, name, args = called.base, called.name, called.args
        if isinstance(base, Carrier):
            if name not in {"get", "getlist", "pop", "setdefault"} or not args:
                return base if name in {"copy", "items", "keys", "values"} else MISSING
            found = self.carried(base, args[0])
            default = args[1] if len(args) > 1 else called.named.get("default")
            written = self.written(base, args[0], state)
            if written is not None:
                return written
            return self._or_default(found, default)
        if called.callee is getattr and len(args) > 1 and isinstance(args[1], str):
            written = self.written(args[0], args[1], state)
            found = self.attribute(args[0], args[1]) if written is None else written
            return self._or_default(found, args[2]) if len(args) > 2 else found
        is_copied = called.callee in {dict, list, set, tuple} if inspect.isclass(called.callee) else False
        return args[0] if is_copied and len(args) == 1 and isinstance(args[0], Carrier) else NotImplemented

    def _or_default(self, found: Any, default: Any) -> Any:
        """Return what a look-up with a default ends in."""
        if not is_made(default) or isinstance(found, Spot):
            return found  # a path and a method are in every scope
        return default if found is Sign.ABSENT else joined([found, default])

    def _on_a_sign(self, called: Called, state: State) -> Any:
        """Take what is made of a credential: a part of its text is as good as the whole."""
        base, name = called.base, called.name.rpartition(".")[2]
        if name in {"get", "setdefault", "pop"} and len(called.args) > 1 and not isinstance(base, Carrier):
            # What a table says of those whom it does not know.
            is_none = isinstance(base, dict) and called.args[0] is Sign.ABSENT
            if is_none and is_flag(called.args[1]):
                return called.args[1]
            found = self._or_default(Sign.ABSENT if is_none else mixed(called.values), called.args[1])
            return NotImplemented if found is MISSING else found
        if isinstance(base, Sign) and base is not Sign.WHO and sounds_like_a_check(name):
            self.facts.doubtful.add(name)
        if isinstance(base, Sign) and name in _SAME_TEXT:
            return base if base is not Sign.WHO else Sign.DERIVED
        if base is Sign.ABSENT:
            return Sign.ABSENT
        given = called.args[-1 if name == "cast" else 0] if called.args else None
        is_text = name in _SAME_TEXT and isinstance(given, Sign) and not is_own(called.callee)
        return given if is_text else NotImplemented

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
            # What is asked of a first message is a credential that no header carries.
            self.facts.sees_credential |= state.asked
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

    def _builtin(self, called: Called, state: State) -> Any:  # noqa: C901, PLR0911 - a line for each
        """Take the few functions of Python's own whose answer is known."""
        args = called.args
        if called.callee is isinstance and args:
            return False if args[0] is Sign.ABSENT or args[0] is None else mixed(args[:1])
        if called.name.startswith(("is_coroutine", "iscoroutine", "isawaitable")) and args:
            known = waits(args[0])
            return NotImplemented if known is None else known
        if isinstance(called.base, contextvars.ContextVar) and called.name == "get":
            return self._or_default(Sign.DERIVED, args[0] if args else _set_by_nobody(called.base))
        if isinstance(called.base, SecretStr) and called.name == "get_secret_value":
            return called.base.get_secret_value()
        if called.callee is next and len(args) > 1:
            return self._or_default(mixed(args[:1]), args[1])
        if called.callee is os.getenv or (called.base is os.environ and called.name == "get"):
            return Sign.SETTING
        if called.callee is cast and len(args) == 2:
            return args[1]
        if called.callee is bool and args:
            asked = self.test_of(called.node.args[0], args[0])
            return mixed(args) if asked.value is None else asked.value
        if called.name.endswith("compare_digest"):
            return _digests(called)
        if called.callee in (all, any) and called.node.args:
            runs = self._goes_through(called.node.args[0], state)
            if runs is False:
                return called.callee is all
            # Of all of none, each is as it has to be.
            return (
                Sign.DOUBTFUL if called.callee is all and runs is None and is_tainted(mixed(args)) else NotImplemented
            )
        if called.name == "issubset" and isinstance(called.base, set | frozenset) and not called.base:
            return Sign.DOUBTFUL
        return NotImplemented

    def _goes_through(self, node: ast.expr, state: State) -> bool | None:
        """Tell whether something is asked of anything: ``all(… for each in roles)`` of no roles asks none."""
        if not isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
            return True
        listed = self.eval(node.generators[0].iter, state)
        if isinstance(listed, tuple | frozenset):
            return bool(listed)
        return True if isinstance(listed, list | dict | set) and listed else None


def _set_by_nobody(variable: contextvars.ContextVar[Any]) -> Any:
    """Return what a variable holds for a request in which nobody sets it."""
    try:
        return variable.get()
    except LookupError:
        return None


def _digests(called: Called) -> Any:
    """Return whether two texts are the same, as far as it can be told."""
    args = called.args
    if args and all(isinstance(each, str) for each in args):
        return len(set(args)) == 1
    if len({unparsed(each) for each in called.node.args}) == 1 < len(args):
        return True
    if Sign.SETTING in args and Sign.GIVEN not in args:
        return Sign.SETTING
    if Sign.ABSENT in args:
        return "" in args
    return Sign.DERIVED
