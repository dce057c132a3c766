"""Files that only their owner can read, and folders that nobody else can put anything into."""

import errno
import os
import stat
import tempfile
from pathlib import Path

from limen.core.errors import ConfigurationError

_WRITABLE_BY_OTHERS = 0o022
_OPEN_TO_OTHERS = 0o077
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


def require_own_folder(folder: Path) -> None:
    """Refuse a folder that is a symbolic link, is not the caller's, or that group or others can write.

    Whoever can put files into it chooses what is found there: passwords, secrets, and links to what they cannot write.

    Raises:
        ConfigurationError: it is such a folder; the sentence says what to do.
        OSError: it cannot be looked at.
    """
    status = folder.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(f"{folder} is a symbolic link; name the folder itself")
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigurationError(f"{folder} is not a folder; name another")
    _require_own(folder, status, _WRITABLE_BY_OTHERS, "write to it", "chmod go-w")


def require_own_file(file: Path, *, secret: bool = False) -> None:
    """Refuse a file that is there and is no plain file, is not the caller's, or that group or others can write.

    In a folder that passed `require_own_folder` nobody can change that afterwards.

    Args:
        file: one that need not be there.
        secret: nobody else may read it either.

    Raises:
        ConfigurationError: it is such a file; the sentence says what to do.
        OSError: it cannot be looked at.
    """
    try:
        status = file.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{file} is a symbolic link or no plain file; remove it, or name another folder")
    forbidden, what = (_OPEN_TO_OTHERS, "open it") if secret else (_WRITABLE_BY_OTHERS, "write to it")
    _require_own(file, status, forbidden, what, "chmod 600")


def _require_own(path: Path, status: os.stat_result, forbidden: int, what: str, remedy: str) -> None:
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to another user ({status.st_uid}), who chooses what is in it; name a folder of your own"
        )
    if status.st_mode & forbidden:
        raise ConfigurationError(f"others can {what}, and may have done so; if what is in it is yours: {remedy} {path}")
