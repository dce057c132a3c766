"""Forgotten passwords, and addresses that are proved by a mail to them.

What a link proves is 256 bits from the operating system. They are made when the mail is sent, so that what a request
does is the same whether anybody has the address or not; the database keeps their digest (ASVS 6.5.1, 11.5.1).
"""

import hmac
import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from limen.authz.administration import Administration
from limen.authz.authority import Authority, judged
from limen.core.errors import Conflict, InvalidCredentials, LinkInvalid, NotFound, OwnRequest
from limen.core.events import NOWHERE, Event, EventName, EventSink, Origin, Outcome
from limen.core.ids import uuid7
from limen.core.mails import ClaimedMail, MailFailed, MailKind, NewMail
from limen.core.notices import Notice
from limen.core.principal import Principal
from limen.crypto.sealing import CannotOpen, Sealer
from limen.features.accounts.service import AccountService, AccountView
from limen.features.mail.service import Content, MailService
from limen.features.recovery.store import NewProof, Preparing, Purpose, RecoveryStore, Verified
from limen.features.roles.service import RoleService
from limen.features.throttling.service import LoginThrottle

RESET_SECONDS: Final = 30 * 60
VERIFY_SECONDS: Final = 24 * 60 * 60
PAGES: Final = {Purpose.RESET: "/password/reset", Purpose.VERIFY: "/email/verify"}
"""Where a link leads, behind the public address and the prefix of limen's routes."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_BY_ADMINISTRATOR: Final = "administrator"


class RecoveryService:
    """The use cases of recovery. Nothing here lets anybody in: who has reset a password logs in with it.

    Args:
        store: proofs and verified addresses.
        mail: sends the links.
        accounts: whose passwords and addresses they are.
        roles: judges who may start the reset of whose password.
        sealer: encrypts a token for the row of its mail.
        pseudonym_key: keys the digest under which addresses stand in the trail.
        public_url: what links begin with; nothing of a request does (GHSA-3529-5m8x-rpv3).
        keep_ended_ms: how long an ended session stays on the list.
        record: writes the event of a failure.
        sessions_ended: called after sessions ended.
        throttle: what counts logins; a new password begins the account's counts anew.

    Attributes:
        prefix: what the paths of limen's routes begin with; `Limen.protect` sets it.
    """

    def __init__(
        self,
        store: RecoveryStore,
        mail: MailService,
        *,
        accounts: AccountService,
        roles: RoleService,
        sealer: Sealer,
        pseudonym_key: bytes,
        public_url: str,
        keep_ended_ms: int,
        record: EventSink,
        sessions_ended: Callable[[], Awaitable[None]],
        throttle: LoginThrottle,
    ) -> None:
        self._store = store
        self._mail = mail
        self._accounts = accounts
        self._roles = roles
        self._sealer = sealer
        self._pseudonym_key = pseudonym_key
        self._public_url = public_url
        self._keep_ended_ms = keep_ended_ms
        self._record = record
        self._sessions_ended = sessions_ended
        self._throttle = throttle
        self.prefix = "/auth"
        mail.fill(MailKind.RESET, self._fill_reset)
        mail.fill(MailKind.VERIFY, self._fill_verification)
        accounts.use_mail(self)

    def compared(self, email: str) -> str:
        """Return an address as it is compared; what is none, as it is."""
        return self._accounts.address(email) or email

    async def recipient_of(self, account_id: str) -> str | None:
        """Return the address that a link for an account goes to; None where there is none, or no such account."""
        try:
            return (await self._accounts.by_id(account_id)).email
        except NotFound:
            return None

    # --- asking

    async def forgot(self, email: str, *, origin: Origin = NOWHERE) -> None:
        """Ask for a link to the address, if it is the verified one of an active account with a password.

        Whether it is, is looked up when the mail is sent: this is one transaction of the same two statements for every
        address, and tells nothing by answer or time.
        """
        address = self._accounts.address(email)
        digest = hmac.new(self._pseudonym_key, (address or email).encode("utf-8", "replace"), sha256).hexdigest()
        event = Event(EventName.PASSWORD_RESET_REQUESTED, target=f"address:{digest[:32]}", origin=origin)
        if address is None:
            await self._record(event)
            return
        mail = NewMail(uuid7(), MailKind.RESET.value, address, None, RESET_SECONDS * 1000)
        await self._mail.queue(mail, event)

    async def start(self, actor: Principal, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Let an administrator have a link sent to an account's address; nobody but its reader sees it (ASVS 6.4.6).

        The account needs no password: so somebody new chooses the first one. Nothing ends before the link is used.

        Raises:
            NotFound: there is no such account.
            Conflict: it is no active person's, or has no address, or was changed meanwhile.
            OwnRequest: it is one's own.
            PermissionRequired: ``accounts:write`` is not held, or something that the account holds.
        """
        event = Event(EventName.PASSWORD_RESET_REQUESTED, actor=actor.sub, target=account_id[:128], origin=origin)

        async def judge() -> Authority | None:
            return await self._roles.authority(actor, Administration.ACCOUNTS_WRITE, over=account_id)

        async def attempt(authority: Authority | None) -> None:
            if actor.sub == account_id:
                # Whoever has a session that was left open has not the password (ASVS 6.2.3).
                raise OwnRequest("Nobody starts the reset of their own account here.")
            account = await self._accounts.by_id(account_id)
            if account.status != "active" or account.kind != "person" or account.email is None:
                raise Conflict("The account is no active person's, or has no e-mail address.")
            told = {"by": _BY_ADMINISTRATOR}
            mail = _mail_of(account, MailKind.RESET, account.email, RESET_SECONDS, told)
            if not await self._mail.queue(mail, event, authority=authority):
                raise Conflict("The account was changed meanwhile.")

        await judged(judge, attempt, record=self._record, refused=event)

    async def ask_verification(self, account_id: str, *, origin: Origin = NOWHERE) -> None:
        """Send the link for the account's present address once more; nothing where it is verified, or there is none."""
        account = await self._accounts.by_id(account_id)
        if account.email is None or await self._store.verified_email(account_id) == account.email:
            return
        await self._ask_verification(account, account.email, origin)

    async def change_email(self, account_id: str, email: str, password: str, *, origin: Origin = NOWHERE) -> None:
        """Send a link to a new address; it becomes the account's own when the link is used.

        Raises:
            InvalidCredentials: the password is not the account's: a session that was left open is not enough. Or what
                it could reach was ended while it was checked.
            InvalidInput: it is no address.
        """
        address = self._accounts.checked_email(email) or ""
        # As it was before the password was checked, which takes long enough for somebody to end what it opens.
        account = await self._accounts.confirm_password(account_id, password, origin=origin)
        if not await self._ask_verification(account, address, origin):
            raise InvalidCredentials("The account was changed meanwhile.")

    async def _ask_verification(self, account: AccountView, address: str, origin: Origin) -> bool:
        event = Event(EventName.EMAIL_VERIFICATION_REQUESTED, actor=account.id, target=account.id, origin=origin)
        return await self._mail.queue(_mail_of(account, MailKind.VERIFY, address, VERIFY_SECONDS), event)

    def verification(self, account_id: str, address: str) -> NewMail:
        """Return the mail by which the address of an account that is made now is to be proved."""
        lifetime = VERIFY_SECONDS * 1000
        return NewMail(
            uuid7(), MailKind.VERIFY.value, address, account_id, lifetime, account_epoch=0, account_email=address
        )

    def notice(self, kind: str, origin: Origin = NOWHERE) -> Notice:
        """Return a notice about what is done to an account now."""
        return self._mail.notice(kind, origin)

    # --- showing

    async def reset_password(self, token: str, new_password: str, *, origin: Origin = NOWHERE) -> None:
        """Set a password by the token of a link. Every session ends, the account's own API keys too; nobody is let in.

        Raises:
            LinkInvalid: the token is nothing, or was used by somebody at the same time.
            InvalidInput: the password is not acceptable; the token stays good.
            Busy: too many passwords wait to be hashed.
        """
        digest = _digest(token)
        owner = None if digest is None else await self._store.owner(Purpose.RESET, digest)
        if digest is None or owner is None:
            await self._record(Event(EventName.PASSWORD_RESET_FAILED, Outcome.FAILURE, origin=origin))
            raise LinkInvalid()
        done = await self._store.reset_password(
            digest,
            new_hash=await self._accounts.hash_new_password(new_password, owner.username, owner.email),
            event=Event(EventName.PASSWORD_RESET, origin=origin),
            notice=self.notice(MailKind.PASSWORD_RESET, origin),
            keep_ended_ms=self._keep_ended_ms,
        )
        if done is None:
            raise LinkInvalid()
        await self._sessions_ended()
        # What was counted were guesses at another password.
        await self._throttle.forget(owner.username, account_id=owner.account_id)

    async def verify_email(self, token: str, *, origin: Origin = NOWHERE) -> None:
        """Make an address the account's own, and verified, by the token of a link.

        Raises:
            LinkInvalid: the token is nothing.
            Conflict: another account has proved the address in the meantime.
        """
        digest = _digest(token)
        done = Verified.INVALID
        if digest is not None:
            event = Event(EventName.EMAIL_VERIFIED, origin=origin)
            notice = self.notice(MailKind.EMAIL_CHANGED, origin)
            done = await self._store.verify_email(digest, event=event, notice=notice)
        if done is Verified.DONE:
            return
        data = {"reason": done.value}
        await self._record(Event(EventName.EMAIL_VERIFICATION_FAILED, Outcome.FAILURE, origin=origin, data=data))
        if done is Verified.TAKEN:
            raise Conflict("The address is another account's by now.")
        raise LinkInvalid()

    # --- filling

    async def _fill_reset(self, claimed: ClaimedMail) -> Content | None:
        return await self._fill(claimed, Purpose.RESET, RESET_SECONDS)

    async def _fill_verification(self, claimed: ClaimedMail) -> Content | None:
        return await self._fill(claimed, Purpose.VERIFY, VERIFY_SECONDS)

    async def _fill(self, claimed: ClaimedMail, purpose: Purpose, lifetime: int) -> Content | None:
        """Make the proof that the mail carries, or take the one that an attempt before has made."""
        token, expires_at = b"", claimed.expires_at
        if claimed.sealed is not None:
            try:
                token = self._sealer.open(claimed.sealed, claimed.id)
            except CannotOpen:
                raise MailFailed("cannot_open", is_final=True) from None
        else:
            token = os.urandom(32)
            prepared = await self._store.prepare(
                claimed,
                NewProof(
                    purpose,
                    sha256(token).digest(),
                    self._sealer.seal(token, claimed.id),
                    lifetime * 1000,
                    to_any_address=claimed.data.get("by") == _BY_ADMINISTRATOR and claimed.account_id is not None,
                ),
                Event(EventName.RECOVERY_LINK_MADE, actor="system", data={"purpose": purpose.value}),
            )
            if prepared is Preparing.TAKEN:
                return Content(MailKind.ADDRESS_TAKEN, {})
            if isinstance(prepared, Preparing):
                return None
            expires_at = prepared.expires_at
        owner = await self._store.owner(purpose, sha256(token).digest())
        if owner is None:
            return None  # a newer one has taken its place, or it ended while the mail waited
        text = urlsafe_b64encode(token).rstrip(b"=").decode("ascii")
        # Behind the «#», which a browser sends to nobody: not into a log, not into a Referer (ASVS 14.2.1).
        link = f"{self._public_url}{self.prefix}{PAGES[purpose]}#{text}"
        expires = datetime.fromtimestamp(expires_at / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
        # A stranger may have given the address of somebody else, and a name with an advertisement in it.
        username = owner.username if purpose is Purpose.RESET else ""
        return Content(claimed.kind, {"link": link, "expires": expires, "username": username})


def _mail_of(
    account: AccountView,
    kind: MailKind,
    recipient: str,
    seconds: int,
    data: Mapping[str, object] = MappingProxyType({}),
) -> NewMail:
    """Return a mail with a link for an account as it was read."""
    return NewMail(
        uuid7(),
        kind.value,
        recipient,
        account.id,
        seconds * 1000,
        data,
        account_epoch=account.session_epoch,
        account_email=account.email,
    )


def _digest(token: str) -> bytes | None:
    """Return what is stored of a token; None where it cannot be one."""
    if not _TOKEN.match(token):
        return None
    raw = urlsafe_b64decode(token + "=")
    # 43 characters are 258 bits: of those that mean the same 256, one spelling counts.
    if urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") != token:
        return None
    return sha256(raw).digest()
