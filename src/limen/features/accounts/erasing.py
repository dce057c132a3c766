"""Deleted accounts are erased from the audit trail, too: their ids stay, and the chain over the records holds."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from limen.core.errors import LimenError

_log = logging.getLogger(__name__)

LEASE_MS: Final = 10 * 60 * 1000
"""For how long one process has an erasure to itself; then another one takes it for stopped."""


class Erasure(NamedTuple):
    """Whose details are to be erased, and who deleted the account."""

    account_id: str
    actor: str


class ErasureStore(Protocol):
    """What is to be erased yet; each is written down in the transaction of the deletion."""

    async def claim(self, *, lease_ms: int) -> Erasure | None:
        """Take the oldest that nobody works on; one caller gets it. None where there is none."""
        ...

    async def done(self, account_id: str) -> None:
        """Note that it is done."""
        ...


class ErasureService:
    """Erases what deleted accounts left in the audit trail.

    Args:
        store: what is to be done yet.
        erase: erases the details of what an account did and of what was done to it; is given its id, and who asked.
    """

    def __init__(self, store: ErasureStore, *, erase: Callable[[str, str], Awaitable[object]]) -> None:
        self._store = store
        self._erase = erase

    async def work(self) -> int:
        """Do what is to be done; return how many it were. Any number of processes may do so at once.

        What a crash interrupts is done again, after `LEASE_MS`: to erase what is erased changes nothing.

        Raises:
            Unavailable: the database does not answer; it is done later.
        """
        count = 0
        while (due := await self._store.claim(lease_ms=LEASE_MS)) is not None:
            await self._erase(due.account_id, due.actor)
            await self._store.done(due.account_id)
            count += 1
        return count

    async def work_now(self) -> None:
        """Do what is to be done, for whoever has just deleted an account; what fails is done later, by another."""
        try:
            await self.work()
        except LimenError as error:
            _log.warning("details of a deleted account are erased later", extra={"code": error.code})
