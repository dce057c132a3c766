"""What messages ask of a database, but for issuing their tokens (`limen.authn.message_records`)."""

from enum import StrEnum
from typing import Protocol

from limen.authn.message_records import ServiceState


class Claimed(StrEnum):
    """How a message stood when somebody wanted to begin with it.

    ``new`` for exactly one caller. ``begun``: somebody has begun, and nobody knows of an end: they are at it, or they
    are gone. ``done``: its work was done.
    """

    NEW = "new"
    BEGUN = "begun"
    DONE = "done"


class MessageStore(Protocol):
    """Messages that were seen, in a database."""

    async def service_state(self, account_id: str) -> ServiceState | None:
        """Read the account and its roles in one statement; None where there is no such account."""
        ...

    async def claim(self, jti: str, *, consumer: str, keep_until_ms: int) -> Claimed:
        """Record by one INSERT that the work on a message begins, in a transaction of its own.

        However many call it at once, one is answered ``new``. Raises ConfigurationError in a block of `Limen.using`.
        """
        ...

    async def claim_with_work(self, jti: str, *, consumer: str, keep_until_ms: int) -> Claimed:
        """Record by one INSERT, in the application's transaction, that the message is done when that is committed.

        Whoever comes at the same time waits for that transaction. Raises ConfigurationError outside a block of
        `Limen.using`.
        """
        ...

    async def finish(self, jti: str, *, consumer: str) -> None:
        """Note that the work on a message that was claimed is done."""
        ...
