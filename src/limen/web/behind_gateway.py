"""A service behind a gateway that asks limen: it verifies the token that the gateway hands on, and nothing else."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from limen.authn.forwarded import Forwarded, ForwardedStrategy
from limen.authn.strategy import Attribution
from limen.authz.attributes import AttributeLoader
from limen.core.clock import Clock, system_clock
from limen.crypto.forwarded_claims import FORWARDED_TTL, FORWARDED_TYP, ForwardedClaims, forwarded_audience
from limen.crypto.jwt import TokenVerifier
from limen.crypto.keys import KeySet
from limen.web.deciding import PolicyContext
from limen.web.resource_server import ResourceServer

if TYPE_CHECKING:
    from limen.authz.policy.rules import PolicySet, Rule

CLOCK_LEEWAY: Final = 5
"""Seconds by which the clocks of limen and of the service may differ: the token lives for no more than thirty."""


class BehindGateway(ResourceServer):
    """Guards an application behind a gateway; see `limen.Limen.behind_gateway`."""

    def __init__(
        self,
        *,
        issuer: str,
        jwks_url: str | None = None,
        roles: Mapping[str, Iterable[str]] | None = None,
        cors_origins: Iterable[str] = (),
        trusted_proxies: Sequence[str] = (),
        attributes: AttributeLoader | None = None,
        policies: "PolicySet | Iterable[Rule] | None" = None,
        policy_context: PolicyContext | None = None,
        clock: Clock = system_clock,
    ) -> None:
        audience = forwarded_audience(issuer)
        super().__init__(
            issuer=issuer,
            audience=audience,
            jwks_url=jwks_url,
            roles=roles,
            cors_origins=cors_origins,
            trusted_proxies=trusted_proxies,
            attributes=attributes,
            policies=policies,
            policy_context=policy_context,
            clock=clock,
        )
        self.forwarded = ForwardedStrategy(
            TokenVerifier(
                KeySet.empty(),
                issuer=issuer,
                audience=audience,
                typ=FORWARDED_TYP,
                claims=ForwardedClaims,
                max_lifetime=FORWARDED_TTL,
                leeway=CLOCK_LEEWAY,
                ahead=CLOCK_LEEWAY,
                clock=clock,
            ),
            permissions_of=self.catalogue.permissions_of,
            known_roles=lambda: self.catalogue.names,
            clock=lambda: clock() - CLOCK_LEEWAY,
            learn=self.keys.learn,
        )
        self._attribute = self.forwarded.attribute
        self.challenges = (self.forwarded.challenge,)

    def _use(self, keys: KeySet) -> None:
        self.forwarded.use_keys(keys)

    def still_valid(self, state: Attribution) -> bool:
        """Tell whether an open connection may stay open: the credential that the gateway saw is in time."""
        known = state.credential
        if not isinstance(known, Forwarded):
            return not state.principal.is_authenticated
        return self.forwarded.is_open(known)
