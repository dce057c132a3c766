"""TLS of the stand-alone server: what it takes, as the settings say."""

import asyncio
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from limen.core.errors import ConfigurationError
from limen.server.head_deadline import Heads, peer_of
from limen.settings import Settings

HANDSHAKE_SECONDS: Final = 10.0
"""How long a handshake may take; nobody is served before it."""

_OPEN_TO_OTHERS: Final = 0o077


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Make the context of the server: TLS 1.2 or newer, and client certificates where there is an authority for them.

    None where no certificate is configured: then it speaks plain HTTP, for a proxy of the same machine.

    Raises:
        ConfigurationError: a file cannot be read or used, others may read the key, or client certificates are to be
            asked for without TLS.
    """
    certificate, key, authorities = settings.tls_cert, settings.tls_key, settings.client_ca
    if certificate is None or key is None:
        if authorities is not None and settings.client_cert_header == "none":
            raise ConfigurationError(
                "LIMEN_CLIENT_CA asks for client certificates, which only TLS has: set LIMEN_TLS_CERT and"
                " LIMEN_TLS_KEY, or LIMEN_CLIENT_CERT_HEADER for a proxy that passes them on"
            )
        return None
    _require_private(key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A renegotiation could bring another certificate in the middle of a connection.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ConfigurationError(f"LIMEN_TLS_CERT and LIMEN_TLS_KEY cannot be used: {_reason(error)}") from None
    if authorities is None:
        return context
    # A required certificate is required by the handshake itself: without one, no request is ever read.
    is_required = settings.client_cert_mode == "required"
    context.verify_mode = ssl.CERT_REQUIRED if is_required else ssl.CERT_OPTIONAL
    try:
        context.load_verify_locations(authorities)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"LIMEN_CLIENT_CA cannot be used: {_reason(error)}") from None
    return context


def _require_private(key: Path) -> None:
    if os.name != "posix":
        return
    try:
        status = key.stat()
    except OSError as error:
        raise ConfigurationError(f"LIMEN_TLS_KEY cannot be read: {key}: {error.strerror}") from None
    # Secret stores mount links to files of root's that a group may read; then it is the mode that has to be right.
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError("LIMEN_TLS_KEY names no plain file")
    if status.st_mode & _OPEN_TO_OTHERS:
        raise ConfigurationError("others can read the file of LIMEN_TLS_KEY, and may have done so: chmod 600 it")


def _no_password() -> str:
    raise ValueError("the key is encrypted, and nobody is here to be asked for the password")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return error.reason or "it is no certificate in PEM"
    return getattr(error, "strerror", None) or str(error)


class Handshakes:
    """Sets up accepted connections, with a TLS handshake each, within the bounds for heads that are awaited.

    Args:
        context: of the server.
        heads: counts the handshakes under way, by peer: whoever begins many and ends none takes nobody's place.

    Attributes:
        context: the same.
    """

    def __init__(self, context: ssl.SSLContext, heads: Heads) -> None:
        self.context = context
        self._heads = heads

    async def serve(self, protocol: Callable[[], asyncio.Protocol], connection: socket.socket) -> object:
        """Do the handshake, and serve the connection from then on.

        Raises:
            OSError: the handshake failed, or took too long.
        """
        name = connection.getpeername() if connection.family != socket.AF_UNIX else None
        peer = peer_of(str(name[0])) if name else ""
        try:
            if self._heads.add(peer) > self._heads.limits.most and peer:
                connection.close()
                return None
            serving: Awaitable[object] = asyncio.get_running_loop().connect_accepted_socket(
                protocol, connection, ssl=self.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
            return await serving
        finally:
            self._heads.remove(peer)
