r"""uvicorn's HTTP protocols with what the TLS layer knows in the scope: the ASGI TLS extension, version 0.2.

uvicorn asks for client certificates, verifies them, and tells the application nothing of them. These do. An application
that runs uvicorn itself names one::

    uvicorn app:app --http limen.server.tls:ClientCertificateProtocol \
        --ssl-certfile server.pem --ssl-keyfile server.key --ssl-ca-certs clients.pem --ssl-cert-reqs 2

Nothing that a request says gets into the extension: a scope is made by the server.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

Scope = MutableMapping[str, Any]

_VERSIONS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}
_KINDS: Final = frozenset({"http", "websocket"})


class TellsOfTls:
    """Puts the TLS extension into the scope of every request of a connection, and of the WebSocket it may become."""

    app: Any
    ws_protocol_class: Any

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Look at the TLS layer once: its handshake is over before the first byte of a request comes."""
        super().connection_made(transport)  # type: ignore[misc] # uvicorn's protocol
        connection = transport.get_extra_info("ssl_object")
        if connection is None:
            return
        told = extension_of(connection)
        self.app = _telling(self.app, told)
        websocket = self.ws_protocol_class
        if websocket is None:
            return

        def upgraded(*arguments: Any, **named: Any) -> Any:
            protocol = websocket(*arguments, **named)
            protocol.app = _telling(protocol.app, told)
            return protocol

        self.ws_protocol_class = upgraded


def extension_of(connection: "ssl.SSLObject | ssl.SSLSocket") -> dict[str, Any]:
    """Return the TLS extension for a connection.

    OpenSSL ends a handshake whose client certificate it cannot verify, so there is never an error to tell. Of a chain
    only the client's own certificate is told: the others were a way to verify it, and name nobody.
    """
    der = connection.getpeercert(binary_form=True)
    cipher = connection.cipher()
    return {
        # The server's own is a setting, which nobody has to ask of a connection.
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else [],
        "client_cert_name": _name_of(der) if der else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version() or ""),
        "cipher_suite": _suites().get(cipher[0]) if cipher else None,
    }


def _telling(app: Callable[..., Awaitable[None]], told: dict[str, Any]) -> Callable[..., Awaitable[None]]:
    def tell(scope: Scope, receive: Any, send: Any) -> Awaitable[None]:
        if scope["type"] in _KINDS:
            scope.setdefault("extensions", {})["tls"] = told
        return app(scope, receive, send)

    return tell


@lru_cache(maxsize=256)
def _name_of(der: bytes) -> str | None:
    """Return the subject of a certificate (RFC 4514); None where it cannot be told. Nobody is known by it."""
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:
        return None


@lru_cache(maxsize=1)
def _suites() -> dict[str, int]:
    """Return the numbers of the cipher suites (RFC 8446, appendix B.4) by OpenSSL's names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:@SECLEVEL=0")
    return {each["name"]: each["id"] & 0xFFFF for each in context.get_ciphers()}


class H11ClientCertificateProtocol(TellsOfTls, H11Protocol):  # type: ignore[misc] # uvicorn narrows the transport
    """uvicorn's protocol in pure Python."""


ClientCertificateProtocol: type[asyncio.Protocol] = H11ClientCertificateProtocol
"""The faster one of the two that is there, as uvicorn chooses by itself."""

if find_spec("httptools") is not None:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class HttpToolsClientCertificateProtocol(TellsOfTls, HttpToolsProtocol):  # type: ignore[misc] # as above
        """uvicorn's fast protocol; trailers, which it would put among the header fields, are forgotten."""

        _in_head = False

        def on_message_begin(self) -> None:
            """Begin with the head."""
            self._in_head = True
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            """Take a field of the head, and none of the trailers (RFC 9110, section 6.5.1)."""
            if self._in_head:
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            """End the head."""
            self._in_head = False
            super().on_headers_complete()

    ClientCertificateProtocol = HttpToolsClientCertificateProtocol
