"""Networks as ranges of packed addresses, and the IPv4 address that hides in an IPv6 one."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Range = tuple[bytes, bytes]  # first and last address, packed

MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96 (RFC 4291, 2.5.5.2)
NAT64 = b"\x00\x64\xff\x9b" + bytes(8)  # 64:ff9b::/96 (RFC 6052, 2.1)
SIX_TO_FOUR = b"\x20\x02"  # 2002::/16 (RFC 3056)
PREFIX_BYTES = (12, 8, 7, 6, 5, 4)  # of a translator's prefix, the usual one first (RFC 6052, 2.2)
MOST_TRANSLATORS = 4
WELL_KNOWN = frozenset((b"\xc0\0\0\xaa", b"\xc0\0\0\xab"))  # what ipv4only.arpa has (RFC 7050, 2.2)
LOCAL_NAT64 = b"\x00\x64\xff\x9b\x00\x01"  # 64:ff9b:1::/48: any translator of some network (RFC 8215)
OF_OLD = bytes(12), bytes(8) + b"\xff\xff\0\0"  # ::/96 and ::ffff:0:0:0/96 (RFC 4291, 2.5.5.1; RFC 2765, 2.1)
ISATAP = frozenset((b"\0\0\x5e\xfe", b"\2\0\x5e\xfe"))  # before the address, behind any prefix (RFC 5214, 6.1)
TEREDO = b"\x20\x01\x00\x00"  # 2001::/32: a server's address; in the last four bytes the client's inverted (RFC 4380)
_MADE = frozenset((MAPPED[:4], NAT64[:4], TEREDO))


def parse_network(text: str) -> Range:
    """`42.62.48.0/24`, `2001:db8::1`. Raises ValueError in words for an owner."""
    try:
        network: IPv4Network | IPv6Network = ip_network(text)
    except ValueError:
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise ValueError(f"{text!r} is no address and no network") from None
        raise ValueError(f"{text!r} has bits beyond its prefix; did you mean {network}?") from None
    return network.network_address.packed, network.broadcast_address.packed


def show_range(span: Range) -> str:
    """What `parse_network` reads. Only for ranges that are one network."""
    first, last = (int.from_bytes(address) for address in span)
    bits = len(span[0]) * 8
    prefix = bits - (first ^ last).bit_length()
    network = IPv4Network((first, prefix)) if bits == 32 else IPv6Network((first, prefix))
    return str(network.network_address) if prefix == bits else str(network)


def embedded(addr: bytes, nat64: Iterable[bytes] = ()) -> bytes | None:
    """The IPv4 address that packets to this IPv6 address end up at, if it is made from one.

    `nat64`: prefixes of this network's own translators, beside the one that all know.
    """
    start = addr[:4]
    if start in _MADE or start[:2] == SIX_TO_FOUR:  # as few are
        if addr.startswith((MAPPED, NAT64)):
            return addr[12:]
        if addr.startswith(SIX_TO_FOUR):
            return addr[2:6]
        if start == TEREDO:
            return bytes(255 - byte for byte in addr[12:])
    return next((_behind(prefix, addr) for prefix in nat64 if addr.startswith(prefix)), None) if nat64 else None


def beside(addr: bytes, hinted: Iterable[bytes] = ()) -> tuple[bytes, ...]:
    """IPv4 addresses that packets to this one may end up at, by what anybody can say: a reason to close, none to open.

    The server that a Teredo address names, to which the first packets go; what is behind prefixes that routers told, or
    a prefix of some translator nobody told of; forms that only some routers still take out of IPv6.
    """
    if len(addr) == 4:
        return ()
    if addr.startswith(TEREDO):
        return (addr[4:8],)
    if addr[0] and not hinted and addr[8:12] not in ISATAP:  # as nearly all
        return ()
    found = tuple(_behind(prefix, addr) for prefix in hinted if addr.startswith(prefix))
    maybe: Iterable[bytes] = ()
    if addr[8:12] in ISATAP or addr.startswith(OF_OLD):
        maybe = (addr[12:],)
    elif addr.startswith(LOCAL_NAT64):
        maybe = (_behind(addr[:size], addr) for size in PREFIX_BYTES[:4])
    return found + tuple(inner for inner in maybe if inner[0])  # nothing is in 0.0.0.0/8: those are `::` and `::1`


def images(span: Range, nat64: Iterable[bytes] = ()) -> list[Range]:
    """The IPv6 ranges that lead to an IPv4 range. (Teredo's are none: its server stands in front.)"""
    first, last = span
    return [
        (MAPPED + first, MAPPED + last),
        (NAT64 + first, NAT64 + last),
        (SIX_TO_FOUR + first + bytes(10), SIX_TO_FOUR + last + b"\xff" * 10),
        *((_translated(prefix, first, b"\0"), _translated(prefix, last, b"\xff")) for prefix in nat64),
    ]


def translators(addresses: Iterable[bytes]) -> tuple[bytes, ...]:
    """The prefixes of this network's NAT64, by what it says are ipv4only.arpa's IPv6 addresses (RFC 7050, 3)."""
    found = dict.fromkeys(
        prefix
        for addr in addresses
        for size in PREFIX_BYTES
        if _behind(prefix := addr[:size], addr) in WELL_KNOWN and embedded(addr) is None and (size > 8 or not addr[8])
    )
    return tuple(found)[:MOST_TRANSLATORS]


def _behind(prefix: bytes, addr: bytes) -> bytes:
    """The IPv4 address; it steps over the ninth byte, which is always zero."""
    size = len(prefix)
    return addr[12:] if size == 12 else addr[size:8] + addr[9 : size + 5]


def _translated(prefix: bytes, addr: bytes, rest: bytes) -> bytes:
    size = len(prefix)
    if size == 12:
        return prefix + addr
    return (prefix + addr[: 8 - size] + b"\0" + addr[8 - size :]).ljust(16, rest)


def after(addr: bytes) -> bytes | None:
    """The next address; None behind the last one."""
    number = int.from_bytes(addr) + 1
    return None if number >> (8 * len(addr)) else number.to_bytes(len(addr))


def merged(spans: Iterable[Range]) -> tuple[Range, ...]:
    """Sorted, disjoint, and adjacent ranges made one. All of one family."""
    out: list[Range] = []
    for first, last in sorted(spans):
        following = after(out[-1][1]) if out else b""
        if out and (following is None or first <= following):
            out[-1] = out[-1][0], max(out[-1][1], last)
        else:
            out.append((first, last))
    return tuple(out)
