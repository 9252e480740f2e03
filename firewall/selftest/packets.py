"""[pure] IP packets and frames made by hand, whole and cut: what no socket would send."""

from __future__ import annotations

import struct
from typing import Final

ICMP, TCP, UDP, ICMP6, FRAGMENT, OPTIONS = 1, 6, 17, 58, 44, 60  # protocol numbers and IPv6 extension headers (IANA)
SYN, PUSH_ACK = 0x02, 0x18  # flags of TCP
LIFE: Final = 64  # hops
ETHERTYPES: Final = {4: b"\x08\x00", 16: b"\x86\xdd"}  # by the size of an address


def frame(to: bytes, sender: bytes, packet: bytes) -> bytes:
    """An Ethernet frame; `to` and `sender` are MACs."""
    return to + sender + ETHERTYPES[4 if packet[0] >> 4 == 4 else 16] + packet


def ip(src: bytes, dst: bytes, proto: int, body: bytes, *, number: int = 0, fragment: int = 0) -> bytes:
    """`fragment`: offset in units of 8 bytes, and 0x2000 if more follow (RFC 791, 3.1); IPv4 only."""
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), proto, LIFE) + src + dst + body
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), number, fragment, LIFE, proto, 0) + src + dst
    return head[:10] + _checksum(head) + head[12:] + body


def udp(src: bytes, dst: bytes, sport: int, dport: int, data: bytes) -> bytes:
    return ip(src, dst, UDP, datagram(src, dst, sport, dport, data))


def datagram(src: bytes, dst: bytes, sport: int, dport: int, data: bytes) -> bytes:
    """UDP without the IP around it."""
    body = struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data
    return body[:6] + (_checksum(_pseudo(src, dst, UDP, body)) if data else b"\0\0") + data


def tcp(src: bytes, dst: bytes, sport: int, dport: int, flags: int, data: bytes) -> bytes:
    """A segment out of nowhere; its numbers fit no connection."""
    body = struct.pack("!HHIIBBHHH", sport, dport, 0x5E1F7E57, 1, 5 << 4, flags, 65_535, 0, 0) + data
    return ip(src, dst, TCP, body[:16] + _checksum(_pseudo(src, dst, TCP, body)) + body[18:])


def ping(src: bytes, dst: bytes, data: bytes) -> bytes:
    """An echo request (RFC 792, RFC 4443)."""
    six = len(src) == 16
    body = struct.pack("!BBHHH", 128 if six else 8, 0, 0, 0x5E1F, 1) + data
    proto = ICMP6 if six else ICMP
    covered = _pseudo(src, dst, proto, body) if six else body
    return ip(src, dst, proto, body[:2] + _checksum(covered) + body[4:])


def in_two(src: bytes, dst: bytes, proto: int, body: bytes, first: int, number: int) -> tuple[bytes, bytes]:
    """`body` in two fragments; `first` is the size of the first one, a multiple of 8."""
    head, tail = body[:first], body[first:]
    if len(src) == 4:
        return (
            ip(src, dst, proto, head, number=number, fragment=0x2000),
            ip(src, dst, proto, tail, number=number, fragment=first >> 3),
        )
    extra = struct.Struct("!BxHI")  # RFC 8200, 4.5
    return (
        ip(src, dst, FRAGMENT, extra.pack(proto, 1, number) + head),
        ip(src, dst, FRAGMENT, extra.pack(proto, first, number) + tail),
    )


def behind_options(src: bytes, dst: bytes, proto: int, body: bytes) -> bytes:
    """IPv6 with an extension header that says nothing in front of the body (RFC 8200, 4.6)."""
    return ip(src, dst, OPTIONS, bytes((proto, 0, 1, 4, 0, 0, 0, 0)) + body)


def _pseudo(src: bytes, dst: bytes, proto: int, body: bytes) -> bytes:
    if len(src) == 16:
        return src + dst + struct.pack("!IxxxB", len(body), proto) + body
    return src + dst + struct.pack("!xBH", proto, len(body)) + body


def _checksum(data: bytes) -> bytes:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return (~(total + (total >> 16)) & 0xFFFF).to_bytes(2)
