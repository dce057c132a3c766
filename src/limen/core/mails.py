"""Mails to the people behind accounts, as plain values: what is written with an act, and sent afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from enum import StrEnum
from typing import Protocol

from limen.core.events import Origin
from limen.core.notices import Notice


class MailKind(StrEnum):
    """What a mail says: each has a template of its own name."""

    RESET = "reset"
    VERIFY = "verify"
    ADDRESS_TAKEN = "address_taken"
    PASSWORD_CHANGED = "password_changed"
    PASSWORD_RESET = "password_reset"
    EMAIL_CHANGED = "email_changed"
    NEW_DEVICE = "new_device"
    LOGIN_AFTER_FAILURES = "login_after_failures"
    API_KEY_ISSUED = "api_key_issued"
    SESSION_STOLEN = "session_stolen"
    IDENTITY_LINKED = "identity_linked"
    IDENTITY_UNLINKED = "identity_unlinked"


@dataclass(frozen=True, slots=True)
class NewMail:
    """A mail to be sent.

    Attributes:
        id: UUIDv7; it stays in the Message-ID, however often the mail is tried.
        kind: the name of its template.
        recipient: the address, as accounts have it.
        account_id: whose mail it is; None where the address has yet to be looked up.
        lifetime_ms: milliseconds after which it is not sent any more.
        data: plain JSON values for the template; no secret.
        account_epoch: the account's ``session_epoch`` as it was when the mail was judged; another one by now, and
            nothing is queued, and no link made.
        account_email: the account's address as it was then; another one by now, and nothing is queued.
    """

    id: str
    kind: str
    recipient: str = field(repr=False)
    account_id: str | None
    lifetime_ms: int
    data: Mapping[str, object] = field(default_factory=dict, repr=False)
    account_epoch: int | None = None
    account_email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClaimedMail:
    """A mail that this process has taken over for a while. Times are milliseconds since 1970 UTC.

    Attributes:
        id: of the mail.
        kind: the name of its template; a later version may have written one that this version does not know.
        recipient: the address.
        account_id: whose mail it is.
        data: for the template.
        sealed: the proof that it carries, sealed for this row; None where none was made yet.
        attempts: how many times it was claimed, this time included.
        created_at: when it was asked for.
        expires_at: after which it is not sent any more.
        is_expired: that is over, by the database's clock.
        lease: what its end is told by; another process that takes over has another one.
    """

    id: str
    kind: str
    recipient: str = field(repr=False)
    account_id: str | None
    data: Mapping[str, object] = field(repr=False)
    sealed: bytes | None = field(repr=False)
    attempts: int
    created_at: int
    expires_at: int
    is_expired: bool
    lease: str


class Notices(Protocol):
    """Makes what an act writes to be mailed. Where there is no mail, nobody has one."""

    def notice(self, kind: str, origin: Origin = ...) -> Notice:
        """Return a notice about what is done to an account now."""
        ...

    def verification(self, account_id: str, address: str) -> NewMail:
        """Return the mail by which the address of an account that is made now is to be proved."""
        ...


class MailFailed(Exception):
    """A mail could not be handed over.

    Args:
        code: why, in a word for the log and the trail; never an address.
        is_final: it will not be taken later either.
        is_unreachable: the mail server was not reached, so other mails need not be tried now.
    """

    def __init__(self, code: str, *, is_final: bool = False, is_unreachable: bool = False) -> None:
        super().__init__(code)
        self.code = code[:64]
        self.is_final = is_final
        self.is_unreachable = is_unreachable


class MailTransport(Protocol):
    """Hands a mail over to whoever delivers it."""

    async def send(self, message: EmailMessage) -> None:
        """Hand over one mail with one recipient; when it returns, somebody else is responsible for it.

        Raises:
            MailFailed: nobody took it.
        """
        ...
