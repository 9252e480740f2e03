"""[pure] IPv4 and IPv6 headers, and the ports behind them. Every queued packet passes here: bytes are only sliced."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from firewall.dissect import NOT_MINE, NotMine
from firewall.inputs import FlowKey

ICMP, TCP, UDP, DCCP, ICMPV6, SCTP, UDPLITE = 1, 6, 17, 33, 58, 132, 136
WITH_PORTS = frozenset((DCCP, SCTP, UDPLITE))  # beside TCP and UDP: the ports stand in the same place
ECHO = frozenset(((ICMP, 0), (ICMP, 8), (ICMPV6, 128), (ICMPV6, 129)))  # (protocol, type): reply, request

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

# The extension headers that the kernel's ipv6_ext_hdr() skips: both must find the same ports.
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION = 0, 43, 44, 51, 60
EXTENSIONS = frozenset((HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION))
MOST_EXTENSIONS = 8  # RFC 8200, 4.1: each at most once, destination options twice

_IPV4 = Struct("!BxHxxHxB2x4s4s")  # version and header length, total length, fragment, protocol, addresses
_IPV6 = Struct("!4xHBx16s16s")  # payload length, next header, addresses
_TCP = Struct("!HHI4xBB")  # ports, sequence number, data offset, flags
_UDP = Struct("!HHH")  # ports, length
_PORTS = Struct("!HH")


class Packet(NamedTuple):
    """Where a packet comes from and goes to, and where in it things begin. Offsets count from the IP header on."""

    proto: int  # of the payload, behind all IPv6 extension headers
    src: bytes  # packed, 4 or 16 bytes
    dst: bytes
    sport: int  # ICMP echo: the identifier; 0 where there are no ports
    dport: int
    l4: int  # where the transport header begins
    payload: int  # where what it carries begins; l4 for protocols that are not looked into
    end: int  # where it ends, or where the given bytes do
    seq: int  # TCP sequence number of the first payload byte (of the SYN in a SYN); else 0
    flags: int  # TCP flags; else 0

    def flow(self) -> FlowKey:
        """The flow this packet is of, as conntrack knows it if this is its original direction."""
        return FlowKey(self.proto, self.src, self.sport, self.dst, self.dport)


def parse(packet: bytes) -> Packet | NotMine:
    """Read a packet from its IP header on (RFC 791, RFC 8200). A cut copy will do if the ports are in it.

    NOT_MINE: no IP, headers that lie, a fragment without the transport header (conntrack puts fragments together
    before anyone sees them), or too many extension headers.
    """
    version = packet[0] >> 4 if packet else 0
    if version == 4:
        return _ipv4(packet)
    if version == 6:
        return _ipv6(packet)
    return NOT_MINE


def _ipv4(packet: bytes) -> Packet | NotMine:
    size = len(packet)
    if size < 20:
        return NOT_MINE
    first, total, fragment, proto, src, dst = _IPV4.unpack_from(packet)
    l4 = (first & 15) << 2
    if l4 < 20 or fragment & 0x1FFF:
        return NOT_MINE
    # Total length 0 is BIG TCP: one aggregate of more than 64 KiB, inside one machine (Linux 6.3).
    end = total if 0 < total < size else size
    return _transport(packet, proto, src, dst, l4, end)


def _ipv6(packet: bytes) -> Packet | NotMine:
    size = len(packet)
    if size < 40:
        return NOT_MINE
    length, proto, src, dst = _IPV6.unpack_from(packet)
    end = 40 + length if 0 < length < size - 40 else size  # 0: BIG TCP here too (RFC 2675)
    at = 40
    if proto in EXTENSIONS:
        for _ in range(MOST_EXTENSIONS):
            if at + 8 > end:
                return NOT_MINE
            if proto == FRAGMENT:
                if packet[at + 2] or packet[at + 3] & 0xF8:  # an offset: the transport header is elsewhere
                    return NOT_MINE
                skip = 8
            elif proto == AUTHENTICATION:
                skip = (packet[at + 1] + 2) << 2  # RFC 4302, 2.2 counts in 4 octets
            else:
                skip = (packet[at + 1] + 1) << 3
            proto = packet[at]
            at += skip
            if proto not in EXTENSIONS:
                break
        else:
            return NOT_MINE
    return _transport(packet, proto, src, dst, at, end)


def _transport(packet: bytes, proto: int, src: bytes, dst: bytes, l4: int, end: int) -> Packet | NotMine:
    there = end - l4
    if there < 0:
        return NOT_MINE
    sport = dport = seq = flags = 0
    payload = l4
    if proto == TCP:
        if there >= 14:
            sport, dport, seq, offset, flags = _TCP.unpack_from(packet, l4)
            if offset < 0x50:
                return NOT_MINE
            payload = min(l4 + ((offset >> 4) << 2), end)
        elif there >= 4:
            sport, dport = _PORTS.unpack_from(packet, l4)
            payload = end
        else:
            return NOT_MINE
    elif proto == UDP:
        if there >= 8:
            sport, dport, length = _UDP.unpack_from(packet, l4)
            payload = l4 + 8
            if 8 <= length < there:
                end = l4 + length  # the receiver sees no further (RFC 768)
        elif there >= 4:
            sport, dport = _PORTS.unpack_from(packet, l4)
            payload = end
        else:
            return NOT_MINE
    elif proto in WITH_PORTS:
        if there < 4:
            return NOT_MINE
        sport, dport = _PORTS.unpack_from(packet, l4)
    elif there >= 6 and (proto, packet[l4]) in ECHO:
        sport = packet[l4 + 4] << 8 | packet[l4 + 5]
    return Packet(proto, src, dst, sport, dport, l4, payload, end, seq, flags)


def payload_of(raw: bytes, packet: Packet) -> int:
    """Bytes of payload of the packet that `raw` is the begin of, by what its headers say: a copy may be cut short."""
    length = int.from_bytes(raw[2:4]) if raw[0] >> 4 == 4 else 40 + int.from_bytes(raw[4:6])
    return max(length, packet.end) - packet.payload
