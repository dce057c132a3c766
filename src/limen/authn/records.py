"""What the one door asks of a database: three conditional verbs, and the rows that go in and come out.

Times are milliseconds since 1970 UTC, stamped by the database's clock, never by this process: two nodes whose clocks
differ by a minute would otherwise call an honest retry a theft.
"""

from dataclasses import dataclass, field
from typing import Protocol

from limen.core.events import Event


@dataclass(frozen=True, slots=True)
class Vouched:
    """The login at a provider by which a session comes about; it goes with the session.

    Attributes:
        provider: the provider's name here.
        issuer: its issuer.
        subject: who somebody is there.
        provider_sid: that provider's own session (``sid``), if it names one.
        hint: the sealed ID token, to be shown to the provider at the logout.
    """

    provider: str
    issuer: str
    subject: str
    provider_sid: str | None
    hint: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SessionCap:
    """How many sessions an account may have at a time; the one that is opened ends the oldest of too many.

    Attributes:
        most: living ones, the new one among them; at least 1.
        keep_ended_ms: how long the list of ended sessions names those that end.
        event: the record of one that ends; its target is yet to be filled in.
    """

    most: int
    keep_ended_ms: int
    event: Event


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be inserted, if the account still is as it was when the proof was made.

    Attributes:
        account_epoch: the account's ``session_epoch`` as read before the proof; another one by now refuses.
        factors: how many factors were proved; fewer than the account requires refuses.
        token_hash: SHA-256 of the secret part of the first refresh token, or of the cookie.
        refresh_ttl_ms: how long it lives unused.
        max_ttl_ms: how long the session lives at most.
        auth_time: when the person proved who they are, if that was elsewhere; never later than now.
        vouched: the provider's login that it comes about by.
        cap: how many the account may have; None for any number.
    """

    sid: str
    account_id: str
    account_epoch: int
    kind: str
    factors: int
    token_hash: bytes = field(repr=False)
    kid: str
    refresh_ttl_ms: int
    max_ttl_ms: int
    amr: tuple[str, ...]
    acr: str | None
    client_id: str
    user_agent: str
    address: str
    auth_time: int | None = None
    vouched: Vouched | None = None
    cap: SessionCap | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """A refresh token presented, and the successor that is to take its place."""

    sid: str
    account_id: str
    generation: int
    presented_hash: bytes = field(repr=False)
    next_hash: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    kid: str
    refresh_ttl_ms: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """A cookie session whose secret is to be replaced, because its holder has just proved anew who they are."""

    sid: str
    account_id: str
    presented_hash: bytes = field(repr=False)
    next_hash: bytes = field(repr=False)
    idle_ms: int


@dataclass(frozen=True, slots=True)
class CurrentSession:
    """The row as it stands after it was opened or rotated, with the roles the account holds now."""

    sid: str
    account_id: str
    generation: int
    kid: str
    rotated_at: int
    idle_until: int
    ends_at: int
    auth_time: int
    amr: tuple[str, ...]
    acr: str | None
    client_id: str
    roles: frozenset[str]


class IssuingStore(Protocol):
    """The statements that bring a credential into being. Nobody calls them but the door."""

    async def open(self, session: NewSession, event: Event) -> CurrentSession | None:
        """Insert the session by one conditional INSERT … SELECT from its account, and the event with it.

        None, and nothing written, where the account is not active, its epoch is another one, or it requires more
        factors than were proved. The account's row is locked against a change in between (FOR SHARE).
        """
        ...

    async def open_bound(self, session: NewSession, registration: str, event: Event) -> CurrentSession | None:
        """Insert the session of a service that proved itself by a client certificate; see `open`.

        None, and nothing written, where the account is not the active one of a service, its epoch is another one, or
        the name by which the certificate was known (``registration``) is not its any more.
        """
        ...

    async def rotate(self, rotation: Rotation, event: Event) -> CurrentSession | None:
        """Replace the current secret by one conditional UPDATE that also asks the account, and write the event.

        None, and nothing written, where the presented secret is not the current one, the session is over, or the
        account is not active. The caller then judges with a new statement.
        """
        ...

    async def renew(self, renewal: Renewal, event: Event) -> CurrentSession | None:
        """Replace the secret of a cookie session by one conditional UPDATE that also asks the account.

        The login's time becomes now and the idle end moves; the absolute one stays. The event is written with it. None,
        and nothing written, where the presented secret is not the current one, the session is over, or the account is
        not active.
        """
        ...
