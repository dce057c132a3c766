"""Findings of before: a file to commit, so that an old application can begin today, and new findings still fail.

A finding is known again by its rule, its route, its file and what it is about; lines may move.
"""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from limen.checklist.findings import Finding
from limen.core.errors import ConfigurationError

FORMAT: Final = 1


def written(findings: Iterable[Finding]) -> str:
    """Return the text of a baseline: a finding a line, in order."""
    listed = sorted(each.identity for each in findings)
    lines = ",\n".join("    " + json.dumps(each, ensure_ascii=False) for each in listed)
    return f'{{\n  "format": {FORMAT},\n  "findings": [\n{lines}\n  ]\n}}\n'


def read(path: Path) -> "Counter[tuple[str, ...]]":
    """Return the identities of a baseline, with how often each is in it.

    Raises:
        ConfigurationError: the file is not there, or is no baseline.
    """
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        if told["format"] == FORMAT:
            return Counter(tuple(str(part) for part in each) for each in told["findings"])
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read. Write it with --write-baseline {path}.") from error
    except (ValueError, KeyError, TypeError):
        pass
    raise ConfigurationError(f"{path} is no baseline of this format. Write it anew with --write-baseline {path}.")


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
