"""The one door: every way that ends in a session or a token goes through here, and nowhere else signs or inserts.

A function that only checked an account would race every revocation: bcrypt takes a quarter of a second between reading
the account and inserting the session, and a password reset in between would not stop the login. So the door is a
conditional INSERT, which asks for the account as it was when the proof was made.
"""

import hmac
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from limen.authn.cookie import CookieSession, CookieTerms, IssuedCookie, PresentedCookie, value_of
from limen.authn.grants import (
    GRANTS,
    BoundToken,
    CannotRestate,
    Elsewhere,
    Grant,
    GrantRule,
    Issued,
    KeyGone,
    Proof,
    TokenTerms,
)
from limen.authn.records import CurrentSession, IssuingStore, NewSession, Renewal, Rotation, SessionCap
from limen.core import metrics
from limen.core.errors import Unavailable
from limen.core.events import Event, EventName, Origin, Outcome
from limen.core.held import ends_of, held_at, split
from limen.core.ids import uuid7
from limen.core.principal import Principal
from limen.crypto.claims import (
    ACCESS_TYP,
    MAX_PERMISSIONS,
    REFRESH_TYP,
    RefreshClaims,
    access_claims,
    size_of_permissions,
)
from limen.crypto.forwarded_claims import FORWARDED_TYP, forwarded_claims
from limen.crypto.keys import SigningKey
from limen.crypto.message_claims import MESSAGE_TYP, MessageClaims
from limen.crypto.refresh import RefreshKeys, new_nonce, new_secret, secret_hash, secret_of_text, secret_text
from limen.crypto.signing import Signer

__all__ = [
    "GRANTS",
    "BoundToken",
    "CannotRestate",
    "Door",
    "Elsewhere",
    "Grant",
    "GrantRule",
    "Issued",
    "KeyGone",
    "Proof",
    "TokenTerms",
]

_log = logging.getLogger(__name__)

COOKIE_KID: Final = "cookie"
"""What the row of a cookie session has for the id of a secret: its cookie is signed by none."""
BOUND_KID: Final = "certificate"
"""The same for the session of a token that is bound to a client certificate."""


class Door:
    """Issues sessions and tokens.

    Args:
        store: the conditional statements.
        terms: issuer, audience and lifetimes.
        access_key: signs access tokens; None where it is yet to come, by `use_access_key`.
        refresh_keys: derive the secret parts of refresh tokens.
        refresh_signing_keys: sign refresh tokens, each under its secret: the one in use and those still accepted, since
            a token that is stated again is stated under the secret it was made with.
        cookie_terms: how long cookie sessions last.
        told_roles: told which roles an account holds, each time that a token of it is about to state them.
        most_sessions: how many sessions of people an account may have at a time; 0 for any number.
        keep_ended_ms: how long a session that has ended is listed as such.
    """

    def __init__(
        self,
        store: IssuingStore,
        *,
        terms: TokenTerms,
        access_key: SigningKey | None,
        refresh_keys: RefreshKeys,
        refresh_signing_keys: Iterable[SigningKey],
        cookie_terms: CookieTerms = CookieTerms(),  # noqa: B008 - it cannot be changed
        told_roles: Callable[[str, frozenset[str]], None] = lambda _account_id, _roles: None,
        most_sessions: int = 0,
        keep_ended_ms: int = 0,
    ) -> None:
        self._store = store
        self._most_sessions, self._keep_ended_ms = most_sessions, keep_ended_ms
        self._told_roles = told_roles
        self._terms = terms
        self.use_access_key(access_key)
        self._cookie_terms = cookie_terms
        self._refresh_keys = refresh_keys
        self._refresh = {key.kid: Signer(key, REFRESH_TYP) for key in refresh_signing_keys}

    def use_access_key(self, key: SigningKey | None) -> None:
        """Sign access tokens with this key from now on; without one, nothing is issued."""
        self._access = None if key is None else Signer(key, ACCESS_TYP)
        self._forwarded = None if key is None else Signer(key, FORWARDED_TYP)
        self._message = None if key is None else Signer(key, MESSAGE_TYP)

    async def open_session(self, proof: Proof) -> Issued | None:
        """Open a session for what was proved; None where the account, as it is now, must not have one.

        Raises:
            ValueError: the grant is not one that opens a session of refresh tokens.
        """
        secret = new_secret()
        terms = self._terms
        row = await self._open(
            proof,
            "refresh",
            secret_hash(secret),
            kid=self._refresh_keys.current_kid,
            idle_ms=terms.refresh_ttl * 1000,
            most_ms=terms.session_max_ttl * 1000,
        )
        issued = None if row is None else self._issue(row, secret, row.rotated_at)
        return None if issued is None else replace(issued, account_epoch=proof.account_epoch)

    async def open_cookie_session(self, proof: Proof, *, remembered: bool) -> IssuedCookie | None:
        """Open a session for a browser; None where the account, as it is now, must not have one.

        The id and the secret are made here, whatever cookie the browser sent: none is ever adopted.
        """
        secret = new_secret()
        terms = self._cookie_terms
        row = await self._open(
            proof,
            "cookie",
            secret_hash(secret),
            kid=COOKIE_KID,
            idle_ms=terms.idle_ms(remembered=remembered),
            most_ms=terms.most_ms(remembered=remembered),
        )
        issued = None if row is None else _cookie(row, secret, remembered=remembered)
        return None if issued is None else replace(issued, account_epoch=proof.account_epoch)

    async def _open(
        self, proof: Proof, kind: str, token_hash: bytes, *, kid: str, idle_ms: int, most_ms: int
    ) -> CurrentSession | None:
        rule = GRANTS[proof.grant]
        if not rule.opens_session or rule.kind != kind:
            raise ValueError(f"the grant {proof.grant} opens no session of the kind {kind}")
        sid = uuid7()
        elsewhere = proof.elsewhere
        told: dict[str, object] = {"grant": proof.grant.value}
        if elsewhere is not None:
            told["provider"] = elsewhere.vouched.provider
        opened = await self._store.open(
            NewSession(
                sid=sid,
                account_id=proof.account_id,
                account_epoch=proof.account_epoch,
                kind=kind,
                factors=len(proof.methods) if elsewhere is None else elsewhere.factors,
                token_hash=token_hash,
                kid=kid,
                refresh_ttl_ms=idle_ms,
                max_ttl_ms=most_ms,
                amr=proof.methods,
                acr=None if elsewhere is None else elsewhere.acr,
                client_id=proof.client_id,
                user_agent=proof.origin.user_agent,
                address=proof.origin.address,
                auth_time=None if elsewhere is None else elsewhere.auth_time,
                vouched=None if elsewhere is None else elsewhere.vouched,
                cap=self._cap(proof, sid),
            ),
            replace(self._event(rule, proof.account_id, sid, proof.origin, told), notice=proof.notice),
        )
        if opened is not None:
            metrics.SESSIONS_OPENED.add(proof.grant.value)
        return opened

    def _cap(self, proof: Proof, sid: str) -> SessionCap | None:
        if not self._most_sessions:
            return None
        data = {"reason": "displaced", "by": sid}
        event = Event(EventName.SESSION_ENDED, Outcome.SUCCESS, proof.account_id, "", proof.origin, data)
        return SessionCap(self._most_sessions, self._keep_ended_ms, event)

    async def open_bound(self, proof: Proof, *, registration: str, certificate: str) -> BoundToken | None:
        """Open a session for a service that proved itself by a client certificate, for as long as its token lives.

        There is no refresh token: whoever has the certificate gets another access token for it.

        Args:
            proof: of the grant ``client_certificate``.
            registration: the id of the name by which the certificate is known.
            certificate: its thumbprint, to which the token is bound.

        Returns:
            None where the account, as it is now, must not have one, or the name is not its any more.
        """
        rule = GRANTS[proof.grant]
        if rule.kind != "bound":
            raise ValueError(f"the grant {proof.grant} opens no session that is bound to a certificate")
        ttl = self._terms.access_ttl
        session = NewSession(
            sid=uuid7(),
            account_id=proof.account_id,
            account_epoch=proof.account_epoch,
            # To the rows it is a session of refresh tokens, of which nobody ever gets one.
            kind="refresh",
            factors=len(proof.methods),
            token_hash=secret_hash(new_secret()),
            kid=BOUND_KID,
            refresh_ttl_ms=ttl * 1000,
            max_ttl_ms=ttl * 1000,
            amr=proof.methods,
            acr=None,
            client_id=proof.client_id,
            user_agent=proof.origin.user_agent,
            address=proof.origin.address,
        )
        data = {"grant": proof.grant.value, "certificate": registration}
        event = self._event(rule, proof.account_id, session.sid, proof.origin, data)
        row = await self._store.open_bound(session, registration, event)
        if row is None:
            return None
        access, lives = self._access_token(row, row.rotated_at, certificate)
        return BoundToken(access, lives, row.sid, row.account_id)

    async def renew(self, session: CookieSession, origin: Origin) -> IssuedCookie | None:
        """Give a cookie session another id, after its holder has proved anew who they are; the id before is dead.

        None where the session, its account or the cookie is no longer what it was: then there is no session any more.
        """
        principal = session.principal
        sid = principal.sid or ""
        secret = new_secret()
        row = await self._store.renew(
            Renewal(
                sid=sid,
                account_id=principal.sub,
                presented_hash=session.token_hash,
                next_hash=secret_hash(secret),
                idle_ms=self._cookie_terms.idle_ms(remembered=session.remembered),
            ),
            self._event(GRANTS[Grant.RENEWAL], principal.sub, sid, origin, {}),
        )
        return None if row is None else _cookie(row, secret, remembered=session.remembered)

    async def rotate(self, presented: RefreshClaims, origin: Origin) -> Issued | None:
        """Exchange the current refresh token for its successor; None where the store says it is not the current one.

        One round trip: the presented secret is the parent and the nonce is made here, so nothing is read first.
        """
        keys = self._refresh_keys
        parent = secret_of_text(presented.jti)
        nonce = new_nonce()
        successor = keys.derive(
            keys.current_kid,
            issuer=self._terms.issuer,
            sid=presented.sid,
            generation=presented.gen + 1,
            nonce=nonce,
            parent=parent,
        )
        if successor is None:
            raise KeyGone
        row = await self._store.rotate(
            Rotation(
                sid=presented.sid,
                account_id=presented.sub,
                generation=presented.gen,
                presented_hash=secret_hash(parent),
                next_hash=secret_hash(successor),
                nonce=nonce,
                kid=keys.current_kid,
                refresh_ttl_ms=self._terms.refresh_ttl * 1000,
            ),
            self._event(GRANTS[Grant.REFRESH], presented.sub, presented.sid, origin, {"generation": presented.gen + 1}),
        )
        return None if row is None else self._issue(row, successor, row.rotated_at)

    def restate(
        self, presented: RefreshClaims, row: CurrentSession, *, nonce: bytes, token_hash: bytes, now_ms: int
    ) -> Issued:
        """State the current refresh token again to whoever holds its direct parent: the same one, never a sibling.

        The caller has judged, on one fresh row, that account and session hold and that the leeway is not over. Nothing
        is written to the row, so the window does not slide.

        Raises:
            KeyGone: this process does not know the secret it was made under.
            CannotRestate: the row does not fit.
        """
        successor = self._refresh_keys.derive(
            row.kid,
            issuer=self._terms.issuer,
            sid=row.sid,
            generation=row.generation,
            nonce=nonce,
            parent=secret_of_text(presented.jti),
        )
        if successor is None:
            raise KeyGone
        if not hmac.compare_digest(secret_hash(successor), token_hash):
            raise CannotRestate()
        return self._issue(row, successor, now_ms)

    def forward(self, principal: Principal, *, now: int, expires_at: int | None) -> str:
        """Sign the token that a gateway hands on for whoever it lets in: a few seconds, for the services behind it.

        The proof is the credential of this very request, which the guard has found valid a moment ago: there is no
        session to open and no row to ask. So the token ends with that credential, or after `FORWARDED_TTL` seconds.

        Args:
            principal: whom the request is attributed to.
            now: seconds since 1970 UTC.
            expires_at: when the credential ends; None where it has no end.

        Raises:
            Unavailable: there is no key to sign with.
            ValueError: nobody is let in, or a name in it fits into no token.
        """
        signer = self._forwarded
        if signer is None:
            raise Unavailable("There is no key to sign tokens with.")
        return signer.sign(forwarded_claims(principal, issuer=self._terms.issuer, iat=now, expires_at=expires_at))

    def sign_message(self, claims: MessageClaims) -> str:
        """Sign the token of a message; for `limen.authn.message_issuing`, which has asked for the account, alone.

        Raises:
            Unavailable: there is no key to sign with.
        """
        if self._message is None:
            raise Unavailable("There is no key to sign tokens with.")
        return self._message.sign(claims)

    @property
    def signing_kid(self) -> str | None:
        """The id of the key that signs now; None without one."""
        return None if self._access is None else self._access.kid

    @staticmethod
    def _event(rule: GrantRule, account_id: str, sid: str, origin: Origin, data: Mapping[str, object]) -> Event:
        return Event(rule.record, actor=account_id, target=sid, origin=origin, data=data)

    def _issue(self, row: CurrentSession, secret: bytes, now_ms: int) -> Issued:
        """Sign both tokens for a row that the store has just confirmed, at this time by the database's clock.

        Not by this process's: the list of ended sessions keeps an entry until the last token of it has expired, by the
        clock that stamped them both.
        """
        terms = self._terms
        access, lives = self._access_token(row, now_ms)
        ends = min(row.idle_until, row.ends_at) // 1000
        refresh = self._refresh[row.kid].sign(
            RefreshClaims(
                iss=terms.issuer,
                aud=terms.issuer,
                sub=row.account_id,
                sid=row.sid,
                gen=row.generation,
                jti=secret_text(secret),
                iat=row.rotated_at // 1000,
                exp=ends,
            )
        )
        return Issued(
            access_token=access,
            refresh_token=refresh,
            expires_in=lives,
            refresh_expires_in=max(0, ends - row.rotated_at // 1000),
            sid=row.sid,
            account_id=row.account_id,
        )

    def _access_token(self, row: CurrentSession, now_ms: int, certificate: str | None = None) -> tuple[str, int]:
        """Sign the access token, and return it with the seconds that it lives: no longer than anything it states."""
        terms = self._terms
        signer = self._access
        if signer is None:
            raise Unavailable("There is no key to sign tokens with.")
        held = held_at(row.roles, now_ms)
        self._told_roles(row.account_id, held)
        roles, direct = split(held)
        iat = now_ms // 1000
        lives = min([terms.access_ttl, *(max(1, end // 1000 - iat) for end in ends_of(held).values())])
        token = signer.sign(
            access_claims(
                issuer=terms.issuer,
                audience=terms.audience,
                sub=row.account_id,
                sid=row.sid,
                client_id=row.client_id,
                roles=roles,
                auth_time=row.auth_time // 1000,
                amr=row.amr,
                iat=iat,
                ttl=lives,
                certificate=certificate,
                permissions=self._stated(direct, row.account_id) if direct else None,
            )
        )
        return token, lives

    def _stated(self, direct: frozenset[str], account_id: str) -> frozenset[str]:
        """Return which permissions of the account's own its token states: none where the database is to be asked.

        More than fits into a token is refused when it is granted. What was granted by other hands, or under the other
        setting, is asked of the database, as there: never half stated.
        """
        if not self._terms.states_permissions:
            return frozenset()
        if size_of_permissions(direct) > MAX_PERMISSIONS:
            _log.warning("an account's permissions do not fit into its token", extra={"account": account_id})
            return frozenset()
        return direct


def _cookie(row: CurrentSession, secret: bytes, *, remembered: bool) -> IssuedCookie:
    ends_at = row.ends_at // 1000
    return IssuedCookie(
        value=value_of(row.sid, secret),
        presented=PresentedCookie(row.sid, secret_hash(secret)),
        account_id=row.account_id,
        max_age=ends_at - row.rotated_at // 1000 if remembered else None,
        ends_at=ends_at,
    )
