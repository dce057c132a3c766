"""Addresses to listen on."""

import errno
import ipaddress
import socket

from limen.core.errors import ConfigurationError, Unavailable


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host: every address that the name stands for is a loopback one."""
    try:
        found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(_is_loopback_address(str(entry[4][0])) for entry in found)


def _is_loopback_address(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def bind(
    host: str, port: int, *, host_from: str = "--host", port_from: str = "--port", inheritable: bool = True
) -> socket.socket:
    """Take a port, without listening yet: whoever connects is refused until requests can be served.

    Args:
        host: the address.
        port: the port; 0 takes a free one.
        host_from: what named the address, for the message.
        port_from: what named the port.
        inheritable: whether a program that is started by this one may get it.

    Raises:
        ConfigurationError: this machine has no such address, or the port is not for everybody.
        Unavailable: somebody else has the port.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError):
        raise ConfigurationError(f"{host_from} {host} is not an address of this machine") from None
    listener = socket.socket(family, kind, protocol)
    try:
        # A port that was closed a moment ago is in TIME_WAIT; on Windows the switch would let two listen at once.
        if hasattr(socket, "SO_REUSEPORT"):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            taken = Unavailable(f"Port {port} of {host} is taken: another process listens there.")
            taken.hint = f"End that process, or choose another port; {port_from} says which."
            raise taken from None
        if error.errno == errno.EACCES:
            raise ConfigurationError(
                f"{port_from} {port} is for privileged processes only; take one from 1024 on"
            ) from None
        raise ConfigurationError(f"{host_from} {host} cannot be listened on: {error.strerror}") from None
    listener.set_inheritable(inheritable)
    return listener


def url_of(listener: socket.socket, *, tls: bool = False) -> str:
    """Return the address of a bound socket as a URL; for «every address», one that can be opened on this machine."""
    scheme = "https" if tls else "http"
    host, port = listener.getsockname()[:2]
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not listened on
        host = "127.0.0.1"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
