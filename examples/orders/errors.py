"""What the application refuses, in limen's form: problem details with a code."""

from limen import Conflict, Forbidden, InvalidInput, NotFound


class OrderNotFound(NotFound):
    """There is no such order, or it is somebody else's: a caller cannot tell which."""

    title = "There is no such order."


class OwnOrder(Forbidden):
    """Four eyes: nobody is made the checker of an order they made."""

    def __init__(self) -> None:
        super().__init__("own_order")


class AlreadyDecided(Conflict):
    """The order is no longer pending."""

    code = "already_decided"
    title = "The order has been decided."


class NotAsked(Conflict):
    """The order takes two, and its maker has not asked for them, or has not since it was changed."""

    def __init__(self) -> None:
        super().__init__("Its maker has to ask for this approval: by changing it; a change of nothing, {}, will do.")


class ChangedSince(Conflict):
    """The order is another one than the caller has seen."""

    def __init__(self) -> None:
        super().__init__("The order is not as you have seen it; look at it again.")


class NoSuchChecker(InvalidInput):
    """Nobody who may check orders has this username."""

    def __init__(self) -> None:
        super().__init__("There is no checker of that name.")
