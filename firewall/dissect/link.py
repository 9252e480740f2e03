"""[pure] Where in a recorded frame its IP packet begins, and who sent it, for the link types that captures come with.

The live gate never sees a link: the kernel hands it IP. Numbers and layouts: tcpdump.org/linktypes.html.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NULL, ETHERNET, TOKEN_RING, SLIP, PPP, FDDI, RAW_OLD, RAW_BSD, PPP_HDLC, PPPOE = 0, 1, 6, 8, 9, 10, 12, 14, 50, 51
ATM, RAW, C_HDLC, WIFI, FRAME_RELAY, LOOP, ENC, SLL, PFLOG, PRISM = 100, 101, 104, 105, 107, 108, 109, 113, 117, 119
FIBRE, SUN_ATM, RADIOTAP, FIREWIRE, AVS, PPP_PPPD, PPI = 122, 123, 127, 138, 163, 166, 192
PPP_WAY, C_HDLC_WAY, FRAME_RELAY_WAY, MPLS, IPNET, IPV4, IPV6, NFLOG = 204, 205, 206, 219, 226, 228, 229, 239
NETANALYZER, NETANALYZER_SFD, INFINIBAND, MPACKET, SLL2 = 240, 241, 242, 274, 276
BROADCOM, BROADCOM_BEFORE, MARVELL, MARVELL_LONG = 281, 282, 284, 285  # Ethernet with the tag of a switch's chip

MOST_TAGS: Final = 8  # VLAN tags and MPLS labels in one frame
MOST_IN_ONE: Final = 64  # frames of an A-MSDU
NOBODY: Final = bytes(6)
NO_IP: Final = -1

ETHER_IPV4, ETHER_IPV6 = 0x0800, 0x86DD
_ETHER_IP: Final = frozenset((b"\x08\x00", b"\x86\xdd"))
_VLAN: Final = frozenset((b"\x81\x00", b"\x88\xa8", b"\x91\x00", b"\x92\x00"))
_MPLS: Final = frozenset((b"\x88\x47", b"\x88\x48"))
_STEPS: Final = {  # bytes from one EtherType to the next
    **dict.fromkeys(_VLAN, 4),
    b"\x89\x26": 6,  # VN-Tag (Cisco's, of virtual ports)
    b"\x89\x3f": 8,  # E-Tag (IEEE 802.1BR)
    b"\x88\xe7": 18,  # behind a provider's header both MACs once more (IEEE 802.1Q, 9.7: I-Tag)
    b"\x89\x03": 16,  # FabricPath (Cisco's), which has them, too
    b"\x89\x2f": 6,  # HSR (IEC 62439-3)
}
_MACSEC, _NSH = b"\x88\xe5", b"\x89\x4f"
_PPP_IP, _PPP_MPLS = frozenset((0x21, 0x57)), b"\x02\x81"
_NLPID_IP: Final = frozenset((0xCC, 0x8E))
_OTHERS: Final = {  # that captures come with, and that carry no IP or not as such
    129: "ARCNET", 143: "DOCSIS", 177: "LAPD", 187: "Bluetooth HCI", 189: "USB", 195: "IEEE 802.15.4",
    197: "ERF", 201: "Bluetooth HCI", 203: "LAPD", 220: "USB", 227: "CAN",
    230: "IEEE 802.15.4", 231: "D-Bus", 249: "USBPcap", 251: "Bluetooth LE", 253: "Netlink", 256: "Bluetooth LE",
    270: "LoRaTap", 271: "vsock", 272: "Bluetooth LE", 283: "IEEE 802.15.4",
    **dict.fromkeys((*range(130, 138), *range(178, 184), *range(194, 195), 200), "Juniper"),
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
        if (step := _STEPS.get(kind)) is not None:
            at += step
        elif kind == b"\x88\x64":  # PPPoE, session (RFC 2516, 4)
            return _ppp(frame, at + 8)
        elif kind in _MPLS:
            return _mpls(frame, at + 2)
        elif kind == _MACSEC and at + 2 < len(frame) and not frame[at + 2] & 0x8C:
            at += 16 if frame[at + 2] & 0x20 else 8  # not encrypted (IEEE 802.1AE, 9)
        elif kind == _NSH and at + 6 <= len(frame):
            end = at + 2 + ((frame[at + 3] & 0x3F) << 2)  # RFC 8300, 2.2
            what = frame[at + 5]
            if what != 3:
                return end if what in (1, 2) else _mpls(frame, end) if what == 5 else NO_IP
            at = end + 12
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
    if frame[at : at + 2] == _PPP_MPLS:
        return _mpls(frame, at + 2)
    if frame[at] & 1:
        return at + 1 if frame[at] in _PPP_IP else NO_IP
    return at + 2 if not frame[at] and frame[at + 1] in _PPP_IP else NO_IP


def _ppp_hdlc(frame: bytes, at: int = 0) -> int:
    """PPP in HDLC-like framing, or Cisco's."""
    return _ether_type(frame, at + 2) if frame[at : at + 1] in (b"\x0f", b"\x8f") else _ppp(frame, at)


def _frame_relay(frame: bytes, at: int = 0) -> int:
    """An address of two to four bytes, then NLPID (RFC 2427), or an EtherType as Cisco has it."""
    end = next((n + 1 for n in range(at, min(at + 4, len(frame))) if frame[n] & 1), 0)
    if not end or end + 3 > len(frame):
        return NO_IP
    if frame[end] != 3:
        return _ether_type(frame, end)
    end += 1 + (not frame[end + 1])
    if frame[end] == 0x80:
        return _ether_type(frame, end + 4)  # SNAP
    return end + 1 if frame[end] in _NLPID_IP else NO_IP


def _token_ring(frame: bytes) -> int:
    """Bridges on the way may stand behind the addresses (IEEE 802.5, 3.3)."""
    if len(frame) < 16:
        return NO_IP
    return _llc(frame, 14 + (frame[14] & 0x1F if frame[8] & 0x80 else 0))


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
    start, several = _wifi_body(header_of(frame), frame)
    if start < 0 or several:
        return NO_IP
    for padding in (0, 2):  # some radios align what follows
        if frame[start + padding : start + padding + 3] == _SNAP:
            return _llc(frame, start + padding)
    return NO_IP


def _wifi_body(at: int, frame: bytes) -> tuple[int, bool]:
    """Where what a data frame carries begins; whether it is several frames in one (A-MSDU)."""
    if at < 0 or at + 24 > len(frame):
        return NO_IP, False
    control, flags = frame[at], frame[at + 1]
    if control & 0x0F != 0x08 or control & 0x40 or flags & 0x40:  # type data, with data, not protected
        return NO_IP, False
    header = 24 + (6 if flags & 3 == 3 else 0)
    if not control & 0x80:
        return at + header, False
    quality = frame[at + header : at + header + 1]
    return at + header + 2 + (4 if flags & 0x80 else 0), quality >= b"\x80"


def in_one(link: int, frame: bytes) -> Iterator[bytes]:
    """The IP packets of an A-MSDU (IEEE 802.11, 9.3.2.2.2), each in a plain Ethernet frame."""
    if link not in _WIFI_HEADERS:
        return
    at, several = _wifi_body(_WIFI_HEADERS[link](frame), frame)
    if not several:
        return
    for _ in range(MOST_IN_ONE):
        end = at + 14 + int.from_bytes(frame[at + 12 : at + 14])
        if end > len(frame) or end == at + 14:
            break
        if one := as_ethernet(ETHERNET, frame[at:end]):
            yield one
        at += (end - at + 3) & ~3


_FINDERS: Final[dict[int, Callable[[bytes], int]]] = {
    ETHERNET: lambda frame: _ether_type(frame, 12),
    NULL: lambda _: 4, LOOP: lambda _: 4,
    RAW: lambda _: 0, RAW_OLD: lambda _: 0, RAW_BSD: lambda _: 0, IPV4: lambda _: 0, IPV6: lambda _: 0,
    SLL: lambda frame: _ether_type(frame, 14),
    SLL2: lambda frame: 20 if frame[:2] in _ETHER_IP else _tagged(frame),
    PPP: _ppp_hdlc, PPP_HDLC: _ppp_hdlc, PPPOE: lambda frame: _ppp(frame, 6),
    PPP_PPPD: lambda frame: _ppp(frame, 2), PPP_WAY: lambda frame: _ppp_hdlc(frame, 1),
    C_HDLC: lambda frame: _ether_type(frame, 2), C_HDLC_WAY: lambda frame: _ether_type(frame, 3),
    FRAME_RELAY: _frame_relay, FRAME_RELAY_WAY: lambda frame: _frame_relay(frame, 1),
    ENC: lambda _: 12, IPNET: lambda _: 24, SLIP: lambda _: 16,
    PFLOG: lambda frame: (frame[0] + 3) & ~3 if frame else NO_IP,
    NFLOG: _nflog,
    MPLS: lambda frame: _mpls(frame, 0),
    TOKEN_RING: _token_ring, FDDI: lambda frame: _llc(frame, 13), FIBRE: lambda frame: _llc(frame, 16),
    ATM: lambda frame: _llc(frame, 0), SUN_ATM: lambda frame: _llc(frame, 4),
    FIREWIRE: lambda frame: _ether_type(frame, 16), INFINIBAND: lambda _: 44,
    NETANALYZER: lambda frame: _ether_type(frame, 16), NETANALYZER_SFD: lambda frame: _ether_type(frame, 24),
    MPACKET: lambda frame: _ether_type(frame, 20),
    **dict.fromkeys((BROADCOM, BROADCOM_BEFORE, MARVELL), lambda frame: _ether_type(frame, 16)),
    MARVELL_LONG: lambda frame: _ether_type(frame, 20),
} | {kind: partial(_wifi, header) for kind, header in _WIFI_HEADERS.items()}


def _tagged(frame: bytes) -> int:
    """Linux cooked, version 2, with a VLAN tag: the tag's protocol stands in the header, its rest behind it."""
    return _ether_type(frame, 22) if frame[:2] in _VLAN else NO_IP
