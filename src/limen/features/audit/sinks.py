"""Where the sealed trail is handed on to: what a sink is, and which one an address names."""

import asyncio
import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from limen.core.errors import ConfigurationError

_MOST_OF_NAME: Final = 300
_NEWLINE: Final = b"\n"


@dataclass(frozen=True, slots=True)
class Item:
    """One record with its seal, or a checkpoint.

    Attributes:
        line: what is handed on, one line of ASCII JSON.
        place: its place in the chain; of a checkpoint, how far the chain is.
        time: when it happened, milliseconds since 1970 UTC.
        event: what happened, or ``checkpoint``.
        is_failure: whether it ended as a failure.
    """

    line: str
    place: int
    time: int
    event: str
    is_failure: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Some items in the order of the chain, handed on as a whole or not at all.

    Attributes:
        name: names these very items, also when they are handed on again.
        items: at least one.
    """

    name: str
    items: Sequence[Item]


class SinkFailed(Exception):
    """A sink did not take a batch, or did not say that it did.

    Args:
        reason: what is told to the operator: plain words, without anything that was sent or received.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Sink(Protocol):
    """Takes the trail. It may be handed the same batch twice, and never misses one.

    Attributes:
        name: by which the store, the log and the numbers know it; holds no secret.
    """

    @property
    def name(self) -> str:
        """By which the store, the log and the numbers know it; holds no secret."""
        ...

    async def send(self, batch: Batch) -> None:
        """Hand a batch on; return once it was taken.

        Raises:
            SinkFailed: it was not, or it is not known; it is handed on again.
        """
        ...


class FileSink:
    """Appends lines to a file, each batch on the disk before it is noted.

    The file is opened anew for each batch: one that was moved away is followed by another one under its name. It is
    made for its owner alone, and a symbolic link in its place is refused. Where a crash left half a line, the next one
    begins on a line of its own, and what stood in the half follows whole.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_absolute() or path.name in {"", ".", ".."}:
            raise ConfigurationError("A sink that is a file is named by its whole path: file:///var/log/trail.jsonl")
        self._path = path
        self.name = sink_name(f"file://{path}")

    async def send(self, batch: Batch) -> None:
        """Append the lines, and see to it that they are on the disk."""
        text = "".join(f"{item.line}\n" for item in batch.items).encode("ascii")
        try:
            await asyncio.to_thread(self._append, text)
        except OSError as error:
            reason = errno.errorcode.get(error.errno or 0, "OSError")
            raise SinkFailed(f"the file cannot be written: {reason}") from None

    def _append(self, text: bytes) -> None:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
        # A pipe would let nobody go on until somebody reads.
        handle = os.open(self._path, flags | getattr(os, "O_NONBLOCK", 0), 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != _NEWLINE:
                text = _NEWLINE + text
            while text:
                text = text[os.write(handle, text) :]
            os.fsync(handle)
        finally:
            os.close(handle)
        if not size:
            self._keep_name()

    def _keep_name(self) -> None:
        """Write the folder to the disk: a new file's name is lost with the power otherwise."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def sink_name(url: str) -> str:
    """Return the name of the sink at an address: without what stands behind the question mark, which may be secret."""
    place, mark, query = url.partition("?")
    name = place if not mark else f"{place}#{sha256(query.encode()).hexdigest()[:8]}"
    if len(name) <= _MOST_OF_NAME:
        return name
    return f"{name[: _MOST_OF_NAME - 17]}#{sha256(name.encode()).hexdigest()[:16]}"


def file_of(url: str) -> Path:
    """Return the path that a ``file://`` address names.

    Raises:
        ConfigurationError: it names another machine, or no whole path.
    """
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment:
        raise ConfigurationError("A sink that is a file is named by its whole path: file:///var/log/trail.jsonl")
    return Path(unquote(parts.path))
