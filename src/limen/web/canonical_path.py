"""What a request to a route is about, as one text that the same thing always has.

A route takes `/pay/7` and `/pay/07` for one where its id is a number. Of one resource only one approval is pending, so
what is about the same has to be called the same: by the values as the route has converted them, never by the letters
that somebody sent.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from math import isfinite
from typing import Any, Final, NoReturn
from uuid import UUID

from limen.core.errors import ConfigurationError, InputFault, InvalidInput

_MOST_DIGITS: Final = 256


def named_by(template: str, converted: Mapping[str, Any]) -> str:
    """Return the template with the values of the path's parameters in it.

    Raises:
        InvalidInput: a value has no canonical text, or is a text that could be read as the number of another one.
        ConfigurationError: the template names what is no parameter, or a parameter is of a type that has no text.
    """
    values = {name: canonical(name, value) for name, value in converted.items()}
    try:
        return template.format_map(values)
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigurationError(f"resource={template!r} names what is no parameter of the path: {error}") from error


def path_itself(path: str, written: Mapping[str, Any], converted: Mapping[str, Any]) -> str:
    """Return the path, where each of its parameters stands in it as its value is written.

    Args:
        path: as it was sent, percent-decoded.
        written: the parameters as they stand in it, see `written_in`.
        converted: the same as the endpoint gets them.

    Raises:
        InvalidInput, ConfigurationError: as for `named_by`; or a value is spelt in another way than its own.
        ConfigurationError: how a value is spelt is not known.
    """
    for name, value in converted.items():
        text = canonical(name, value)
        if not isinstance(written[name], str):
            raise ConfigurationError(
                f"the parameter {name} of the path was converted before a mounted application: say resource= there"
            )
        if written[name] != text:
            _refuse(name)
    return path


def written_in(scope: Mapping[str, Any], routes: Iterable[Any]) -> dict[str, Any]:
    """Return the parameters of the path as they stand in it.

    A router hands them over converted, where its path says how (`{id:int}`). To look for the value anywhere in the path
    is not enough: in `/api/2/pay/02` a part that never changes looks like it. So the pattern of the route that has
    matched is asked once more.

    Args:
        scope: of the request, at its endpoint.
        routes: what may be that route; which of them leads to the endpoint is seen here.

    Returns:
        By name the text; what was converted where no pattern is known (by a mount) is as it was converted.

    Raises:
        ConfigurationError: two routes read the path in two ways.
    """
    path = str(scope["path"]).removeprefix(scope.get("root_path", ""))
    texts: dict[str, str] = {}
    for route in routes:
        pattern = getattr(route, "path_regex", None)
        if not isinstance(pattern, re.Pattern) or getattr(route, "endpoint", None) is not scope.get("endpoint"):
            continue
        found = pattern.match(path)
        for name, text in (found.groupdict() if found else {}).items():
            if texts.setdefault(name, text) != text:
                raise ConfigurationError(f"what the parameter {name} of the path is, two routes say: say resource=")
    return {name: texts.get(name, value) for name, value in scope["path_params"].items()}


def canonical(name: str, value: object) -> str:  # noqa: PLR0911 - a case a type
    """Return the one text of a converted value.

    Raises:
        InvalidInput: it is a number that is none (NaN), or a text that is a number in another spelling than its own.
        ConfigurationError: its type is none of those that a path's parameter has.
    """
    match value:
        case Enum():
            return canonical(name, value.value)
        case str():
            return _text(name, value)
        case bool():
            return "true" if value else "false"
        case int() | UUID() | IPv4Address() | IPv6Address():
            return str(value)
        case float() if isfinite(value):
            return str(value + 0.0)  # of the two zeros the positive one
        case Decimal() if value.is_finite() and abs(value.adjusted()) <= _MOST_DIGITS:
            return _decimal(value)
        case float() | Decimal():
            _refuse(name)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat()
        case date() | time():
            return value.isoformat()
    raise ConfigurationError(
        f"the parameter {name} of the path is a {type(value).__name__}, which has no text of its own: ask for the"
        " approval by gate.approvals.request, and say what it is for"
    )


def _decimal(value: Decimal) -> str:
    # Not by `normalize`, which rounds: two numbers would be one.
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _text(name: str, value: str) -> str:
    """Return a text as it is, unless it is a number that has another spelling.

    Whoever executes may read it as a number, and then `07`, `+7` and digits of other scripts are one and the same.
    """
    try:
        number = int(value)
    except ValueError:
        return value
    if str(number) != value:
        _refuse(name)
    return value


def _refuse(name: str) -> NoReturn:
    message = "Write it in its canonical form: a number without leading zeros or signs, other values as they are shown."
    raise InvalidInput(message, errors=[InputFault(("path", name), "invalid_value", message)])
