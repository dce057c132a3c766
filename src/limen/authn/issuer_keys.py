"""The public keys of an issuer elsewhere: fetched, kept, and fetched anew when a token names one that is not known.

The address is configured, or stands in the document of the issuer that is configured; nothing in a token says where a
key comes from (RFC 8725, section 3.10; OpenID Connect Core, section 10.1.1).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from limen.authn.outbound import Outbound, OutboundError, require_callable_url
from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.occasionally import Occasionally
from limen.crypto.jwt import TokenError
from limen.crypto.keys import KeySet, VerificationKey

COOL_DOWN_SECONDS: Final = 10.0
"""How often tokens of keys that nobody knows may make a process fetch the keys."""
REFRESH_SECONDS: Final = 300.0
"""How often they are fetched without being asked for: what was retired is gone after so long."""
KEEP_SECONDS: Final = 86_400.0
"""How long keys are believed that cannot be fetched anew."""
MOST_BYTES: Final = 65_536
MOST_KEYS: Final = 32

_ALG_OF: Final = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""The algorithm of a key that names none: each kind of key is used with one here, and with no other."""

_log = logging.getLogger(__name__)

Address = Callable[[], Awaitable[str]]
"""Answers where the keys are."""


def keys_of(document: Mapping[str, Any]) -> KeySet:
    """Return the keys of a JWK Set (RFC 7517, section 5) that tokens can be verified with.

    A public key of another kind, or for another use, is left out: issuers may have more than one of theirs. One without
    an algorithm has that of its kind, and one without an id its thumbprint (RFC 7638).

    Raises:
        ConfigurationError: it is no JWK Set, or it holds a secret, a private key or two keys of one id: then something
            is badly wrong with the issuer, and no part of it is believed.
    """
    return KeySet([key for key, _ in _keys_in(document)])


def _keys_in(document: Mapping[str, Any]) -> list[tuple[VerificationKey, str | None]]:
    """Return the keys, each with the issuer that it says it is for: Entra's sets hold keys of several."""
    listed = document.get("keys")
    if not isinstance(listed, list) or len(listed) > MOST_KEYS or not all(isinstance(each, dict) for each in listed):
        raise ConfigurationError("This is not a set of public keys.")
    if any(each.get("kty") == "oct" or not {"d", "k", "p", "q"}.isdisjoint(each) for each in listed):
        raise ConfigurationError("A set of public keys holds a secret or a private key.")
    kids = [each["kid"] for each in listed if "kid" in each]
    if any(kids.count(kid) > 1 for kid in kids):
        raise ConfigurationError("Two keys of a set have one id.")
    found: dict[str, tuple[VerificationKey, str | None]] = {}
    for each in listed:
        try:
            key = _key_of(each)
        except ConfigurationError as error:
            _log.warning("a public key is not used", extra={"reason": str(error)})
            continue
        stated = each.get("issuer")
        found.setdefault(key.kid, (key, stated if isinstance(stated, str) else None))
    if not found:
        raise ConfigurationError("No key of the set can be used.")
    return list(found.values())


def _key_of(jwk: Mapping[str, Any]) -> VerificationKey:
    operations = jwk.get("key_ops", ["verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ConfigurationError("This key is not one to verify with (RFC 7517, section 4.3).")
    kty, crv = jwk.get("kty"), jwk.get("crv")
    alg = jwk.get("alg", _ALG_OF.get((str(kty), None if crv is None else str(crv))))
    kid = jwk.get("kid")
    if kid is None:
        # Only to have its thumbprint: whoever names no key is given this one where it is the only one of its kind.
        kid = VerificationKey.from_jwk({**jwk, "alg": alg, "kid": "-"}).thumbprint()
    return VerificationKey.from_jwk({**jwk, "alg": alg, "kid": kid})


class IssuerKeys:
    """Follows the keys of an issuer. What was fetched last is kept where a fetch fails, for a day at most.

    Args:
        jwks_uri: where the keys are: ``https://…``, plain http only at a loopback address; or what answers it, asked at
            each fetch. It says `OutboundError` or `Unavailable` where it cannot, and ConfigurationError where what it
            found cannot be right.
        outbound: makes the calls.
        use: told the keys whenever others were fetched, and an empty set once they are too old.
        cool_down: seconds between two fetches that tokens may cause.
        monotonic: seconds of a clock that nobody turns.

    Raises:
        ConfigurationError: another kind of address.
    """

    def __init__(
        self,
        jwks_uri: str | Address,
        outbound: Outbound,
        *,
        use: Callable[[KeySet], None] | None = None,
        cool_down: float = COOL_DOWN_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(jwks_uri, str):
            require_callable_url(jwks_uri, "jwks_uri")
        self._jwks_uri = jwks_uri
        self._outbound = outbound
        self._told = use
        self._monotonic = monotonic
        self._keys = KeySet.empty()
        self._issuers: dict[str, str] = {}
        self._fetched: float | None = None
        self._document: Mapping[str, Any] | None = None
        self._asking = Occasionally(self.refresh, cool_down, monotonic=monotonic)
        self._beside: asyncio.Task[None] | None = None

    @property
    def keys(self) -> KeySet:
        """The keys that are believed now."""
        return self._keys

    def stated_issuer(self, kid: str) -> str | None:
        """Return the issuer that a key says it is for (a member of Entra's sets), or None."""
        return self._issuers.get(kid)

    def known(self, kid: str | None, alg: str) -> VerificationKey | None:
        """Return the key of this id, or the only one of the algorithm, as far as keys are known now; else None."""
        if kid is not None:
            return self._keys.get(kid)
        fitting = [key for key in self._keys if key.alg == alg]
        return fitting[0] if len(fitting) == 1 else None

    async def key(self, kid: str | None, alg: str) -> VerificationKey:
        """Return the key that a token may have been signed with.

        Args:
            kid: as the token's header names it. None stands for the only key of the algorithm, if there is one only
                (OpenID Connect Core, section 10.1).
            alg: the algorithm of the token, which is the caller's to choose.

        Raises:
            TokenError: ``kid``: there is no such key, and the set was fetched within the cool-down; ``alg``: there is,
                for another algorithm.
            Unavailable: nobody can tell, since the keys could not be fetched.
        """
        if self._is_old(KEEP_SECONDS):
            self._drop()
        if self._fetched is None:
            await self.learn()
        elif self._is_old(REFRESH_SECONDS) and (self._beside is None or self._beside.done()):
            self._beside = asyncio.create_task(self._learn_quietly(), name="limen: keys of an issuer")
        found = self.known(kid, alg)
        if found is None:
            await self.learn()
            found = self.known(kid, alg)
        if found is None:
            raise TokenError("kid")
        if found.alg != alg:
            raise TokenError("alg")
        return found

    async def learn(self) -> None:
        """Fetch the keys, unless that was done within the cool-down; whoever asks at the same time shares one fetch.

        Raises:
            Unavailable: they could not be fetched.
        """
        await self._asking.ask()

    async def refresh(self) -> None:
        """Fetch the keys and use them.

        Raises:
            Unavailable: they could not be fetched, or are not such as can be believed.
        """
        try:
            url = self._jwks_uri if isinstance(self._jwks_uri, str) else await self._jwks_uri()
            document, _ = await self._outbound.get_json(url, max_bytes=MOST_BYTES)
            if document == self._document:  # nearly always: nothing is judged, or told of, a second time
                self._fetched = self._monotonic()
                return
            found = _keys_in(document)
        except OutboundError as error:
            _log.warning("the issuer does not give its keys", extra={"fault": error.code, "reason": str(error)})
            raise Unavailable("The issuer does not answer.") from None
        except ConfigurationError as error:
            _log.error("the keys of the issuer are refused", extra={"reason": str(error)})
            raise Unavailable("The keys of the issuer cannot be used.") from None
        self._fetched, self._document = self._monotonic(), document
        self._issuers = {key.kid: issuer for key, issuer in found if issuer is not None}
        self._use(KeySet([key for key, _ in found]))

    async def follow(self) -> None:
        """Fetch the keys again and again, until it is cancelled."""
        while True:
            await self._learn_quietly()
            if self._is_old(KEEP_SECONDS):
                self._drop()
            await asyncio.sleep(REFRESH_SECONDS if self._fetched is not None else COOL_DOWN_SECONDS)

    async def _learn_quietly(self) -> None:
        try:
            await self.learn()
        except LimenError as error:
            _log.warning("the keys of the issuer were not fetched", extra={"code": error.code})

    def _is_old(self, seconds: float) -> bool:
        return self._fetched is not None and self._monotonic() - self._fetched > seconds

    def _drop(self) -> None:
        self._fetched, self._document, self._issuers = None, None, {}
        self._use(KeySet.empty())

    def _use(self, keys: KeySet) -> None:
        self._keys = keys
        if self._told is not None:
            self._told(keys)
