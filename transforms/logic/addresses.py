"""Addresses that the outside has no business with: this machine, its network, its cloud's metadata."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


def inside(address: str) -> bool:
    """Whether an IP address is not one of the public internet."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        found = _wrapped(found) or found
    return not found.is_global or found.is_multicast


def literal(host: str) -> str | None:
    """The IP address that a URL's host spells out; None where it is a name."""
    try:
        return str(ip_address(host.strip("[]")))
    except ValueError:
        return None


def _wrapped(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
