"""Who may call each route, as a file to commit: a pull request that opens a route shows it in its difference."""

import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from limen.checklist.facts import Application, Route
from limen.core.errors import ConfigurationError

FORMAT: Final = 1
_OPENNESS: Final = {"guarded": 0, "unknown": 1, "open": 2, "public": 2}


class Label(Enum):
    """What a change means for those who call."""

    LOOSENED = "loosened"
    TIGHTENED = "tightened"
    CHANGED = "changed"
    """Some may do more and some less, or it cannot be told."""
    ADDED = "added"
    REMOVED = "removed"


class Change(Struct, frozen=True):
    """What became of one route.

    Attributes:
        route: its methods and its path.
        label: what it means.
        before: who might call it; empty where it was not there.
        after: who may call it now.
    """

    route: str
    label: Label
    before: str
    after: str


def lock_of(application: Application) -> dict[str, Any]:
    """Return who may call each route, as plain values: the same wherever the same code is checked."""
    routes = {}
    for each in application.routes:
        name = each.name
        while name in routes:  # a route that an earlier one hides
            name += " (again)"
        routes[name] = _of_route(each)
    return {"format": FORMAT, "routes": routes}


def _of_route(route: Route) -> dict[str, Any]:
    firm = [each for each in route.guards if not each.takes_only and not each.is_optional]
    if route.standing != "guarded":
        return {"standing": route.standing}
    asks = sorted({ask for each in firm for ask in each.asks})
    guards = sorted({each.name for each in firm})
    told: dict[str, Any] = {"standing": "guarded", "by": guards, "asks": asks}
    if any(each.about_object for each in firm):
        told["object"] = True
    if any(each.is_fresh for each in firm):
        told["live"] = True
    return told


def written(lock: Mapping[str, Any]) -> str:
    """Return the text of a lock: a route a line."""
    lines = ",\n".join(
        f"    {json.dumps(name, ensure_ascii=False)}: {json.dumps(told, ensure_ascii=False)}"
        for name, told in sorted(lock["routes"].items())
    )
    return f'{{\n  "format": {lock["format"]},\n  "routes": {{\n{lines}\n  }}\n}}\n'


def read(path: Path) -> dict[str, Any]:
    """Return what a lock file says.

    Raises:
        ConfigurationError: it cannot be read, or is no lock.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read as a lock. Delete it, and it is written anew.") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT or not isinstance(told.get("routes"), dict):
        raise ConfigurationError(f"{path} is a lock of another format. Delete it, and it is written anew.")
    return told


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return what became of each route between two locks; what is the same is left out."""
    old, new = before["routes"], after["routes"]
    found = []
    for name in sorted(old.keys() | new.keys()):
        one, other = old.get(name), new.get(name)
        if one != other:
            found.append(Change(name, _label(one, other), _text(one), _text(other)))
    return found


def _label(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> Label:
    if one is None or other is None:
        return Label.ADDED if one is None else Label.REMOVED
    first, second = _OPENNESS.get(one["standing"], 1), _OPENNESS.get(other["standing"], 1)
    if first != second:
        return Label.LOOSENED if second > first else Label.TIGHTENED
    if first:
        return Label.CHANGED
    more, less = _compared(one, other)
    return Label.CHANGED if more == less else Label.LOOSENED if more else Label.TIGHTENED


def _compared(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[bool, bool]:
    """Return whether somebody may do more than before, and whether somebody may do less."""
    old, new = set(one["asks"]), set(other["asks"])
    # Of roles one is enough, so a role more lets more people in; of everything else all are asked.
    enough = {each for each in old | new if each.startswith("role:")}
    more = bool((new - old) & enough) or bool((old - new) - enough)
    less = bool((old - new) & enough) or bool((new - old) - enough)
    if not old & enough and new & enough:
        more, less = bool((old - new) - enough), True
    elif old & enough and not new & enough:
        more, less = True, bool((new - old) - enough)
    for flag in ("object", "live"):
        more = more or (one.get(flag, False) and not other.get(flag, False))
        less = less or (other.get(flag, False) and not one.get(flag, False))
    if not more and not less:  # other guards, which ask for nothing that can be compared
        return bool(set(one["by"]) - set(other["by"])), bool(set(other["by"]) - set(one["by"]))
    return more, less


def _text(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    if told["standing"] != "guarded":
        return str(told["standing"])
    extra = [each for each in ("object", "live") if told.get(each)]
    return ", ".join([*told["asks"], *extra]) or " + ".join(told["by"]) or "guarded"
