"""Who is at the other end of the socket, and who is behind it (RFC 7239; OWASP ASVS 5.0, 4.1.3).

A header says what its sender likes. So what a proxy says of its client is read only where the socket's peer is one of
the proxies that were named, and then from the right, where that proxy wrote, to the left, where strangers may have
written: the first address that is none of the proxies is the client's. One header is read, the one that was named:
most proxies write X-Forwarded-For and pass Forwarded on as it came, or the other way round, so that whoever reads both
believes a stranger.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from limen.authn.cookie import SCHEME_KEY, SECURE_SCHEMES
from limen.core.errors import ConfigurationError
from limen.core.networks import canonical_address, is_within
from limen.settings import trusted_proxy

FORWARDED_FOR: Final = "x-forwarded-for"
FORWARDED: Final = "forwarded"
UNIX: Final = "unix"
"""Stands for connections without an address: those of a Unix socket, which only this machine can reach."""

_MOST_PEERS: Final = 4096
"""Peers of whom it is remembered whether they are proxies."""
_MOST_HOPS: Final = 32
"""Proxies in a row; beyond, nothing is believed further."""
_PROTO: Final = b"x-forwarded-proto"
_NAMES: Final = {FORWARDED_FOR: b"x-forwarded-for", FORWARDED: b"forwarded"}
_SECURE: Final = frozenset({b"https", b"wss"})
_USUAL: Final = [b"https"]
_PLAIN: Final = frozenset({b"http", b"ws"})
_LONGEST_NODE: Final = 64


class TrustedProxies:
    """The proxies whose word is taken for who is behind them.

    Args:
        networks: addresses and networks in CIDR notation; ``unix`` stands for the peers of a Unix socket.
        header: which header they write: ``x-forwarded-for`` or ``forwarded`` (RFC 7239). The other one is not read.

    Attributes:
        scheme_header: the name of the header in which they tell the scheme of the client.
        trusts_host: does what `trusts` does, for the first half of a scope's ``client``; None where there is none. It
            remembers its answers, which nothing can change: who is a proxy is fixed when this is made.

    Raises:
        ConfigurationError: an entry is no network, or is everybody's; or it is another header.
    """

    __slots__ = ("_header", "_name", "_networks", "_unix", "scheme_header", "trusts_host")

    def __init__(self, networks: Sequence[str] = (), header: str = FORWARDED_FOR) -> None:
        try:
            named = tuple(dict.fromkeys(trusted_proxy(each) for each in networks))
        except ValueError as error:
            raise ConfigurationError(f"A trusted proxy {error}.") from None
        if header not in _NAMES:
            raise ConfigurationError(f"The header of trusted proxies is one of {', '.join(_NAMES)}.")
        self._networks = tuple(each for each in named if each != UNIX)
        self._unix = UNIX in named
        self._header = header
        self._name = _NAMES[header]
        self.scheme_header = b"forwarded" if header == FORWARDED else _PROTO
        self.trusts_host = lru_cache(_MOST_PEERS)(self._is_trusted)

    def __bool__(self) -> bool:
        """Tell whether any proxy is trusted."""
        return bool(self._networks) or self._unix

    @property
    def header(self) -> str:
        """The header that is read for the client's address, in lower case."""
        return self._header

    def trusts(self, scope: Mapping[str, Any]) -> bool:
        """Tell whether the socket's own peer is one of the proxies; nothing that the request says counts here."""
        client = scope.get("client")
        return self.trusts_host(client[0] if client else None)

    def _is_trusted(self, host: str | None) -> bool:
        peer = _address_of(host)
        return self._unix if peer is None else bool(peer) and self._is_proxy(peer)

    def client_address(self, scope: Mapping[str, Any]) -> str | None:
        """Return the client's address in its shortest form (RFC 5952), IPv4 inside IPv6 as IPv4.

        It is the socket's peer, or, where that is a trusted proxy, the right-most hop that is none. What is no address
        there (``unknown``, an obfuscated name, a host name, nothing) ends the walk at the hop that named it: somebody
        without a good address shares that hop's with others of the kind, and escapes no check.

        Returns:
            None where nobody's address is known: a Unix socket, a peer that is no address. Whoever counts by address
            counts all of these as one.
        """
        peer = _peer(scope)
        if not self or not (self._unix if peer is None else peer and self._is_proxy(peer)):
            return peer or None
        found = peer
        values = [value for name, value in scope["headers"] if name == self._name]
        rest: bytes | None = b",".join(values) if values else None
        for _ in range(_MOST_HOPS):
            if rest is None:
                break
            rest, hop = (_last_of_list if self._header == FORWARDED_FOR else _last_of_forwarded)(rest)
            address = node_address(hop)
            if not address:
                break
            found = address
            if not self._is_proxy(address):
                break
        return found or None

    def is_https(self, scope: Mapping[str, Any]) -> bool:
        """Tell whether the client's own connection is over TLS: the socket's scheme, or what a trusted proxy says.

        X-Forwarded-Proto says it, or ``proto`` of the last element where the header is Forwarded. Of several values
        each must say https: a chain with one plain leg is not over TLS.
        """
        values = [value for name, value in scope["headers"] if name == self.scheme_header] if self.trusts(scope) else []
        said = self.scheme_said(values) if values else None
        return scope.get("scheme") in SECURE_SCHEMES if said is None else said

    def scheme_said(self, values: list[bytes]) -> bool | None:
        """Tell what the values of the header of that name say: over TLS, or not; None where they say neither."""
        if self._header == FORWARDED:
            said = [_parameter(_cut(b",".join(values), b",")[1], b"proto")]
        elif values == _USUAL:
            return True
        else:
            said = [each for value in values for each in value.split(b",")]
        protos = {(each or b"").strip().lower() for each in said}
        if protos <= _SECURE:
            return True
        return None if protos.isdisjoint(_PLAIN) else False

    def _is_proxy(self, address: str) -> bool:
        return is_within(address, self._networks)

    def __repr__(self) -> str:
        return f"TrustedProxies({[*self._networks, *([UNIX] if self._unix else [])]}, header={self._header!r})"


NO_PROXIES: Final = TrustedProxies()


def note_scheme(scope: Any, proxies: TrustedProxies) -> None:
    """Note in a scope what scheme the client used, where a trusted proxy says another one than the socket has."""
    said = None
    client = scope.get("client")
    if proxies.trusts_host(client[0] if client else None):
        wanted, values = proxies.scheme_header, None
        for name, value in scope["headers"]:
            if name == wanted:
                if values is None:
                    values = [value]
                else:
                    values.append(value)
        if values is not None:
            said = proxies.scheme_said(values)
    if said is not None and said != (scope.get("scheme") in SECURE_SCHEMES):
        scope[SCHEME_KEY] = "https" if said else "http"
    elif SCHEME_KEY in scope:
        del scope[SCHEME_KEY]


def _peer(scope: Mapping[str, Any]) -> str | None:
    """Return the socket's peer: None where there is no address at all, empty where it is none that can be read."""
    client = scope.get("client")
    return _address_of(client[0] if client else None)


def _address_of(host: str | None) -> str | None:
    return canonical_address(host) if host else None


@lru_cache(maxsize=4096)
def node_address(node: bytes) -> str:
    """Return the address in one hop of such a header, canonical; empty for whatever is none.

    A port may follow it; an IPv6 address then stands in brackets (RFC 7239, section 6). ``unknown`` and obfuscated
    names (section 6.2 and 6.3) name nobody.
    """
    if len(node) > _LONGEST_NODE:
        return ""
    text = node.strip(b" \t").decode("latin-1")
    if text.startswith("["):
        text, closed, port = text[1:].partition("]")
        if not closed or ":" not in text or (port and not _is_port(port)):
            return ""
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return ""
    return "" if "%" in text else canonical_address(text)


def _is_port(text: str) -> bool:
    # An obfuscated one is an underscore and more (RFC 7239, section 6.3).
    return text[:1] == ":" and 1 < len(text) <= 17 and text.isascii() and text[1:].replace("_", "").isalnum()


def _last_of_list(value: bytes) -> tuple[bytes | None, bytes]:
    rest, comma, hop = value.rpartition(b",")
    return rest if comma else None, hop


def _last_of_forwarded(value: bytes) -> tuple[bytes | None, bytes]:
    rest, element = _cut(value, b",")
    return rest, _parameter(element, b"for") or b""


def _cut(value: bytes, separator: bytes) -> tuple[bytes | None, bytes]:
    """Cut the last part off, at the last separator that is not between quotes, seen from the right.

    From the right: the proxy's own part is well-formed, so a quote that a stranger left open before it cannot swallow
    it. An escaped quote stands in no part that names an address.
    """
    rest, found, part = value.rpartition(separator)
    while found and part.count(b'"') % 2:
        rest, found, more = rest.rpartition(separator)
        part = more + separator + part
    return rest if found else None, part


def _parameter(element: bytes, name: bytes) -> bytes | None:
    """Return the one parameter of an element of Forwarded (RFC 7239, section 4); None for none, two or a broken one."""
    found = None
    rest: bytes | None = element
    while rest is not None:
        rest, pair = _cut(rest, b";")
        key, _, value = pair.strip(b" \t").partition(b"=")
        if key.lower() == name:
            if found is not None:
                return None
            found = value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
    return None if found is None or b'"' in found else found
