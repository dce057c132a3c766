"""The public keys of an issuer elsewhere: fetched, kept, and fetched anew when a token names one that is not known.

The address is configured; nothing in a token says where a key comes from (RFC 8725, section 3.10).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from limen.core.errors import ConfigurationError, LimenError, Unavailable
from limen.core.occasionally import Occasionally
from limen.crypto.keys import KeySet, VerificationKey
from limen.crypto.strict_json import JsonError, read_object

if TYPE_CHECKING:
    import httpx

COOL_DOWN_SECONDS: Final = 10.0
"""How often tokens of keys that nobody knows may make a process fetch the keys."""
REFRESH_SECONDS: Final = 300.0
"""How often they are fetched without being asked for: what was retired is gone after so long."""
KEEP_SECONDS: Final = 86_400.0
"""How long keys are believed that cannot be fetched anew."""
FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 65_536
MOST_KEYS: Final = 32
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

_log = logging.getLogger(__name__)


def keys_of(document: bytes) -> KeySet:
    """Return the keys of a JWK Set (RFC 7517, section 5) that tokens can be verified with.

    A public key of another kind, or for another use, is left out: issuers may have more than one of theirs.

    Raises:
        ConfigurationError: it is no JWK Set, or it holds a secret, a private key or two keys of one id: then something
            is badly wrong with the issuer, and no part of it is believed.
    """
    try:
        listed = read_object(document, limit=MOST_BYTES).get("keys")
    except JsonError:
        listed = None
    if not isinstance(listed, list) or len(listed) > MOST_KEYS or not all(isinstance(each, dict) for each in listed):
        raise ConfigurationError("This is not a set of public keys.")
    if any(each.get("kty") == "oct" or not {"d", "k", "p", "q"}.isdisjoint(each) for each in listed):
        raise ConfigurationError("A set of public keys holds a secret or a private key.")
    kids = [each.get("kid") for each in listed]
    if any(kids.count(kid) > 1 for kid in kids):
        raise ConfigurationError("Two keys of a set have one id.")
    found: list[VerificationKey] = []
    for each in listed:
        try:
            found.append(VerificationKey.from_jwk(each))
        except ConfigurationError as error:
            _log.warning("a public key is not used", extra={"reason": str(error)})
    if not found:
        raise ConfigurationError("No key of the set can be used.")
    return KeySet(found)


class RemoteKeys:
    """Follows the keys at an address. What was fetched last is kept where a fetch fails, for a day at most.

    Args:
        url: ``https://…``; plain http only at a loopback address.
        use: told the keys whenever they were fetched.

    Raises:
        ConfigurationError: another kind of address, or httpx is not installed.
    """

    def __init__(self, url: str, use: Callable[[KeySet], None]) -> None:
        parts = urlsplit(url)
        is_local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not (parts.scheme == "https" or is_local) or not parts.hostname or parts.username is not None:
            raise ConfigurationError("jwks_url is an https address: over http anybody on the way could put in a key.")
        try:
            import httpx  # noqa: F401 - asked for at the start, not at the first token
        except ImportError:
            raise ConfigurationError("A resource server fetches keys with httpx: install it.") from None
        self._url = url
        self._use = use
        self._fetched: float | None = None
        self._asking = Occasionally(self.refresh, COOL_DOWN_SECONDS)

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
            keys = keys_of(await self._fetch())
        except ConfigurationError as error:
            _log.error("the keys of the issuer are refused", extra={"url": self._url, "reason": str(error)})
            raise Unavailable("The keys of the issuer cannot be used.") from None
        self._fetched = time.monotonic()
        self._use(keys)

    async def follow(self) -> None:
        """Fetch the keys again and again, until it is cancelled."""
        while True:
            try:
                await self.learn()
            except LimenError as error:
                _log.warning("the keys of the issuer were not fetched", extra={"code": error.code, "url": self._url})
                if self._fetched is not None and time.monotonic() - self._fetched > KEEP_SECONDS:
                    self._use(KeySet.empty())
            await asyncio.sleep(REFRESH_SECONDS if self._fetched is not None else COOL_DOWN_SECONDS)

    async def _fetch(self) -> bytes:
        import httpx

        try:
            async with (
                asyncio.timeout(FETCH_SECONDS),
                httpx.AsyncClient(timeout=FETCH_SECONDS, follow_redirects=False) as client,
                client.stream(
                    "GET", self._url, headers={"Accept": "application/json", "Accept-Encoding": "identity"}
                ) as answer,
            ):
                return await _read(answer)
        except (httpx.HTTPError, TimeoutError, OSError) as error:
            _log.warning("the issuer does not answer", extra={"url": self._url, "fault": type(error).__name__})
            raise Unavailable("The issuer does not answer.") from None


async def _read(answer: "httpx.Response") -> bytes:
    """Return the body of a 200, as it came: it is not unpacked, and no more of it is read than can be right."""
    if answer.status_code != 200:
        raise ConfigurationError(f"The answer is {answer.status_code}, and redirects are not followed.")
    body = b""
    async for part in answer.aiter_raw():
        body += part
        if len(body) > MOST_BYTES:
            raise ConfigurationError(f"The answer is longer than {MOST_BYTES} bytes.")
    return body
