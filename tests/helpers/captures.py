"""Captures made by ourselves: packets, links and files byte by byte, so that a clone without other people's has them.

`CASES` are small files with known content; `python tests/helpers/captures.py DIR` writes them out for other tools.
"""

from __future__ import annotations

import gzip
import struct
import sys
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import hpack
import quicwriter
import talk as said

PHONE, PHONE6 = "10.77.0.10", "2001:db8:77::10"
FAR, FAR6 = "198.51.100.7", "2001:db8:51::7"
OUR_MAC, THEIR_MAC = bytes.fromhex("020000000101"), bytes.fromhex("020000000202")
START = 1_400_000_000.0
Packets = list[tuple[float, bytes]]
ETHERNET = 1

SYN, ACK, PSH, FIN, RST = 2, 16, 8, 1, 4


# -- packets -----------------------------------------------------------------------------------------------------------


def ip(src: str, dst: str, proto: int, body: bytes, *, ident: int = 1) -> bytes:
    a, b = ip_address(src).packed, ip_address(dst).packed
    if len(a) == 16:
        return struct.pack("!IHBB", 6 << 28, len(body), proto, 64) + a + b + body
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, 0, 64, proto, 0) + a + b + body


def tcp(src: str, sport: int, dst: str, dport: int, seq: int, flags: int, data: bytes = b"", *, ack: int = 0) -> bytes:
    head = struct.pack("!HHIIBBHHH", sport, dport, seq % (1 << 32), ack % (1 << 32), 5 << 4, flags, 65535, 0, 0)
    return ip(src, dst, 6, head + data)


def udp(src: str, sport: int, dst: str, dport: int, data: bytes) -> bytes:
    return ip(src, dst, 17, struct.pack("!HHHH", sport, dport, 8 + len(data), 0) + data)


def fragments(packet: bytes, size: int) -> list[bytes]:
    """An IP packet cut into pieces that carry `size` bytes each."""
    if packet[0] >> 4 == 4:
        head, body = packet[:20], packet[20:]
        cut = []
        for at in range(0, len(body), size):
            part = body[at : at + size]
            more = 0x2000 if at + size < len(body) else 0
            cut.append(head[:2] + struct.pack("!H", 20 + len(part)) + head[4:6] + struct.pack("!H", more | at >> 3) + head[8:] + part)
        return cut
    head, body = packet[:40], packet[40:]
    cut = []
    for at in range(0, len(body), size):
        part = body[at : at + size]
        more = 1 if at + size < len(body) else 0
        extension = struct.pack("!BBHI", head[6], 0, at | more, 77)
        cut.append(head[:4] + struct.pack("!HB", 8 + len(part), 44) + head[7:] + extension + part)
    return cut


class Talk:
    """One TCP connection of the phone. Each call adds packets, a millisecond apart."""

    def __init__(self, *, dst: str = FAR, dport: int = 443, sport: int = 40000, isn: int = 1000, at: float = START, src: str = "") -> None:
        self.src = src or (PHONE6 if ":" in dst else PHONE)
        self.dst, self.sport, self.dport = dst, sport, dport
        self.packets: Packets = []
        self.time, self.seq, self.back = at, isn + 1, 5_000_001

    def add(self, packet: bytes) -> Talk:
        self.packets.append((self.time, packet))
        self.time += 0.001
        return self

    def up(self, flags: int, data: bytes = b"", *, seq: int | None = None) -> Talk:
        return self.add(tcp(self.src, self.sport, self.dst, self.dport, self.seq if seq is None else seq, flags, data, ack=self.back))

    def down(self, flags: int, data: bytes = b"", *, seq: int | None = None) -> Talk:
        return self.add(tcp(self.dst, self.dport, self.src, self.sport, self.back if seq is None else seq, flags, data, ack=self.seq))

    def shake(self) -> Talk:
        self.add(tcp(self.src, self.sport, self.dst, self.dport, self.seq - 1, SYN))
        return self.down(SYN | ACK, seq=self.back - 1).up(ACK)

    def say(self, data: bytes, size: int = 1400) -> Talk:
        for at in range(0, len(data), size):
            part = data[at : at + size]
            self.up(PSH | ACK, part)
            self.seq += len(part)
        return self

    def answer(self, data: bytes = b"x" * 100) -> Talk:
        self.down(PSH | ACK, data)
        self.back += len(data)
        return self

    def close(self) -> Talk:
        return self.up(FIN | ACK).down(FIN | ACK)


# -- what is said ------------------------------------------------------------------------------------------------------


def hello(*names: str, pad: int = 0, ech: bytes = b"") -> bytes:
    """The handshake message (RFC 8446, 4.1.2), without a record around it."""
    extensions = b""
    for name in names:
        host = name.encode()
        extensions += struct.pack("!HHHBH", 0, len(host) + 5, len(host) + 3, 0, len(host)) + host
    if ech:
        extensions += struct.pack("!HH", 0xFE0D, len(ech)) + ech
    if pad:
        extensions += struct.pack("!HH", 21, pad) + bytes(pad)
    body = b"\x03\x03" + bytes(range(32)) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack("!H", len(extensions)) + extensions
    return b"\x01" + len(body).to_bytes(3, "big") + body


def records(message: bytes, size: int = 16_000) -> bytes:
    parts = [message[at : at + size] for at in range(0, len(message), size)]
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in parts)


def get(host: str, path: str = "/") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n".encode()


def labels(name: str) -> bytes:
    return b"".join(bytes((len(label),)) + label.encode() for label in name.split(".")) + b"\0"


def question(name: str, qtype: int = 1, ident: int = 7) -> bytes:
    return struct.pack("!HHHHHH", ident, 0x100, 1, 0, 0, 0) + labels(name) + struct.pack("!HH", qtype, 1)


def reply(name: str, *addresses: str, chain: tuple[str, ...] = (), ident: int = 7, ttl: int = 300) -> bytes:
    qtype = 28 if addresses and ":" in addresses[0] else 1
    owner, rows = name, []
    for alias in chain:
        target = labels(alias)
        rows.append(labels(owner) + struct.pack("!HHIH", 5, 1, ttl, len(target)) + target)
        owner = alias
    for address in addresses:
        packed = ip_address(address).packed
        rows.append(labels(owner) + struct.pack("!HHIH", qtype, 1, ttl, len(packed)) + packed)
    head = struct.pack("!HHHHHH", ident, 0x8180, 1, len(rows), 0, 0)
    return head + labels(name) + struct.pack("!HH", qtype, 1) + b"".join(rows)


def asked(name: str, *addresses: str, chain: tuple[str, ...] = (), at: float = START - 10, sport: int = 53000) -> Packets:
    """The phone asks a resolver and is answered."""
    qtype = 28 if addresses and ":" in addresses[0] else 1
    return [
        (at, udp(PHONE, sport, "9.9.9.9", 53, question(name, qtype))),
        (at + 0.01, udp("9.9.9.9", 53, PHONE, sport, reply(name, *addresses, chain=chain))),
    ]


# -- links -------------------------------------------------------------------------------------------------------------


def _sender(packet: bytes) -> bool:
    """Whether the phone sent it."""
    return ip_address(packet[12:16] if packet[0] >> 4 == 4 else packet[8:24]) in (ip_address(PHONE), ip_address(PHONE6))


def _kind(packet: bytes) -> bytes:
    return b"\x08\x00" if packet[0] >> 4 == 4 else b"\x86\xdd"


def _ethernet(packet: bytes, between: bytes = b"") -> bytes:
    ends = THEIR_MAC + OUR_MAC if _sender(packet) else OUR_MAC + THEIR_MAC
    return ends + between + (_kind(packet) if not between.endswith(b"!") else b"") + packet


def _ppp(packet: bytes) -> bytes:
    return (b"\0\x21" if packet[0] >> 4 == 4 else b"\0\x57") + packet


def _wifi(packet: bytes, flags: int = 1) -> bytes:
    """A data frame with quality of service; by default from a station to its access point."""
    ap = bytes.fromhex("020000000303")
    first, second, third = (ap, OUR_MAC, THEIR_MAC) if flags & 1 else (OUR_MAC, ap, THEIR_MAC)
    return b"\x88" + bytes((flags,)) + b"\0\0" + first + second + third + b"\0\0" + b"\0\0" + b"\xaa\xaa\x03\0\0\0" + _kind(packet) + packet


def _snap(packet: bytes) -> bytes:
    return b"\xaa\xaa\x03\0\0\0" + _kind(packet) + packet


def _nlpid(packet: bytes) -> bytes:
    return b"\xcc" if packet[0] >> 4 == 4 else b"\x8e"


def several(*packets: bytes, flags: int = 1) -> bytes:
    """Frames in one (A-MSDU) behind radiotap, from a station to its access point."""
    ap = bytes.fromhex("020000000303")
    body = b""
    for packet in packets:
        body += bytes(-len(body) % 4) + THEIR_MAC + OUR_MAC + struct.pack("!H", len(packet) + 8) + _snap(packet)
    return b"\0\0\x08\0" + bytes(4) + b"\x88" + bytes((flags,)) + b"\0\0" + ap + OUR_MAC + ap + b"\0\0" + b"\x80\0" + body


def _radiotap(packet: bytes) -> bytes:
    return b"\0\0\x0c\0" + bytes(8) + _wifi(packet)


def _nflog(packet: bytes) -> bytes:
    prefix = struct.pack("<HH", 8, 10) + b"abc\0"
    return bytes(4) + prefix + struct.pack("<HH", 4 + len(packet), 9) + packet


LINKS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "ethernet": (1, _ethernet),
    "vlan": (1, lambda packet: _ethernet(packet, b"\x81\x00\0\x0a")),
    "qinq": (1, lambda packet: _ethernet(packet, b"\x88\xa8\0\x0a\x81\x00\0\x0b")),
    "vn-tag": (1, lambda packet: _ethernet(packet, b"\x89\x26\0\1\0\2")), "e-tag": (1, lambda packet: _ethernet(packet, b"\x89\x3f" + bytes(6))),
    "provider": (1, lambda packet: _ethernet(packet, b"\x88\xa8\0\x0a\x88\xe7\0\1\2\3" + THEIR_MAC + OUR_MAC)),
    "pppoe": (1, lambda packet: (THEIR_MAC + OUR_MAC) + b"\x88\x64\x11\0\0\x01" + struct.pack("!H", len(packet) + 2) + _ppp(packet)),
    "mpls": (1, lambda packet: (THEIR_MAC + OUR_MAC) + b"\x88\x47" + b"\0\x01\0\x40\0\x02\x01\x40" + packet),
    "llc-snap": (1, lambda packet: (THEIR_MAC + OUR_MAC) + struct.pack("!H", len(packet) + 8) + b"\xaa\xaa\x03\0\0\0" + _kind(packet) + packet),
    "null": (0, lambda packet: struct.pack("<I", 2 if packet[0] >> 4 == 4 else 30) + packet),
    "loop": (108, lambda packet: struct.pack(">I", 2 if packet[0] >> 4 == 4 else 24) + packet),
    "raw": (101, lambda packet: packet),
    "raw-bsd": (12, lambda packet: packet),
    "ppp": (9, lambda packet: b"\xff\x03" + _ppp(packet)),
    "ppp-short": (9, lambda packet: _ppp(packet)[1:]),
    "ppp-hdlc": (50, lambda packet: b"\xff\x03" + _ppp(packet)),
    "c-hdlc": (104, lambda packet: b"\x0f\0" + _kind(packet) + packet),
    "cooked": (113, lambda packet: b"\0\x04\0\x01\0\x06" + (OUR_MAC if _sender(packet) else THEIR_MAC) + b"\0\0" + _kind(packet) + packet),
    "cooked-2": (276, lambda packet: _kind(packet) + b"\0\0\0\0\0\x03\0\x01\x04\x06" + (OUR_MAC if _sender(packet) else THEIR_MAC) + b"\0\0" + packet),
    "cooked-vlan": (113, lambda packet: b"\0\x04\0\x01\0\x06" + OUR_MAC + b"\0\0\x81\0\0\x05" + _kind(packet) + packet),
    "wifi": (105, lambda packet: _wifi(packet, 1 if _sender(packet) else 2)),
    "radiotap": (127, _radiotap),
    "nflog": (239, _nflog),
    "macsec": (1, lambda packet: _ethernet(packet, b"\x88\xe5\x20\0" + bytes(12))),
    "macsec-short": (1, lambda packet: _ethernet(packet, b"\x88\xe5\0\0" + bytes(4))),
    "nsh": (1, lambda packet: (THEIR_MAC + OUR_MAC) + b"\x89\x4f\x0f\xc2\2" + (b"\1" if packet[0] >> 4 == 4 else b"\2") + bytes(4) + packet),
    "nsh-bridged": (1, lambda packet: (THEIR_MAC + OUR_MAC) + b"\x89\x4f\x0f\xc2\2\3" + bytes(4) + _ethernet(packet)),
    "fabric-path": (1, lambda packet: (THEIR_MAC + OUR_MAC) + b"\x89\x03\0\1" + _ethernet(packet)),
    "hsr": (1, lambda packet: _ethernet(packet, b"\x89\x2f\0\1\0\2")),
    "slip": (8, lambda packet: bytes(16) + packet),
    "ppp-pppd": (166, lambda packet: b"\1\3" + _ppp(packet)),
    "ppp-way": (204, lambda packet: b"\0\xff\3" + _ppp(packet)),
    "ppp-mpls": (9, lambda packet: b"\2\x81\0\1\1\x40" + packet),
    "ppp-cisco": (9, lambda packet: b"\x0f\0" + _kind(packet) + packet),
    "c-hdlc-way": (205, lambda packet: b"\1\x8f\0" + _kind(packet) + packet),
    "frame-relay": (107, lambda packet: b"\x18\x41\3" + _nlpid(packet) + packet),
    "frame-relay-pad": (107, lambda packet: b"\x18\x40\x41\3\0" + _nlpid(packet) + packet),
    "frame-relay-snap": (107, lambda packet: b"\x18\x41\3\0\x80\0\0\0" + _kind(packet) + packet),
    "frame-relay-cisco": (206, lambda packet: b"\1\x18\x41" + _kind(packet) + packet),
    "pflog": (117, lambda packet: b"\x3d\2" + bytes(62) + packet),
    "mpls-alone": (219, lambda packet: b"\0\1\0\x40\0\2\1\x40" + packet),
    "ipnet": (226, lambda packet: bytes(24) + packet),
    "token-ring": (6, lambda packet: b"\x10\x40" + THEIR_MAC + OUR_MAC + _snap(packet)),
    "token-ring-routed": (6, lambda packet: b"\x10\x40" + THEIR_MAC + b"\x80" + OUR_MAC[1:] + b"\x06\0\0\1\0\2" + _snap(packet)),
    "fddi": (10, lambda packet: b"\x50" + THEIR_MAC + OUR_MAC + _snap(packet)),
    "fibre-channel": (122, lambda packet: bytes(16) + _snap(packet)),
    "atm": (100, _snap),
    "sun-atm": (123, lambda packet: b"\2\0\0\5" + _snap(packet)),
    "firewire": (138, lambda packet: bytes(16) + _kind(packet) + packet),
    "infiniband": (242, lambda packet: bytes(40) + _kind(packet) + b"\0\0" + packet),
    "netanalyzer": (240, lambda packet: bytes(4) + _ethernet(packet)),
    "netanalyzer-sfd": (241, lambda packet: bytes(4) + b"\x55" * 7 + b"\xd5" + _ethernet(packet)),
    "mpacket": (274, lambda packet: b"\x55" * 7 + b"\xd5" + _ethernet(packet)),
    "broadcom": (281, lambda packet: _ethernet(packet, b"\0\0\0\1")),
    "broadcom-before": (282, lambda packet: b"\0\0\0\1" + _ethernet(packet)),
    "marvell": (284, lambda packet: _ethernet(packet, b"\x40\0\0\0")),
    "marvell-long": (285, lambda packet: _ethernet(packet, b"\xda\xda\0\0\x40\0\0\0")),
}


# -- files -------------------------------------------------------------------------------------------------------------


def pcap(packets: Iterable[tuple[float, bytes]], link: int = ETHERNET, *, order: str = "<", nano: bool = False) -> bytes:
    """Frames, not packets."""
    unit = 1_000_000_000 if nano else 1_000_000
    out = [struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262_144, link)]
    for time, frame in packets:
        out.append(struct.pack(order + "IIII", int(time), round(time % 1 * unit), len(frame), len(frame)) + frame)
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int, order: str = "<", *, resolution: int | None = None, offset: int | None = None, snaplen: int = 0) -> bytes:
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHBxxx", 9, 1, resolution)
    if offset is not None:
        options += struct.pack(order + "HHq", 14, 8, offset)
    return block(1, struct.pack(order + "HHI", link, 0, snaplen) + options + (bytes(4) if options else b""), order)


def enhanced(time: float, frame: bytes, order: str = "<", *, number: int = 0, units: float = 1e6) -> bytes:
    stamp = round(time * units)
    return block(6, struct.pack(order + "IIIII", number, stamp >> 32, stamp & 0xFFFF_FFFF, len(frame), len(frame)) + frame + bytes(-len(frame) % 4), order)


def pcapng(packets: Iterable[tuple[float, bytes]], link: int = ETHERNET, order: str = "<") -> bytes:
    return section(order) + interface(link, order) + b"".join(enhanced(time, frame, order) for time, frame in packets)


def on(link: str, packets: Packets) -> list[tuple[float, bytes]]:
    """Packets as frames of that link."""
    _, framed = LINKS[link]
    return [(time, framed(packet)) for time, packet in packets]


# -- cases -------------------------------------------------------------------------------------------------------------

Case = tuple[bytes, list[dict[str, Any]]]
CASES: dict[str, Case] = {}


def case(name: str, packets: Packets, *rows: dict[str, Any], link: str = "ethernet", write: Callable[..., bytes] = pcap, **how: Any) -> None:
    CASES[name] = write(on(link, sorted(packets, key=lambda packet: packet[0])), LINKS[link][0], **how), list(rows)


def _tls(name: str = "www.example.com", **where: Any) -> Packets:
    return Talk(**where).shake().say(records(hello(name))).answer().close().packets


def _cases() -> None:
    www = {"proto": "tcp", "name": "www.example.com", "via": "sni", "dport": 443, "verdict": "allow"}
    long = records(hello("www.example.com", pad=2_000))
    for link in LINKS:
        case(f"link-{link}", _tls(), www, link=link)
    case("tls-ipv6", _tls(dst=FAR6), {**www, "dst": FAR6})
    case("tls-ipv6-cooked-2", _tls(dst=FAR6), {**www, "dst": FAR6}, link="cooked-2")
    case("big-endian", _tls(), www, order=">")
    case("nanoseconds", _tls(), www, nano=True)
    case("nanoseconds-big-endian", _tls(), www, nano=True, order=">")
    case("pcapng", _tls(), www, write=pcapng)
    case("pcapng-big-endian", _tls(), www, write=pcapng, order=">")
    CASES["gzipped"] = gzip.compress(CASES["big-endian"][0], mtime=0), [www]
    CASES["pcapng-gzipped"] = gzip.compress(CASES["pcapng"][0], mtime=0), [www]

    for dst in (FAR, FAR6):
        family = "-ipv6" if dst is FAR6 else ""
        case(f"tls-two-segments{family}", Talk(dst=dst).shake().say(long).answer().packets, www)
        case(f"tls-one-byte-segments{family}", Talk(dst=dst).shake().say(records(hello("www.example.com")), 1).answer().packets, www)
        backwards = Talk(dst=dst).shake().say(long, 300)
        times = [time for time, _ in backwards.packets]
        turned = backwards.packets[:3] + backwards.packets[:2:-1]
        case(f"tls-reversed{family}", [(time, packet) for time, (_, packet) in zip(times, turned, strict=True)], www)
        case(f"tls-duplicated{family}", [packet for packet in Talk(dst=dst).shake().say(long, 500).packets for _ in range(2)], www)
        case(f"tls-backwards-without-handshake{family}", [(time, packet) for time, (_, packet) in zip(times, turned[3:], strict=False)], www)
        whole = tcp(PHONE6 if ":" in dst else PHONE, 40000, dst, 443, 1001, PSH | ACK, long)
        shake = Talk(dst=dst).shake().packets
        case(f"tls-in-fragments{family}", [*shake, *((START + 1 + n / 1000, part) for n, part in enumerate(fragments(whole, 512)))], www)
        case(
            f"tls-in-fragments-backwards{family}",
            [*shake, *((START + 1 + n / 1000, part) for n, part in enumerate(reversed(fragments(whole, 512))))], www,
        )
    case("tls-many-records", Talk().shake().say(records(hello("www.example.com"), 7)).packets, www)
    case("tls-16-kib", Talk().shake().say(records(hello("www.example.com", pad=15_900))).packets, www)
    overlapping = Talk().shake()
    for start in range(0, len(long), 300):
        overlapping.up(PSH | ACK, long[start : start + 450], seq=1001 + start)
    case("tls-overlaps-that-agree", overlapping.packets, www)
    case("tls-sequence-wraps", _tls(isn=(1 << 32) - 20), www)
    case("tls-another-port", _tls(dport=31337), {**www, "dport": 31337})
    case("tls-no-name", Talk().shake().say(records(hello())).packets, {"name": "", "via": "none", "names": []})
    case("tls-address-for-a-name", Talk().shake().say(records(hello(FAR))).packets, {"name": FAR, "via": "none"})
    case("tls-port-in-the-name", Talk().shake().say(records(hello("www.example.com:443"))).packets, www)
    case("tls-two-names", Talk().shake().say(records(hello("a.example", "b.example"))).packets, {
        "name": "a.example", "names": [{"name": "a.example", "source": "sni"}, {"name": "b.example", "source": "sni"}],
    })
    case("tls-hidden-name", Talk().shake().say(records(hello("public.example", ech=b"\0" * 60))).packets, {"name": "public.example", "hidden": True})
    case("tls-never-finished", [*Talk().shake().say(long[:-1]).packets, *Talk(sport=40001, at=START + 9).shake().packets],
         {"via": "unfinished", "verdict": "block", "rule": "baseline/1"}, {"verdict": "held", "sport": 40001})
    case("tls-middle-segment-missing", Talk().shake().say(long, 500).packets[:4] + Talk().shake().say(long, 500).packets[5:],
         {"via": "unfinished", "verdict": "block"})
    case("tls-no-handshake", Talk().say(long).answer().packets, www)
    case("tls-answer-first", Talk().shake().say(long).packets[1:], www)
    opening = Talk()
    opening.up(SYN, records(hello("www.example.com")), seq=opening.seq - 1).down(SYN | ACK, seq=opening.back - 1)
    case("tls-fast-open", opening.packets, www)
    case("server-speaks-first", Talk(dport=993).shake().answer(b"* OK ready\r\n").say(records(hello("mail.example"))).packets,
         {"name": "mail.example", "dport": 993})
    case("starttls", Talk(dport=25).shake().answer(b"220 hi\r\n").say(b"EHLO me\r\n").answer().say(b"STARTTLS\r\n").answer().say(records(hello("mx.example"))).packets,
         {"name": "mx.example", "via": "sni"})
    case("ports-used-again", _tls("one.example") + _tls("two.example", isn=900_000, at=START + 5),
         {"name": "one.example"}, {"name": "two.example"})

    http = {"proto": "tcp", "dport": 80, "via": "http", "verdict": "allow"}
    for dst in (FAR, FAR6):
        family = "-ipv6" if dst is FAR6 else ""
        case(f"http{family}", Talk(dst=dst, dport=80).shake().say(get("Shop.Example:80")).answer().packets, {**http, "name": "shop.example"})
    case("http-split", Talk(dport=80).shake().say(get("shop.example"), 5).packets, {**http, "name": "shop.example"})
    case("http-keep-alive", Talk(dport=80).shake().say(get("one.example")).answer().say(get("two.example")).answer().packets, {
        **http, "name": "one.example", "names": [{"name": name, "source": "http"} for name in ("one.example", "two.example")],
    })
    case("http-pipelined", Talk(dport=80).shake().say(get("one.example") + get("two.example")).packets, {
        "names": [{"name": name, "source": "http"} for name in ("one.example", "two.example")],
    })
    case("http-absolute-uri", Talk(dport=80).shake().say(get("host.example", "http://uri.example/")).packets, {
        "names": [{"name": name, "source": "http"} for name in ("uri.example", "host.example")],
    })
    unsure = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc"
    case("http-nobody-is-sure-of", Talk(dport=80).shake().say(unsure).answer().say(unsure).answer().say(unsure).packets, {
        "names": [{"name": "shop.example", "source": "http"}], "rule": "baseline/1",
    })
    case("http-address", Talk(dport=8080).shake().say(get(f"{FAR}:8080")).packets, {"name": FAR, "via": "none"})
    case("http-connect", Talk(dport=3128).shake().say(b"CONNECT far.example:443 HTTP/1.1\r\n\r\n").answer(b"HTTP/1.1 200 OK\r\n\r\n").say(records(hello("inside.example"))).packets, {
        "names": [{"name": "far.example", "source": "http"}, {"name": "inside.example", "source": "sni"}],
    })

    quic = {"proto": "udp", "dport": 443, "name": "www.example.com", "via": "quic"}
    message = hello("www.example.com", pad=1_500)
    parts = [quicwriter.crypto(at, message[at : at + 600]) for at in range(0, len(message), 600)]
    for dst in (FAR, FAR6):
        src, family = (PHONE6, "-ipv6") if dst is FAR6 else (PHONE, "")
        whole = [quicwriter.initial(quicwriter.crypto(0, hello("www.example.com")))]
        flight = [quicwriter.initial(part, number=n) for n, part in enumerate(parts)]
        for name, datagrams in (("quic", whole), ("quic-three-datagrams", flight), ("quic-three-datagrams-backwards", flight[::-1])):
            case(f"{name}{family}", [(START + n / 1000, udp(src, 40000, dst, 443, one)) for n, one in enumerate(datagrams)], {**quic, "dst": dst})
    for word, version in (("version-2", quicwriter.V2), ("draft-29", quicwriter.DRAFT_29)):
        one = quicwriter.initial(quicwriter.crypto(0, hello("www.example.com")), version=version)
        case(f"quic-{word}", [(START, udp(PHONE, 40000, FAR, 443, one)), (START + 1, udp(FAR, 443, PHONE, 40000, bytes(50)))], quic)
    again = quicwriter.initial(quicwriter.crypto(0, hello("www.example.com")), dcid=b"another1", token=b"token", number=1)
    case("quic-after-retry", [
        *((START + n / 1000, udp(PHONE, 40000, FAR, 443, one)) for n, one in enumerate(flight)),
        (START + 1, udp(FAR, 443, PHONE, 40000, quicwriter.long_header(3, b"token" * 5))),
        (START + 2, udp(PHONE, 40000, FAR, 443, again)),
    ], quic)
    refused = [quicwriter.initial(quicwriter.crypto(at, hello("dns.google", pad=1_500)[at : at + 800]), number=at // 800) for at in (0, 800)]
    case("quic-refused-name", [(START + n, udp(PHONE, 40000, FAR, 443, one)) for n, one in enumerate(refused)],
         {"name": "dns.google", "via": "quic", "verdict": "block"})
    case("quic-never-finished", [(START, udp(PHONE, 40000, FAR, 443, refused[0]))], {"name": "", "via": "unfinished", "verdict": "block"})
    search = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n\r\n"
    case("ssdp", [(START, udp(PHONE, 40000, "239.255.255.250", 1900, search))], {"name": "239.255.255.250", "via": "none"})
    for version in (b"Q043", b"Q050"):
        case(f"quic-google-{version.decode()}", [(START, udp(PHONE, 40000, FAR, 443, quicwriter.google("www.example.com", version)))],
             {**quic, "via": "quic-unknown", "verdict": "block", "names": [{"name": "www.example.com", "source": "quic"}]})
    case("quic-noise-first", [(START, udp(PHONE, 40000, FAR, 443, b"\x40noise")), (START + 1, udp(PHONE, 40000, FAR, 443, whole[0]))], quic)

    wireguard = b"\x01\0\0\0" + bytes(range(144))
    case("wireguard", [(START, udp(PHONE, 40000, FAR, 51820, wireguard))], {"proto": "udp", "name": "", "via": "tunnel"})
    case("ssh", Talk(dport=2222).shake().answer(b"SSH-2.0-x\r\n").say(b"SSH-2.0-OpenSSH_9\r\n").packets, {"name": "", "via": "tunnel"})
    case("xiaomi", Talk(dport=5222).shake().say(said.conn(b"app.chat.global.xiaomi.net")).packets, {"name": "app.chat.global.xiaomi.net", "via": "xiaomi"})
    second = said.frame(4) + said.headers(hpack.Encoder(), "h2.example")
    case("http2-without-tls", Talk(dport=8080).shake().say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + second).packets, {"name": "h2.example", "via": "http"})
    case("socks", Talk(dport=1080).shake().say(b"\5\1\0").answer(b"\5\0").say(b"\5\1\0\1" + bytes(6)).answer(b"\5\0\0\1" + bytes(6)).say(get("inside.example")).packets,
         {"name": "inside.example", "via": "http"})
    case("httpdns", Talk(dport=80, dst="203.107.1.65").shake().say(get("203.107.1.65", "/100000/d?host=shop.example")).packets, {
        "name": "shop.example", "via": "httpdns",
        "names": [{"name": "shop.example", "source": "httpdns"}, {"name": "203.107.1.65", "source": "http"}],
    })

    dns = {"proto": "udp", "dport": 53, "via": "dns", "verdict": "allow"}
    mute = Talk(dport=5000).shake().say(b"\x00\x01\x02").packets
    case("dns-name", asked("shop.example", FAR) + mute, {**dns, "name": "shop.example"}, {"name": "shop.example", "via": "dns", "dport": 5000})
    case("dns-name-ipv6", asked("shop.example", FAR6) + Talk(dst=FAR6, dport=5000).shake().say(b"\x00\x01").packets,
         dns, {"name": "shop.example", "via": "dns", "dst": FAR6})
    case("dns-chain", asked("shop.example", FAR, chain=("edge.cdn.example",)) + mute, dns, {
        "names": [{"name": name, "source": "dns"} for name in ("shop.example", "edge.cdn.example")],
    })
    home = Talk(dst="192.168.66.2", dport=5000).shake().say(b"\0").packets
    case("dns-name-in-a-lab", asked("shop.example", "192.168.66.2") + home, dns, {"name": "shop.example", "via": "dns", "dport": 5000})
    later = asked("late.example", FAR, at=START + 9, sport=53001)  # after it began
    case("dns-name-of-a-handshake", asked("shop.example", FAR) + Talk(dport=5000).shake().packets + later,
         dns, {"name": "shop.example", "via": "dns", "verdict": "held"}, {"name": "late.example"})
    case("dns-two-names", asked("one.example", FAR) + asked("two.example", FAR, sport=53001, at=START - 9) + mute,
         dns, dns, {"name": "", "via": "ambiguous"})
    case("dns-refused-name", asked("dns.google", FAR) + mute, {**dns, "name": "dns.google", "verdict": "block"}, {"name": "dns.google", "verdict": "block"})
    case("dns-over-tcp", Talk(dport=53, dst="9.9.9.9").shake().say(struct.pack("!H", len(question("shop.example"))) + question("shop.example")).packets,
         {"proto": "tcp", "dport": 53, "name": "shop.example", "via": "dns"})
    answer = reply("shop.example", FAR)
    case("dns-over-tcp-answer", Talk(dport=53, dst="9.9.9.9", sport=39000, at=START - 5).shake().say(b"\0\x1e" + question("shop.example"))
         .answer(struct.pack("!H", len(answer)) + answer).packets + mute,
         {"dport": 53}, {"name": "shop.example", "via": "dns", "dport": 5000})
    case("dns-over-tcp-in-pieces", Talk(dport=53, dst="9.9.9.9", sport=39000, at=START - 5).shake().say(b"\0\x1e" + question("shop.example"), 2)
         .answer(struct.pack("!H", len(answer))).answer(answer[:20]).answer(answer[20:]).packets + mute,
         {"dport": 53, "name": "shop.example"}, {"name": "shop.example", "via": "dns", "dport": 5000})
    case("refused-name", _tls("dns.google"), {"name": "dns.google", "verdict": "block", "bytes_down": 220})
    case("refused-then-more", Talk(dport=80).shake().say(get("dns.google")).answer().say(get("after.example")).packets, {
        "name": "dns.google", "verdict": "block", "names": [{"name": name, "source": "http"} for name in ("dns.google", "after.example")],
    })
    case("refused-later", Talk(dport=80).shake().say(get("before.example")).answer().say(get("dns.google")).packets, {"name": "before.example", "verdict": "block"})
    case("udp", [(START, udp(PHONE, 9000, FAR, 9001, b"hi")), (START + 1, udp(FAR, 9001, PHONE, 9000, b"ho!"))],
         {"proto": "udp", "via": "none", "bytes_up": 30, "bytes_down": 31, "first": START, "last": START + 1})
    case("udp-answer-first", [(START, udp(FAR, 443, PHONE, 9000, b"ho"))], {"src": PHONE, "dst": FAR, "dport": 443, "bytes_up": 0})
    case("ping", [(START, ip(PHONE, FAR, 1, b"\x08\0\0\0\0\x07\0\x01")), (START + 1, ip(FAR, PHONE, 1, b"\0\0\0\0\0\x07\0\x01"))],
         {"proto": "icmp", "src": PHONE, "sport": 7, "bytes_up": 28, "bytes_down": 28})
    case("icmp-error", [(START, ip(FAR, PHONE, 1, b"\x03\x01" + bytes(30)))])
    case("tunnel", [(START, ip(PHONE, FAR, 47, bytes(20)))], {"proto": "47", "verdict": "block", "rule": "baseline/2"})
    case("handshake-only", Talk().shake().packets, {"verdict": "held", "name": "", "via": "none"})
    inner = tcp(PHONE6, 40000, FAR6, 443, 1001, PSH | ACK, records(hello("www.example.com")))
    options = inner[:4] + struct.pack("!HB", len(inner) - 40 + 16, 0) + inner[7:40] + b"\x3c\0\x01\x04\0\0\0\0" + b"\x06\0\x01\x04\0\0\0\0" + inner[40:]
    case("ipv6-extension-headers", [*Talk(dst=FAR6).shake().packets, (START + 1, options)], {**www, "dst": FAR6})


_cases()

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (data, _) in CASES.items():
        Path(folder, name + (".gz" if data[:2] == b"\x1f\x8b" else ".pcapng" if data[:4] == b"\n\r\r\n" else ".pcap")).write_bytes(data)
    print(f"{len(CASES)} captures in {folder}")
