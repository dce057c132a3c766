"""Where settings come from: the environment first, then one file that somebody named on purpose."""

import difflib
import logging
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

from limen.core.errors import ConfigurationError

PREFIX = "LIMEN_"
ENV_FILE = "LIMEN_ENV_FILE"

# Names that the test suite of limen reads, not limen.
_TESTS = "LIMEN_TEST_"
_GROUP_OR_OTHERS = 0o077
_ROOT = 0
_LONGEST_NAME = 64

logger = logging.getLogger(__name__)


def env_file(given: str | os.PathLike[str] | None, environ: Mapping[str, str]) -> Path | None:
    """Return the settings file to read: LIMEN_ENV_FILE, else the one that the application names, else none.

    A ``.env`` that merely lies in the working directory is never read: whoever starts limen elsewhere would take over
    that folder's settings. The operator's word (the environment) stands before the application's.

    Raises ConfigurationError when it cannot be read, when others than its owner can, or when its owner is a
    stranger: somebody who is neither the caller nor root, and would choose the secrets.
    """
    named = environ.get(ENV_FILE) or given
    if not named:
        return None
    path = Path(named)
    try:
        status = path.stat()
        path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"the settings file cannot be read ({type(error).__name__}): {path}") from None
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"the settings file is not a plain file: {path}")
    if os.name == "posix" and status.st_mode & _GROUP_OR_OTHERS:
        raise ConfigurationError(f"the settings file holds secrets and others can open it; run: chmod 600 {path}")
    if os.name == "posix" and status.st_uid not in {os.geteuid(), _ROOT}:
        raise ConfigurationError(
            f"the settings file belongs to user {status.st_uid}, who could choose the secrets; "
            f"it must be yours or root's: {path}"
        )
    return path


def warn_of_unknown(names: Iterable[str], known: Iterable[str]) -> None:
    """Log a warning for each name that begins like a setting and is none, with the nearest that is."""
    settings = {*known, ENV_FILE}
    for name in sorted({name.upper() for name in names}):
        if not name.startswith(PREFIX) or name.startswith(_TESTS) or name in settings:
            continue
        nearest = difflib.get_close_matches(name[:_LONGEST_NAME], settings, n=1, cutoff=0.8)
        meant = f"; did you mean {nearest[0]}?" if nearest else ""
        logger.warning("%s is not a setting of this version and has no effect%s", ascii(name[:_LONGEST_NAME]), meant)
