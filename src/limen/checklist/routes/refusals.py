"""What a function refuses with, found by reading its code and that of the functions it calls.

Frameworks do not say which dependency is a guard. What a guard has in common is that it ends a request with 401 or 403;
so the code is read for that: exceptions that are raised, answers that are returned, through calls into other functions
of the application and of libraries, as deep as `DEEPEST`. What cannot be followed and is named like a check is told as
doubtful: then the answer is «unknown», never «fine» and never «open».
"""

import ast
import functools
import inspect
import re
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response

from limen.checklist.routes.code import MISSING, FunctionNode, body_of, function_of, node_of, resolved

DEEPEST: Final = 6
_MOST_FUNCTIONS: Final = 300

_REFUSING_NAME: Final = re.compile(
    r"un_?auth|not_?auth|forbidden|denied|credential|permission|authenticationerror|authorizationerror|invalid_?token"
    r"|token_?(error|expired|invalid)|expired_?(signature|token)|jwt|loginrequired|not_?logged",
    re.IGNORECASE,
)
_SOUNDS_LIKE_A_CHECK: Final = re.compile(
    r"(^|_)(auth\w*|verify|verified|check_(user|token|access|permission\w*|role\w*|auth\w*|api_?key)|require\w*|protect\w*"
    r"|current_user|get_user|permissions?|api_key|is_(admin|superuser|staff)|has_(role|permission|access)\w*|guard\w*"
    r"|login_required|ensure_\w*(user|access|auth|role|permission)\w*)($|_)",
    re.IGNORECASE,
)
_ASKS_A_STORE: Final = frozenset(
    {
        *("execute", "scalar", "scalars", "query", "find_one", "get_or_none", "fetchone", "fetchrow", "fetchval"),
        *("fetchall", "fetch_one", "fetch_row", "fetch_val", "fetch_all"),
    }
)
_STORES: Final = re.compile(
    r"(^|_)(db|session|database|conn|connection|crud|repo|repository|dao|store|users?_?(db|repo|service))$"
)
_JWT: Final = frozenset({"jwt", "jose", "joserfc", "authlib"})
# Code in which a refusal is somebody else's: a framework's own 401 says nothing about a route that calls it.
_CLOSED_BOOKS: Final = frozenset(sys.stdlib_module_names) | {
    *(
        "fastapi",
        "starlette",
        "pydantic",
        "pydantic_core",
        "sqlalchemy",
        "anyio",
        "uvicorn",
        "httpx",
        "httpcore",
        "jinja2",
    ),
    *(
        "redis",
        "asyncpg",
        "psycopg",
        "pymongo",
        "motor",
        "numpy",
        "pandas",
        "torch",
        "rich",
        "click",
        "typer",
        "makefun",
    ),
    *("jwt", "jose", "joserfc", "cryptography", "passlib", "bcrypt", "argon2", "opentelemetry", "prometheus_client"),
}


@dataclass(slots=True)
class Refusals:
    """What was found.

    Attributes:
        statuses: the HTTP statuses of refusals, 400 and above.
        named: exceptions without a status whose name says that they refuse.
        doubtful: calls that could not be followed and are named like a check.
        asks_store: some call asks a database.
        reads_token: a JWT is decoded.
        looks_at_path: the code reads the path of the request.
    """

    statuses: set[int] = field(default_factory=set)
    named: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    asks_store: bool = False
    reads_token: bool = False
    looks_at_path: bool = False

    @property
    def refuses(self) -> bool:
        """Tell whether it ends requests of those who may not."""
        return bool(self.statuses & {401, 403} or self.named)

    @property
    def is_fresh(self) -> bool | None:
        """Tell whether a store is asked; None where the code does not show it."""
        return True if self.asks_store else False if self.reads_token else None


def refusals_of(call: object) -> Refusals:
    """Return what a call refuses with: a function, a class, or an object with ``__call__``."""
    function = function_of(call)
    if function is None:
        return Refusals()
    return _of_function(function, _owner_of(call))


def _owner_of(call: object) -> object:
    if isinstance(call, types.MethodType):
        return call.__self__
    if isinstance(call, functools.partial):
        return _owner_of(call.func)
    if isinstance(call, types.FunctionType | types.BuiltinFunctionType):
        return None
    return call


_known: dict[tuple[int, int], tuple[object, object, Refusals]] = {}


def _of_function(function: types.FunctionType, owner: object) -> Refusals:
    key = (id(function), id(owner))
    found = _known.get(key)
    if found is None:
        # Both are kept alive with the answer: a freed object's id may be another's.
        found = _known[key] = (function, owner, _Reading().read(function, owner))
    return found[2]


class _Reading:
    """One walk through a function and what it calls."""

    def __init__(self) -> None:
        self.found = Refusals()
        self._seen: set[types.CodeType] = set()

    def read(self, function: types.FunctionType, owner: object, depth: int = 0) -> Refusals:
        if depth > DEEPEST or function.__code__ in self._seen or len(self._seen) > _MOST_FUNCTIONS:
            return self.found
        self._seen.add(function.__code__)
        node = node_of(function)
        if node is not None:
            _Body(self, function, owner, node, depth).read()
        return self.found


class _Body:
    """The body of one function."""

    def __init__(
        self, reading: _Reading, function: types.FunctionType, owner: object, node: FunctionNode, depth: int
    ) -> None:
        self.reading, self.function, self.owner, self.node, self.depth = reading, function, owner, node, depth
        self.found = reading.found
        self.assigned = {
            target.id: each.value
            for each in body_of(node)
            if isinstance(each, ast.Assign)
            for target in each.targets
            if isinstance(target, ast.Name)
        }

    def read(self) -> None:
        for each in body_of(self.node):
            if isinstance(each, ast.Raise):
                self._refused(each.exc)
            elif isinstance(each, ast.Return):
                self._answered(each.value)
            elif isinstance(each, ast.Call):
                self._called(each)
            elif isinstance(each, ast.Dict):
                self._message(each)
            elif isinstance(each, ast.Attribute | ast.Constant) and _is_path(each):
                self.found.looks_at_path = True

    def _refused(self, expression: ast.expr | None, hops: int = 0) -> None:
        """Take what is raised."""
        if isinstance(expression, ast.Name) and expression.id in self.assigned and hops < 4:
            self._refused(self.assigned[expression.id], hops + 1)
            return
        if isinstance(expression, ast.IfExp):
            self._refused(expression.body, hops + 1)
            self._refused(expression.orelse, hops + 1)
            return
        what = expression.func if isinstance(expression, ast.Call) else expression
        raised = MISSING if what is None else resolved(what, self.function, self.owner)
        if inspect.isclass(raised) and issubclass(raised, BaseException):
            self._of_class(raised, expression)
        elif isinstance(raised, HTTPException):
            self.found.statuses.add(raised.status_code)
        elif isinstance(raised, BaseException):
            self._by_name(type(raised).__name__)
        elif isinstance(expression, ast.Call) and function_of(raised) is not None and raised is not MISSING:
            self._made(raised)
        elif what is not None:
            self._by_name(ast.unparse(what))

    def _of_class(self, kind: type[BaseException], expression: ast.expr | None) -> None:
        if not issubclass(kind, HTTPException):
            status = inspect.getattr_static(kind, "status_code", None) or inspect.getattr_static(kind, "status", None)
            if isinstance(status, int):
                self.found.statuses.add(int(status))
            else:
                self._by_name(kind.__name__)
            return
        status = self._status(expression) if isinstance(expression, ast.Call) else None
        if status is None and kind.__module__.split(".")[0] not in {"fastapi", "starlette"}:
            own = inspect.getattr_static(kind, "status_code", None)
            status = int(own) if isinstance(own, int) else _status_in_init(kind)
            if status is None:
                self._by_name(kind.__name__)
        if status is not None:
            self.found.statuses.add(status)

    def _made(self, factory: object) -> None:
        """Take what a function makes and somebody else raises: what it returns."""
        function = function_of(factory)
        node = None if function is None else node_of(function)
        if function is None or node is None:
            return
        inner = _Body(self.reading, function, _owner_of(factory), node, self.depth + 1)
        for each in body_of(node):
            if isinstance(each, ast.Return):
                inner._refused(each.value, 3)

    def _status(self, call: ast.Call) -> int | None:
        given = [each.value for each in call.keywords if each.arg == "status_code"] or call.args[:1]
        value = resolved(given[0], self.function, self.owner) if given else MISSING
        return int(value) if isinstance(value, int) else None

    def _answered(self, expression: ast.expr | None) -> None:
        """Take what is returned, where it is a response with a status of its own."""
        if not isinstance(expression, ast.Call):
            return
        kind = resolved(expression.func, self.function, self.owner)
        is_response = inspect.isclass(kind) and issubclass(kind, Response)
        if is_response or (kind is MISSING and ast.unparse(expression.func).endswith("Response")):
            for given in [each.value for each in expression.keywords if each.arg == "status_code"] or expression.args[
                1:2
            ]:
                value = resolved(given, self.function, self.owner)
                if isinstance(value, int) and value >= 400:
                    self.found.statuses.add(int(value))

    def _message(self, message: ast.Dict) -> None:
        """Take a message of ASGI: ``{"type": "http.response.start", "status": 401}``."""
        for key, value in zip(message.keys, message.values, strict=True):
            is_status = isinstance(key, ast.Constant) and key.value == "status"
            if is_status and isinstance(value, ast.Constant) and isinstance(value.value, int) and value.value >= 400:
                self.found.statuses.add(value.value)

    def _called(self, call: ast.Call) -> None:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        if isinstance(call.func, ast.Attribute) and (
            name in _ASKS_A_STORE or (name in {"get", "first", "one"} and _STORES.search(ast.unparse(call.func.value)))
        ):
            self.found.asks_store = True
        callee = resolved(call.func, self.function, self.owner)
        if callee is MISSING or callee is None:
            if _SOUNDS_LIKE_A_CHECK.search(name):
                self.found.doubtful.add(name)
            return
        root = str(getattr(callee, "__module__", "") or "").split(".")[0]
        if root in _JWT and "decode" in name:
            self.found.reads_token = True
        if inspect.isclass(callee) and issubclass(callee, BaseException | Response):
            return
        function = function_of(callee)
        if function is None or function.__module__.split(".")[0] in _CLOSED_BOOKS:
            return
        owner = _owner_of(callee)
        if owner is None and isinstance(call.func, ast.Attribute):
            owner = resolved(call.func.value, self.function, self.owner)
            owner = None if owner is MISSING or inspect.ismodule(owner) else owner
        self.reading.read(function, owner, self.depth + 1)

    def _by_name(self, name: str) -> None:
        if _REFUSING_NAME.search(name.rsplit(".", 1)[-1]):
            self.found.named.add(name)


def _is_path(node: ast.Attribute | ast.Constant) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "path" and isinstance(node.value, ast.Attribute) and node.value.attr == "url"
    return node.value in {"path", "raw_path"}


def _status_in_init(kind: type[BaseException]) -> int | None:
    """Return the status that a class hands to ``super().__init__``."""
    for base in kind.__mro__:
        function = vars(base).get("__init__")
        if not isinstance(function, types.FunctionType) or base is HTTPException:
            continue
        for status in _statuses_handed_on(function, kind):
            return status
    return None


def _statuses_handed_on(function: types.FunctionType, kind: type) -> Iterator[int]:
    node = node_of(function)
    for each in ast.walk(node) if node is not None else ():
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "__init__":
            for given in [word.value for word in each.keywords if word.arg == "status_code"] or each.args[:1]:
                value: Any = resolved(given, function, kind)
                if isinstance(value, int):
                    yield int(value)
