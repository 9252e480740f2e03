"""[pure] Packets within packets: tunnels between hosts, networks over networks, and mirrors of a switch's port.

Only what is in the clear. GRE: RFC 2784, 2890, 2637; ERSPAN: draft-foschiano-erspan; IP in IP: RFC 2003, 4213; EtherIP:
RFC 3378; PIM: RFC 7761, 4.9.3; VXLAN: RFC 7348, draft-ietf-nvo3-vxlan-gpe; Geneve: RFC 8926; GTP-U: 3GPP TS 29.281, 5;
Teredo: RFC 4380, 5.1.1; MPLS: RFC 4023, 7510; L2TP: RFC 2661, 3.1; CAPWAP: RFC 5415, 4.3; TZSP: as Wireshark reads it.
Plain IP over UDP: Linux' FOU, and GUE of version 1; of version 0: draft-ietf-intarea-gue, 3. GRE over it: RFC 8086.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from firewall.dissect import ip, link
from rules.networks import TEREDO

if TYPE_CHECKING:
    from firewall.dissect.ip import Packet

IP_IN_IP, IPV6_IN_IP, GRE, ETHER_IP, PIM, MPLS_IN_IP = 4, 41, 47, 97, 103, 137  # protocols of IP
# Of UDP, where packets may stand in packets however late: behind what controls the tunnel, or beacons.
PORTS: Final = frozenset((1701, 2152, 3544, 4754, 4789, 4790, 5247, 6080, 6081, 6635, 8472, 37008))
_CHECKSUM, _ROUTING, _KEY, _SEQUENCE, _ACKNOWLEDGES = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080  # of GRE's first two bytes
_PPP, _ERSPAN, _ERSPAN_3, _BRIDGED, _NSH = b"\x88\x0b", b"\x88\xbe", b"\x22\xeb", b"\x65\x58", b"\x89\x4f"
_VXLAN: Final = b"\x08\0\0\0"  # only the flag that it has a network's number
_VXLAN_GPE: Final = {  # with one more: the last byte says what it carries
    b"\x0c\0\0\x01": b"\x08\0", b"\x0c\0\0\x02": b"\x86\xdd", b"\x0c\0\0\x03": b"\x65\x58",
    b"\x0c\0\0\x04": b"\x89\x4f", b"\x0c\0\0\x05": b"\x88\x47",
}
_TZSP: Final = (b"\x01\0\0\x01", b"\x01\x01\0\x01")  # version 1, a packet received or sent, Ethernet
_MOST_FIELDS: Final = 32  # tags of TZSP
_GUE: Final = (b"\0\x04\0\0", b"\0\x29\0\0")  # no flags; IPv4 or IPv6 in it
_GRE_OF_IP: Final = (b"\0\0\x08\0", b"\0\0\x86\xdd")  # no flags either
_USUAL: Final = frozenset((0, 6, 17, 43, 44, 50, 58, 60))  # next headers of IPv6
_SHORTEST: Final = 64  # bytes of an Ethernet frame; what is shorter is filled
_MOST_EXTENSIONS: Final = 8  # of one GTP header
_USER_DATA: Final = 255  # GTP's type of message


def frame(packet: Packet, raw: bytes) -> bytes:
    """What `packet` carries, as a plain Ethernet frame; b"" if that is no packet. `raw`: from its IP header on.

    A recording may have cut it off: what is missing is thought of, for lengths have to fit, and cut off again.
    """
    there = raw[packet.payload : packet.end]
    missing = ip.payload_of(raw, packet) - len(there) if there else 0
    found = _carried(packet.proto, there + bytes(missing))
    return found[: len(found) - missing]


def _carried(proto: int, data: bytes) -> bytes:
    if proto == ip.UDP:
        return within(data)
    if proto in (IP_IN_IP, IPV6_IN_IP):
        return _whole(link.RAW, data)
    if proto == GRE:
        return _gre(data)
    if proto == PIM and data[:1] == b"\x21":
        return _whole(link.RAW, data[8:])
    if proto == ETHER_IP and data[:2] == b"\x30\0":
        return _whole(link.ETHERNET, data[2:])
    return _whole(link.MPLS, data) if proto == MPLS_IN_IP else b""


def within(data: bytes) -> bytes:
    """The same of a datagram's payload. On any port: each of them carries IP whose lengths fit, or it is none."""
    if data[7:8] == b"\0":
        if data[:4] == _VXLAN:
            return _whole(link.ETHERNET, data[8:])
        if (kind := _VXLAN_GPE.get(data[:4])) is not None:
            return _typed(kind, data[8:])
    if len(data) < 28:
        return b""
    first = data[0]
    if found := _plain(data[4:] if data[:4] in _GUE or data[:4] in _GRE_OF_IP else data):
        return found
    if first & 0xF8 == 0x30 and data[1] == _USER_DATA and int.from_bytes(data[2:4]) == len(data) - 8:
        return _gtp(data)
    if first < 0x40 and not data[1] & 0x3F and data[7] == 0 and (
        found := _typed(data[2:4], data[8 + ((first & 0x3F) << 2) :])
    ):
        return found  # Geneve
    if data[:4] in _TZSP:
        return _tzsp(data)
    if first & 0xB0 == 0 and data[1] & 0x0F == 2 and (found := _l2tp(data)):
        return found
    if first == 0 and (found := _capwap(data)):
        return found
    return _teredo(data) or _likely(link.MPLS, data)


def _plain(data: bytes) -> bytes:
    """IP that begins at once. By chance so does one datagram of 500 million; IPv4 has a checksum to be told by."""
    if data[:1] == b"\x45":
        total = sum(int.from_bytes(data[at : at + 2]) for at in range(0, 20, 2))
        return b"" if total % 0xFFFF and any(data[10:12]) else _whole(link.RAW, data)  # 0: not filled in, as recorded
    return _likely(link.RAW, data) if data[:1] == b"\x60" else b""


def _gre(data: bytes) -> bytes:
    if len(data) < 4:
        return b""
    flags, kind = int.from_bytes(data[:2]), data[2:4]
    at = 4 + 4 * (bool(flags & _CHECKSUM) + bool(flags & _KEY) + bool(flags & _SEQUENCE))
    if flags & 7 == 1 and kind == _PPP:
        return _whole(link.PPP, data[at + 4 * bool(flags & _ACKNOWLEDGES) :])
    if flags & 7 or flags & _ROUTING:
        return b""
    if kind == _ERSPAN:
        return _whole(link.ETHERNET, data[at + (8 if flags & _SEQUENCE else 0) :])  # the first kind has no header
    if kind == _ERSPAN_3:
        more = data[at + 11 : at + 12]
        return _whole(link.ETHERNET, data[at + (20 if more and more[0] & 1 else 12) :])
    return _typed(kind, data[at:])


def _gtp(data: bytes) -> bytes:
    at = 8
    if data[0] & 7:
        following, at = data[11] if data[0] & 4 else 0, 12
        for _ in range(_MOST_EXTENSIONS):
            if not following or at >= len(data) or not data[at]:
                break
            at += data[at] << 2
            following = data[at - 1] if at <= len(data) else 0
    return _whole(link.RAW, data[at:], filled=True)  # its length is its datagram's: that is sign enough


def _tzsp(data: bytes) -> bytes:
    at = 4
    for _ in range(_MOST_FIELDS):
        kind = data[at : at + 1]
        if kind == b"\x01":  # the last
            return _whole(link.ETHERNET, data[at + 1 :])
        at += 1 if kind == b"\0" else 2 + (data[at + 1] if at + 1 < len(data) else 0)
    return b""


def _l2tp(data: bytes) -> bytes:
    """A message with data, of version 2."""
    flags = data[0]
    at = 6 + (2 if flags & 0x40 else 0) + (4 if flags & 0x08 else 0)
    if flags & 0x02:
        at += 2 + int.from_bytes(data[at : at + 2])
    return _likely(link.PPP, data[at:])


def _capwap(data: bytes) -> bytes:
    """Frames of an access point's stations, in the clear and in one piece; Cisco's has both bytes of control turned."""
    if data[3] & 0x80:
        return b""
    inner = data[(data[1] >> 3) << 2 :]
    if not data[2] & 0x01 and (found := _whole(link.ETHERNET, inner)):
        return found
    return _whole(link.WIFI, inner) or _whole(link.WIFI, inner[1::-1] + inner[2:])


def _teredo(data: bytes) -> bytes:
    """Authentication and the client's own place may stand in front; one of both ends has an address of Teredo's."""
    at = 0
    if data[:2] == b"\0\1":
        at = 13 + data[2] + data[3]
    if data[at : at + 2] == b"\0\0":
        at += 8
    ends = data[at + 8 : at + 12], data[at + 24 : at + 28]
    return _whole(link.RAW, data[at:]) if data[at : at + 1] >= b"\x60" and TEREDO in ends else b""


def _typed(kind: bytes, data: bytes) -> bytes:
    """Behind an EtherType."""
    filled = kind == _NSH and len(data) <= _SHORTEST + 24  # its own (RFC 8300, 2.4)
    return _whole(link.ETHERNET, data if kind == _BRIDGED else bytes(12) + kind + data, filled=filled)


def _whole(kind: int, data: bytes, *, filled: bool = False) -> bytes:
    """Its own header says how long it is, and nothing else stands behind it: by that it is told from any other bytes.

    `filled`: perhaps something does.
    """
    made = link.as_ethernet(kind, data)
    inner = made[14:]
    if len(inner) < 20 or inner[0] < 0x45 or (inner[0] >= 0x60 and len(inner) < 40):
        return b""
    length = int.from_bytes(inner[2:4]) if inner[0] < 0x60 else 40 + int.from_bytes(inner[4:6])
    filled |= kind == link.ETHERNET and len(data) <= _SHORTEST
    return made if length == len(inner) or (filled and length < len(inner)) else b""


def _likely(kind: int, data: bytes) -> bytes:
    """The same behind a header that random bytes look like: IP as it nearly always is."""
    made = _whole(kind, data)
    return made if made[14:15] == b"\x45" or (made[14:15] == b"\x60" and made[20] in _USUAL) else b""
