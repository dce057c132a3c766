"""What client certificates need from a database, and the rows they work with.

Times are milliseconds since 1970 UTC, stamped by the database's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from limen.authn.client_certificate_records import CertificateLookUp
from limen.authz.authority import Authority
from limen.core.events import Event


@dataclass(frozen=True, slots=True)
class NewRegistration:
    """A name of certificates to be registered for a service.

    Attributes:
        id: a UUIDv7.
        account_id: the service's account.
        name: the name, in its one spelling: ``uri:…``, ``dns:…`` or ``sha256:…``.
        created_by: who registers it: an account's id, or ``cli``.
        authority: what was judged by; asked again in the transaction.
    """

    id: str
    account_id: str
    name: str
    created_by: str
    authority: Authority | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """A name of certificates as it is listed.

    Attributes:
        id: a UUIDv7.
        name: such as ``uri:spiffe://example.org/billing``.
        created_at: when it was registered.
        created_by: who registered it.
    """

    id: str
    name: str
    created_at: int
    created_by: str


class ClientCertificateStore(CertificateLookUp, Protocol):
    """The names of client certificates in a database."""

    async def add(self, new: NewRegistration, event: Event) -> Registration | None:
        """Register a name by one conditional INSERT … SELECT from the service's account, and write the event.

        None, and nothing written, where the account is not the active one of a service. Raises Conflict where somebody
        has the name already, or the account has as many as it may; AuthorityMoved where the authority holds no longer.
        """
        ...

    async def of_account(self, account_id: str) -> Sequence[Registration]:
        """List the names of the account, the newest first; an account has a hundred at most."""
        ...

    async def remove(
        self,
        registration: str,
        *,
        account_id: str,
        event: Event,
        keep_ended_ms: int,
        authority: Authority | None = None,
    ) -> bool:
        """Take a name away if it is this account's, and end what it began: the tokens of the account.

        The registration's id and those sessions are listed as ended, the event is written with it. False, and nothing
        written, otherwise. Raises AuthorityMoved, with nothing changed, where the authority holds no longer.
        """
        ...
