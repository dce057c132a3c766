"""What somebody was found to be allowed by, when they act on another account."""

from dataclasses import dataclass


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
