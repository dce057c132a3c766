"""What a value is, while code is read for a request that shows nothing, or shows something that nobody has verified."""

import ast
import enum
import inspect
import re
import types
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Annotated, Any, Final, Union, get_args, get_origin

from starlette.requests import HTTPConnection

from limen.checklist.routes.code import MISSING, attribute_of
from limen.checklist.routes.places import Spot


class Sign(enum.Enum):
    """A value of which only its part in the question is known."""

    ABSENT = "a credential that was not shown"
    GIVEN = "a credential that nobody has verified"
    WHO = "somebody whom a dependency has let in"
    DERIVED = "made of one of these"
    DOUBTFUL = "made of one of these, or what code puts in its place for whomever it does not know"
    PLACE = "the path or the method of the request, or made of it"
    OWN = "what code says itself, whoever is calling"
    SETTING = "what the environment says, and perhaps nothing"
    PROTOCOL = "the protocols that a WebSocket's client names, among which may be a token"


@dataclass(frozen=True, slots=True)
class Instance:
    """Some object of a class.

    Attributes:
        kind: the class.
        is_new: it was made in the code that is read, so it is there.
        is_own: nothing of the request went into it.
        holds: what it was made of, where that says something of who is calling.
    """

    kind: type
    is_new: bool = False
    is_own: bool = False
    holds: Sign | None = None


@dataclass(frozen=True, slots=True)
class Carrier:
    """What carries credentials: ``headers``, ``cookies``, ``session``, ``query_params``, ``state`` or ``scope``."""

    name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, with its status; 401 for one that leads to a login."""

    status: int


@dataclass(frozen=True, slots=True)
class Nested:
    """A function that stands inside the one that is read; it runs where it is called.

    Attributes:
        node: its code.
        home: the function in which it stands, and the names there, once it is handed to another function.
    """

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    home: Any = None


ONWARD: Final = object()
"""What stands behind a middleware or a wrapper, as a parameter."""

IDENTITY: Final = re.compile(
    r"auth(?!or(?!iz|is))|token|cookie|session(?!\.(?:get|exec|execute|query|scalars?|add|commit|refresh|delete|begin|flush)\b)|(?<![a-z])users?(?!_?agent|_?input)|principal|api_?key|credential|role|permission"
    r"|scope(?!\[)|jwt|secret|password|passwd|member|owner|login|logged|identity|account|claims|admin|signature|hmac"
    r"|digest|bearer|payload|access|grant|tenant|subject",
    re.IGNORECASE,
)
"""Words of code that is about who is calling."""

ORDINARY_HEADERS: Final = frozenset(
    {
        *("user-agent", "content-type", "content-length", "host", "origin", "referer", "accept", "accept-language"),
        *("accept-encoding", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "x-request-id"),
        *("forwarded", "connection", "upgrade", "cache-control", "if-none-match", "range", "x-requested-with", "via"),
        *("access-control-request-method", "idempotency-key", "traceparent", "hx-request", "last-event-id", "te"),
    }
)
"""Headers that say nothing of who is calling."""

_CARRIERS: Final = frozenset({"headers", "cookies", "session", "query_params", "state", "scope"})
_PLACES: Final = frozenset({"url", "method", "base_url"})
_SCOPE_PLACES: Final = frozenset({"path", "raw_path", "method", "endpoint", "route", "root_path", "query_string"})
_TAINTED: Final = frozenset({Sign.ABSENT, Sign.GIVEN, Sign.WHO, Sign.DERIVED, Sign.DOUBTFUL, Sign.PROTOCOL})


def is_tainted(value: Any) -> bool:
    """Tell whether a value says something of who is calling."""
    return isinstance(value, Sign) and value in _TAINTED


def is_flag(value: Any) -> bool:
    """Tell whether a live value is one that switches something: anything else may be another at run time."""
    return isinstance(value, bool | str | int) and not isinstance(value, enum.Enum)


def is_there(value: Any) -> bool:
    """Tell whether a value is a live object of the application's that is neither empty nor false, whatever it holds."""
    if isinstance(value, types.FunctionType | types.MethodType | types.ModuleType | type):
        return True
    kind = type(value)
    if kind.__module__ in {"builtins", "enum"} or kind.__module__.startswith("limen.checklist."):
        return False
    return is_always_there(kind)


def is_always_there(kind: type) -> bool:
    """Tell whether each object of a class is true, whatever it holds."""
    return kind is dict or not any("__bool__" in vars(each) or "__len__" in vars(each) for each in kind.__mro__)


def mixed(values: Iterable[Any]) -> Any:
    """Return what is made of several values."""
    found = {plain(each) for each in values if isinstance(each, Sign | Spot)}
    if found & _TAINTED:
        return Sign.DOUBTFUL if Sign.DOUBTFUL in found else Sign.DERIVED
    return next((each for each in (Sign.PLACE, Sign.SETTING, Sign.OWN) if each in found), MISSING)


def plain(value: Any) -> Any:
    """Return a value without what only the route knows of it."""
    return Sign.PLACE if isinstance(value, Spot) else value


def joined(values: list[Any], known: Iterable[bool] = ()) -> Any:
    """Return a value that is one of several, and nobody knows which.

    Args:
        values: the values.
        known: of each, whether only those have it who are known; else a stranger may have what the code itself made.
    """
    first = values[0] if values else None
    if all(each is first for each in values) or (_is_plain(first) and all(_same(each, first) for each in values)):
        return first
    found = mixed(values)
    if is_tainted(found) and any(is_made(each) and not is_known for each, is_known in zip_longest(values, known)):
        return Sign.DOUBTFUL
    return found


def is_made(value: Any) -> bool:
    """Tell whether code says itself what a value is, and it is neither empty nor false: a name, an object it makes."""
    return bool(value) if is_flag(value) else isinstance(value, Instance) and value.is_new


def _is_plain(value: Any) -> bool:
    return is_flag(value) or isinstance(value, Instance | Carrier | Answer)


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


def attribute_of_request(name: str) -> Any:
    """Return what an attribute of a request is; None where it says nothing."""
    if name in _CARRIERS:
        return Carrier(name)
    if name in _PLACES:
        return Sign.PLACE
    if name in {"user", "auth", "current_user"}:
        return Sign.ABSENT
    return MISSING


def carried(carrier: Carrier, key: Any, kind: str, *, shown: bool) -> Any:  # noqa: PLR0911 - a line for each kind
    """Return what a carrier has under a key.

    Args:
        carrier: what is asked.
        key: the live key, or `MISSING`.
        kind: ``http`` or ``websocket``, what a scope says of its type.
        shown: the request shows something.
    """
    if isinstance(key, bytes):
        key = key.decode("latin-1")  # in a scope of ASGI, as in HTTP, names of headers are bytes
    word = key.lower() if isinstance(key, str) else ""
    if carrier.name == "scope":
        if word == "type":
            return kind
        if word in _SCOPE_PLACES:
            return Sign.PLACE
        if word in _CARRIERS:
            return Carrier(word)
        if not IDENTITY.search(word):
            return MISSING
    if carrier.name == "headers" and word in ORDINARY_HEADERS:
        return Sign.OWN
    if carrier.name == "headers" and word == "sec-websocket-protocol":
        return Sign.PROTOCOL
    if carrier.name in {"query_params", "state"} and word and not IDENTITY.search(word):
        return MISSING
    if carrier.name in {"session", "state"}:
        return Sign.ABSENT  # nobody can write there but the service
    return Sign.GIVEN if shown else Sign.ABSENT


def of_annotation(annotation: Any) -> Any:
    """Return what a parameter or a variable of this annotation is: an `Instance`, or `MISSING`."""
    if get_origin(annotation) is Annotated:
        return of_annotation(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        rest = [each for each in get_args(annotation) if each is not type(None)]
        return of_annotation(rest[0]) if len(rest) == 1 else MISSING
    origin = get_origin(annotation)
    if inspect.isclass(origin) and not issubclass(origin, type):
        annotation = origin
    if not inspect.isclass(annotation) or annotation.__module__ in {"builtins", "typing", "collections.abc"}:
        return MISSING
    return Instance(annotation)


def attribute_of_instance(kind: type, name: str) -> Any:
    """Return what an attribute of some object of a class is: a method, what its class says of it, or `MISSING`."""
    found = attribute_of(kind, name)
    if found is not MISSING and not isinstance(found, types.MemberDescriptorType):
        is_callable = isinstance(found, types.FunctionType | types.MethodType) or inspect.isclass(found)
        return found if is_callable else Sign.OWN if is_made(found) else MISSING
    if IDENTITY.search(name) and isinstance(inspect.getattr_static(kind, name, None), property):
        return Sign.DERIVED
    annotation = attribute_annotation(kind, name)
    return MISSING if annotation is None or isinstance(annotation, str) else of_annotation(annotation)


def attribute_annotation(kind: type, name: str) -> Any:
    """Return what a class says that an attribute is: a type, a text, or None."""
    return next((told[name] for each in kind.__mro__ if name in (told := inspect.get_annotations(each))), None)


def is_request(value: Any) -> bool:
    """Tell whether a value is a request or a WebSocket."""
    return isinstance(value, Instance) and issubclass(value.kind, HTTPConnection)
