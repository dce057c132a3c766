"""An authority for tests, which makes certificates as they should be, and as they should not."""

import itertools
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
DAY = timedelta(days=1)
_SERIAL = itertools.count(1)


def uri(text: str) -> x509.GeneralName:
    """A URI in the subjectAltName."""
    return x509.UniformResourceIdentifier(text)


def dns(text: str) -> x509.GeneralName:
    """The name of a host in the subjectAltName."""
    return x509.DNSName(text)


@dataclass(frozen=True)
class Made:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The bytes of the certificate."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate in PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_pem(self) -> str:
        """The key in PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def files(self, folder: Path, name: str, *chain: "Made") -> tuple[Path, Path]:
        """Write the certificate, with those that are to be sent beside it, and the key (0600); return both paths."""
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        certificate.write_text("".join(each.pem for each in (self, *chain)))
        key.touch(0o600)
        key.write_text(self.key_pem)
        return certificate, key


class Authority:
    """Makes certificates, each below its own root unless it is told otherwise."""

    def __init__(self) -> None:
        self.root = self.make(None, "root", ca=True, usages=None)

    def make(
        self,
        issuer: Made | None,
        name: str = "client",
        names: Sequence[x509.GeneralName] = (),
        *,
        usages: Sequence[x509.ObjectIdentifier] | None = (CLIENT,),
        ca: bool = False,
        signs: bool | None = None,
        begins: timedelta = -DAY,
        ends: timedelta = 30 * DAY,
        extras: Sequence[tuple[Any, bool]] = (),
        path_length: int | None = None,
    ) -> Made:
        """Make a certificate; its times are counted from now. Without an issuer it signs itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC).replace(microsecond=0)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer.certificate.subject)
            .public_key(key.public_key())
            .serial_number(next(_SERIAL))
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        )
        if signs is not None:
            builder = builder.add_extension(_key_usage(signs=signs), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usages is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        for extension, critical in extras:
            builder = builder.add_extension(extension, critical=critical)
        signing = key if issuer is None else issuer.key
        return Made(builder.sign(signing, hashes.SHA256()), key)

    def client(self, *names: x509.GeneralName, **changes: Any) -> Made:
        """Make the certificate of a client below the root."""
        return self.make(self.root, "client", names, **changes)

    def server(self) -> Made:
        """Make the certificate of a server at a loopback address."""
        import ipaddress

        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        return self.make(self.root, "server", [here, dns("localhost")], usages=(SERVER,))

    def trusting(self, client: Made | None = None, *chain: Made, folder: Path) -> ssl.SSLContext:
        """Return the context of a client that trusts the root, with a certificate where one is given."""
        context = ssl.create_default_context(cadata=self.root.pem)
        if client is not None:
            context.load_cert_chain(*client.files(folder, f"client-{next(_SERIAL)}", *chain))
        return context


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
