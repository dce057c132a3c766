"""Where the certificates of clients come from, as the settings say."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

from limen.authn.client_certificate import CertificateSource, tls_certificate
from limen.core.clock import Clock
from limen.core.errors import ConfigurationError, LimenError
from limen.crypto.certificates import ClientCertificate, TrustAnchors
from limen.settings import Settings

if TYPE_CHECKING:
    # A name only: what reads the headers of proxies is loaded where there are any.
    from limen.web.peers import TrustedProxies


class Certificates(NamedTuple):
    """How the certificate of a connection is found.

    Attributes:
        source: finds it; None where no certificate stands for anybody.
        strip: takes forged headers out of a scope; None where no header is read.
    """

    source: CertificateSource | None
    strip: Callable[[MutableMapping[str, Any]], None] | None


def certificates_of(settings: Settings, proxies: "Callable[[], TrustedProxies]", clock: Clock) -> Certificates:
    """Return how certificates are found: not at all without LIMEN_CLIENT_CA.

    Raises:
        ConfigurationError: the file of the authorities cannot be read, or holds none.
    """
    if settings.client_ca is None:
        return Certificates(None, None)
    if settings.client_cert_header == "none":
        return Certificates(_of_clients(proxies()) if settings.trusted_proxies else tls_certificate, None)
    from limen.web.certificates import ProxiedCertificates

    try:
        pem = settings.client_ca.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"LIMEN_CLIENT_CA cannot be read: {error.strerror}") from None
    found = ProxiedCertificates(settings.client_cert_header, proxies(), TrustAnchors(pem), clock)
    return Certificates(found, found.strip)


def _of_clients(proxies: "TrustedProxies") -> CertificateSource:
    """Find certificates of connections that clients make: a proxy's own would stand for whoever is behind it."""

    def source(scope: Mapping[str, Any]) -> ClientCertificate | LimenError | None:
        return None if proxies.trusts(scope) else tls_certificate(scope)

    return source
