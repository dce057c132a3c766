"""Files that only their owner can read."""

import errno
import os
import tempfile
from pathlib import Path

_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
"""How a file system says that it has no hard links."""


def write_private(path: Path, content: str, *, replace: bool) -> None:
    """Write a file (0600), whole or not at all.

    Args:
        path: in a folder that is there.
        content: its text.
        replace: put it in the place of one that is there already.

    Raises:
        FileExistsError: it is there, and ``replace`` is False.
        OSError: it cannot be written.
    """
    # mkstemp makes it 0600 whatever the umask says, before anything is in it.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        if replace:
            Path(name).replace(path)
        else:
            _put(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _put(whole: Path, path: Path) -> None:
    """Let the file appear under its name; unlike a renaming, a link overwrites nothing that came meanwhile."""
    try:
        os.link(whole, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as output:
            output.write(whole.read_bytes())
