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
    r"un_?auth|not_?auth|credentials?_?(not_?valid|invalid|expired|wrong|missing|rejected)|forbidden|(access|permission)_?denied|^(invalid|bad|wrong|missing|no)?_?credentials?_?(error|exception|required)?$"
    r"|permission_?(error|required|exception)|^no_?permission|authentication_?(error|failed|required|exception)"
    r"|authorization_?(error|failed|exception)|invalid_?token|token_?(error|expired|invalid)|expired_?(signature|token)"
    r"|jwt_?(error|exception|decode)|login_?required|not_?logged|auth_?(error|exception|x_?exception)|missing_?token|insufficient_?(scope|role|perm)",
    re.IGNORECASE,
)

_CHECKING_NAME: Final = re.compile(
    r"^(?!_*(get|list|fetch|find|load|collect)_)(\w*_)?require\w*$"
    r"|(^|_)(auth|authn|authz|authenticate\w*|authenticated|authorize|authorized|authorize_(request|user|access|action)"
    r"|verify|verified|verify_(?!email$)\w+|require[sd]?_\w*(user|token|access|permission|role|auth|login|admin)\w*"
    r"|protect(ed)?|current_user|get_user|permissions?|api_key|guard\w*"
    r"|(check|assert|ensure|validate|enforce)_\w*(user|token|access|permission|role|auth|api_?key|owner|server_roles?)\w*"
    r"|is_(admin|superuser|staff|authenticated)|has_(role|permission|access)\w*|login_required)$",
    re.IGNORECASE,
)
_MAKES_NAME: Final = re.compile(
    r"^_*(create|build|make|set|get_\w+_by|list|count|render|register|update|delete|add)_|_(url|uri|response|config|enabled"
    r"|names?|headers?|redirect|link|page|form|template|settings)$",
    re.IGNORECASE,
)
_STATUS_NAME: Final = re.compile(r"HTTP_(\d{3})|\b(UNAUTHORIZED)\b|\b(FORBIDDEN)\b", re.IGNORECASE)


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


def sounds_like_a_check(name: str) -> bool:
    """Tell whether a function is called as those are that ask who is calling: then it matters what it does."""
    last = name.rpartition(".")[2]
    return bool(_CHECKING_NAME.search(last)) and not _MAKES_NAME.search(last)


def status_in(text: str) -> int:
    """Return the status that the text of a call names, where its value cannot be looked up; 0 for none."""
    found = _STATUS_NAME.search(text)
    if found is None:
        return 0
    return int(found[1]) if found[1] else 401 if found[2] else 403


def error_of(kind: type[BaseException], status: Any, location: str = "") -> Error:
    """Return what an exception of a class is.

    Args:
        kind: the class.
        status: that was handed to it, or anything that is no number.
        location: the text of its other arguments, for one that leads to a login.
    """
    told = int(status) if isinstance(status, int) and not isinstance(status, bool) else status_in(location)
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
