"""Takes secrets of the environment out of what is told of an import that failed: errors and logs quote settings."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from limen.checklist.source.words import is_secret

_SHORTEST: Final = 8
_SHORTEST_SECRET: Final = 4
_USERINFO: Final = re.compile(r"(\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^/\s'\"]*@")
_ASSIGNED: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*$")
_LARGEST: Final = 256 * 1024


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """Return a text in which the values of variables, and passwords in addresses, are not there any more.

    Args:
        text: the message of an error, or what was printed.
        environment: the variables; a value that is a path, a number or a short word stays, where the name of the
            variable does not say that it is a secret.
    """
    for value, name in sorted(_told_apart(environment), key=lambda pair: -len(pair[0])):
        text = text.replace(value, f"${name}")
    return _USERINFO.sub(r"\1…@", text)


def secrets_of(environment: Mapping[str, str]) -> frozenset[str]:
    """Return the values of the variables whose names say that they are secrets; a short word opens nothing."""
    return frozenset(value for name, value in environment.items() if len(value) >= _SHORTEST and is_secret(name))


def _told_apart(environment: Mapping[str, str]) -> set[tuple[str, str]]:
    found = set()
    for name, value in environment.items():
        shortest = _SHORTEST_SECRET if is_secret(name) else _SHORTEST
        is_path = value.startswith(("/", ".", "~")) and not is_secret(name)
        if len(value) >= shortest and not is_path and not (value.isdigit() and not is_secret(name)):
            found.add((value, name))
            # A part of a longer log line; what code cuts out of an address; and how Python and JSON write it.
            found.update((line, name) for line in value.splitlines() if len(line) >= _SHORTEST)
            parts = {value, *_parts(value)}
            found.update((each, name) for part in parts for each in (part, repr(part)[1:-1], json.dumps(part)[1:-1]))
    return found


def _parts(address: str) -> set[str]:
    """Return what is secret in an address: its password, and who enters with it, as written and as read."""
    userinfo, at, _ = address.partition("://")[2].split("/")[0].rpartition("@")
    if not at:
        return set()
    password = userinfo.partition(":")[2]
    both = {f"{userinfo}@", password, unquote(password)}
    return {each for each in both if len(each) >= _SHORTEST_SECRET}


def file_of_settings(folder: Path) -> dict[str, str]:
    """Return what the ``.env`` of a folder assigns; nothing where there is none that can be read."""
    path = folder / ".env"
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() and path.stat().st_size <= _LARGEST else ""
    except (OSError, ValueError):
        return {}
    found = (_ASSIGNED.match(line) for line in text.splitlines())
    return {each[1]: each[2].strip("'\"") for each in found if each is not None}
