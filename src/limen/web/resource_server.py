"""An application that verifies the tokens of a limen elsewhere, and has neither its database nor its secrets."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Final

from limen.authn.bearer import BearerStrategy
from limen.authn.chain import AuthenticationChain
from limen.authn.ended import EndedSessions
from limen.authn.issuer_keys import IssuerKeys
from limen.authn.outbound import OWN_NETWORKS, Outbound
from limen.authn.strategy import Attribution, Authenticated
from limen.authz.roles import RoleCatalogue
from limen.core.clock import Clock, system_clock
from limen.core.errors import LimenError, Unavailable
from limen.core.principal import Principal
from limen.crypto.claims import ACCESS_TYP, AccessClaims
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet
from limen.web.cors import CorsPolicy
from limen.web.guard import Protection, protect
from limen.web.peers import TrustedProxies

LONGEST_TOKEN: Final = 900
"""Seconds: no limen issues an access token that lives longer."""
CLOCK_LEEWAY: Final = 30
"""Seconds by which the clocks of two machines may differ."""


class ResourceServer:
    """Guards an application by the access tokens of an issuer elsewhere; see `limen.Limen.resource_server`.

    Attributes:
        catalogue: the roles that the application declares, and what each of them allows here.
        cors: the origins that may read answers.
        proxies: the proxies that are believed when they say who is behind them.
        challenges: the authentication schemes that a 401 names.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        jwks_url: str | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        cors_origins: Iterable[str] = (),
        trusted_proxies: Sequence[str] = (),
        clock: Clock = system_clock,
    ) -> None:
        self.catalogue = RoleCatalogue({} if roles is None else roles)
        self.cors = CorsPolicy.of(cors_origins, credentials=True)
        self.proxies = TrustedProxies(trusted_proxies)
        # The addresses are the operator's own words, and most issuers of one's own are inside.
        self.outbound = Outbound(allow_private=OWN_NETWORKS)
        self.keys = IssuerKeys(jwks_url or f"{issuer.rstrip('/')}/.well-known/jwks.json", self.outbound, use=self._use)
        self.bearer = BearerStrategy(
            TokenVerifier(
                KeySet.empty(),
                issuer=issuer,
                audience=audience,
                typ=ACCESS_TYP,
                claims=AccessClaims,
                max_lifetime=LONGEST_TOKEN,
                leeway=CLOCK_LEEWAY,
                ahead=CLOCK_LEEWAY,
                clock=clock,
            ),
            ClaimsCache[Authenticated](),
            EndedSessions(),
            permissions_of=self.catalogue.permissions_of,
            known_roles=lambda: self.catalogue.names,
            clock=clock,
            learn=self.keys.learn,
        )
        chain = AuthenticationChain([self.bearer])
        self._attribute = chain.attribute
        self.challenges = chain.challenges
        self._following: asyncio.Task[None] | None = None
        self._protections: list[Protection] = []

    def _use(self, keys: KeySet) -> None:
        self.bearer.use_keys(keys)

    def protect(self, app: Any, *, strict: bool = False) -> None:
        """Put a FastAPI or Starlette application under guard; as `limen.Limen.protect`, without limen's own routes.

        Raises:
            ConfigurationError: it is no such application, or is protected by another gate, or has served already.
        """
        protection = protect(app, self, strict=strict)
        if protection not in self._protections:
            self._protections.append(protection)

    def authenticate(self, scope: MutableMapping[str, Any], state: Attribution) -> Awaitable[None] | None:
        """Find out who is calling: at once where the key is known, else by awaiting what is returned."""
        return self._attribute(scope, state)

    async def live(self, principal: Principal) -> Principal:
        """Refuse: what an account is now, only the issuer knows.

        Raises:
            Unavailable: always.
        """
        raise Unavailable("This service cannot ask whether the account is still active.")

    def still_valid(self, state: Attribution) -> bool:
        """Tell whether an open connection may stay open: its credential is in time, and its key still there."""
        known = state.credential
        if not isinstance(known, Authenticated):
            return not state.principal.is_authenticated
        return self.bearer.fault_of(known) is None

    async def start(self) -> None:
        """Fetch the keys and follow them; until the issuer answers, tokens are answered 503."""
        if self._following is not None and not self._following.done():
            return
        with suppress(LimenError):
            await self.keys.learn()
        self._following = asyncio.create_task(self.keys.follow(), name="limen: keys of the issuer")

    async def stop(self) -> None:
        """End what `start` began, unless another application of this gate still runs."""
        following = self._following
        if following is None or any(protection.ready for protection in self._protections):
            return
        self._following = None
        following.cancel()
        with suppress(asyncio.CancelledError, RuntimeError):
            await following
        await self.outbound.aclose()
