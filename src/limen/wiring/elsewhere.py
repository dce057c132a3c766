"""The gates of services that hold no database: tokens are verified that a limen elsewhere issued."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from limen.authz.attributes import AttributeLoader
from limen.core.clock import Clock, system_clock
from limen.web.deciding import PolicyContext

if TYPE_CHECKING:
    # Names only: no cycle is hidden, but a web framework is not imported where nobody serves the web.
    from limen.authz.policy.rules import PolicySet, Rule
    from limen.web.behind_gateway import BehindGateway
    from limen.web.resource_server import ResourceServer


class Elsewhere:
    """The constructors of a `Limen` for services beside the one that logs in."""

    @staticmethod
    def resource_server(
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
    ) -> "ResourceServer":
        """Make a gate for a service that verifies the tokens of a limen elsewhere, by its public keys alone.

        It has no database and logs nobody in. The keys are fetched at the start, every five minutes, and where a token
        names one that is not known, every ten seconds at most. With a ``watch_key`` it learns within two seconds which
        sessions ended; without, a token is good until it expires, 15 minutes at most. ``@live`` answers 503 there.

        Args:
            issuer: the exact ``iss``: ``LIMEN_ISSUER`` of the other one.
            audience: what ``aud`` must be.
            jwks_url: where the keys are; ``/.well-known/jwks.json`` of the issuer where it is not given.
            roles: what the roles in a token allow here: name to permissions. None takes them as they are, and they give
                no permission.
            cors_origins: the web origins whose pages may call.
            trusted_proxies: the proxies in front of it, as in ``LIMEN_TRUSTED_PROXIES``.
            watch_key: an API key at the issuer whose owner may ``sessions:watch``. Never written into code.
            watch_url: where the list of ended sessions is; ``/auth/ended`` of the issuer where it is not given.
            when_blind: what happens where that list has not been heard for ten seconds: tokens count until they expire
                (``serve``), or every one is answered 503 (``refuse``).
            attributes: loads what this service knows of who calls, beside the token.
            policies: what is allowed and denied here.
            policy_context: tells policies what this service knows of a request.
            clock: the time in seconds since 1970 UTC.

        Raises:
            ConfigurationError: an address that is not https, or a role that is unusable.
        """
        from limen.web.resource_server import ResourceServer

        return ResourceServer(
            issuer=issuer,
            audience=audience,
            jwks_url=jwks_url,
            roles=roles,
            cors_origins=cors_origins,
            trusted_proxies=trusted_proxies,
            watch_key=watch_key,
            watch_url=watch_url,
            when_blind=when_blind,
            attributes=attributes,
            policies=policies,
            policy_context=policy_context,
            clock=clock,
        )

    @staticmethod
    def behind_gateway(
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
    ) -> "BehindGateway":
        """Make a gate for a service behind a gateway that asks a limen elsewhere (``/auth/verify``) for each request.

        It takes the token that the gateway hands on in ``X-Limen-Token``, verified by the public keys, and no other
        credential: whoever reaches the service past the gateway is nobody. ``@live`` answers 503 there.

        Args:
            issuer: the exact ``iss``: ``LIMEN_ISSUER`` of the other one, which must not sign with HS256.
            jwks_url: where the keys are; ``/.well-known/jwks.json`` of the issuer where it is not given.
            roles: what roles allow here: name to permissions, beside the permissions that the token states. None takes
                both as they are.
            cors_origins: the web origins whose pages may call.
            trusted_proxies: the gateway, as in ``LIMEN_TRUSTED_PROXIES``, for the client's address.
            attributes: loads what this service knows of who calls, beside the token.
            policies: what is allowed and denied here.
            policy_context: tells policies what this service knows of a request.
            clock: the time in seconds since 1970 UTC.

        Raises:
            ConfigurationError: an address that is not https, or a role that is unusable.
        """
        from limen.web.behind_gateway import BehindGateway

        return BehindGateway(
            issuer=issuer,
            jwks_url=jwks_url,
            roles=roles,
            cors_origins=cors_origins,
            trusted_proxies=trusted_proxies,
            attributes=attributes,
            policies=policies,
            policy_context=policy_context,
            clock=clock,
        )
