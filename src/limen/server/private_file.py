"""Files that only their owner can read."""

import os
import tempfile
from pathlib import Path


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
            # A link, unlike a renaming, does not overwrite what somebody else put there meanwhile.
            os.link(name, path)
    finally:
        Path(name).unlink(missing_ok=True)
