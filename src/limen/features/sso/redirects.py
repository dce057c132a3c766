"""Where a browser may be sent afterwards: a path of this origin, or an address of the list, exactly (RFC 9700)."""

import re
from collections.abc import Collection
from typing import Final

MAX_LENGTH: Final = 1024

# What RFC 3986 lets stand in a path, but nothing that some reader takes for something else: no backslash, no encoded
# slash, backslash or control character, no empty or dotted segment.
_PATH: Final = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2}|/)*\Z")
_REST: Final = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@/?%#-]*\Z")
_ENCODED: Final = re.compile(r"%(?:2[ef]|5c|[01][0-9a-f]|7f)", re.IGNORECASE)


def is_own_path(text: str) -> bool:
    """Tell whether the text leads to this very origin, whoever reads it: a browser, a proxy, or a page's script.

    No scheme, no ``//``, no backslash, no credentials, no control character, and nothing of that encoded.
    """
    if not text or len(text) > MAX_LENGTH:
        return False
    path = re.split("[?#]", text, maxsplit=1)[0]
    rest = text[len(path) :]
    if not _PATH.match(path) or _ENCODED.search(path) or not _REST.match(rest):
        return False
    segments = path.split("/")[1:]
    return not any(segment in {".", ".."} for segment in segments) and "" not in segments[:-1]


def next_of(given: str | None, allowed: Collection[str], *, default: str = "/") -> str:
    """Return where to go: what was asked for, if it may be, else the default."""
    return given if given and (is_own_path(given) or given in allowed) else default
