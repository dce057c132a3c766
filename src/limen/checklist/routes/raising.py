"""What an exception that is raised is to whoever calls a route: a refusal with a status, or a fault."""

import ast
import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from starlette.exceptions import HTTPException, WebSocketException

from limen.checklist.routes.code import node_of, resolved

_REFUSING_NAME: Final = re.compile(
    r"un_?auth|not_?auth|forbidden|(access|permission)_?denied|^(invalid|bad|wrong|missing|no)?_?credentials?_?(error|exception|required)?$"
    r"|permission_?(error|required|exception)|^no_?permission|authentication_?(error|failed|required|exception)"
    r"|authorization_?(error|failed|exception)|invalid_?token|token_?(error|expired|invalid)|expired_?(signature|token)"
    r"|jwt_?(error|exception|decode)|login_?required|not_?logged|auth_?(error|exception|x_?exception)|missing_?token|insufficient_?(scope|role|perm)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Error:
    """An exception that was made.

    Attributes:
        kind: its class.
        status: that it is answered with; 0 where that is not known.
        name: of its class.
    """

    kind: type[BaseException]
    status: int
    name: str


def sounds_like_refusal(name: str) -> bool:
    """Tell whether an exception is called as those that refuse are."""
    return bool(_REFUSING_NAME.search(name.rsplit(".", 1)[-1]))


_answered: dict[type[BaseException], int] = {}


def learn(kind: type[BaseException], status: int) -> None:
    """Remember with what an application's handler of exceptions answers those of a class."""
    _answered[kind] = status


def error_of(kind: type[BaseException], status: Any, location: str = "") -> Error:
    """Return what an exception of a class is.

    Args:
        kind: the class.
        status: that was handed to it, or anything that is no number.
        location: the text of its other arguments, for one that leads to a login.
    """
    told = int(status) if isinstance(status, int) and not isinstance(status, bool) else 0
    if issubclass(kind, WebSocketException):
        return Error(kind, 403, kind.__name__)
    if not issubclass(kind, HTTPException) and kind in _answered:
        return Error(kind, _answered[kind], kind.__name__)
    if not issubclass(kind, HTTPException):
        own = inspect.getattr_static(kind, "status_code", None) or inspect.getattr_static(kind, "status", None)
        return Error(kind, int(own) if isinstance(own, int) else 0, kind.__name__)
    is_frameworks = kind.__module__.split(".")[0] in {"fastapi", "starlette"}
    if not is_frameworks and not 400 <= told < 600:
        own = inspect.getattr_static(kind, "status_code", None)
        told = int(own) if isinstance(own, int) else _status_in_init(kind) or 0
    if told in {302, 303, 307} and re.search(r"log_?in|sign_?in|auth", location, re.IGNORECASE):
        told = 401
    return Error(kind, told, kind.__name__)


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
