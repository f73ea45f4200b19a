"""Which addresses a request on somebody else's behalf may go to: those of the public internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet; False for what is no address.

    Not so are private, loopback, link-local, multicast, unspecified and reserved ones, and every
    form of IPv6 that stands for an IPv4 address (mapped, compatible, translated, 6to4, Teredo):
    where those lead is up to the network they are sent in.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        return _is_public_6(found)
    return _is_public_4(found)


def _is_public_4(address: IPv4Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _is_public_6(address: IPv6Address) -> bool:
    return (
        address.is_global
        and address.scope_id is None
        # Which takes the mapped (::ffff/96), compatible (::/96) and translated (64:ff9b::/96) too.
        and not (address.is_multicast or address.is_reserved or address.is_site_local)
        and address.ipv4_mapped is None
        and address.sixtofour is None
        and address.teredo is None
    )
