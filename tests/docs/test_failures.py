"""The table of what is refused while a part is down is held by tests, row by row."""

import re

import pytest

from tests.docs.markdown import ROOT

PAGE = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
TEST = re.compile(r"`tests/[\w/]+\.py::\w+(?:::\w+)*`")
PARTS = ["The database", "Valkey", "A provider", "Mail", "The audit trail", "Clocks", "limen itself"]


def rows_of(part: str) -> list[list[str]]:
    """Return the cells of the rows below a heading."""
    below = re.split(rf"^## {part}.*$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("part", PARTS)
def test_each_row_names_its_test(part: str) -> None:
    """Each row says what happens, what it means, and which tests show it; that those exist another test sees to."""
    found = rows_of(part)
    assert len(found) >= 4
    for cells in found:
        assert len(cells) == 3, cells
        assert all(cells), cells
        assert TEST.findall(cells[2]), cells
        assert not TEST.sub("", cells[2]).strip(" ,"), cells


def test_no_part_is_without_a_table() -> None:
    """A heading that is added is held to the same."""
    assert [
        heading for heading in re.findall(r"^## (.+)$", PAGE, re.MULTILINE) if not heading.startswith(tuple(PARTS))
    ] == []
