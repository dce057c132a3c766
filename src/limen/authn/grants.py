"""What goes through the one door and what comes out of it: grants, proofs, and what is issued."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from limen.authn.records import Vouched
from limen.core.errors import LimenError
from limen.core.events import EventName, Origin
from limen.core.notices import Notice


class Grant(StrEnum):
    """Every way to be issued something: a closed list.

    A new one needs a row in the table of grants by account states (`tests/authn/test_issuing.py`).
    """

    PASSWORD = "password"
    REFRESH = "refresh"
    REPLAY = "replay"
    SESSION = "session"
    RENEWAL = "renewal"
    API_KEY = "api_key"
    API_KEY_ROTATION = "api_key_rotation"
    SSO = "sso"
    SSO_EXCHANGE = "sso_exchange"
    CLIENT_CERTIFICATE = "client_certificate"
    FORWARDED = "forwarded"
    MESSAGE = "message"
    MESSAGE_OF_SESSION = "message_of_session"


@dataclass(frozen=True, slots=True)
class GrantRule:
    """What a grant may do.

    Attributes:
        opens_session: it begins a session; otherwise it goes on with one.
        event: the record it leaves; None for what each request of a gateway, or each message, is given.
        kind: the kind of session it is about.
    """

    opens_session: bool
    event: EventName | None
    kind: str = "refresh"

    @property
    def record(self) -> EventName:
        """The record it leaves.

        Raises:
            ValueError: it leaves none.
        """
        if self.event is None:
            raise ValueError("this grant leaves no record")
        return self.event


GRANTS: Mapping[Grant, GrantRule] = {
    Grant.PASSWORD: GrantRule(opens_session=True, event=EventName.LOGIN_SUCCEEDED),
    Grant.REFRESH: GrantRule(opens_session=False, event=EventName.REFRESHED),
    Grant.REPLAY: GrantRule(opens_session=False, event=EventName.REFRESH_RESTATED),
    Grant.SESSION: GrantRule(opens_session=True, event=EventName.LOGIN_SUCCEEDED, kind="cookie"),
    Grant.RENEWAL: GrantRule(opens_session=False, event=EventName.SESSION_RENEWED, kind="cookie"),
    Grant.CLIENT_CERTIFICATE: GrantRule(opens_session=True, event=EventName.LOGIN_SUCCEEDED, kind="bound"),
    # Issued by `limen.authn.api_key_issuing`.
    Grant.API_KEY: GrantRule(opens_session=False, event=EventName.API_KEY_CREATED),
    Grant.API_KEY_ROTATION: GrantRule(opens_session=False, event=EventName.API_KEY_ROTATED),
    Grant.SSO: GrantRule(opens_session=True, event=EventName.LOGIN_SUCCEEDED, kind="cookie"),
    Grant.SSO_EXCHANGE: GrantRule(opens_session=True, event=EventName.LOGIN_SUCCEEDED),
    Grant.FORWARDED: GrantRule(opens_session=False, event=None),
    # Issued by `limen.authn.message_issuing`.
    Grant.MESSAGE: GrantRule(opens_session=False, event=None),
    Grant.MESSAGE_OF_SESSION: GrantRule(opens_session=False, event=None),
}


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A proof that was made at a provider, and what the provider says of it.

    Attributes:
        vouched: by which login there.
        factors: how many factors that counts as; never as many as the methods that the provider names.
        acr: the authentication context class.
        auth_time: when it was, in milliseconds since 1970 UTC, where the provider says so.
    """

    vouched: Vouched
    factors: int = 1
    acr: str | None = None
    auth_time: int | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proved, about which account, as it was at that moment.

    Attributes:
        grant: by which way.
        account_id: whose account.
        account_epoch: its ``session_epoch`` when it was read for the proof.
        methods: the factors proved, as authentication method references (RFC 8176); one method is one factor.
        client_id: the client that acts.
        origin: where the request came from.
        elsewhere: set where a provider made the proof.
        notice: a mail to the account's owner about what is issued, written with it.
    """

    grant: Grant
    account_id: str
    account_epoch: int
    methods: tuple[str, ...]
    client_id: str
    origin: Origin
    elsewhere: Elsewhere | None = None
    notice: Notice | None = None


@dataclass(frozen=True, slots=True)
class Issued:
    """What the door hands out.

    Attributes:
        access_token: a JWT (RFC 9068).
        refresh_token: opaque to its holder.
        expires_in: seconds the access token lives.
        refresh_expires_in: seconds the refresh token lives if it is not used.
        sid: the session.
        account_id: whose it is.
        account_epoch: its ``session_epoch``, where a session was opened; None for one that goes on.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_in: int
    refresh_expires_in: int
    sid: str
    account_id: str
    account_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class BoundToken:
    """An access token that only the holder of a client certificate can use (RFC 8705, section 3).

    Attributes:
        access_token: a JWT (RFC 9068) with ``cnf``.
        expires_in: seconds it lives.
        sid: the session that ends it.
        account_id: whose it is.
    """

    access_token: str = field(repr=False)
    expires_in: int
    sid: str
    account_id: str


class KeyGone(Exception):
    """The secret under which the current refresh token was made is not among those configured here."""


class CannotRestate(LimenError):
    """The stored hash is not that of the successor derived from the same row: a broken row, not a theft."""

    hint = "The session's row does not fit its own derivation; nothing was ended."


@dataclass(frozen=True, slots=True)
class TokenTerms:
    """What every token of this issuer says, and how long it holds; durations are seconds.

    ``states_permissions``: a token says what was granted to its account beside the roles. Where not, it says that there
    is something, and each request asks the database.
    """

    issuer: str
    audience: str
    access_ttl: int
    refresh_ttl: int
    session_max_ttl: int
    states_permissions: bool = True
