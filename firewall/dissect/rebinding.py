"""[pure] Addresses that no public name may have: with them a web page could reach what stands at home (rebinding)."""

from __future__ import annotations

# Names that homes give to their own machines; these may have such addresses (RFC 6762, RFC 8375, ICANN 2024).
HOME = (".home.arpa", ".internal", ".lan", ".local")

_MAPPED = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96 (RFC 4291, 2.5.5.2)
_COMPATIBLE = bytes(12)  # ::/96, and with it :: and ::1
_NAT64 = bytes.fromhex("0064ff9b") + bytes(8)  # RFC 6052
_LOCAL_NAT64 = bytes.fromhex("0064ff9b0001")  # RFC 8215: somebody's own translator, in a form that only they know
_6TO4 = b"\x20\x02"  # RFC 3056


def is_home(name: str) -> bool:
    """Whether `name`, as `dns.text` writes it, is one of those, or a single label."""
    return "." not in name or name.endswith(HOME)


def is_local(addr: bytes) -> bool:
    """Whether a packed address leads into this network, this machine or nowhere; embedded IPv4 is looked into."""
    if len(addr) == 4:
        return _is_local4(addr)
    first, second = addr[0], addr[1]
    if addr.startswith((_MAPPED, _COMPATIBLE, _NAT64)):
        return _is_local4(addr[12:])
    return (
        first & 0xFE == 0xFC  # fc00::/7, unique local
        or (first == 0xFE and second >= 0x80)  # fe80::/10 link-local, fec0::/10 once site-local
        or first == 0xFF  # multicast
        or addr.startswith(_LOCAL_NAT64)
        or (addr.startswith(_6TO4) and _is_local4(addr[2:6]))
    )


def _is_local4(addr: bytes) -> bool:
    first, second = addr[0], addr[1]
    return (
        first in (0, 10, 127)
        or first >= 224  # multicast, reserved, broadcast
        or (first == 100 and 64 <= second < 128)  # shared by providers (RFC 6598)
        or (first == 169 and second == 254)
        or (first == 172 and 16 <= second < 32)
        or (first == 192 and second == 168)
        or (first == 198 and second in (18, 19))  # benchmarks (RFC 2544)
    )
