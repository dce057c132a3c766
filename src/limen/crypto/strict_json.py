"""One strict reader of JSON objects, for tokens and for the bodies of limen's own requests (RFC 8259; RFC 8725, 3.7).

Two parsers that read the same bytes differently are a way in: what one of them checks, the other does not see. So
everything that parsers are known to disagree about is refused here, not repaired: other encodings than UTF-8, a byte
order mark, a name given twice, NaN and Infinity, half of a surrogate pair, NUL, numbers no machine type holds, depth.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeVar

import msgspec

from limen.core.errors import InputFault

MAX_DEPTH: Final = 16
"""Objects and lists may be nested this deep, the outermost one counted."""

MAX_DIGITS: Final = 20
"""Characters of an integer, the sign counted: all of 64 bits."""

MAX_FLOAT_CHARACTERS: Final = 40

T = TypeVar("T", bound=msgspec.Struct)

# An unterminated string is taken to its end, so that hostile text cannot make the search start over at each quote.
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_LEAF: Final = re.compile(rb"\[\]|\{\}")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_UNSAFE: Final = re.compile("[\\ud800-\\udfff\\x00]")


class JsonError(ValueError):
    """The bytes are not the JSON object that is asked for. The message never holds a part of them.

    Attributes:
        reason: a short stable word: ``too_large``, ``encoding``, ``syntax``, ``duplicate_name``, ``number``,
            ``string``, ``too_deep``, ``not_an_object``, or ``fields`` where single fields are wrong.
        faults: what is wrong with which field, where the reason is ``fields``.
    """

    def __init__(self, reason: str, faults: tuple[InputFault, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.faults = faults


def read_object(data: bytes, *, limit: int) -> dict[str, object]:
    """Return the one JSON object that the bytes hold.

    Args:
        data: UTF-8 text; white space around the object is allowed.
        limit: the most bytes that are looked at.

    Raises:
        JsonError: anything else than exactly one well-formed object, whose names are all different.
    """
    if len(data) > limit:
        raise JsonError("too_large")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise JsonError("encoding") from None
    if text.startswith("\ufeff"):
        raise JsonError("encoding")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _deeper_than(data, MAX_DEPTH):
        raise JsonError("too_deep")
    try:
        value = _DECODER.decode(text)
    except JsonError:
        raise
    except ValueError:
        raise JsonError("syntax") from None
    if not isinstance(value, dict):
        raise JsonError("not_an_object")
    if "\\u" in text:
        _refuse_unsafe_strings(value)
    return value


def read_struct(data: bytes, struct: type[T], *, limit: int, where: str = "body") -> T:
    """Return the bytes as a value of the given msgspec Struct. Members that it does not know are refused.

    Args:
        data: UTF-8 text of one JSON object.
        struct: a subclass of `msgspec.Struct`; no value is converted from another type.
        limit: the most bytes that are looked at.
        where: the first part of each fault's ``loc``.

    Raises:
        JsonError: as `read_object`; or reason ``fields`` with one fault for each field that is wrong, none of which
            holds anything that was sent (a password in the wrong field must not come back, or reach a log).
    """
    value = read_object(data, limit=limit)
    fields = _fields_of(struct)
    if value.keys() <= fields.keys():
        try:
            return msgspec.convert(value, struct)
        except msgspec.ValidationError as error:
            whole = _fault_of(error, (where,))
    else:
        whole = InputFault((where,), "unknown_field", "There is a member that is not asked for.")
    faults = [] if value.keys() <= fields.keys() else [whole]
    for name, field in fields.items():
        if name in value:
            try:
                msgspec.convert(value[name], field.type)
            except msgspec.ValidationError as error:
                faults.append(_fault_of(error, (where, name)))
        elif field.required:
            faults.append(InputFault((where, name), "missing", "This field is required."))
    raise JsonError("fields", tuple(faults) or (whole,))


# --- syntax


def _deeper_than(data: bytes, depth: int) -> bool:
    """Tell whether lists and objects are nested deeper, in time linear in the text: no parser is asked to recurse."""
    brackets = _STRING.sub(b"", data).translate(None, _NOT_BRACKETS)
    for _ in range(depth):
        brackets = _LEAF.sub(b"", brackets)
        if not brackets:
            return False
    return True


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise JsonError("duplicate_name")
    return value


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise JsonError("number")
    return int(text)


def _float(text: str) -> float:
    if len(text) > MAX_FLOAT_CHARACTERS or not math.isfinite(value := float(text)):
        raise JsonError("number")
    return value


def _constant(text: str) -> object:
    raise JsonError("number")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)


def _refuse_unsafe_strings(value: object) -> None:
    """Refuse NUL and lone surrogates: databases and UTF-8 encoders stop at them, long after the input was accepted."""
    if isinstance(value, str):
        if _UNSAFE.search(value):
            raise JsonError("string")
    elif isinstance(value, dict):
        for name, member in value.items():
            _refuse_unsafe_strings(name)
            _refuse_unsafe_strings(member)
    elif isinstance(value, list):
        for item in value:
            _refuse_unsafe_strings(item)


# --- fields


@lru_cache(maxsize=256)
def _fields_of(struct: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Return the fields by the names that JSON has for them. msgspec resolves annotations anew at each question."""
    return MappingProxyType({field.encode_name: field for field in msgspec.structs.fields(struct)})


_FAULTS: Final[tuple[tuple[Callable[[str], object], str, str], ...]] = (
    (re.compile(r"Object missing required field").match, "missing", "A required member is missing."),
    (re.compile(r"Object contains unknown field").match, "unknown_field", "There is a member that is not asked for."),
    (re.compile(r"Expected `str` matching").match, "invalid_value", "This value is not of the form that is asked for."),
    (re.compile(r"Expected .* of length >").match, "too_short", "This value is too short."),
    (re.compile(r"Expected .* of length <").match, "too_long", "This value is too long."),
    (re.compile(r"Expected `(int|float)` >").match, "too_small", "This number is too small."),
    (re.compile(r"Expected `(int|float)` <").match, "too_large", "This number is too large."),
    (re.compile(r"Expected .*, got ").match, "wrong_type", "This value is not of the type that is asked for."),
)
_PATH: Final = re.compile(r" - at `\$(?P<steps>[^`]*)`\Z")
_STEP: Final = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+)\]|(?P<hidden>.)")


def _fault_of(error: msgspec.ValidationError, loc: tuple[str | int, ...]) -> InputFault:
    """Classify msgspec's sentence; it is never passed on, since it may quote what was sent (enumerations do)."""
    text = str(error)
    if path := _PATH.search(text):
        for step in _STEP.finditer(path["steps"]):
            if step["hidden"]:
                break
            loc += (step["name"],) if step["name"] else (int(step["index"]),)
    for matches, code, message in _FAULTS:
        if matches(text):
            return InputFault(loc, code, message)
    return InputFault(loc, "invalid_value", "This value is not one that is accepted.")
