"""Networks from which a credential may be used: written canonically, and asked for each request."""

from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

MAPPED: Final = 96
"""Bits before an IPv4 address that is written as an IPv6 one (RFC 4291, section 2.5.5.2)."""


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
