"""What a gate holds for the web. Made when it is first asked for: a worker, or a command, needs no web framework."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from limen.authn.cookie import CookieSession, CookieStrategy
from limen.core.errors import LimenError
from limen.settings import Settings
from limen.wiring.tokens import deriving_texts

if TYPE_CHECKING:
    # Names only: no cycle is hidden, but a web framework is not imported where nobody serves the web.
    from limen.web.cors import CorsPolicy
    from limen.web.csrf import CsrfCheck
    from limen.web.front import Front
    from limen.web.peers import TrustedProxies


class WebParts:
    """The part of a gate that stands between it and the web: origins, hosts, headers, proxies, forged requests."""

    settings: Settings
    cookies: CookieStrategy

    @property
    def cors(self) -> "CorsPolicy":
        """The origins that may read answers and open sockets."""
        from limen.web.cors import CorsPolicy

        return CorsPolicy.of(self.settings.cors_origins, credentials=True)

    @cached_property
    def front(self) -> "Front":
        """What answers carry, and what is asked of a request before anything else."""
        from limen.web.front import Front
        from limen.web.headers import AnswerHeaders
        from limen.web.hosts import AllowedHosts

        settings = self.settings
        return Front(
            AnswerHeaders(settings.opener_policy, settings.resource_policy),
            AllowedHosts(settings.hosts) if settings.allowed_hosts else None,
            settings.max_body,
            settings.body_timeout,
        )

    @cached_property
    def proxies(self) -> "TrustedProxies":
        """The proxies that are believed when they say who is behind them."""
        from limen.web.peers import TrustedProxies

        return TrustedProxies(self.settings.trusted_proxies, self.settings.forwarded_header)

    @cached_property
    def _csrf(self) -> "CsrfCheck":
        from limen.web.csrf import CsrfCheck, CsrfTokens

        return CsrfCheck(
            CsrfTokens(deriving_texts(self.settings)),
            self.cors,
            public_origin=_origin_of_url(self.settings.public_url),
            https_only=self.cookies.https_only,
        )

    def _cookie_fault(self, scope: Mapping[str, Any], session: CookieSession) -> LimenError | None:
        return self._csrf.fault(scope, session)


def _origin_of_url(url: str | None) -> bytes | None:
    """Return the origin of an address: what stands before its path."""
    return None if url is None else b"/".join(url.encode("ascii").split(b"/", 3)[:3])
