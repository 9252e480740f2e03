"""What a hostile phone sends: whole Ethernet frames, made byte by byte, with the checksums that make others believe them."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys

SEND = "import socket, sys; s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW); s.bind(('eth0', 0)); [s.send(bytes.fromhex(f)) for f in sys.argv[1:]]"
GATEWAY_MAC = bytes.fromhex("020000000001")
BROADCAST = b"\xff" * 6


def send(namespace: str, *frames: bytes) -> None:
    """On a phone's only interface, past its own address and MAC."""
    subprocess.run(["ip", "netns", "exec", namespace, sys.executable, "-c", SEND, *(frame.hex() for frame in frames)], check=True, timeout=20)


def udp(mac: bytes, src: str, dst: str, dport: int, payload: bytes, *, sport: int = 40404) -> bytes:
    return _frame(mac, src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(payload), 0) + payload, 6)


def tcp(mac: bytes, src: str, sport: int, dst: str, dport: int, *, seq: int, ack: int, flags: int, payload: bytes = b"") -> bytes:
    return _frame(mac, src, dst, 6, struct.pack("!HHIIBBHHH", sport, dport, seq, ack, 5 << 4, flags, 4096, 0, 0) + payload, 16)


HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
PADDING = b"\0\x01\x04\0\0\0\0"  # of options: a length of 8, and an option that is nothing


def route(*stops: str, kind: int = 0, left: int = 1) -> bytes:
    """A routing header's body (RFC 8200, 4.4); IPv4's loose source route is `loose`."""
    return struct.pack("!BBBI", 2 * len(stops), kind, left, 0) + b"".join(socket.inet_pton(socket.AF_INET6, stop) for stop in stops)


def loose(*stops: str) -> bytes:
    """RFC 791, 3.1, padded."""
    data = bytes((131, 3 + 4 * len(stops), 4)) + b"".join(map(socket.inet_aton, stops))
    return data + bytes(-len(data) % 4)


def behind(frame: bytes, *headers: tuple[int, bytes]) -> bytes:
    """An IPv6 frame with these extension headers in front of what it carried: type, and all but its first byte."""
    kinds = [*(kind for kind, _ in headers), frame[20]]
    chain = b"".join(bytes((after,)) + body for after, (_, body) in zip(kinds[1:], headers, strict=True))
    size = struct.pack("!H", len(frame) - 54 + len(chain))
    return frame[:18] + size + bytes((kinds[0],)) + frame[21:54] + chain + frame[54:]


def with_options(frame: bytes, options: bytes) -> bytes:
    """An IPv4 frame with these options: a multiple of 4 bytes."""
    head = bytes((0x45 + len(options) // 4, 0)) + struct.pack("!H", len(frame) - 14 + len(options)) + frame[18:24] + b"\0\0" + frame[26:34] + options
    return frame[:14] + head[:10] + _sum(head) + head[12:] + frame[34:]


def pieces(frame: bytes, *cuts: int, ident: int = 77) -> list[bytes]:
    """Fragments, cut at these offsets of what IP carries (each a multiple of 8)."""
    six = frame[12:14] == b"\x86\xdd"
    start = 54 if six else 34
    whole, edges = frame[start:], [0, *cuts, len(frame) - start]
    found = []
    for at, end in zip(edges, edges[1:], strict=False):
        more = end < len(whole)
        if six:
            piece = frame[:start] + whole[at:end]
            found.append(behind(piece, (FRAGMENT, b"\0" + struct.pack("!HI", at | more, ident))))
        else:
            head = frame[14:16] + struct.pack("!HHH", 20 + end - at, ident, at // 8 | more << 13) + frame[22:24] + b"\0\0" + frame[26:34]
            found.append(frame[:14] + head[:10] + _sum(head) + head[12:] + whole[at:end])
    return found


def arp_reply(mac: bytes, claimed: str, asker: bytes, asker_address: str) -> bytes:
    """`claimed` is at `mac`, says its sender (RFC 826)."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 2) + mac + socket.inet_aton(claimed) + asker + socket.inet_aton(asker_address)
    return asker + mac + b"\x08\x06" + body


def neighbour_advert(mac: bytes, src: str, claimed: str, dst: str) -> bytes:
    """Solicited, to override what was known (RFC 4861, 4.4)."""
    body = struct.pack("!BBHI", 136, 0, 0, 0x6000_0000) + socket.inet_pton(socket.AF_INET6, claimed) + b"\x02\x01" + mac
    return _frame(mac, src, dst, 58, body, 2, hops=255)


def icmp(mac: bytes, src: str, dst: str, kind: int, data: bytes) -> bytes:
    return _frame(mac, src, dst, 58 if ":" in dst else 1, struct.pack("!BBHI", kind, 0, 0, 0x4404_0001) + data, 2)


def too_big(mac: bytes, src: str, dst: str, packet: bytes) -> bytes:
    """An error about `packet`, which it quotes (RFC 792; RFC 4443, 3.2)."""
    kind, code, proto = (2, 0, 58) if ":" in dst else (3, 4, 1)
    return _frame(mac, src, dst, proto, struct.pack("!BBHI", kind, code, 0, 1_280) + packet, 2)


def _frame(mac: bytes, src: str, dst: str, proto: int, body: bytes, checksum_at: int, *, hops: int = 64) -> bytes:
    if ":" in dst:
        a, b = socket.inet_pton(socket.AF_INET6, src), socket.inet_pton(socket.AF_INET6, dst)
        pseudo = a + b + struct.pack("!IxxxB", len(body), proto)
        head = struct.pack("!IHBB", 6 << 28, len(body), proto, hops) + a + b
    else:
        a, b = socket.inet_aton(src), socket.inet_aton(dst)
        pseudo = b"" if proto == 1 else a + b + struct.pack("!xBH", proto, len(body))
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 7, 0, hops, proto, 0) + a + b
        head = head[:10] + _sum(head) + head[12:]
    body = body[:checksum_at] + _sum(pseudo + body) + body[checksum_at + 2 :]
    return GATEWAY_MAC + mac + (b"\x86\xdd" if ":" in dst else b"\x08\x00") + head + body


def _sum(data: bytes) -> bytes:
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)
