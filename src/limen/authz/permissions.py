"""The name of a permission: ``resource:action``, such as ``order:approve``."""

import re

from limen.core.errors import ConfigurationError

_PART = r"[A-Za-z][A-Za-z0-9_.-]{0,63}"
_PERMISSION = re.compile(rf"{_PART}(?::{_PART}){{1,3}}\Z")


def is_permission_name(name: str) -> bool:
    """Tell whether the text has the form of a permission: two to four parts of up to 64 characters, and colons."""
    return _PERMISSION.match(name) is not None


def permission_name(name: object) -> str:
    """Return the name of a permission as a plain ``str``.

    A member of a ``StrEnum`` is welcome; it comes back as its value, so that comparing and hashing stay those of
    ``str``. There are no wildcards: ``order:*`` would silently cover what is invented tomorrow.

    Raises:
        ConfigurationError: it is not text of the form ``resource:action``.
    """
    if not isinstance(name, str) or not is_permission_name(str(name)):
        raise ConfigurationError(f"{name!r} is no permission: write resource:action, such as order:approve")
    return str(name)
