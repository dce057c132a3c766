"""Sessions: refresh and the state machine behind it, every way to end one, and the live check."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from hmac import compare_digest

from limen.authn.ended import EndedSessions
from limen.authn.issuing import Door, Issued, KeyGone
from limen.authn.records import CurrentSession
from limen.authz.authority import Authority
from limen.core import metrics
from limen.core.clock import Clock
from limen.core.errors import AccountNotActive, InvalidRefreshToken, NotFound, SessionEnded, Unavailable
from limen.core.events import Event, EventName, Origin, Outcome
from limen.core.ids import is_uuid7
from limen.core.mails import MailKind, Notices
from limen.core.notices import Notice
from limen.core.pages import DEFAULT_PAGE, check_limit, check_place
from limen.core.principal import Principal
from limen.crypto.claims import RefreshClaims
from limen.crypto.jwt import TokenError, TokenVerifier
from limen.crypto.refresh import secret_hash, secret_of_text
from limen.features.sessions.devices import device_name
from limen.features.sessions.store import EndReason, LivingSession, SessionState, SessionStore

_log = logging.getLogger(__name__)

CLOCK_STEP_MS = 2_000
"""How far the database's clock may have stepped back between a rotation and the retry that follows it."""
POLL_OVERLAP_MS = 10_000
"""Commits are not ordered by their timestamps: each poll reads this much of the past again."""
TOLD_GAP = 2
"""How far behind a spent token is whose return is told: its successor was used as well, so no answer was lost."""
REFUSALS_REMEMBERED = 1_024
REFUSAL_SECONDS = 60
"""A dead token can be sent for as long as it likes: its refusal is written down once in this time, not each time."""


class Verdict(StrEnum):
    """What a refresh token is that did not rotate, in the order in which it is asked."""

    GONE = "ended"
    EXPIRED = "expired"
    ACCOUNT = "account"
    CURRENT = "current"
    REPLAY = "replay"
    AHEAD = "ahead"
    REUSE = "reuse"


def judge(presented: RefreshClaims, row: SessionState | None, *, leeway_ms: int) -> Verdict:
    """Say what a presented refresh token is, held against a row that was read after it failed to rotate.

    Args:
        presented: the claims of the token; its signature is ours.
        row: the session, its account and the database's clock, read by a statement of its own.
        leeway_ms: how long the direct parent is answered with its successor again; 0 means never.
    """
    if row is None:
        return Verdict.GONE
    if not row.in_time:
        return Verdict.EXPIRED
    if presented.sub != row.account_id or not row.account_holds:
        return Verdict.ACCOUNT
    return _judge_secret(presented, row, leeway_ms)


def _judge_secret(presented: RefreshClaims, row: SessionState, leeway_ms: int) -> Verdict:
    digest = secret_hash(secret_of_text(presented.jti))
    if presented.gen == row.generation and compare_digest(digest, row.token_hash):
        return Verdict.CURRENT
    if presented.gen >= row.generation:
        return Verdict.AHEAD
    is_parent = presented.gen == row.generation - 1 and compare_digest(digest, row.parent_hash or b"")
    # Strict (leeway 0) has no window at all, not one of a millisecond.
    if leeway_ms > 0 and is_parent and -CLOCK_STEP_MS <= row.now - row.rotated_at <= leeway_ms:
        return Verdict.REPLAY
    return Verdict.REUSE


@dataclass(frozen=True, slots=True)
class ListedSession:
    """A living session, with a name for its device."""

    session: LivingSession
    device: str


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some sessions, the newest first.

    Attributes:
        items: the sessions.
        next: what to hand in as ``after`` for those that follow; None at the end.
    """

    items: Sequence[ListedSession]
    next: str | None


class SessionService:
    """The use cases of sessions.

    Args:
        store: where the sessions are.
        door: the one that issues.
        verifier: accepts limen's own refresh tokens.
        ended: what this process knows of ended sessions.
        leeway: seconds in which a lost answer is stated again.
        keep_ended_ms: how long an ended session stays on the list.
        clock: the time, in seconds since 1970 UTC.
    """

    def __init__(
        self,
        store: SessionStore,
        door: Door,
        *,
        verifier: TokenVerifier[RefreshClaims],
        ended: EndedSessions,
        leeway: int,
        keep_ended_ms: int,
        clock: Clock,
    ) -> None:
        self._store = store
        self._door = door
        self._verifier = verifier
        self._ended = ended
        self._leeway_ms = leeway * 1000
        self._keep_ended_ms = keep_ended_ms
        self._polled_until = self._newest_ended = 0
        self._newest_known_at = 0.0
        self._clock = clock
        self._refused: dict[tuple[str, str], float] = {}
        self._notices: Notices | None = None

    def use_mail(self, notices: Notices) -> None:
        """Tell owners by mail, from now on, of sessions that somebody else seems to have had."""
        self._notices = notices

    async def refresh(self, token: str, *, origin: Origin) -> Issued:
        """Exchange a refresh token for new tokens (RFC 6749, section 6; rotation: RFC 9700, section 4.14).

        Raises:
            InvalidRefreshToken: always the same, whatever the reason.
            Unavailable: the database did not settle; the token is still good.
        """
        try:
            presented = self._verifier.verify(token)
        except TokenError as error:
            # Not ours, or over: nobody's session ends because somebody made up a token.
            metrics.REFRESHES.add("refused")
            _log.info("refresh token refused", extra={"reason": error.reason, "request_id": origin.request_id})
            raise InvalidRefreshToken() from None
        issued = await self._door.rotate(presented, origin)
        if issued is None:
            return await self._judge(presented, origin)
        metrics.REFRESHES.add("rotated")
        return issued

    async def _judge(self, presented: RefreshClaims, origin: Origin) -> Issued:
        row = await self._store.read(presented.sid)
        verdict = judge(presented, row, leeway_ms=self._leeway_ms)
        if verdict is Verdict.CURRENT:
            issued = await self._door.rotate(presented, origin)
            if issued is not None:
                metrics.REFRESHES.add("rotated")
                return issued
            row = await self._store.read(presented.sid)
            verdict = judge(presented, row, leeway_ms=self._leeway_ms)
            if verdict is Verdict.CURRENT:
                raise Unavailable("The session is being changed; try again.")
        if row is None or verdict in (Verdict.GONE, Verdict.EXPIRED, Verdict.ACCOUNT):
            await self._refuse(presented, verdict.value, origin)
        elif verdict is Verdict.REPLAY:
            return await self._restate(presented, row, origin)
        else:
            await self._end_for_cause(presented, row, verdict, origin)
        raise InvalidRefreshToken()

    async def _restate(self, presented: RefreshClaims, row: SessionState, origin: Origin) -> Issued:
        try:
            issued = self._door.restate(
                presented, _current(row), nonce=row.nonce or b"", token_hash=row.token_hash, now_ms=row.now
            )
        except KeyGone:
            # A process that does not have the key refuses and ends nothing: another process may have it.
            await self._refuse(presented, "key_gone", origin)
            raise InvalidRefreshToken() from None
        metrics.REFRESHES.add("restated")
        await self._store.record(
            Event(
                EventName.REFRESH_RESTATED,
                Outcome.SUCCESS,
                presented.sub,
                presented.sid,
                origin,
                {"generation": row.generation},
            )
        )
        return issued

    async def _refuse(self, presented: RefreshClaims, reason: str, origin: Origin) -> None:
        metrics.REFRESHES.add("refused")
        _log.info("refresh token refused", extra={"reason": reason, "request_id": origin.request_id})
        key, now = (presented.sid, reason), self._clock()
        if 0 <= now - self._refused.get(key, 0.0) < REFUSAL_SECONDS:
            return
        if len(self._refused) >= REFUSALS_REMEMBERED:
            del self._refused[next(iter(self._refused))]
        self._refused[key] = now
        await self._store.record(
            Event(EventName.REFRESH_REFUSED, Outcome.FAILURE, "", presented.sid, origin, {"reason": reason})
        )

    async def _end_for_cause(
        self, presented: RefreshClaims, row: SessionState, verdict: Verdict, origin: Origin
    ) -> None:
        """End a session whose spent token came back, or whose row is older than the token: both may be theft."""
        if verdict is Verdict.AHEAD:
            name, reason = EventName.STORE_ROLLED_BACK, EndReason.ROLLED_BACK
            data: dict[str, object] = {"presented": presented.gen, "stored": row.generation}
            _log.error("the store was rolled back: a refresh token is newer than its session", extra={"sid": row.sid})
        else:
            name, reason = EventName.REFRESH_REUSED, EndReason.REUSE
            data = {"gap": row.generation - presented.gen, "age": row.now - row.rotated_at}
            _log.warning("a spent refresh token was used again; the session ends", extra={"sid": row.sid, **data})
        metrics.REFRESHES.add("rolled_back" if verdict is Verdict.AHEAD else "reused")
        notice = self._theft(presented, row, verdict, origin)
        event = Event(name, Outcome.FAILURE, "", row.sid, origin, data, notice)
        await self._store.end(
            row.sid, account_id=row.account_id, reason=reason, event=event, keep_ended_ms=self._keep_ended_ms
        )
        await self.catch_up()

    def _theft(self, presented: RefreshClaims, row: SessionState, verdict: Verdict, origin: Origin) -> Notice | None:
        """Return what the owner is told: not of a direct parent that came too late, which is mostly a retry."""
        if self._notices is None or verdict is not Verdict.REUSE or row.generation - presented.gen < TOLD_GAP:
            return None
        return replace(self._notices.notice(MailKind.SESSION_STOLEN, origin), account_id=row.account_id)

    async def logout(self, token: str, *, origin: Origin) -> None:
        """End the session of a refresh token: any generation, also an expired one, as long as the signature is ours.

        A client that lost the answer to a refresh must be able to leave. Doing it again, or with a token that was never
        ours, changes nothing and is not told apart.
        """
        await self._end_by_token(token, EndReason.LOGOUT, origin)

    async def end_replaced_token(self, token: str, *, origin: Origin) -> None:
        """End the session of a refresh token whose place a login in the same browser has taken; as `logout`."""
        await self._end_by_token(token, EndReason.REPLACED, origin)

    async def _end_by_token(self, token: str, reason: EndReason, origin: Origin) -> None:
        try:
            presented = self._verifier.verify_even_if_expired(token)
        except TokenError as error:
            _log.info("logout token refused", extra={"reason": error.reason, "request_id": origin.request_id})
            return
        await self._end(presented.sid, presented.sub, origin, reason=reason)

    async def logout_principal(self, principal: Principal, *, origin: Origin) -> None:
        """End the session that the principal's credential belongs to."""
        if principal.sid is not None:
            await self._end(principal.sid, principal.sub, origin)

    async def end_replaced(self, principal: Principal, *, origin: Origin) -> None:
        """End the session that a login in the same browser has taken the place of."""
        if principal.sid is not None:
            await self._end(principal.sid, principal.sub, origin, reason=EndReason.REPLACED)

    async def _end(
        self, sid: str, account_id: str, origin: Origin, *, reason: EndReason = EndReason.LOGOUT, by: str | None = None
    ) -> bool:
        data: dict[str, object] = {"reason": reason.value}
        if by is not None:
            data["by"] = by
        event = Event(EventName.SESSION_ENDED, Outcome.SUCCESS, account_id, sid, origin, data)
        ended = await self._store.end(
            sid, account_id=account_id, reason=reason, event=event, keep_ended_ms=self._keep_ended_ms
        )
        await self.catch_up()
        return ended

    async def of_account(self, account_id: str, *, limit: int = DEFAULT_PAGE, after: str | None = None) -> SessionPage:
        """List the living sessions of an account, the newest first: at most ``limit`` (1 to 200).

        Raises:
            InvalidInput: a limit out of range, or an ``after`` that no page has answered.
        """
        found = await self._store.of_account(account_id, limit=check_limit(limit) + 1, after=check_place(after))
        items = []
        for session in found[:limit]:
            items.append(ListedSession(session, device_name(session.user_agent)))
            # A header made to be slow to read takes milliseconds: others get their turn in between.
            await asyncio.sleep(0)
        return SessionPage(items, found[limit - 1].sid if len(found) > limit else None)

    async def end_own(self, principal: Principal, sid: str, *, origin: Origin) -> None:
        """End one session of the principal's own account, on this device or another.

        Raises:
            NotFound: there is no such session, or it is somebody else's: the two are not told apart.
        """
        # Not asked of the database where it cannot be an id: an engine with a type for ids would fail at it.
        ended = is_uuid7(sid) and await self._end(
            sid, principal.sub, origin, reason=EndReason.REVOKED, by=principal.sid
        )
        if not ended:
            raise NotFound("There is no such session.")

    async def logout_everywhere(self, account_id: str, *, actor: str, origin: Origin) -> int:
        """End every session of an account, by whoever it belongs to, and return how many there were."""
        return await self._end_all(account_id, actor, origin, EndReason.LOGOUT_ALL, None)

    async def end_all(self, account_id: str, *, actor: str, origin: Origin, authority: Authority | None) -> int:
        """End every session of somebody else's account and return how many there were.

        Raises:
            AuthorityMoved: what the act was judged by is no longer so; nothing is changed.
        """
        return await self._end_all(account_id, actor, origin, EndReason.ADMINISTRATION, authority)

    async def _end_all(
        self, account_id: str, actor: str, origin: Origin, reason: EndReason, authority: Authority | None
    ) -> int:
        event = Event(EventName.SESSIONS_ENDED, Outcome.SUCCESS, actor, account_id, origin, {"reason": reason.value})
        count = await self._store.end_all(
            account_id, reason=reason, event=event, keep_ended_ms=self._keep_ended_ms, authority=authority
        )
        await self.catch_up()
        return count

    async def live_state(self, principal: Principal) -> SessionState:
        """Ask the database about the principal as it is now: its session, its account, its roles.

        Raises:
            SessionEnded: the session is over, or the credential belongs to none.
            AccountNotActive: the account must not be used.
        """
        row = await self._store.read(principal.sid) if principal.sid is not None else None
        if row is None or row.account_id != principal.sub or not row.in_time:
            raise SessionEnded()
        if row.account_status != "active":
            raise AccountNotActive()
        if not row.account_holds:
            raise SessionEnded()
        return row

    async def record(self, event: Event) -> None:
        """Write the event of an act that changed nothing."""
        await self._store.record(event)

    async def catch_up(self) -> None:
        """Read what ended since the last time, in this process or another, with an overlap.

        Once the newest entry has been known for as long as the overlap, nothing before it can still be committed. Then
        it is not read again: after `limen db restored` there may be a million beside it.
        """
        began, newest = time.monotonic(), self._newest_ended
        for entry in await self._store.ended_since(self._polled_until):
            self._ended.add(entry.sid, entry.keep_until)
            newest = max(newest, entry.ended_at)
        if newest > self._newest_ended:
            self._newest_ended, self._newest_known_at = newest, began
        is_settled = began - self._newest_known_at > POLL_OVERLAP_MS / 1000
        self._polled_until = self._newest_ended + 1 if is_settled else self._newest_ended - POLL_OVERLAP_MS
        metrics.ENDED_LIST_AGE.done()


def _current(row: SessionState) -> CurrentSession:
    return CurrentSession(
        sid=row.sid,
        account_id=row.account_id,
        generation=row.generation,
        kid=row.kid,
        rotated_at=row.rotated_at,
        idle_until=row.idle_until,
        ends_at=row.ends_at,
        auth_time=row.auth_time,
        amr=row.amr,
        acr=row.acr,
        client_id=row.client_id,
        roles=row.roles,
    )
