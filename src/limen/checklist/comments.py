"""The comments of a file, and which lines each of them is about."""

import ast
import io
import tokenize
import warnings
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_LARGEST = 2 * 1024 * 1024


class Comment(Struct, frozen=True):
    """One comment.

    Attributes:
        text: with its ``#``.
        line: where it stands.
        about: the lines it speaks of: its own, and those of the statement that it is in or right above.
    """

    text: str
    line: int
    about: tuple[int, ...]


def comments_of(file: str) -> list[Comment]:
    """Return the comments of a file that name limen; none where the file cannot be read."""
    try:
        path = Path(file)
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return []
        raw = path.read_bytes()
        if b"limen" not in raw.lower():
            return []
        tokens = list(tokenize.tokenize(io.BytesIO(raw).readline))
    except (OSError, ValueError, LookupError, SyntaxError, tokenize.TokenError, RecursionError, MemoryError):
        return []
    passed = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING}
    code = sorted({each.start[0] for each in tokens if each.type not in passed and each.type != tokenize.ENDMARKER})
    spans = list(_spans(raw))
    return [
        Comment(each.string, each.start[0], _about(each.start[0], code, spans))
        for each in tokens
        if each.type == tokenize.COMMENT and "limen" in each.string.lower()
    ]


def _about(line: int, code: list[int], spans: list["_Span"]) -> tuple[int, ...]:
    index = bisect_left(code, line)
    if index == len(code):
        return (line,)
    first = code[index]  # the line itself, or the next one that is no comment
    around = [each for each in spans if each.first <= first <= each.last]
    # The innermost: it begins last, and of those that begin together it ends first.
    span = max(around, key=lambda each: (each.first, -each.last), default=_Span(first, first, is_head=False))
    if span.first < line < span.last and not span.is_head:
        # In the middle of a long statement: the line, and the call that is told at its beginning.
        return tuple(sorted({line, first, span.first}))
    return tuple(sorted({line, *range(span.first, span.last + 1)}))


class _Span(Struct, frozen=True):
    """The lines of a statement; of one with a block, those of its head, decorators included."""

    first: int
    last: int
    is_head: bool


def _spans(raw: bytes) -> Iterator[_Span]:
    try:
        with warnings.catch_warnings():  # what the file's own escapes are worth is not asked here
            warnings.simplefilter("ignore")
            tree = ast.parse(raw)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt | ast.ExceptHandler):
            continue
        first = _first(node)
        body = getattr(node, "body", None)
        if isinstance(body, list) and body:
            yield _Span(first, max(node.lineno, _first(body[0]) - 1), is_head=True)
        else:
            yield _Span(first, node.end_lineno or node.lineno, is_head=False)


def _first(node: ast.stmt | ast.ExceptHandler) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])
