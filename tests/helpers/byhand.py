"""TCP by hand: segments of any size, order, overlap, TTL, checksum and flags, over IPv4 and IPv6."""

from __future__ import annotations

import itertools
import os
import select
import socket
import struct
import time

FRIEND = {4: "198.51.100.44", 6: "2001:db8:feed::44"}
LISTED = {4: "42.62.48.181", 6: "2001:dc7::77"}
GOOD_NAME, EVIL_NAME = "www.friendly4u.example", "api.account.xiaomi.com"  # of one length
PORTS = (20_000, 29_999)
PORT = {"tls": 8443, "http": 80}
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
MD5 = b"\x13\x12" + bytes(16) + b"\1\1"  # RFC 2385; no server without a key takes it
RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446, 4.1.3
DIES = 2  # hops: behind the gate, and before the server
RULES = f"table inet hostile {{ chain in {{ type filter hook input priority 0; tcp dport {PORTS[0]}-{PORTS[1]} drop; }}; }}"
ports = itertools.count(PORTS[0] + os.getpid() % 5_000)


def hello(name: str | None, token: str, *, records: int = 0, extension: bytes = b"") -> bytes:
    """A ClientHello with the token in its session id, where a sink sees it in the clear; cut into records of that size."""
    if name is not None:
        host = name.encode()
        extension += b"\0\0" + struct.pack("!HHBH", len(host) + 5, len(host) + 3, 0, len(host)) + host
    body = b"\x03\x03" + bytes(32) + bytes([len(token)]) + token.encode() + b"\0\x02\x13\x01\x01\0" + struct.pack("!H", len(extension)) + extension
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    size = records or len(message)
    return b"".join(b"\x16\x03\x01" + struct.pack("!H", len(part)) + part for part in (message[n : n + size] for n in range(0, len(message), size)))


def request(name: str | None, token: str, method: str = "GET") -> bytes:
    return f"{method} /{token} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()


SPEECH = {"tls": hello, "http": request}


def checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class Raw:
    """One connection, made by hand. `window`: so many bytes its server may send at once."""

    window = 65_000

    def __init__(self, family: int, port: int, to: str | None = None, *, sport: int = 0, isn: int | None = None) -> None:
        self.family = family
        self.to = to or FRIEND[family]
        self.kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        with socket.socket(self.kind, socket.SOCK_DGRAM) as s:
            s.connect((self.to, 9))
            self.mine = s.getsockname()[0]
        self.ends = socket.inet_pton(self.kind, self.mine), socket.inet_pton(self.kind, self.to)
        self.sport, self.port = sport or next(ports), port
        self.isn = int.from_bytes(os.urandom(4)) if isn is None else isn % (1 << 32)
        self.ack = 0
        self.out = socket.socket(self.kind, socket.SOCK_RAW, socket.IPPROTO_RAW)
        if family == 6:
            self.out.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
        self.back = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x86DD if family == 6 else 0x0800))
        self.back.bind(("eth0", 0))

    def segment(self, seq: int, data: bytes, flags: int, options: bytes = b"", *, wrong: int = 0, urgent: int = 0, ack: int | None = None) -> bytes:
        """`wrong` is added to a right checksum."""
        head = struct.pack("!HHIIBBHHH", self.sport, self.port, seq % (1 << 32), self.ack if ack is None else ack, (20 + len(options)) // 4 << 4, flags, self.window, 0, urgent)
        whole = head + options + data
        pseudo = b"".join(self.ends) + (struct.pack("!IxxxB", len(whole), 6) if self.family == 6 else struct.pack("!xBH", 6, len(whole)))
        return whole[:16] + ((checksum(pseudo + whole) + wrong) & 0xFFFF).to_bytes(2) + whole[18:]

    def ip(self, body: bytes, ttl: int = 64, *, proto: int = 6, fragment: int = 0, ident: int = 0) -> None:
        if self.family == 6:
            whole = struct.pack("!IHBB", 6 << 28, len(body), proto, ttl) + b"".join(self.ends) + body
        else:
            whole = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), ident, fragment, ttl, proto, 0) + b"".join(self.ends) + body
        self.out.sendto(whole, (self.to, 0))

    def open(self, data: bytes = b"", options: bytes = b"\2\4\5\xb4") -> bool:
        """The handshake; `data` goes with the first SYN, and those after it are plain."""
        while self.answer(0) is not None:
            pass  # to an earlier connection of these ports
        for said in (data, b"", b""):
            self.ip(self.segment(self.isn, said, SYN, options))
            answer = self.answer(1.0)
            if answer is not None and answer[2] & SYN:
                self.ack = (answer[0] + 1) % (1 << 32)
                self.ip(self.segment(self.isn + 1, b"", ACK))
                return True
        return False

    def answer(self, seconds: float) -> tuple[int, int, int] | None:
        """The next segment that comes back: sequence number, acknowledgement, flags."""
        until = time.monotonic() + seconds
        while select.select([self.back], [], [], max(0.0, until - time.monotonic()))[0]:
            seen, (_, _, kind, *_) = self.back.recvfrom(2_048)
            at = 40 if self.family == 6 else (seen[0] & 15) * 4
            if kind != socket.PACKET_OUTGOING and len(seen) >= at + 14 and (seen[6] if self.family == 6 else seen[9]) == 6:
                sport, dport, seq, ack, _, flags = struct.unpack_from("!HHIIBB", seen, at)
                if (sport, dport) == (self.port, self.sport):
                    return seq, ack, flags
        return None

    def send(self, at: int, data: bytes, ttl: int = 64, flags: int = PSH | ACK, options: bytes = b"", **how: int) -> None:
        """`at`: counted from the first byte of the stream."""
        self.ip(self.segment(self.isn + 1 + at, data, flags, options, **how), ttl)

    def close(self) -> None:
        self.out.close()
        self.back.close()
