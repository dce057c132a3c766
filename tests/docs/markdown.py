"""Reads the project's pages: fenced blocks, tables, links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(?P<language>\S*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(?P<text>.+)$", re.MULTILINE)
_CELL = re.compile(r"(?<!\\)\|")
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


def pages() -> list[Path]:
    """Return every page of the project."""
    own = list(ROOT.glob("*.md"))
    return sorted([*own, *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("benchmarks/**/*.md")])


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page, in their order."""
    return [Block(found["language"], found["text"]) for found in _FENCE.finditer(page)]


def prose(page: str) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", page)


def rows(page: str, first_column: str) -> list[list[str]]:
    """Return the rows of every table whose first column has this name; an escaped bar in a cell is a bar."""
    found: list[list[str]] = []
    inside = False
    for line in prose(page).splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in _CELL.split(line)[1:-1]]
        if cells[0] == first_column:
            inside = True
        elif inside and not set(cells[0]) <= set("-: "):
            found.append(cells)
    return found


def code(text: str) -> list[str]:
    """Return what stands between back quotes."""
    return _CODE.findall(text)


def links(page: str) -> Iterator[str]:
    """Yield the targets of the page's links."""
    for found in _LINK.finditer(prose(page)):
        yield found["target"]


def anchors(page: str) -> set[str]:
    """Return the anchors that the page's headings get."""
    texts = (found["text"] for found in _HEADING.finditer(prose(page)))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in texts}
