"""Addresses and networks of the Internet Protocol: written canonically, and asked for each request."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

MAPPED: Final = 96
"""Bits before an IPv4 address that is written as an IPv6 one (RFC 4291, section 2.5.5.2)."""


@lru_cache(maxsize=4096)
def canonical_address(text: str) -> str:
    """Return an IP address in its shortest form (RFC 5952), without a zone, or the empty text for anything else.

    IPv4 inside IPv6 (``::ffff:192.0.2.1``) becomes the IPv4 address: one peer must not be two to a rate limit.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except (ValueError, AttributeError):
        return ""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def canonical_network(text: str) -> str:
    """Return a network in canonical CIDR notation: ``10.1.2.3/8`` is ``10.0.0.0/8``, one address has its full length.

    An IPv4 network in the spelling of IPv6 is that IPv4 network.

    Raises:
        ValueError: it is no network.
    """
    if "%" in text:
        raise ValueError("a zone means nothing to anybody else")
    network = ip_network(text, strict=False)
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= MAPPED:
        network = ip_network(f"{mapped}/{network.prefixlen - MAPPED}", strict=False)
    return str(network)


def is_wide(network: str) -> bool:
    """Tell whether a network holds addresses of the public Internet, and more of them than a few machines have."""
    found = ip_network(network)
    return found.is_global and found.num_addresses > (256 if found.version == 4 else 2**64)


@lru_cache(maxsize=4096)
def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Tell whether an address is in one of the networks; what is no address is in none."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if found.version == 6:
        found = found.ipv4_mapped or found
    return any(found in network for network in _networks(networks) if network.version == found.version)


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)
