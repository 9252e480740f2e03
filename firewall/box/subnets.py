"""[pure] A subnet for the phones that collides with nothing: not with uplinks, routes, containers, VPNs."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def free4(taken: Iterable[IPv4Network]) -> IPv4Network | None:
    """The first candidate that overlaps none of `taken`; None if all private space is in use.

    A default route is no neighbour: whoever says that everything is there says nothing about a subnet.
    """
    near = [(int(network[0]), int(network[-1])) for network in taken if network.prefixlen > 4]
    free = (base for base in _candidates() if not any(first <= base | 0xFF and base <= last for first, last in near))
    found = next(free, None)
    return None if found is None else IPv4Network((found, 24))


def _candidates() -> Iterator[int]:
    """First addresses, of rarely used ones first: home routers take 192.168.0 and .1, containers 172.17 and up."""
    yield from (0xC0A80000 | third << 8 for third in (*range(77, 256), *range(2, 77)))
    yield from (0xAC100000 | low << 8 for low in range(0x100))
    yield from (0x0A000000 | low << 8 for low in range(0x4D00, 0x10000))


def collides(subnet: IPv4Network | IPv6Network, taken: Iterable[IPv4Network | IPv6Network]) -> str:
    """Which of `taken` overlaps it, as text; "" if none. Default routes do not count."""
    for other in taken:
        if other.version == subnet.version and other.prefixlen > 4 and other.overlaps(subnet):
            return str(other)
    return ""


def ula(chance: bytes) -> IPv6Network:
    """A /64 of a unique local /48 with 40 random bits (RFC 4193, 3.2.1): 5 bytes of `chance`."""
    return IPv6Network((b"\xfd" + chance[:5].ljust(5, b"\0") + bytes(10), 64))
