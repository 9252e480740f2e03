"""[pure] Where in a recorded frame its IP packet begins, and who sent it, for the link types that captures come with.

The live gate never sees a link: the kernel hands it IP. Numbers and layouts: tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

NULL, ETHERNET, PPP, RAW_OLD, RAW_BSD, PPP_HDLC, PPPOE, RAW = 0, 1, 9, 12, 14, 50, 51, 101
C_HDLC, WIFI, LOOP, ENC, SLL, PRISM, RADIOTAP, AVS, PPI = 104, 105, 108, 109, 113, 119, 127, 163, 192
IPV4, IPV6, NFLOG, SLL2 = 228, 229, 239, 276

MOST_TAGS: Final = 8  # VLAN tags and MPLS labels in one frame
NOBODY: Final = bytes(6)
NO_IP: Final = -1

ETHER_IPV4, ETHER_IPV6 = 0x0800, 0x86DD
_ETHER_IP: Final = frozenset((b"\x08\x00", b"\x86\xdd"))
_VLAN: Final = frozenset((b"\x81\x00", b"\x88\xa8", b"\x91\x00", b"\x92\x00"))
_MPLS: Final = frozenset((b"\x88\x47", b"\x88\x48"))
_PPP_IP: Final = frozenset((0x21, 0x57))
_OTHERS: Final = {  # that captures come with, and that carry no IP or not as such
    6: "Token Ring", 10: "FDDI", 187: "Bluetooth HCI", 189: "USB", 195: "IEEE 802.15.4", 201: "Bluetooth HCI",
    203: "LAPD", 220: "USB", 227: "CAN", 230: "IEEE 802.15.4", 249: "USBPcap", 251: "Bluetooth LE", 256: "Bluetooth LE",
}
_SNAP: Final = b"\xaa\xaa\x03"


def ip_at(link: int, frame: bytes) -> int:
    """Offset of the IP header; NO_IP where there is none, or the link type is not known."""
    finder = _FINDERS.get(link)
    at = finder(frame) if finder is not None else NO_IP
    # whatever the link says: the packet itself says what it is
    return at if at >= 0 and at < len(frame) and frame[at] >> 4 in (4, 6) else NO_IP


def as_ethernet(link: int, frame: bytes) -> bytes:
    """The packet in `frame` as it would stand in a plain Ethernet frame; b"" if it is no IP."""
    at = ip_at(link, frame)
    if at < 0:
        return b""
    if link == ETHERNET and at == 14:
        return frame
    sender, receiver = macs(link, frame)
    return receiver + sender + (ETHER_IPV4 if frame[at] >> 4 == 4 else ETHER_IPV6).to_bytes(2) + frame[at:]


def name(link: int) -> str:
    """A link type for people."""
    named = _OTHERS.get(link) or ("somebody's own" if 147 <= link <= 162 else "see tcpdump.org/linktypes.html")
    return f"{link} ({named})"


def known(link: int) -> bool:
    return link in _FINDERS


def macs(link: int, frame: bytes) -> tuple[bytes, bytes]:
    """(sender, receiver), `NOBODY` for whom the link does not tell."""
    if link == ETHERNET:
        return frame[6:12], frame[:6]
    if link == SLL and frame[4:6] == b"\0\x06":
        return frame[6:12], NOBODY
    if link == SLL2 and frame[11:12] == b"\x06":
        return frame[12:18], NOBODY
    if link in _WIFI_HEADERS:
        at = _WIFI_HEADERS[link](frame)
        if at >= 0 and at + 24 <= len(frame):
            to_ds, from_ds = frame[at + 1] & 1, frame[at + 1] & 2
            first, second, third = (frame[at + n : at + n + 6] for n in (4, 10, 16))
            if to_ds:
                return (frame[at + 24 : at + 30] if from_ds else second), third
            return (third if from_ds else second), first
    return NOBODY, NOBODY


def _ether_type(frame: bytes, at: int) -> int:
    """What stands behind an EtherType at `at`: VLAN tags, PPPoE, MPLS, or (a length) LLC."""
    for _ in range(MOST_TAGS):
        kind = frame[at : at + 2]
        if kind in _ETHER_IP:
            return at + 2
        if kind in _VLAN:
            at += 4
        elif kind == b"\x89\x26":  # VN-Tag (Cisco's, of virtual ports)
            at += 6
        elif kind == b"\x89\x3f":  # E-Tag (IEEE 802.1BR)
            at += 8
        elif kind == b"\x88\xe7":  # behind a provider's header both MACs once more (IEEE 802.1Q, 9.7: I-Tag)
            at += 18
        elif kind == b"\x88\x64":  # PPPoE, session (RFC 2516, 4)
            return _ppp(frame, at + 8)
        elif kind in _MPLS:
            return _mpls(frame, at + 2)
        elif len(kind) == 2 and kind < b"\x06\x00":
            return _llc(frame, at + 2)
        else:
            break
    return NO_IP


def _mpls(frame: bytes, at: int) -> int:
    for _ in range(MOST_TAGS):
        if at + 4 > len(frame):
            break
        at += 4
        if frame[at - 2] & 1:  # bottom of the stack (RFC 3032, 2.1)
            return at
    return NO_IP


def _llc(frame: bytes, at: int) -> int:
    if frame[at : at + 3] == _SNAP:
        return _ether_type(frame, at + 6)
    return at + 3 if frame[at : at + 2] == b"\x06\x06" else NO_IP  # IP by its own access point


def _ppp(frame: bytes, at: int) -> int:
    """The protocol field has one byte or two (RFC 1661, 6.5); address and control may stand before it."""
    if frame[at : at + 2] == b"\xff\x03":
        at += 2
    if at + 2 > len(frame):
        return NO_IP
    if frame[at] & 1:
        return at + 1 if frame[at] in _PPP_IP else NO_IP
    return at + 2 if not frame[at] and frame[at + 1] in _PPP_IP else NO_IP


def _ppp_hdlc(frame: bytes) -> int:
    """PPP in HDLC-like framing, or Cisco's."""
    return _ether_type(frame, 2) if frame[:1] in (b"\x0f", b"\x8f") else _ppp(frame, 0)


def _little(frame: bytes, at: int) -> int:
    return int.from_bytes(frame[at : at + 2], "little")


def _prism(frame: bytes) -> int:
    return 64 if frame[:4] == b"\0\0\0\x41" else 144  # AVS headers stand in captures of this type too


def _nflog(frame: bytes) -> int:
    """A header of four bytes, then attributes in the machine's byte order; 9 is the packet."""
    at = 4
    while at + 4 <= len(frame):
        length, kind = _little(frame, at), _little(frame, at + 2)
        if length < 4:
            break
        if kind == 9:
            return at + 4
        at += (length + 3) & ~3
    return NO_IP


_WIFI_HEADERS: Final[dict[int, Callable[[bytes], int]]] = {
    WIFI: lambda _: 0,
    RADIOTAP: lambda frame: _little(frame, 2) if len(frame) >= 4 else NO_IP,
    PRISM: _prism,
    AVS: lambda frame: int.from_bytes(frame[4:8]) & 0xFFFF,
    PPI: lambda frame: _little(frame, 2) if frame[4:8] == b"\x69\0\0\0" else NO_IP,
}


def _wifi(header_of: Callable[[bytes], int], frame: bytes) -> int:
    """A data frame that is not encrypted (IEEE 802.11, 9.3.2)."""
    at = header_of(frame)
    if at < 0 or at + 24 > len(frame):
        return NO_IP
    control, flags = frame[at], frame[at + 1]
    if control & 0x0F != 0x08 or control & 0x40 or flags & 0x40:  # type data, with data, not protected
        return NO_IP
    header = 24 + (6 if flags & 3 == 3 else 0)
    if control & 0x80:  # quality of service
        if frame[at + header : at + header + 1] >= b"\x80":
            return NO_IP  # several frames in one (A-MSDU)
        header += 2 + (4 if flags & 0x80 else 0)
    start = at + header
    for padding in (0, 2):  # some radios align what follows
        if frame[start + padding : start + padding + 3] == _SNAP:
            return _llc(frame, start + padding)
    return NO_IP


_FINDERS: Final[dict[int, Callable[[bytes], int]]] = {
    ETHERNET: lambda frame: _ether_type(frame, 12),
    NULL: lambda _: 4, LOOP: lambda _: 4,
    RAW: lambda _: 0, RAW_OLD: lambda _: 0, RAW_BSD: lambda _: 0, IPV4: lambda _: 0, IPV6: lambda _: 0,
    SLL: lambda frame: _ether_type(frame, 14),
    SLL2: lambda frame: 20 if frame[:2] in _ETHER_IP else _tagged(frame),
    PPP: lambda frame: _ppp(frame, 0), PPP_HDLC: _ppp_hdlc, PPPOE: lambda frame: _ppp(frame, 6),
    C_HDLC: lambda frame: _ether_type(frame, 2),
    ENC: lambda _: 12,
    NFLOG: _nflog,
} | {kind: partial(_wifi, header) for kind, header in _WIFI_HEADERS.items()}


def _tagged(frame: bytes) -> int:
    """Linux cooked, version 2, with a VLAN tag: the tag's protocol stands in the header, its rest behind it."""
    return _ether_type(frame, 22) if frame[:2] in _VLAN else NO_IP
