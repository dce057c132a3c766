"""Single sign-on: who comes from a provider, which account that is, and what they are handed.

The identity is issuer and subject, byte by byte. An address never finds an account (OpenID Connect Core, section 5.7):
whoever has an account already logs in to it as before and links the provider from inside.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from limen.authn.cookie import CookieSession, CookieStrategy, IssuedCookie, PresentedCookie
from limen.authn.issuing import Door, Elsewhere, Grant, Issued, Proof
from limen.authn.records import Vouched
from limen.core import metrics
from limen.core.errors import (
    AccountNotActive,
    Conflict,
    LimenError,
    NotFound,
    SsoCodeInvalid,
    SsoStateInvalid,
    StepUpRequired,
)
from limen.core.events import Event, EventName, EventSink, Origin, Outcome
from limen.core.ids import is_uuid7
from limen.core.mails import MailKind
from limen.core.principal import BY_PROVIDER, Principal
from limen.crypto.sealing import Sealer
from limen.features.accounts.service import AccountService
from limen.features.roles.service import RoleService
from limen.features.sessions.service import SessionService
from limen.features.sso import proofs
from limen.features.sso.client import Assertion
from limen.features.sso.flows import Answer, Begun, Flows
from limen.features.sso.identities import IdentityAccounts
from limen.features.sso.providers import SSOProvider
from limen.features.sso.store import (
    Code,
    Flow,
    KnownAccount,
    Linked,
    LinkedIdentity,
    NewCode,
    SsoStore,
)
from limen.features.sso.told import Told, hint_row

CODE_SECONDS: Final = 60
"""How long a one-time code holds."""
FRESH_MS: Final = 10 * 60 * 1000
"""How long after a login an account without a password may link an identity (milliseconds)."""
HINT_BYTES: Final = 8_192
"""An ID token that is longer is not kept for the logout: addresses have their bounds."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completed:
    """What became of a login.

    Attributes:
        next: where the browser goes.
        cookie: its session; None where it has none of it.
        code: the one-time code for the client at ``next``; None where a cookie was made, or an identity linked.
    """

    next: str
    cookie: IssuedCookie | None = field(default=None, repr=False)
    code: str | None = field(default=None, repr=False)


class SsoService:
    """The use cases of single sign-on.

    Args:
        store: what is kept of it.
        flows: begins logins and ends them.
        door: the one that issues.
        accounts, roles, sessions: the other features.
        cookies: finds the session of a cookie.
        known_roles: answers the names of the roles there are.
        record: writes the event of a failure.
        sealer: seals what is kept for the logout at the provider; None where nothing can be sealed.
        client_id: the client named in the tokens.
    """

    def __init__(
        self,
        store: SsoStore,
        flows: Flows,
        door: Door,
        *,
        accounts: AccountService,
        roles: RoleService,
        sessions: SessionService,
        cookies: CookieStrategy,
        known_roles: Callable[[], frozenset[str]],
        record: EventSink,
        sealer: Sealer | None,
        client_id: str,
    ) -> None:
        self._store = store
        self._flows = flows
        self._door = door
        self._accounts = accounts
        self._identities = IdentityAccounts(
            store, accounts=accounts, roles=roles, known_roles=known_roles, record=record
        )
        self._sessions = sessions
        self._cookies = cookies
        self._record = record
        self._sealer = sealer
        self._client_id = client_id

    # --- logging in

    async def begin(
        self, name: str, *, following: str, redirect_uri: str, browser: str | None, challenge: str | None
    ) -> Begun:
        """Begin a login; see `Flows.begin`."""
        return await self._flows.begin(
            name, following=following, redirect_uri=redirect_uri, browser=browser, challenge=challenge
        )

    async def complete(
        self,
        name: str,
        answer: Answer,
        *,
        browser: str | None,
        redirect_uri: str,
        presented: PresentedCookie | None,
        origin: Origin,
    ) -> Completed:
        """End a login by the provider's answer, in the browser that it was begun in.

        Args:
            name: the provider, by the path that was called.
            answer: what it says.
            browser: what the browser's cookie of single sign-on holds.
            redirect_uri: the address that was called, as it was told to the provider.
            presented: the session that the browser had until now; it ends, and nothing of it is taken over.
            origin: where the request came from.

        Raises:
            NotFound, SsoStateInvalid, SsoDenied, SsoFailed, Unavailable: as `Flows.end`.
            SsoAccountMissing: nobody has this identity here, and no account is made.
            SsoLinkRequired: an account has the verified address: its holder links the provider from inside.
            AccountNotActive: the account must not be used.
            Conflict: the identity that was to be linked is another account's.
        """
        try:
            flow, assertion = await self._flows.end(name, answer, browser=browser, redirect_uri=redirect_uri)
            provider = self._flows.client(name).provider
            if flow.account_id is not None:
                return await self._link(provider, flow, assertion, presented, origin)
            account = await self._identities.account_of(provider, assertion, origin)
            if flow.challenge is not None:
                return await self._with_code(provider, flow, assertion, account)
            return await self._with_cookie(provider, flow, assertion, account, presented, origin)
        except LimenError as error:
            metrics.LOGINS.add("sso", "failure")
            # What belongs to no login is anybody's to send, as often as they like: the log alone has it.
            if isinstance(error, NotFound | SsoStateInvalid):
                _log.info("a callback that belongs to no login", extra={"code": error.code})
            else:
                data = {"reason": error.code, "grant": Grant.SSO.value}
                await self._record(Event(EventName.LOGIN_FAILED, Outcome.FAILURE, "", f"sso:{name}", origin, data))
            raise

    async def _with_cookie(
        self,
        provider: SSOProvider,
        flow: Flow,
        assertion: Assertion,
        account: KnownAccount,
        presented: PresentedCookie | None,
        origin: Origin,
    ) -> Completed:
        told = Told.of(provider, assertion)
        proof = self._proof(Grant.SSO, account.id, account.session_epoch, told, self._vouched(assertion, told), origin)
        issued = await self._door.open_cookie_session(proof, remembered=False)
        if issued is None:
            raise AccountNotActive()
        before = None if presented is None else await self._cookies.session_of(presented)
        if before is not None:
            await self._sessions.end_replaced(before.principal, origin=origin)
        metrics.LOGINS.add("sso", "success")
        return Completed(flow.next, cookie=issued)

    # --- one-time codes

    async def _with_code(
        self, provider: SSOProvider, flow: Flow, assertion: Assertion, account: KnownAccount
    ) -> Completed:
        code = proofs.new_secret()
        told = Told.of(provider, assertion)
        await self._store.keep_code(
            NewCode(
                code_hash=proofs.hash_of(code),
                identity=assertion.identity,
                account_id=account.id,
                account_epoch=account.session_epoch,
                challenge=flow.challenge or "",
                content=told.as_text(),
                hint=self._vouched(assertion, told).hint,
                lifetime_ms=CODE_SECONDS * 1000,
            )
        )
        return Completed(flow.next, code=code)

    async def exchange(self, code: str, verifier: str, *, origin: Origin) -> Issued:
        """Exchange a one-time code for tokens; a verifier that does not fit spends it.

        Raises:
            SsoCodeInvalid: always the same, whatever the reason.
            Unavailable: the store does not answer.
        """
        found = await self._store.take_code(proofs.hash_of(code)) if proofs.is_secret(code) else None
        issued = None
        if found is not None and proofs.fits(verifier, found.challenge):
            issued = await self._exchanged(found, origin)
        if issued is None:
            metrics.LOGINS.add("sso", "failure")
            if found is not None:
                data = {"reason": SsoCodeInvalid.code, "grant": Grant.SSO_EXCHANGE.value}
                await self._record(Event(EventName.LOGIN_FAILED, Outcome.FAILURE, "", found.account_id, origin, data))
            raise SsoCodeInvalid()
        metrics.LOGINS.add("sso", "success")
        return issued

    async def _exchanged(self, found: Code, origin: Origin) -> Issued | None:
        told = Told.from_text(found.content)
        identity = found.identity
        vouched = Vouched(told.provider, identity.issuer, identity.subject, told.sid, found.hint)
        proof = self._proof(Grant.SSO_EXCHANGE, found.account_id, found.account_epoch, told, vouched, origin)
        return await self._door.open_session(proof)

    # --- linking

    async def begin_link(
        self, principal: Principal, epoch: int, name: str, *, following: str, redirect_uri: str, browser: str | None
    ) -> Begun:
        """Begin to link an identity at a provider to the principal's account; it ends with the principal's session.

        Args:
            principal: whose account.
            epoch: what `prove_again` answered.
            name: the provider.
            following, redirect_uri, browser: as `Flows.begin`.

        Raises:
            NotFound, Unavailable: as `Flows.begin`.
        """
        return await self._flows.begin(
            name,
            following=following,
            redirect_uri=redirect_uri,
            browser=browser,
            account=(principal.sub, epoch, principal.sid),
        )

    async def prove_again(self, principal: Principal, password: str | None, *, origin: Origin) -> int:
        """Ask once more who is there before something that lasts; return the epoch of the account as it was then.

        Whoever has no more than a session that was left open, or stolen, would keep a way in for ever by an identity of
        their own. So it takes the account's password or, where it has none, a login of the last minutes.

        Raises:
            SessionEnded, AccountNotActive: who asks is not there any more.
            StepUpRequired: there is no password beside it, or the login of an account that has none is too old.
            InvalidCredentials: the password is not the account's.
            Busy: too many passwords wait to be hashed.
        """
        # As it is before the password is checked, which takes long enough for somebody to end what it opens.
        state = await self._sessions.live_state(principal)
        account = await self._accounts.by_id(principal.sub)
        if password is not None:
            await self._accounts.confirm_password(account.id, password, origin=origin)
        elif account.password_hash is not None:
            raise StepUpRequired("Send the account's password beside it, as current_password.")
        elif not await self._store.is_fresh(principal.sid or "", account_id=account.id, within_ms=FRESH_MS):
            raise StepUpRequired("Log in at the provider once more, and link within ten minutes.")
        return state.account_epoch

    async def _link(
        self,
        provider: SSOProvider,
        flow: Flow,
        assertion: Assertion,
        presented: PresentedCookie | None,
        origin: Origin,
    ) -> Completed:
        account_id, epoch = flow.account_id or "", flow.account_epoch or 0
        session = None if presented is None else await self._cookies.session_of(presented)
        if session is not None and session.principal.sub != account_id:
            # Somebody else has logged in to this browser since.
            raise SsoStateInvalid()
        event = Event(
            EventName.IDENTITY_LINKED,
            actor=account_id,
            target=account_id,
            origin=origin,
            data={"provider": provider.name},
            notice=self._accounts.notice_of(account_id, MailKind.IDENTITY_LINKED, origin, provider=provider.title),
        )
        done = await self._store.link(
            account_id, epoch, assertion.identity, sid=flow.session_id, provider=provider.name, event=event
        )
        if done is Linked.ANOTHERS:
            raise Conflict("This identity is linked to another account.")
        if done is Linked.ENDED:
            raise SsoStateInvalid()
        return Completed(flow.next)

    async def identities(self, principal: Principal) -> Sequence[LinkedIdentity]:
        """List the identities of the principal's account."""
        return await self._store.of_account(principal.sub)

    async def unlink(self, principal: Principal, identity_id: str, *, origin: Origin) -> None:
        """Unlink an identity of the principal's account. Sessions that it brought about go on until they end.

        Raises:
            NotFound: there is no such identity of this account.
            Conflict: it is the last way in.
        """
        event = Event(
            EventName.IDENTITY_UNLINKED,
            actor=principal.sub,
            target=principal.sub,
            origin=origin,
            notice=self._accounts.notice_of(principal.sub, MailKind.IDENTITY_UNLINKED, origin),
        )
        done = None
        if is_uuid7(identity_id):
            done = await self._store.unlink(identity_id, account_id=principal.sub, event=event)
        if done is None:
            raise NotFound("There is no such identity.")
        if not done:
            raise Conflict("The account has no password and no other identity: it would have no way in.")

    async def session_of(self, presented: PresentedCookie) -> CookieSession | None:
        """Return the living session of a cookie, where somebody else has asked for its proof."""
        return await self._cookies.session_of(presented)

    # --- what the door is told

    def _proof(
        self, grant: Grant, account_id: str, epoch: int, told: "Told", vouched: Vouched, origin: Origin
    ) -> Proof:
        return Proof(
            grant=grant,
            account_id=account_id,
            account_epoch=epoch,
            methods=(BY_PROVIDER, *told.amr),
            client_id=self._client_id,
            origin=origin,
            elsewhere=Elsewhere(
                vouched,
                factors=told.factors,
                acr=told.acr,
                auth_time=None if told.auth_time is None else told.auth_time * 1000,
            ),
        )

    def _vouched(self, assertion: Assertion, told: "Told") -> Vouched:
        identity, token = assertion.identity, assertion.id_token
        hint = None
        if self._sealer is not None and token is not None and len(token) <= HINT_BYTES:
            hint = self._sealer.seal(token.encode("ascii"), hint_row(identity.issuer, identity.subject))
        return Vouched(told.provider, identity.issuer, identity.subject, told.sid, hint)
