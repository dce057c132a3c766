"""What messages ask of a database where their tokens are issued or presented.

Times are milliseconds since 1970 UTC, stamped by the database's clock.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ServiceState:
    """An account that a message stands for, as it is at the moment of one statement.

    Attributes:
        kind: ``person`` or ``service``.
        status: as in the account's row: plain text, since a status that is not known here is not «active».
        epoch: its ``session_epoch``.
        roles: what it holds now.
    """

    kind: str
    status: str
    epoch: int
    roles: frozenset[str]


class MessageIssuingStore(Protocol):
    """What the door asks before it issues a token for a message. Nobody calls it but the door."""

    async def attest(self, account_id: str, *, epoch: int) -> int | None:
        """Return the time, if this is an active service of this epoch; None otherwise.

        No row is made: whoever is handed the message asks for the account again (`ServiceLookUp`), with the epoch that
        the token states. So what happens to the account after this statement is not outrun.
        """
        ...


class ServiceLookUp(Protocol):
    """What is asked where a token is presented."""

    async def service_state(self, account_id: str) -> ServiceState | None:
        """Read the account and its roles in one statement; None where there is no such account."""
        ...
