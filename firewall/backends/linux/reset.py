"""What a server is told in the phone's name, made from a packet that will not pass: that a TCP connection is over, by a
RST, or that a sign of life is wanted. And what a phone is told in its server's: that what it repeats was heard.

Without a RST the server keeps a half-open connection for minutes. conntrack knows the flow and applies its NAT to what
is sent here. RFC 9293, 3.5.2: a RST with the next sequence number that the server expects is believed.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from firewall.dissect import NOT_MINE, ip

_WINDOW = 16_384  # bytes, or more if it is scaled: what a phone may send before it hears from the server itself
IPV6_HDRINCL = 36  # linux/in6.h; Python has no name for it


def rst(packet: bytes) -> bytes | None:
    """`packet` without payload and options, with RST for its only flag; None if it is no TCP."""
    seen = ip.parse(packet)
    if seen is NOT_MINE or seen.proto != ip.TCP:
        return None
    return _whole(seen, struct.pack("!HHIIBBHHH", seen.sport, seen.dport, seen.seq, 0, 5 << 4, ip.RST, 0, 0, 0))


def emptied(packet: bytes) -> bytes | None:
    """`packet` without payload and flags, but with its options: some want a timestamp (RFC 7323, 3.2)."""
    seen = ip.parse(packet)
    if seen is NOT_MINE or seen.proto != ip.TCP or seen.payload < seen.l4 + 20:
        return None
    head = packet[seen.l4 : seen.payload]
    return _whole(seen, head[:13] + bytes([ip.ACK]) + head[14:16] + bytes(4) + head[20:])


def acknowledged(packet: bytes, following: int) -> bytes | None:
    """Its receiver's answer: all before the sequence number `following` is there.

    What is lost behind us after that is not sent again: so only who is stuck may be told this.
    """
    seen = ip.parse(packet)
    if seen is NOT_MINE or seen.proto != ip.TCP or seen.payload < seen.l4 + 20:
        return None
    stamps = _timestamps(packet[seen.l4 + 20 : seen.payload])
    options = b"\1\1\x08\x0a" + stamps[4:] + stamps[:4] if stamps else b""  # each tells the other's last (RFC 7323)
    segment = struct.pack("!HH4sIBBHHH", seen.dport, seen.sport, packet[seen.l4 + 8 : seen.l4 + 12], following,
                          (20 + len(options)) // 4 << 4, ip.ACK, _WINDOW, 0, 0)
    return _whole(seen._replace(src=seen.dst, dst=seen.src), segment + options)


def _timestamps(options: bytes) -> bytes:
    """Both numbers of that option; b"" if there is none."""
    at = 0
    while at + 1 < len(options) and options[at]:
        if options[at] == 1:
            at += 1
        elif options[at : at + 2] == b"\x08\x0a":
            return options[at + 2 : at + 10] if at + 10 <= len(options) else b""
        else:
            at += max(options[at + 1], 2)
    return b""


def _whole(seen: ip.Packet, segment: bytes) -> bytes:
    """It with a right checksum, behind a fresh IP header. Its own checksum is 0 as yet."""
    if len(seen.src) == 16:
        pseudo = seen.src + seen.dst + struct.pack("!IxxxB", len(segment), ip.TCP)
        head = struct.pack("!IHBB", 6 << 28, len(segment), ip.TCP, 64) + seen.src + seen.dst
    else:
        pseudo = seen.src + seen.dst + struct.pack("!xBH", ip.TCP, len(segment))
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0, 64, ip.TCP, 0) + seen.src + seen.dst
        head = head[:10] + checksum(head).to_bytes(2) + head[12:]
    return head + segment[:16] + checksum(pseudo + segment).to_bytes(2) + segment[18:]


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class RawSender:
    """Sends whole IP packets. What the kernel refuses is given up: the server times out by itself."""

    def __init__(self) -> None:
        self._v4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._v6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._v6.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        for s in (self._v4, self._v6):
            s.setblocking(False)

    def send(self, packet: bytes | None) -> None:
        if packet is None:
            return
        with suppress(OSError):
            if packet[0] >> 4 == 4:
                self._v4.sendto(packet, (socket.inet_ntop(socket.AF_INET, packet[16:20]), 0))
            else:
                self._v6.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))

    def close(self) -> None:
        self._v4.close()
        self._v6.close()
