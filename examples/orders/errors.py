"""What the application refuses, in limen's form: problem details with a code."""

from collections.abc import Sequence
from typing import Any

from limen import Conflict, Forbidden, InvalidInput, NotFound

MOST_FAULTS = 8


class OrderNotFound(NotFound):
    """There is no such order, or it is somebody else's: a caller cannot tell which."""

    title = "There is no such order."


class OwnOrder(Forbidden):
    """Four eyes: nobody decides about an order they made."""

    def __init__(self) -> None:
        super().__init__("own_order")


class NotAssigned(Forbidden):
    """The order has another checker, or none."""

    def __init__(self) -> None:
        super().__init__("not_assigned")


class AlreadyDecided(Conflict):
    """The order is no longer pending."""

    code = "already_decided"
    title = "The order has been decided."


class NoSuchChecker(InvalidInput):
    """Nobody who may check orders has this username."""

    def __init__(self) -> None:
        super().__init__("There is no checker of that name.")


class Invalid(InvalidInput):
    """The request does not have the form that the route asks for.

    FastAPI's own answer repeats the input, which may be what nobody else should read.

    Args:
        faults: what FastAPI found wrong, as ``RequestValidationError.errors()``.
    """

    def __init__(self, faults: Sequence[Any]) -> None:
        super().__init__("; ".join(f"{_place(fault)}: {_what(fault)}" for fault in faults[:MOST_FAULTS]))


def _place(fault: Any) -> str:
    # The last part of an unknown field's path is the caller's own text.
    path = fault["loc"][:-1] if fault["type"] == "extra_forbidden" else fault["loc"]
    return ".".join(str(part) for part in path)


def _what(fault: Any) -> str:
    return "there is an unknown field" if fault["type"] == "extra_forbidden" else str(fault["msg"])
