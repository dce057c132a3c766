"""Files of other software, read piece by piece: a file of a gigabyte takes no more memory than its longest record."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, NoReturn, TextIO

import msgspec

MOST_RECORD: Final = 1024 * 1024
"""The longest record that is read, in characters or bytes."""
MOST_BESIDE: Final = 64 * 1024 * 1024
"""The longest value that is passed over beside the records."""
_PIECE: Final = 64 * 1024
_SPACE: Final = " \t\r\n"
_MARK: Final = b"\xef\xbb\xbf"  # that some editors write before everything


class Record(NamedTuple):
    """A record as it stands in a file: where it begins, and what it says."""

    line: int
    value: Any


class Unreadable(NamedTuple):
    """What cannot be read.

    Attributes:
        line: where it begins, from 1.
        code: ``malformed``: this record; ``too_long``: this record; ``file_broken``: all that follows.
    """

    line: int
    code: str


class ForeignFile:
    """A file that is read once, from its beginning.

    Args:
        path: which one.

    Attributes:
        size: its length in bytes.

    Raises:
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size
        self._file: BinaryIO = path.open("rb")
        self._reader: TextIO | None = None

    @property
    def path(self) -> Path:
        """Which file it is."""
        return self._path

    @property
    def position(self) -> int:
        """How many bytes were read."""
        return self._file.tell()

    def close(self) -> None:
        """Close it."""
        if self._reader is not None:
            self._reader.close()
        self._file.close()

    def begins_with(self) -> bytes:
        """Return its first octets but for white space, without going on."""
        head = self._file.read(512)
        self._file.seek(0)
        return head.removeprefix(_MARK).lstrip()[:16]

    def lines(self) -> Iterator[Record | Unreadable]:
        """Read JSON lines; empty ones are passed over."""
        number = 0
        while line := self._file.readline(MOST_RECORD + 1):
            number += 1
            line = line.removeprefix(_MARK) if number == 1 else line
            if len(line) > MOST_RECORD:
                while line and not line.endswith(b"\n"):
                    line = self._file.readline(MOST_RECORD)
                yield Unreadable(number, "too_long")
            elif line.strip():
                try:
                    yield Record(number, msgspec.json.decode(line))
                except (ValueError, RecursionError):  # msgspec's own is one of the first
                    yield Unreadable(number, "malformed")

    def rows(self) -> Iterator[Record | Unreadable]:
        """Read comma-separated values whose first line names the columns."""
        reader = csv.DictReader(_bounded_lines(self._text()), strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    yield Unreadable(reader.line_num, "malformed")
                else:
                    yield Record(reader.line_num, row)
        except (csv.Error, ValueError):
            yield Unreadable(reader.line_num + 1, "file_broken")

    def items(self, key: str | None = None) -> Iterator[Record | Unreadable]:
        """Read the items of one JSON array, or of the one that an object has under ``key``."""
        scanner = _Scanner(self._text())
        try:
            yield from scanner.items() if key is None else scanner.items_under(key)
        except (ValueError, RecursionError):
            yield Unreadable(scanner.line, "file_broken")

    def _text(self) -> TextIO:
        self._reader = io.TextIOWrapper(self._file, encoding="utf-8-sig", newline="")
        return self._reader


def _bounded_lines(text: TextIO) -> Iterator[str]:
    while line := text.readline(MOST_RECORD):
        if len(line) == MOST_RECORD:
            raise ValueError("a line is too long")
        yield line


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("not a number of JSON")


class _Scanner:
    """Reads JSON value by value; any fault of the text is a ValueError."""

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._buffer = ""
        self._at = 0
        self._counted = 0  # up to where lines were counted
        self._is_over = False
        self._decoder = json.JSONDecoder(parse_constant=_refuse_constant)
        self.line = 1

    def items(self) -> Iterator[Record]:
        """Read the array that comes."""
        self._take("[")
        if self._peek() == "]":
            self._take("]")
            return
        while True:
            self._peek()
            line = self.line
            yield Record(line, self._value(MOST_RECORD))
            if self._take(",", "]") == "]":
                return

    def items_under(self, key: str) -> Iterator[Record]:
        """Read the array under a name of the object that comes, and pass over the rest."""
        self._take("{")
        if self._peek() == "}":
            return
        while True:
            self._peek()
            name = self._value(_PIECE)
            self._take(":")
            if name == key and self._peek() == "[":
                yield from self.items()
            else:
                self._value(MOST_BESIDE)
            if self._take(",", "}") == "}":
                return

    def _fill(self, size: int) -> bool:
        piece = "" if self._is_over else self._text.read(size)
        self._is_over = not piece
        self._count_lines()
        self._buffer = self._buffer[self._at :] + piece
        self._at = self._counted = 0
        return bool(piece)

    def _count_lines(self) -> None:
        self.line += self._buffer.count("\n", self._counted, self._at)
        self._counted = self._at

    def _peek(self) -> str:
        """Return the next character that is no white space, and go on to it."""
        while True:
            while self._at < len(self._buffer):
                if (found := self._buffer[self._at]) not in _SPACE:
                    self._count_lines()
                    return found
                self._at += 1
            if not self._fill(_PIECE):
                return ""

    def _take(self, *expected: str) -> str:
        found = self._peek()
        if found not in expected:
            raise ValueError("something else stands here")
        self._at += 1
        return found

    def _value(self, most: int) -> Any:
        """Read the value that comes; what was not all there is tried again with twice as much."""
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except ValueError:
                end = len(self._buffer)
                if end - self._at >= most or not self._fill(max(_PIECE, end)):
                    raise
                continue
            # A number could go on in the next piece.
            if end == len(self._buffer) and self._fill(_PIECE):
                continue
            self._at = end
            return value
