"""Logging out: at the provider too, and when the provider says so (RP-Initiated and Back-Channel Logout)."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlencode

from limen.core.errors import LimenError, NotFound
from limen.core.events import Event, EventName, Origin
from limen.core.principal import Principal
from limen.crypto.sealing import CannotOpen, Sealer
from limen.features.sessions.service import SessionService
from limen.features.sso import proofs
from limen.features.sso.client import refused
from limen.features.sso.flows import Flows
from limen.features.sso.providers import SSOProvider
from limen.features.sso.store import ProviderLogin, ProviderSessionStore
from limen.features.sso.told import hint_row

KEEP_TOKEN_MS: Final = 1_200_000
"""How long a logout token's ``jti`` is kept: the longest that one may live, and the clocks' difference, twice."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """A session that has ended here.

    Attributes:
        location: where the browser goes to log out at the provider too; None where it knows no logout.
    """

    location: str | None = field(repr=False)


class SsoLogout:
    """The use cases of logging out.

    Args:
        store: knows which sessions came about by which login.
        flows: knows the providers.
        sessions: ends them.
        sealer: opens what was kept for the logout.
        public_url: the address of this application, without a slash at its end.
        keep_ended_ms: how long an ended session stays on the list.
    """

    def __init__(
        self,
        store: ProviderSessionStore,
        flows: Flows,
        *,
        sessions: SessionService,
        sealer: Sealer | None,
        public_url: str,
        keep_ended_ms: int,
    ) -> None:
        self._store = store
        self._flows = flows
        self._sessions = sessions
        self._sealer = sealer
        self._public_url = public_url
        self._keep_ended_ms = keep_ended_ms

    async def log_out(self, name: str, principal: Principal, *, origin: Origin) -> LoggedOut:
        """End the session here, and say where the browser goes to end the one at the provider.

        The session ends whether or not the provider can be asked where its logout is.

        Raises:
            NotFound: no such provider.
        """
        client = self._flows.client(name)
        login = await self._store.login_of(principal.sid) if principal.sid is not None else None
        await self._sessions.logout_principal(principal, origin=origin)
        if login is None or login.provider != name or login.identity.issuer != client.provider.issuer:
            return LoggedOut(None)
        try:
            address = (await client.metadata()).end_session
        except LimenError:
            return LoggedOut(None)
        if address is None:
            return LoggedOut(None)
        return LoggedOut(f"{address}{'&' if '?' in address else '?'}{self._question(client.provider, login)}")

    def _question(self, provider: SSOProvider, login: ProviderLogin) -> str:
        parameters = {"client_id": provider.client_id}
        token = self._hint(login)
        if token is not None:
            parameters["id_token_hint"] = token
        back = provider.logout_url or (f"{self._public_url}/" if self._public_url else "")
        if back:
            parameters["post_logout_redirect_uri"] = back
        return urlencode(parameters)

    def _hint(self, login: ProviderLogin) -> str | None:
        if self._sealer is None or login.hint is None:
            return None
        try:
            row = hint_row(login.identity.issuer, login.identity.subject)
            return self._sealer.open(login.hint, row).decode("ascii")
        except CannotOpen:
            return None

    async def heard(self, name: str, token: str, *, origin: Origin) -> int:
        """End the sessions that a provider's logout token names, and return how many there were.

        Raises:
            NotFound: no such provider.
            SsoFailed: the token is not believed, or was used before.
            Unavailable: nobody can tell now; the provider tries again.
        """
        client = self._flows.client(name)
        provider = client.provider
        claims = await client.logout_token(token)
        if claims.issuer != provider.issuer:
            raise NotFound("There is no sign-in provider of that name.")
        event = Event(
            EventName.SESSIONS_ENDED,
            actor=f"sso:{name}",
            target=f"sso:{name}",
            origin=origin,
            data={"reason": "sso_logout", "provider": name},
        )
        ended = await self._store.end_of(
            provider.issuer,
            subject=claims.subject,
            provider_sid=claims.sid,
            token_id=proofs.hash_of(f"{provider.issuer}\0{claims.jti}"),
            keep_token_ms=KEEP_TOKEN_MS,
            event=event,
            keep_ended_ms=self._keep_ended_ms,
        )
        if ended is None:
            raise refused(provider, "logout_token_replayed")
        await self._sessions.catch_up()
        return ended
