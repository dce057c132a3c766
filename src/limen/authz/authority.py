"""What somebody was found to be allowed by, when they act on another account, and acts that are judged by it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from limen.core.errors import Conflict, Forbidden, Unavailable, UsernameTaken
from limen.core.events import Event, EventSink, Outcome

T = TypeVar("T")

ATTEMPTS: Final = 5
"""How often an act is judged anew, when what it was judged by has moved."""


@dataclass(frozen=True, slots=True)
class Authority:
    """What was read when somebody was found to be allowed to act. The act is done only where it is still so.

    Attributes:
        catalogue: the version of the roles' definitions.
        actor_id: who acts; must still be active.
        actor_version: how often the roles of who acts had been changed.
        target_version: how often those of the account had been changed; None where there is no account yet.
    """

    catalogue: int
    actor_id: str
    actor_version: int
    target_version: int | None = None


class AuthorityMoved(Exception):
    """A role was changed, granted or revoked since it was judged: nothing was done, and it is to be judged anew."""


async def judged(
    judge: Callable[[], Awaitable[Authority | None]],
    attempt: Callable[[Authority | None], Awaitable[T]],
    *,
    record: EventSink,
    refused: Event,
) -> T:
    """Judge and act, anew where what was judged by has moved meanwhile, and return what the act answers.

    Args:
        judge: says what it is judged by, which is None for the operator, or refuses.
        attempt: acts in a transaction in which that still holds, or raises `AuthorityMoved`.
        record: writes the event of a refusal.
        refused: that event; that it is a failure, and the reason, are added here.

    Raises:
        Unavailable: it moved each time.
        LimenError: what it is refused by. What is forbidden, or does not fit the present state, is recorded; that a
            name is taken, or malformed, is not.
    """
    for _ in range(ATTEMPTS):
        try:
            return await attempt(await judge())
        except AuthorityMoved:
            continue
        except UsernameTaken:
            raise
        except (Forbidden, Conflict) as error:
            await record(replace(refused, outcome=Outcome.FAILURE, data={**refused.data, "reason": error.code}))
            raise
    raise Unavailable("The roles are being changed by others; try again.")
