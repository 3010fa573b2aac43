"""Tells public addresses from private ones. Pure."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv6 addresses that a gateway translates to the IPv4 address in their last 32 bits (RFC 6052)."""


def is_public(address: str) -> bool:
    """Returns whether an address belongs to the public internet.

    Private, loopback, link-local, multicast, reserved and unspecified addresses do not. An IPv6 address that carries an
    IPv4 address (mapped, 6to4, Teredo, NAT64) is public only if the IPv4 address is.

    Args:
        address: an IPv4 or IPv6 address; an IPv6 address may have a zone (`fe80::1%eth0`).
    """
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        if found.scope_id is not None:
            return False
        carried = _carried(found)
        if carried:
            return all(_is_global(inner) for inner in carried)
    return _is_global(found)


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not (isinstance(address, IPv6Address) and address.is_site_local)
    )


def _carried(address: IPv6Address) -> list[IPv4Address]:
    """Returns the IPv4 addresses that packets to this address are translated or tunnelled to."""
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address.sixtofour is not None:
        return [address.sixtofour]
    if address.teredo is not None:
        return list(address.teredo)
    if address in _NAT64:
        return [IPv4Address(int(address) & 0xFFFFFFFF)]
    return []
