"""The certificate of a connection, as the TLS layer tells it, and its thumbprint. Whose it is, is not asked here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

from limen.core.clock import Clock
from limen.core.errors import CertificateRejected, CredentialMalformed, LimenError
from limen.crypto.certificates import CertificateError, ClientCertificate, der_of_pem, read_der

CertificateSource = Callable[[Mapping[str, Any]], ClientCertificate | LimenError | None]
"""Answers the certificate of a connection, by its ASGI scope: None where there is none, an error where what was sent is
no certificate. Who made it was verified, or it bears a fault."""

Pairs = tuple[tuple[bytes, bytes], ...]
"""Names and values of the headers of one request that speak of certificates, in their order."""


class CertificateHeaders(ABC):
    """A `CertificateSource` that reads headers as well, and takes those that nobody vouches for out of the request.

    Attributes:
        names: the names of all headers that speak of certificates, whoever writes them.
    """

    names: frozenset[bytes]

    @abstractmethod
    def __call__(self, scope: Mapping[str, Any]) -> ClientCertificate | LimenError | None:
        """Return the certificate of a connection; the request stays as it is."""

    @abstractmethod
    def told(self, scope: MutableMapping[str, Any], pairs: Pairs) -> ClientCertificate | LimenError | None:
        """Return the certificate of a connection, and take what nobody vouches for out of the request.

        Args:
            scope: of the request.
            pairs: every header of it that has one of the names.
        """


ThumbprintOf = Callable[[Mapping[str, Any]], str | None]
"""Answers the thumbprint (``x5t#S256``) of the certificate that a connection can be proved by now; None for none."""


def tls_certificate(scope: Mapping[str, Any]) -> ClientCertificate | LimenError | None:
    """Return the certificate in the ``tls`` extension of a scope (the ASGI TLS extension, version 0.2).

    The server has verified it: one that it could not verify is refused. Of a chain only the first counts.
    """
    extensions = scope.get("extensions")
    tls = extensions.get("tls") if extensions else None
    if not tls:
        return None
    chain = tls.get("client_cert_chain")
    if not chain:
        return None
    if tls.get("client_cert_error"):
        return CertificateRejected("The server could not verify the client certificate.")
    try:
        for first in chain:
            return _read_pem(first)
        return None
    except (CertificateError, ValueError, AttributeError, TypeError):
        return CredentialMalformed("The client certificate cannot be read.")


@lru_cache(maxsize=1024)
def _read_pem(text: str) -> ClientCertificate:
    return read_der(der_of_pem(text.encode("ascii")))


def thumbprints(source: CertificateSource, clock: Clock) -> ThumbprintOf:
    """Return what tells the thumbprint of a connection's certificate, if that certificate may be used at this time."""

    def thumbprint_of(scope: Mapping[str, Any]) -> str | None:
        found = source(scope)
        if (
            type(found) is ClientCertificate
            and found.fault is None
            and found.not_before <= clock() < found.not_after + 1
        ):
            return found.thumbprint
        return None

    return thumbprint_of
