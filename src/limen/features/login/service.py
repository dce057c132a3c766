"""Login by password: one answer, and the same work, for every way it can fail."""

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TypeVar

from limen.authn.cookie import IssuedCookie
from limen.authn.issuing import Door, Grant, Issued, Proof
from limen.core import metrics
from limen.core.errors import Busy, InvalidCredentials, InvalidInput, LimenError, PasswordChangeRequired
from limen.core.events import Event, EventName, EventSink, Origin, Outcome
from limen.core.mails import MailKind
from limen.core.notices import Notice
from limen.features.accounts.service import AccountService, AccountView, Found, PasswordCheck
from limen.features.throttling.service import Attempt, LoginThrottle

_log = logging.getLogger(__name__)

T = TypeVar("T")

MANY_FAILURES = 10
"""Failures in a row after which a login that succeeds is told to its owner, on a known device as well."""
PASSWORD_METHODS = ("pwd",)
"""Authentication method references of a password (RFC 8176, section 2)."""


@dataclass(frozen=True, slots=True, repr=False)
class _Presented:
    username: str
    password: str
    new_password: str | None
    origin: Origin
    device: str


class LoginService:
    """Turns a right password into a session.

    Args:
        accounts: whose passwords they are.
        door: the one that issues.
        record: writes the event of a failure.
        pseudonym_key: keys the hash under which unknown names are recorded; a name typed wrong may be a password.
        client_id: the client named in the tokens.
        throttle: counts attempts before they are looked at.
    """

    def __init__(
        self,
        accounts: AccountService,
        door: Door,
        *,
        record: EventSink,
        pseudonym_key: bytes,
        client_id: str,
        throttle: LoginThrottle,
    ) -> None:
        self._accounts = accounts
        self._door = door
        self._record = record
        self._pseudonym_key = pseudonym_key
        self._client_id = client_id
        self._throttle = throttle

    async def login(
        self, username: str, password: str, *, new_password: str | None = None, origin: Origin, device: str = ""
    ) -> Issued:
        """Check the password and open a session of access and refresh tokens; see `open_cookie_session`."""
        presented = _Presented(username, password, new_password, origin, device)
        return await self._log_in(presented, Grant.PASSWORD, self._door.open_session)

    async def open_cookie_session(
        self,
        username: str,
        password: str,
        *,
        remembered: bool,
        new_password: str | None = None,
        origin: Origin,
        device: str = "",
    ) -> IssuedCookie:
        """Check the password and open a session for a browser.

        Args:
            username: in any spelling.
            password: the password now.
            remembered: it is to last longer, and to outlive the closing of the browser.
            new_password: the password to be, where the present one is temporary; with any other it is refused.
            origin: where the request came from.
            device: the cookie of known devices that came along.

        Raises:
            RateLimited: there were too many attempts; nothing was looked at.
            InvalidCredentials: unknown name, wrong password, an account that is not active, or one that changed while
                the password was being checked: always the same.
            PasswordChangeRequired: the password is right and temporary, and there is no new one.
            InvalidInput: a name or password that none can be, whoever asks.
            Busy: too many passwords wait to be hashed.
        """
        opening = partial(self._door.open_cookie_session, remembered=remembered)
        presented = _Presented(username, password, new_password, origin, device)
        return await self._log_in(presented, Grant.SESSION, opening)

    async def _log_in(
        self, presented: "_Presented", grant: Grant, opening: Callable[[Proof], Awaitable[T | None]]
    ) -> T:
        username, password, origin = presented.username, presented.password, presented.origin
        name = self._accounts.compared(username)
        seen, device = await self._device(name, presented.device)
        attempt = await self._throttle.admit(name, address=origin.address, device=device)
        try:
            check = await self._accounts.check_password(name, password, seen)
        except LimenError:
            await self._throttle.withdrawn(attempt)
            raise
        try:
            account = await self._settled(check, password, presented.new_password, origin)
        except (PasswordChangeRequired, InvalidInput, Busy) as error:
            # The password was right, which is no guess: what is missing is one of the account's own.
            await self._throttle.withdrawn(attempt)
            if isinstance(error, PasswordChangeRequired):
                await self._record(self._failure(check, username, origin, reason=error.code))
            raise
        issued = None
        if account is not None:
            issued = await opening(
                Proof(
                    grant=grant,
                    account_id=account.id,
                    account_epoch=account.session_epoch,
                    methods=PASSWORD_METHODS,
                    client_id=self._client_id,
                    origin=origin,
                    notice=self._notice(account, attempt, presented),
                )
            )
        if issued is None:
            metrics.LOGINS.add("password", "failure")
            await self._record(self._failure(check, username, origin))
            raise InvalidCredentials()
        metrics.LOGINS.add("password", "success")
        if account is not None:
            await self._throttle.succeeded(attempt, account_id=account.id)
        if check.outdated and account is check.account:
            await self._rehash(check, password, origin)
        return issued

    async def _device(self, name: str, cookie: str) -> tuple[Found | None, str | None]:
        """Return the known device, if it is one; and the account, where it had to be looked up to say so.

        Only for a cookie that was made here for this name; `check_password` does not look it up once more.
        """
        devices = self._throttle.devices
        claim = devices.claimed(cookie, name) if cookie else None
        if claim is None:
            return None, None
        seen = await self._accounts.looked_up(name)
        account = seen.account
        return seen, None if account is None else devices.confirmed(claim, account.id, account.session_epoch)

    async def _settled(
        self, check: PasswordCheck, password: str, new: str | None, origin: Origin
    ) -> AccountView | None:
        """Return the account once its password is its own; None where the right password does not count.

        The flag was read with the epoch, and whatever sets or clears it raises the epoch: the door, which asks for that
        epoch, notices a password that became temporary meanwhile.

        Raises:
            PasswordChangeRequired: it is temporary, and there is no new one to take its place.
        """
        account = check.account
        if account is None or not account.password_temporary:
            return account if new is None else None
        if account.password_expired or account.status != "active":
            return None
        if new is None:
            raise PasswordChangeRequired("Log in once more, with a new_password beside it.")
        return await self._accounts.replace_temporary_password(account, password, new, origin=origin)

    def _notice(self, account: AccountView, attempt: Attempt, presented: _Presented) -> Notice | None:
        """Return what the owner is told of this login: one thing, the more alarming one."""
        if self._throttle.failures_before(attempt) >= MANY_FAILURES:
            kind = MailKind.LOGIN_AFTER_FAILURES
        elif attempt.device is None:
            kind = MailKind.NEW_DEVICE
        else:
            return None
        return self._accounts.notice_of(account.id, kind, presented.origin)

    def _failure(self, check: PasswordCheck, username: str, origin: Origin, *, reason: str = "") -> Event:
        if check.found is None:
            digest = hmac.new(self._pseudonym_key, username.encode("utf-8", "replace"), sha256).hexdigest()
            target, reason = f"unknown:{digest[:32]}", "unknown_account"
        elif check.account is None:
            target, reason = check.found.id, "wrong_password"
        else:
            # The password was right and the door refused: not active, changed meanwhile, or a factor is missing.
            target, reason = check.found.id, reason or f"refused_{check.found.status}"
        return Event(EventName.LOGIN_FAILED, Outcome.FAILURE, "", target, origin, {"reason": reason})

    async def _rehash(self, check: PasswordCheck, password: str, origin: Origin) -> None:
        # The login is done: a full queue or a busy database must not undo it. The next login tries again.
        try:
            if check.account is not None:
                await self._accounts.rehash(check.account, password, origin=origin)
        except LimenError as error:
            _log.info("password not rehashed", extra={"code": error.code})
