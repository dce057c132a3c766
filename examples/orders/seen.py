"""Which version of an order somebody has seen: its ETag, which comes back as If-Match."""

import re
from collections.abc import Sequence

from limen import InputFault, InvalidInput

from .errors import ChangedSince  # noqa: TID252 - works under any name
from .models import Order  # noqa: TID252
from .together import digest  # noqa: TID252

ANY = "*"
_TAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')


def etag(order: Order) -> str:
    """Return the strong entity tag of an order as it is (RFC 9110, section 8.8.3): what is approved of it.

    Of one that takes two, the digest in it is that of the request which is in the inbox of those who may approve it.
    """
    return f'"{digest(order)}"'


def has_seen(order: Order, if_match: Sequence[str] | None) -> bool:
    """Tell whether the request names what was seen of the order, and it is that; False where it names nothing.

    Compared as RFC 9110, section 13.1.1 says: strongly, so that a weak tag is none that matches.

    Args:
        order: as it is now.
        if_match: the lines of the header; ``*`` is whatever is there, and so it names nothing.

    Raises:
        ChangedSince: it is another one by now, or the header is malformed.
    """
    if if_match is None or (named := ",".join(if_match).strip()) == ANY:
        return False
    tags = _TAG.findall(named)
    # What is no list of tags matches nothing: a condition that cannot be read does not hold.
    if _TAG.sub("", named).strip(" \t,") or etag(order) not in tags:
        raise ChangedSince()
    return True


def require_seen() -> InvalidInput:
    """Return what a request is told that has to name the order it has seen, and does not."""
    message = "Send If-Match with the ETag of the order as you have seen it: its digest from /approvals, in quotes."
    return InvalidInput(message, errors=[InputFault(("header", "If-Match"), "missing", message)])
