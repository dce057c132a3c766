"""Every call that limen makes to somewhere else: to issuers, for their keys, tokens and what they say of a person.

An address may come from a stranger's document, a name may lead into one's own network, and an answer may be endless. So
a call goes to an address that was looked at first, follows no redirect, and ends within bounds of time and size
(ASVS 5.0, 13.2.4 and 13.2.5; OWASP, Server-Side Request Forgery Prevention).
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Final, Literal

from limen.core.errors import ConfigurationError
from limen.core.networks import canonical_network, is_within
from limen.crypto.strict_json import JsonError, read_object

if TYPE_CHECKING:
    import httpx

FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 512 * 1024
MOST_ADDRESSES: Final = 4
"""Addresses of one name that are tried, one after the other."""
OWN_NETWORKS: Final = (
    "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "127.0.0.0/8", "::1/128", "fc00::/7",
)  # fmt: skip
"""What an organisation has for itself. Link-local addresses are not among them: clouds hand out credentials there.
Those at which they do it inside of these networks are never called."""

_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # RFC 4291, section 2.4
# Oracle's older cloud hands out credentials at 192.0.0.192, which not every release of Python calls private, and Azure
# answers its machines at an address that is public by its number.
_NOT_PUBLIC: Final = (IPv4Network("192.0.0.0/24"), IPv4Network("168.63.129.16/32"))
# Clouds' credentials inside of what an organisation has for itself: AWS and Google over IPv6, Alibaba in RFC 6598's.
_METADATA: Final = frozenset(ip_address(each) for each in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200"))
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: the last four bytes are the IPv4 address that is meant
_NO_HEADERS: Final[Mapping[str, str]] = {}

_log = logging.getLogger(__name__)

Fault = Literal["refused_address", "timeout", "too_large", "status", "redirect", "not_json", "unreachable"]
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Answers the addresses of a name, for a port."""


class OutboundError(Exception):
    """A call did not give what it should; nothing that was sent or received is in the message.

    Attributes:
        code: ``refused_address`` (an address that is not allowed, or no address of the kind that is called),
            ``timeout``, ``too_large``, ``status`` (another answer than was asked for), ``redirect``, ``not_json``,
            ``unreachable`` (no such name, no connection, a certificate that does not fit, no HTTP).
    """

    def __init__(self, code: Fault, message: str) -> None:
        super().__init__(message)
        self.code: Fault = code


class Outbound:
    """Calls others over https, within bounds. Nothing is kept open between two calls.

    Plain http is spoken only to a loopback address that is allowed: over http anybody on the way could answer. Proxies
    that the environment names are not used, since they would look up the name again.

    Args:
        allow_private: networks that may be called though they are not public, in CIDR notation. Multicast addresses,
            the unspecified one, and those at which clouds hand out credentials inside a network are never called.
        timeout: seconds for one call as a whole, looking up the name included.
        max_bytes: the most bytes of an answer.
        verify: the certificates that are trusted; True stands for those of the system's default (``SSL_CERT_FILE``).
        resolve: looks up names; the system's resolver where it is not given.

    Raises:
        ConfigurationError: no network, no positive bound, or certificates that nobody verifies.
    """

    def __init__(
        self,
        *,
        allow_private: Sequence[str] = (),
        timeout: float = FETCH_SECONDS,
        max_bytes: int = MOST_BYTES,
        verify: ssl.SSLContext | bool = True,
        resolve: Resolve | None = None,
    ) -> None:
        if verify is False:
            raise ConfigurationError("Certificates are always verified: give a context that trusts those you mean.")
        if timeout <= 0 or max_bytes <= 0:
            raise ConfigurationError("A call needs a time and a size above zero.")
        try:
            self._allowed = tuple(canonical_network(each) for each in allow_private)
        except ValueError:
            raise ConfigurationError("Allowed networks are given in CIDR notation, such as 10.0.0.0/8.") from None
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._trust = verify if isinstance(verify, ssl.SSLContext) else None
        self._trust_read: ssl.SSLContext | None = None
        self._resolve = resolve or _system_resolver

    async def get_json(
        self, url: str, *, headers: Mapping[str, str] = _NO_HEADERS, max_bytes: int | None = None
    ) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Return the JSON object at an address, and the headers of the answer, their names in lower case.

        Raises:
            OutboundError: it cannot be had, the status is not 200, or it is not strictly one JSON object.
        """
        body, answered = await self.get(url, headers=headers, max_bytes=max_bytes)
        return json_object(body), answered

    async def get(
        self,
        url: str,
        *,
        headers: Mapping[str, str] = _NO_HEADERS,
        accept: str = "application/json",
        max_bytes: int | None = None,
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return what is at an address, as it came, and the headers of the answer.

        Raises:
            OutboundError: it cannot be had, or the status is not 200.
        """
        question = _Question("GET", _place(url), {"accept": accept, **headers}, max_bytes=max_bytes)
        status, body, answered = await self._call(question)
        if status != 200:
            raise OutboundError("status", f"The answer is {status}.")
        return body, answered

    async def post_form(
        self, url: str, fields: Mapping[str, str], *, headers: Mapping[str, str] = _NO_HEADERS
    ) -> tuple[int, Mapping[str, Any]]:
        """Send a form, and return the status of the answer and the JSON object that it holds.

        An error of OAuth is an answer like any other: 400, with an object that says which (RFC 6749, section 5.2).

        Raises:
            OutboundError: there is no answer, or no strict JSON object in it (``status`` where it is no success too).
        """
        question = _Question("POST", _place(url), {"accept": "application/json", **headers}, dict(fields))
        status, body, _ = await self._call(question)
        try:
            return status, json_object(body)
        except OutboundError:
            if 200 <= status < 300:
                raise
            raise OutboundError("status", f"The answer is {status}, and not JSON.") from None

    async def post(self, url: str, body: bytes, *, media_type: str, headers: Mapping[str, str] = _NO_HEADERS) -> int:
        """Send these bytes, and return the status of the answer; what the answer says is read and thrown away.

        Raises:
            OutboundError: there is no answer, or one that is too long, or a redirect.
        """
        question = _Question("POST", _place(url), {**headers, "content-type": media_type}, body=body)
        status, _, _ = await self._call(question)
        return status

    async def aclose(self) -> None:
        """Let go of what is held: of the certificates, which are read again at the next call."""
        self._trust_read = None

    def _trusted(self) -> ssl.SSLContext:
        if self._trust is not None:
            return self._trust
        if self._trust_read is None:
            self._trust_read = _httpx().create_ssl_context()
        return self._trust_read

    async def _call(self, question: "_Question") -> tuple[int, bytes, Mapping[str, str]]:
        httpx, place = _httpx(), question.place
        try:
            async with asyncio.timeout(self._timeout):
                addresses = await self._addresses(place)
                for number, address in enumerate(addresses, start=1):
                    try:
                        return await self._exchange(question, address, self._timeout / len(addresses))
                    except (httpx.ConnectError, httpx.ConnectTimeout):
                        # Nothing was sent yet: the next address may be asked.
                        if number == len(addresses):
                            raise
        except (TimeoutError, httpx.TimeoutException):
            raise self._noted(place, "timeout", f"There was no whole answer within {self._timeout:g} s.") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise self._noted(place, "unreachable", f"There is no answer ({type(error).__name__}).") from None
        raise self._noted(place, "unreachable", "The name has no address.")

    @staticmethod
    def _noted(place: "httpx.URL", code: Fault, message: str) -> OutboundError:
        # The host alone: the rest of an address may hold what is nobody's business.
        _log.info("a call to another service failed", extra={"host": place.host, "fault": code})
        return OutboundError(code, message)

    async def _addresses(self, place: "httpx.URL") -> Sequence[str]:
        """Look up the name once, and return the addresses to call.

        All of them must be allowed: of a name that also leads to an address inside, nothing is believed. The call then
        goes to one of these and not to the name, which might lead elsewhere a moment later (DNS rebinding).
        """
        port = place.port or (443 if place.scheme == "https" else 80)
        found = list(dict.fromkeys(await self._resolve(_host(place), port)))
        for address in found:
            if not self._may_call(address) or (place.scheme == "http" and not ip_address(address).is_loopback):
                raise self._noted(place, "refused_address", "This address may not be called.")
        return found[:MOST_ADDRESSES]

    def _may_call(self, text: str) -> bool:
        try:
            address = _meant(ip_address(text))
        except ValueError:
            return False
        if address.is_multicast or address.is_unspecified or address in _METADATA:
            return False
        return is_public(address) or is_within(str(address), self._allowed)

    async def _exchange(
        self, question: "_Question", address: str, connect_seconds: float
    ) -> tuple[int, bytes, Mapping[str, str]]:
        httpx, place = _httpx(), question.place
        limit = self._max_bytes if question.max_bytes is None else question.max_bytes
        headers = {"accept-encoding": "identity", "user-agent": "limen", **question.headers, "host": _authority(place)}
        # A client of its own for each call: no connection is shared between two names at one address, no cookie kept.
        async with (
            httpx.AsyncClient(
                verify=self._trusted(),
                timeout=httpx.Timeout(self._timeout, connect=connect_seconds),
                trust_env=False,
                follow_redirects=False,
            ) as client,
            client.stream(
                question.method,
                place.copy_with(host=address),
                data=question.form,
                content=question.body,
                headers=headers,
                # The certificate is asked for, and checked, by the name (RFC 9110, section 4.3.4).
                extensions={"sni_hostname": _host(place)},
            ) as answer,
        ):
            if 300 <= answer.status_code < 400:
                raise self._noted(place, "redirect", "The answer is a redirect, which is not followed.")
            body = b""
            # As it came: what unpacks to a thousand times its size is not unpacked.
            async for part in answer.aiter_raw():
                body += part
                # One read may hold ten thousand parts of a byte each, and nobody else would have a turn meanwhile.
                await asyncio.sleep(0)
                if len(body) > limit:
                    raise self._noted(place, "too_large", f"The answer is longer than {limit} bytes.")
            return answer.status_code, body, dict(answer.headers)


@dataclass(frozen=True, slots=True)
class _Question:
    """One call: what is asked, and of whom."""

    method: str
    place: "httpx.URL"
    headers: Mapping[str, str]
    form: dict[str, str] | None = None
    max_bytes: int | None = None
    body: bytes | None = None


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Tell whether an address is one of the Internet at large (IANA's registries of special-purpose addresses).

    An IPv6 address that stands for an IPv4 one is as public as that; tunnels that nobody uses any more are not public.
    """
    address = _meant(address)
    if isinstance(address, IPv6Address) and (
        address not in _GLOBAL_UNICAST or address.sixtofour is not None or address.teredo is not None
    ):
        return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def require_callable_url(url: str, name: str) -> None:
    """Refuse at the start what no call could be made to: anything but https, or http at an address of the loopback.

    Raises:
        ConfigurationError: with the name of what was given.
    """
    try:
        place = _place(url)
    except OutboundError:
        raise ConfigurationError(f"{name} is an https address: over http anybody on the way could answer.") from None
    host = place.host
    if place.scheme == "http" and host != "localhost":
        try:
            is_local = ip_address(host).is_loopback
        except ValueError:
            is_local = False
        if not is_local:
            raise ConfigurationError(f"{name} is an https address: over http anybody on the way could answer.")


def _meant(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 one stands for, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _place(url: str) -> "httpx.URL":
    """Read an address; who reads it is who calls it, so that no two readers can differ about the host."""
    library = _httpx()
    try:
        place: httpx.URL = library.URL(url)
        host = place.host  # decodes the name, which may be none that can be written (RFC 5891, section 5.4)
    except (library.InvalidURL, TypeError, ValueError):
        raise OutboundError("refused_address", "This is no address.") from None
    is_web = place.scheme in {"https", "http"} and host and 0 < (place.port or 443) < 2**16
    if not is_web or place.userinfo or place.fragment:
        raise OutboundError("refused_address", "Only https addresses without credentials are called.")
    return place


def _host(place: "httpx.URL") -> str:
    return place.raw_host.decode("ascii").strip("[]")


def _authority(place: "httpx.URL") -> str:
    return place.netloc.decode("ascii")


def json_object(body: bytes) -> Mapping[str, Any]:
    """Return the JSON object that an answer holds.

    Raises:
        OutboundError: ``not_json``: it is not strictly one JSON object.
    """
    try:
        return read_object(body, limit=len(body))
    except JsonError as error:
        raise OutboundError("not_json", f"The answer is not one strict JSON object ({error.reason}).") from None


async def _system_resolver(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def _httpx() -> Any:
    # Loaded at the first call: whoever calls nobody does not wait for it.
    import httpx

    return httpx
