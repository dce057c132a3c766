"""What client certificates ask of a database where they are presented, and the rows that come out.

Times are milliseconds since 1970 UTC, stamped by the database's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class CertificateState:
    """A name of certificates and the account it stands for, as they are at the moment of one statement.

    Attributes:
        id: of the registration.
        name: such as ``uri:spiffe://example.org/billing``.
        account_id: whose certificates bear it.
        account_kind: ``person`` or ``service``.
        account_status: as in the account's row: plain text, since a status that is not known here is not «active».
        account_epoch: the account's ``session_epoch``.
        roles: what the account holds now.
    """

    id: str
    name: str
    account_id: str
    account_kind: str
    account_status: str
    account_epoch: int
    roles: frozenset[str]


class CertificateLookUp(Protocol):
    """What the strategy asks of the store."""

    async def match(self, names: Sequence[str]) -> Sequence[CertificateState]:
        """Read which of the names are registered, with their accounts and roles, in one statement."""
        ...

    async def by_id(self, registration: str) -> CertificateState | None:
        """Read one registration; None where there is none."""
        ...
