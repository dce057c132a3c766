"""The headers in which proxies pass certificates on: RFC 9440, nginx's escaped PEM, Envoy's X-Forwarded-Client-Cert.

The authorities in ``fuzz/certificates`` have lost their keys: whoever is believed beside the two that they signed is
believed without a signature.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote_from_bytes

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from limen.core.errors import CredentialMalformed
from limen.crypto.certificates import ClientCertificate, TrustAnchors, read_der
from limen.web.certificates import ProxiedCertificates
from limen.web.peers import TrustedProxies

NOW: Final = datetime(2027, 6, 1, tzinfo=UTC).timestamp()
PROXY: Final = "192.0.2.9"
STRANGER: Final = "198.51.100.7"
NAMES: Final = (b"client-cert", b"client-cert-chain", b"x-ssl-client-cert", b"x-forwarded-client-cert")
KINDS: Final = ("client-cert", "nginx", "xfcc")
_FOLDER: Final = Path(__file__).resolve().parent / "certificates"


def _pem(name: str) -> bytes:
    return (_FOLDER / f"{name}.pem").read_bytes()


def _der(name: str) -> bytes:
    return x509.load_pem_x509_certificate(_pem(name)).public_bytes(Encoding.DER)


_SIGNED: Final = frozenset(read_der(_der(name)).names[1:] for name in ("good", "below"))
"""The names of those that are signed. Not their digests: around what is signed a byte may differ, the unused bits of
the signature for one, and it is the same certificate under another digest, of the same holder."""
_SOURCES: Final = tuple(
    ProxiedCertificates(kind, TrustedProxies([PROXY]), TrustAnchors(_pem("root")), lambda: NOW) for kind in KINDS
)


@contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """Return what takes any bytes; the lines of the log about each of them would only cost time."""
    log = logging.getLogger("limen.web.certificates")
    level = log.level
    log.setLevel(logging.ERROR)
    yield check
    log.setLevel(level)


def check(data: bytes) -> None:
    """Make headers of the bytes: the first says how they are spelt, and each line begins with which header it is."""
    if not data:
        return
    kind, how = data[0] % 3, data[0] // 3 % 2
    headers = (
        _spelt(kind, data[1:]) if how else [(NAMES[line[0] % 4], line[1:]) for line in data[1:].split(b"\n") if line]
    )
    _held(_SOURCES[kind], headers)


def _spelt(kind: int, der: bytes) -> list[tuple[bytes, bytes]]:
    """Spell any bytes as a proxy spells a certificate."""
    encoded = base64.b64encode(der)
    if kind == 0:
        return [(NAMES[0], b":" + encoded + b":")]
    pem = b"-----BEGIN CERTIFICATE-----\n" + encoded + b"\n-----END CERTIFICATE-----\n"
    escaped = quote_from_bytes(pem, safe="").encode()
    return [(NAMES[2], escaped)] if kind == 1 else [(NAMES[3], b'Cert="' + escaped + b'"')]


def _held(source: ProxiedCertificates, headers: list[tuple[bytes, bytes]]) -> None:
    found = source(_scope(headers, PROXY))
    if isinstance(found, ClientCertificate):
        assert found.fault is not None or found.names[1:] in _SIGNED, "nobody has signed this"
        assert found.fault is not None or found.fault_at(NOW) is None
    else:
        assert found is None or isinstance(found, CredentialMalformed)
    scope = _scope(headers, PROXY)
    again = source.told(scope, tuple(headers))
    assert found == again or type(found) is type(again) is CredentialMalformed, "asked twice, answered in two ways"
    scope = _scope(headers, STRANGER)
    assert source.told(scope, tuple(headers)) is None, "a stranger's header counts"
    assert not scope["headers"], "a stranger's header reaches the application"


def _scope(headers: list[tuple[bytes, bytes]], peer: str) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers), "client": (peer, 1)}


def seeds() -> Iterator[bytes]:
    """Each spelling of certificates that are right, and of some that are not."""
    for name in ("good", "server", "stranger", "root"):
        for kind in range(3):
            yield bytes([kind + 3]) + _der(name)
            yield bytes([kind]) + b"\n".join(bytes([NAMES.index(n)]) + v for n, v in _spelt(kind, _der(name)))
    first, second = (b":" + base64.b64encode(_der(name)) + b":" for name in ("below", "between"))
    yield b"\0" + b"\0" + first + b"\n\1" + second
    yield b"\0\0" + first + b"\n\0" + first
    both = quote_from_bytes(_pem("below") + _pem("between"), safe="").encode()
    leaf = quote_from_bytes(_pem("below"), safe="").encode()
    yield b"\2\3" + b'By=spiffe://a/b;Hash=00;Cert="' + leaf + b'";Chain="' + both + b'";Subject="CN=\\"a\\"";URI=x:y'
    yield b"\2\3" + b'Cert="' + leaf + b'",Cert="' + leaf + b'"'
    yield b"\0\0::"
    yield b"\1\2"
    yield b"\2\3"
