"""The client certificate of a connection: the TLS layer's own, or what a trusted proxy says of the one it verified.

A proxy overwrites the headers that its configuration names, and lets every other one through as a stranger wrote it. So
one header is read, the one that was named, from trusted peers alone (RFC 9440, section 4; OWASP ASVS 5.0, 4.1.3); and
none of the others gets further than this. Chain, time and usage are asked here again: a proxy that does not verify, or
that trusts more authorities than it should, lets nobody in.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from limen.authn.client_certificate import CertificateHeaders, Pairs, tls_certificate
from limen.core.clock import Clock
from limen.core.errors import CredentialMalformed, LimenError
from limen.crypto.certificates import (
    MAX_CHAIN,
    CertificateError,
    ClientCertificate,
    TrustAnchors,
    der_of_base64,
    der_of_pem,
)
from limen.web.peers import TrustedProxies

Headers = Iterable[tuple[bytes, bytes]]
Read = tuple[bytes, tuple[bytes, ...]]
"""The bytes of the client's certificate, and of those between it and the authority."""

CLIENT_CERT: Final = b"client-cert"
CLIENT_CERT_CHAIN: Final = b"client-cert-chain"
NGINX: Final = b"x-ssl-client-cert"
XFCC: Final = b"x-forwarded-client-cert"
MAX_VALUE: Final = 48 * 1024
"""Bytes of the headers of one request that are looked at."""

_SENT: Final = {
    "client-cert": (CLIENT_CERT, CLIENT_CERT_CHAIN),
    "nginx": (NGINX,),
    "xfcc": (XFCC,),
}
_ALL: Final = frozenset(name for names in _SENT.values() for name in names)
_BYTES: Final = re.compile(rb" *:([A-Za-z0-9+/=]+): *\Z")
_ESCAPED: Final = re.compile(rb"(?:[A-Za-z0-9._~!'()*\-]|%[0-9A-Fa-f]{2})+\Z")
_XFCC_PAIR: Final = re.compile(rb'([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;=]*))(?:;|\Z)')
_KEPT: Final = 1024

_log = logging.getLogger(__name__)


class ProxiedCertificates(CertificateHeaders):
    """Finds the client certificate of a connection, by its ASGI scope.

    On a connection from a trusted proxy the header alone speaks: the certificate of that connection, if there is one,
    is the proxy's own. On every other connection it is the TLS layer's, and no header counts.

    Args:
        header: how the proxy writes it: ``client-cert`` (RFC 9440), ``nginx`` (``$ssl_client_escaped_cert`` in
            X-SSL-Client-Cert) or ``xfcc`` (Envoy's X-Forwarded-Client-Cert).
        proxies: who is believed.
        anchors: the authorities.
        clock: the time, in seconds since 1970 UTC.
    """

    names = _ALL

    def __init__(self, header: str, proxies: TrustedProxies, anchors: TrustAnchors, clock: Clock) -> None:
        self._written = frozenset(_SENT[header])
        self._unwritten = _ALL - self._written
        self._read = _READERS[header]
        self._trusts_host = proxies.trusts_host
        self._anchors = anchors
        self._clock = clock
        self._held: dict[Pairs, ClientCertificate] = {}

    def __call__(self, scope: Mapping[str, Any]) -> ClientCertificate | LimenError | None:
        """Return the certificate, with a fault where it may not be used; None where the client has none."""
        client = scope.get("client")
        if not self._trusts_host(client[0] if client else None):
            return tls_certificate(scope)
        names = self._written
        pairs = tuple([(name, value) for name, value in scope["headers"] if name in names])
        return self._of_header(pairs) if pairs else None

    def told(self, scope: MutableMapping[str, Any], pairs: Pairs) -> ClientCertificate | LimenError | None:
        """Do the same for a request of which every header that speaks of certificates is known, and `strip` it."""
        client = scope.get("client")
        if self._trusts_host(client[0] if client else None):
            # Only what this proxy writes was ever held, so nothing is to be taken out where these very headers were.
            known = self._held.get(pairs)
            if known is not None and known.not_before <= self._clock() < known.not_after + 1:
                return known
        if pairs:
            self.strip(scope)
        return self(scope)

    def _of_header(self, pairs: Pairs) -> ClientCertificate | LimenError | None:
        # Names and values whole, in their order, are the key: by the values alone, whoever writes somebody's
        # certificate into a Client-Cert-Chain that the proxy lets through would be taken for them. What was held
        # against the authorities, and bore no fault, holds for as long as the whole chain does.
        known = self._held.get(pairs)
        if known is not None and known.not_before <= self._clock() < known.not_after + 1:
            return known
        if sum(len(value) for _, value in pairs) > MAX_VALUE:
            return _malformed("too_large")
        try:
            read = self._read(pairs)
            if read is None:
                return None
            found = self._anchors.held(*read, self._clock())
        except CertificateError as error:
            return _malformed(error.reason)
        if found.fault is None:
            while len(self._held) >= _KEPT:
                self._held.pop(next(iter(self._held)), None)
            self._held[pairs] = found
        return found

    def strip(self, scope: MutableMapping[str, Any]) -> None:
        """Take what nobody vouches for out of a request, so that the application does not read it either.

        From a peer that is not trusted, every header of this kind; from a proxy, those that it does not write.
        """
        client = scope.get("client")
        unwanted = self._unwritten if self._trusts_host(client[0] if client else None) else _ALL
        for name, _ in scope["headers"]:
            if name in unwanted:
                scope["headers"] = [pair for pair in scope["headers"] if pair[0] not in unwanted]
                return


def _malformed(reason: str) -> LimenError:
    _log.warning("the header of a proxy holds no client certificate", extra={"reason": reason})
    return CredentialMalformed("The header with the client certificate cannot be read.")


def _only(values: list[bytes]) -> bytes:
    if len(values) != 1:
        raise CertificateError("duplicate")
    return values[0]


def _rfc9440(headers: Headers) -> Read | None:
    """Read ``Client-Cert`` and ``Client-Cert-Chain``: byte sequences in colons (RFC 9440, section 2; RFC 9651, 3.3.5).

    An empty one is what proxies write that fill in a template where the client has no certificate.
    """
    value = _only([value for name, value in headers if name == CLIENT_CERT])
    if value.strip(b" ") in (b"", b"::"):
        return None
    chain = [value for name, value in headers if name == CLIENT_CERT_CHAIN]
    between = [_byte_sequence(each) for each in b",".join(chain).split(b",")] if chain else []
    if len(between) > MAX_CHAIN:
        raise CertificateError("too_large")
    return _byte_sequence(value), tuple(between)


def _byte_sequence(text: bytes) -> bytes:
    found = _BYTES.match(text)
    if found is None:
        raise CertificateError("malformed")
    return der_of_base64(found[1])


def _nginx(headers: Headers) -> Read | None:
    """Read ``$ssl_client_escaped_cert``: the client's certificate alone, in PEM, percent-encoded; empty for none."""
    value = _only([value for _, value in headers])
    return (_escaped_pem(value), ()) if value else None


def _escaped_pem(text: bytes) -> bytes:
    if not _ESCAPED.match(text):
        raise CertificateError("malformed")
    return der_of_pem(unquote_to_bytes(text))


def _xfcc(headers: Headers) -> Read | None:
    """Read one element with ``Cert``, and ``Chain`` where it is there.

    Two elements are two proxies' words about two clients, of which the first may be anybody's: Envoy has to be told
    ``SANITIZE_SET``. A hash or a name without the certificate cannot be held against an authority.
    """
    rest = _only([value for _, value in headers])
    pairs: dict[bytes, list[bytes]] = {}
    while rest:
        found = _XFCC_PAIR.match(rest)
        if found is None:
            raise CertificateError("malformed")
        quoted = found[2]
        value = found[3] if quoted is None else re.sub(rb"\\(.)", rb"\1", quoted)
        pairs.setdefault(found[1].lower(), []).append(value)
        rest = rest[found.end() :]
    if not pairs:
        return None
    leaf = _escaped_pem(_only(pairs.get(b"cert", [])))
    chain = pairs.get(b"chain", [])
    return leaf, tuple(each for each in _escaped_chain(_only(chain)) if each != leaf) if chain else ()


_BLOCK: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def _escaped_chain(text: bytes) -> list[bytes]:
    if not _ESCAPED.match(text):
        raise CertificateError("malformed")
    found = _BLOCK.findall(unquote_to_bytes(text))
    if len(found) > MAX_CHAIN + 1:
        raise CertificateError("too_large")
    return [der_of_pem(each) for each in found]


_READERS: Final[dict[str, Callable[[Headers], Read | None]]] = {
    "client-cert": _rfc9440,
    "nginx": _nginx,
    "xfcc": _xfcc,
}
