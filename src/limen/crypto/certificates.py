"""X.509 certificates of clients: read, held against an authority, and the names that one may be known by.

Only the certificate of the connection itself speaks for its client. What else lies in a chain is a way to the authority
and names nobody (RFC 8705, section 2; CVE-2023-2422).
"""

import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from limen.core.errors import ConfigurationError
from limen.crypto.encoding import b64url_encode

MAX_DER: Final = 16_384
"""Bytes of a certificate that are looked at."""
MAX_CHAIN: Final = 8
"""Certificates between a client's and the authority's."""
MAX_URI: Final = 1_024
MAX_DNS_NAMES: Final = 32
"""A certificate with more names is nobody's in particular."""
KINDS: Final = ("uri", "dns", "sha256")
"""What a certificate may be known by."""

_PEM: Final = re.compile(
    rb"\s*-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]{16,%d})-----END CERTIFICATE-----\s*\Z" % (2 * MAX_DER)
)
_BASE64: Final = re.compile(rb"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+\Z")
_DNS: Final = re.compile(
    r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*\Z"
)
_SHA256: Final = re.compile(r"[0-9a-f]{64}\Z")


class CertificateError(Exception):
    """This is no certificate of a client that could be believed.

    Attributes:
        reason: a short stable word for the log: ``malformed``, ``too_large``, ``chain``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """What the certificate of a client says. Nothing is said of who made it.

    Attributes:
        digest: SHA-256 of all of its bytes (DER).
        thumbprint: the same in base64url, as tokens bear it (RFC 8705, section 3.1, ``x5t#S256``).
        names: what it may be registered under, such as ``uri:spiffe://example.org/billing``.
        not_before: the second from which on it holds, since 1970 UTC.
        not_after: the last second in which it holds.
        fault: why it proves no client, whatever the time: ``usage``, ``key_usage``, ``authority``, ``chain``,
            ``names``; None where it does.
    """

    digest: bytes
    thumbprint: str
    names: tuple[str, ...]
    not_before: int
    not_after: int
    fault: str | None = None

    def fault_at(self, now: float) -> str | None:
        """Return why it may not be used at this time (seconds since 1970 UTC); None where it may."""
        if self.fault is not None:
            return self.fault
        if now < self.not_before:
            return "not_yet_valid"
        return "expired" if now >= self.not_after + 1 else None


def read_der(der: bytes) -> ClientCertificate:
    """Read a certificate.

    Raises:
        CertificateError: it is none.
    """
    return _described(_parsed(der), der)


def der_of_pem(text: bytes) -> bytes:
    """Return the bytes of the one certificate in a PEM text (RFC 7468, section 5), and nothing beside it.

    Raises:
        CertificateError: it is something else, or there are two.
    """
    if len(text) > 2 * MAX_DER:
        raise CertificateError("too_large")
    found = _PEM.match(text)
    if found is None:
        raise CertificateError("malformed")
    return der_of_base64(b"".join(found[1].split()))


def der_of_base64(text: bytes) -> bytes:
    """Return what a base64 text spells (RFC 4648, section 4), strictly.

    Raises:
        CertificateError: it is no such text.
    """
    if len(text) > 2 * MAX_DER:
        raise CertificateError("too_large")
    if not _BASE64.match(text):
        raise CertificateError("malformed")
    return binascii.a2b_base64(text)


def certificate_name(kind: str, value: str) -> str:
    """Return the name under which certificates are registered, in its one spelling: ``dns:billing.example.org``.

    A name of the DNS is in lower case and no wildcard; a URI is taken as it is, and compared byte by byte (the SPIFFE
    ID standard, section 2); a fingerprint may be in capitals and with colons.

    Raises:
        ValueError: it is no such name; the message says what is wrong.
    """
    if kind == "uri":
        if len(value) > MAX_URI or not _URI.match(value):
            raise ValueError("is no URI: such as spiffe://example.org/billing")
    elif kind == "dns":
        value = value.lower()
        if not _DNS.match(value):
            raise ValueError("is no name of one host: such as billing.example.org, without wildcards")
    elif kind == "sha256":
        value = value.replace(":", "").lower()
        if not _SHA256.match(value):
            raise ValueError("is no SHA-256 fingerprint: 64 hexadecimal digits")
    else:
        raise ValueError(f"is not known by any of {', '.join(KINDS)}")
    return f"{kind}:{value}"


class TrustAnchors:
    """The authorities whose certificates are believed, held against a chain by limen itself.

    What is asked of a chain: signatures, times, that each issuer is an authority that may sign certificates, path
    lengths, name constraints, no unknown critical extension (RFC 5280, section 6). Nobody is asked for lists of
    revoked certificates.

    Args:
        pem: one certificate or several, in PEM.

    Raises:
        ConfigurationError: there is none, or one cannot be read.
    """

    def __init__(self, pem: bytes) -> None:
        try:
            found = x509.load_pem_x509_certificates(pem)
        except ValueError:
            found = []
        if not found:
            raise ConfigurationError("LIMEN_CLIENT_CA names a file without a certificate in PEM.")
        self._store = Store(found)
        self._policy = PolicyBuilder().store(self._store).max_chain_depth(MAX_CHAIN)

    def held(self, der: bytes, intermediates: Sequence[bytes], now: float) -> ClientCertificate:
        """Read a certificate and find its way to an authority at this time (seconds since 1970 UTC).

        Args:
            der: the client's certificate.
            intermediates: what the client sent beside it, in any order.
            now: the time.

        Returns:
            the certificate; with a fault, ``chain`` unless it has one already, where no way was found. It holds no
            longer than its chain.

        Raises:
            CertificateError: one of them is no certificate.
        """
        leaf = _parsed(der)
        between = [_parsed(each) for each in intermediates]
        described = _described(leaf, der)
        verifier = (
            self._policy.time(datetime.fromtimestamp(now, UTC))
            .extension_policies(ca_policy=_OF_AUTHORITIES, ee_policy=ExtensionPolicy.permit_all())
            .build_client_verifier()
        )
        try:
            chain = verifier.verify(leaf, between).chain
        except VerificationError:
            return replace(described, fault=described.fault_at(now) or "chain")
        except Exception:
            # What the verifier parses of it, and cannot, it raises as it is: found by a fuzzer, in a subject.
            raise CertificateError("malformed") from None
        return replace(
            described,
            not_before=max(int(each.not_valid_before_utc.timestamp()) for each in chain),
            not_after=min(int(each.not_valid_after_utc.timestamp()) for each in chain),
        )


def _is_authority(_policy: Policy, _certificate: x509.Certificate, extension: x509.BasicConstraints) -> None:
    if not extension.ca:
        raise ValueError("it is no authority")


def _may_sign(_policy: Policy, _certificate: x509.Certificate, extension: x509.KeyUsage | None) -> None:
    if extension is not None and not extension.key_cert_sign:
        raise ValueError("it may not sign certificates")


def _for_clients(_policy: Policy, _certificate: x509.Certificate, extension: x509.ExtendedKeyUsage | None) -> None:
    usages = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extension is not None and usages.isdisjoint(extension):
        raise ValueError("it is not for clients")


# Private authorities rarely follow the rules of the public ones; these are what the safety of a chain needs: without
# the first, the holder of any certificate could make others.
_OF_AUTHORITIES: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _for_clients)
)


def _parsed(der: bytes) -> x509.Certificate:
    if len(der) > MAX_DER:
        raise CertificateError("too_large")
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Read now, so that whatever is wrong with them is told here: they are parsed when they are first asked for.
        _ = certificate.extensions, certificate.subject, certificate.issuer
        _ = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    except Exception:
        # Text of a stranger's: whatever the reader makes of it, it is no certificate.
        raise CertificateError("malformed") from None
    return certificate


def _described(certificate: x509.Certificate, der: bytes) -> ClientCertificate:
    digest = sha256(der).digest()
    names, fault = _names(certificate)
    return ClientCertificate(
        digest,
        b64url_encode(digest).decode("ascii"),
        (f"sha256:{digest.hex()}", *names),
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()),
        _fault_of(certificate) or fault,
    )


def _names(certificate: x509.Certificate) -> tuple[list[str], str | None]:
    """Return the names in the subjectAltName; the subject's own name is for people (RFC 9525, section 2)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [], None
    uris = found.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = found.get_values_for_type(x509.DNSName)
    if len(hosts) > MAX_DNS_NAMES:
        return [], "names"
    # Of two URIs neither is the workload's (the X.509-SVID standard, section 2: exactly one).
    wanted = [("uri", uri) for uri in uris[:1] if len(uris) == 1] + [("dns", host) for host in hosts]
    names = []
    for kind, value in wanted:
        try:
            names.append(certificate_name(kind, value))
        except ValueError:
            continue  # a wildcard, for instance: nothing can be registered under it
    return list(dict.fromkeys(names)), None


def _fault_of(certificate: x509.Certificate) -> str | None:
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return "authority"
    except x509.ExtensionNotFound:
        pass
    try:
        if not extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature:
            return "key_usage"
    except x509.ExtensionNotFound:
        pass
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "usage"
    # Any usage is every usage: a certificate that was made for a server would do.
    return None if ExtendedKeyUsageOID.CLIENT_AUTH in usages else "usage"
