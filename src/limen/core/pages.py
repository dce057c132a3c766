"""How a list is read, a page at a time."""

from limen.core.errors import InputFault, InvalidInput
from limen.core.ids import is_uuid7

MAX_PAGE = 200
DEFAULT_PAGE = 50


def check_limit(limit: int) -> int:
    """Return how many items a page may have, 1 to 200.

    Raises:
        InvalidInput: it is less or more.
    """
    if not 1 <= limit <= MAX_PAGE:
        message = f"A page has 1 to {MAX_PAGE} items."
        raise InvalidInput(message, errors=[InputFault(("query", "limit"), "out_of_range", message)])
    return limit


def check_place(after: str | None) -> str | None:
    """Return the place after which a list goes on, where the list is in the order of ids; None is its beginning.

    Raises:
        InvalidInput: it is not what a page has answered as ``next``.
    """
    if after is not None and not is_uuid7(after):
        raise no_such_place()
    return after


def no_such_place() -> InvalidInput:
    """Return the error for an ``after`` that no page has answered as ``next``."""
    message = "No page goes on there: send what the last one answered as next."
    return InvalidInput(message, errors=[InputFault(("query", "after"), "invalid_value", message)])
