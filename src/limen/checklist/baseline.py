"""Findings of before: a file to commit, so that an old application can begin today, and new findings still fail.

A finding is known again by its rule, its route, its file and what it is about; lines may move.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from limen.checklist.catalogue import BAD_ACCEPTANCE
from limen.checklist.findings import Finding
from limen.core.errors import ConfigurationError

FORMAT: Final = 1
_PARTS: Final = 5


def written(findings: Iterable[Finding]) -> str:
    """Return the text of a baseline: a finding a line, in order.

    What is wrong with an acceptance is not taken in: it would be silent for ever, which acceptances are not to be.
    """
    listed = sorted(each.identity for each in findings if each.rule != BAD_ACCEPTANCE)
    lines = ",\n".join("    " + json.dumps(each, ensure_ascii=False) for each in listed)
    return f'{{\n  "format": {FORMAT},\n  "findings": [\n{lines}\n  ]\n}}\n'


def read(path: Path) -> "Counter[tuple[str, ...]]":
    """Return the identities of a baseline, with how often each is in it.

    Raises:
        ConfigurationError: the file is not there, or is no baseline.
    """
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] == FORMAT and all(_is_identity(each) for each in told["findings"]):
            return Counter(tuple(each) for each in told["findings"])
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read. Write it with --write-baseline {path}.") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigurationError(f"{path} is no baseline of this format. Write it anew with --write-baseline {path}.")


def _is_identity(entry: object) -> bool:
    return isinstance(entry, list) and len(entry) == _PARTS and all(isinstance(part, str) for part in entry)


def gone(
    findings: Iterable[Finding], known: "Counter[tuple[str, ...]]", asked: frozenset[str]
) -> "Counter[tuple[str, ...]]":
    """Return what a baseline has, of rules that were asked, and nothing finds any more."""
    left = known - Counter(each.identity for each in findings)
    return Counter({identity: count for identity, count in left.items() if identity[0] in asked})


def without(findings: Iterable[Finding], known: "Counter[tuple[str, ...]]") -> tuple[list[Finding], int]:
    """Return the findings that are not in the baseline, and how many were.

    Two findings of one identity are in it twice, or the second is new.
    """
    left = Counter(known)
    new = []
    before = 0
    for each in findings:
        if left[each.identity] > 0:
            left[each.identity] -= 1
            before += 1
        else:
            new.append(each)
    return new, before
