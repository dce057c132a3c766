"""What a provider says of itself (OpenID Connect Discovery; RFC 8414), fetched, checked, and kept for a while."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from limen.authn.outbound import Outbound, OutboundError, require_callable_url
from limen.core.errors import ConfigurationError, Unavailable
from limen.features.sso.providers import SSOProvider

REFRESH_SECONDS: Final = 3_600.0
"""How long it is believed without being asked again."""
KEEP_SECONDS: Final = 86_400.0
"""How long it is believed where the provider does not answer."""
COOL_DOWN_SECONDS: Final = 5.0
"""Seconds after a failure in which nobody is asked again."""
RETRY_AFTER: Final = 10
"""Seconds after which whoever is refused for it may try again."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is used of it.

    Attributes:
        authorization: where the browser goes.
        token: where the code is exchanged.
        userinfo: what says more of the person, if there is one.
        jwks: where the keys are; None for a provider without OpenID Connect.
        end_session: where a logout goes, if there is one (OpenID Connect RP-Initiated Logout).
        names_itself: every answer bears ``iss`` (RFC 9207); one that does not is then refused.
        takes_basic: the client's secret goes into a header; otherwise into the form.
    """

    authorization: str
    token: str
    userinfo: str | None
    jwks: str | None
    end_session: str | None
    names_itself: bool
    takes_basic: bool


class Discovery:
    """Follows what one provider says of itself.

    Args:
        provider: whose.
        outbound: makes the calls.
        monotonic: seconds of a clock that nobody turns.
    """

    def __init__(
        self, provider: SSOProvider, outbound: Outbound, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._provider = provider
        self._outbound = outbound
        self._monotonic = monotonic
        self._known: Metadata | None = None
        self._fetched = 0.0
        self._failed: float | None = None
        self._lock = asyncio.Lock()

    async def metadata(self) -> Metadata:
        """Return it; whoever asks at the same time shares one fetch.

        Raises:
            Unavailable: the provider does not answer, or says what cannot be believed.
        """
        provider = self._provider
        if provider.endpoints is not None:
            given = provider.endpoints
            return Metadata(given.authorization, given.token, given.userinfo, None, None, False, False)
        if self._known is None or self._monotonic() - self._fetched > REFRESH_SECONDS:
            async with self._lock:
                if self._known is None or self._monotonic() - self._fetched > REFRESH_SECONDS:
                    await self._fetch()
        if self._known is None:
            raise unavailable(provider)
        return self._known

    async def _fetch(self) -> None:
        now = self._monotonic()
        if self._known is not None and now - self._fetched > KEEP_SECONDS:
            self._known = None
        if self._failed is not None and now - self._failed < COOL_DOWN_SECONDS:
            return
        # RFC 8414 would put the words in between; OpenID Connect Discovery, section 4.1, puts them behind.
        url = self._provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        try:
            document, _ = await self._outbound.get_json(url)
            self._known, self._fetched, self._failed = _checked(document, self._provider), now, None
        except OutboundError as error:
            self._failed = now
            _log.warning("a provider does not answer", extra={"provider": self._provider.name, "fault": error.code})
        except ConfigurationError as error:
            self._failed, self._known = now, None
            _log.error("a provider is refused", extra={"provider": self._provider.name, "reason": str(error)})


def unavailable(provider: SSOProvider) -> Unavailable:
    """Return the answer where a provider is asked in vain."""
    return Unavailable(f"The sign-in provider {provider.title} does not answer.", retry_after=RETRY_AFTER)


def _checked(document: Mapping[str, Any], provider: SSOProvider) -> Metadata:
    """Hold the document against what was declared (OpenID Connect Discovery, section 4.3).

    Raises:
        ConfigurationError: it is of another issuer, or an address in it is not https.
    """
    if document.get("issuer") != provider.issuer:
        raise ConfigurationError("It calls itself by another name than the issuer that is configured.")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    names_itself = document.get("authorization_response_iss_parameter_supported", False)
    if not isinstance(methods, list) or not isinstance(names_itself, bool):
        raise ConfigurationError("Its description is not of the form that it has to be.")
    if provider.secret and not {"client_secret_basic", "client_secret_post"} & set(map(str, methods)):
        raise ConfigurationError("It takes no client secret, neither in a header nor in a form.")

    def address(name: str) -> str:
        given = document.get(name)
        if not isinstance(given, str):
            raise ConfigurationError(f"{name} is not there.")
        if not given.isascii():
            # It goes into a header as it is: Location, which has no other characters (RFC 3986, section 2).
            raise ConfigurationError(f"{name} is not written in ASCII.")
        require_callable_url(given, name)
        if provider.issuer.startswith("https:") and not given.startswith("https:"):
            raise ConfigurationError(f"{name} is not https, as the issuer is.")
        return given

    def optional(name: str) -> str | None:
        return None if document.get(name) is None else address(name)

    return Metadata(
        authorization=address("authorization_endpoint"),
        token=address("token_endpoint"),
        userinfo=optional("userinfo_endpoint"),
        jwks=address("jwks_uri"),
        end_session=optional("end_session_endpoint"),
        names_itself=names_itself,
        takes_basic="client_secret_basic" in methods,
    )
