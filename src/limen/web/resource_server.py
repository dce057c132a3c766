"""An application that verifies the tokens of a limen elsewhere, and has neither its database nor its secrets."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from secrets import token_urlsafe
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.authn.bearer import BearerStrategy
from limen.authn.chain import AuthenticationChain
from limen.authn.client_certificate import thumbprints, tls_certificate
from limen.authn.ended import EndedSessions
from limen.authn.issuer_keys import IssuerKeys
from limen.authn.outbound import OWN_NETWORKS, Outbound
from limen.authn.resource_server import EndedFollower
from limen.authn.strategy import Attribution, Authenticated
from limen.authz.attributes import AttributeLoader
from limen.authz.roles import RoleCatalogue
from limen.core.clock import Clock, system_clock
from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.principal import ANONYMOUS, Principal
from limen.crypto.claims import ACCESS_TYP, AccessClaims
from limen.crypto.claims_cache import ClaimsCache
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet
from limen.features.throttling.counting import Throttle
from limen.features.throttling.memory import MemoryThrottles
from limen.web.cors import CorsPolicy
from limen.web.deciding import DecidingGate, PolicyContext
from limen.web.front import USUAL_FRONT
from limen.web.guard import Protection, protect
from limen.web.peers import TrustedProxies

if TYPE_CHECKING:
    from limen.authz.policy.rules import PolicySet, Rule

LONGEST_TOKEN: Final = 900
"""Seconds: no limen issues an access token that lives longer."""
CLOCK_LEEWAY: Final = 30
"""Seconds by which the clocks of two machines may differ."""
COOL_DOWN: Final = 3.0
"""Seconds between two fetches of keys that tokens may cause: a key that is replaced every five is followed."""


class ResourceServer(DecidingGate):
    """Guards an application by the access tokens of an issuer elsewhere; see `limen.Limen.resource_server`.

    Attributes:
        catalogue: the roles that the application declares, and what each of them allows here.
        cors: the origins that may read answers.
        front: what answers carry.
        proxies: the proxies that are believed when they say who is behind them.
        challenges: the authentication schemes that a 401 names.
        ended: the sessions that are known to have ended.
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
        watch_key: str | None = None,
        watch_url: str | None = None,
        when_blind: Literal["serve", "refuse"] = "serve",
        attributes: AttributeLoader | None = None,
        policies: "PolicySet | Iterable[Rule] | None" = None,
        policy_context: PolicyContext | None = None,
        clock: Clock = system_clock,
    ) -> None:
        if when_blind not in {"serve", "refuse"} or (watch_key is None and (when_blind != "serve" or watch_url)):
            raise ConfigurationError("when_blind is serve or refuse; without watch_key nothing is watched.")
        self.catalogue = RoleCatalogue({} if roles is None else roles)
        self.cors = CorsPolicy.of(cors_origins, credentials=True)
        self.front = USUAL_FRONT
        self.proxies = TrustedProxies(trusted_proxies)
        # The addresses are the operator's own words, and most issuers of one's own are inside.
        self.outbound = Outbound(allow_private=OWN_NETWORKS)
        address = jwks_url or f"{issuer.rstrip('/')}/.well-known/jwks.json"
        self.keys = IssuerKeys(address, self.outbound, use=self._use, cool_down=COOL_DOWN)
        self.ended = EndedSessions()
        # There is no store here, so each process counts for itself, under names of its own.
        self.throttle = Throttle(MemoryThrottles(clock), secret=token_urlsafe())
        self._watch: EndedFollower | None = None
        if watch_key is not None:
            url = watch_url or f"{issuer.rstrip('/')}/auth/ended"
            self._watch = EndedFollower(url, watch_key, self.outbound, self.ended, clock=clock)
        # Of tokens that are bound to a client certificate: whoever ends TLS elsewhere refuses them.
        thumbprint_of = thumbprints(tls_certificate, clock)
        self.bearer = BearerStrategy(
            _verifier(issuer, audience, clock),
            ClaimsCache[Authenticated](),
            self.ended,
            permissions_of=self.catalogue.permissions_of,
            known_roles=lambda: self.catalogue.names,
            clock=clock,
            learn=self.keys.learn,
            thumbprint_of=thumbprint_of,
        )
        chain = AuthenticationChain([self.bearer], thumbprint_of=thumbprint_of)
        self._attribute = chain.attribute
        self._refuses_blindly = when_blind == "refuse"
        self.challenges = chain.challenges
        self._following: tuple[asyncio.Task[None], ...] = ()
        self._protections: list[Protection] = []
        self._prepare_policies(policies, attributes, policy_context, clock)
        self._load_declared()

    def _known_permissions(self) -> frozenset[str]:
        return self.catalogue.permissions

    def _permissions_of_roles(self) -> Callable[[frozenset[str]], frozenset[str]]:
        return self.catalogue.permissions_of

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
        pending = self._attribute(scope, state)
        if not self._is_blind():
            return pending
        if pending is not None:
            return self._refused_blindly(pending, state)
        self._refuse(state)
        return None

    def _is_blind(self) -> bool:
        return self._refuses_blindly and self._watch is not None and self._watch.is_blind

    async def _refused_blindly(self, pending: Awaitable[None], state: Attribution) -> None:
        await pending
        self._refuse(state)

    @staticmethod
    def _refuse(state: Attribution) -> None:
        """Let nobody be somebody: whether their session has ended is not known."""
        if state.principal.is_authenticated:
            state.principal, state.credential = ANONYMOUS, None
            state.rejection = Unavailable("This service cannot ask which sessions have ended.")

    async def ready(self) -> Mapping[str, str]:
        """Return where requests can be served.

        Returns:
            What an operator has to know all the same: ``{"ended_sessions": "unknown"}`` where the issuer has not told
            for ten seconds which sessions ended.

        Raises:
            Unavailable: there are no keys to verify with, or nobody would be let in.
        """
        if not len(self.bearer.keys):
            raise Unavailable("The keys of the issuer are not known.")
        if self._is_blind():
            raise Unavailable("Which sessions have ended is not known.")
        return {"ended_sessions": "unknown"} if self._watch is not None and self._watch.is_blind else {}

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
        return self.bearer.fault_of(known) is None and not self._is_blind()

    async def start(self) -> None:
        """Fetch the keys and follow them; until the issuer answers, tokens are answered 503."""
        if any(not task.done() for task in self._following):
            return
        with suppress(LimenError):
            await self.keys.learn()
        self._following = (asyncio.create_task(self.keys.follow(), name="limen: keys of the issuer"),)
        if self._watch is not None:
            watching = asyncio.create_task(self._watch.follow(), name="limen: ended sessions of the issuer")
            self._following += (watching,)

    async def stop(self) -> None:
        """End what `start` began, unless another application of this gate still runs."""
        following = self._following
        if not following or any(protection.ready for protection in self._protections):
            return
        self._following = ()
        for task in following:
            task.cancel()
            with suppress(asyncio.CancelledError, RuntimeError):
                await task
        await self.outbound.aclose()


def _verifier(issuer: str, audience: str, clock: Clock) -> TokenVerifier[AccessClaims]:
    """Return what verifies the issuer's access tokens, once its keys are known."""
    return TokenVerifier(
        KeySet.empty(),
        issuer=issuer,
        audience=audience,
        typ=ACCESS_TYP,
        claims=AccessClaims,
        max_lifetime=LONGEST_TOKEN,
        leeway=CLOCK_LEEWAY,
        ahead=CLOCK_LEEWAY,
        clock=clock,
    )
