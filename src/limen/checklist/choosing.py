"""Which rules are asked: all of them, unless somebody names some."""

import difflib
import re
from collections.abc import Iterable

from limen.checklist.catalogue import BY_ID, RULES
from limen.checklist.findings import Rule


class UnknownRule(LookupError):
    """What was written is no rule, or leaves none."""


def rule_of(written: str) -> Rule:
    """Return a rule by its id; capitals do not matter.

    Raises:
        UnknownRule: there is none.
    """
    found = BY_ID.get(written.strip().upper())
    if found is not None:
        return found
    number = re.fullmatch(r"(?:LC)?(\d{1,3})", written.strip().upper())
    near = [f"LC{int(number[1]):03d}"] if number is not None else []
    near = [each for each in near if each in BY_ID] or difflib.get_close_matches(written.strip().upper(), BY_ID, n=3)
    known = f"Did you mean {' or '.join(near)}?" if near else f"They are {RULES[0].id} to {RULES[-1].id}."
    raise UnknownRule(f"There is no rule {written.strip()!r}. {known}")


def chosen(only: Iterable[str], ignored: Iterable[str]) -> frozenset[str]:
    """Return the ids of the rules that are asked.

    Args:
        only: ids, or several in one text with commas; none of them means all rules.
        ignored: ids of rules that are not asked.

    Raises:
        UnknownRule: one of the ids is none, or nothing is left to be asked.
    """
    wanted = {rule_of(each).id for each in _split(only)} or set(BY_ID)
    left = wanted - {rule_of(each).id for each in _split(ignored)}
    if not left:
        raise UnknownRule("No rule is left to be asked.")
    return frozenset(left)


def _split(texts: Iterable[str]) -> list[str]:
    return [part for text in texts for part in text.split(",") if part.strip()]
