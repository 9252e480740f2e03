"""Run on a gateway: `fill_conntrack.py`. Fills the connection table of this network namespace by raw netlink, to its end.

The entries look like established connections with answers, so that the kernel does not push them out for newer ones
(nf_conntrack's early_drop). Prints how many there are, and waits for a line on stdin; then they are removed.
"""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from pathlib import Path

CTNETLINK, NEW = 1, 0
REQUEST, CREATE, EXCL = 0x1, 0x400, 0x200
SEEN_REPLY, ASSURED, CONFIRMED = 0x2, 0x4, 0x8
TIMEOUT = 120


def attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def tuple_of(kind: int, src: bytes, sport: int, dst: bytes, dport: int) -> bytes:
    addresses = attribute(1 | 0x8000, attribute(1, src) + attribute(2, dst))
    proto = attribute(2 | 0x8000, attribute(1, b"\x11") + attribute(2, struct.pack("!H", sport)) + attribute(3, struct.pack("!H", dport)))
    return attribute(kind | 0x8000, addresses + proto)


def entry(n: int) -> bytes:
    src, dst = struct.pack("!BBH", 172, 16 + n // 60000 % 16, n % 60000), bytes([172, 31, 255, 1])
    body = tuple_of(1, src, 1 + n // 60000, dst, 9) + tuple_of(2, dst, 9, src, 1 + n // 60000)
    body += attribute(3, struct.pack("!I", SEEN_REPLY | ASSURED | CONFIRMED)) + attribute(7, struct.pack("!I", TIMEOUT))
    return struct.pack("=IHHII", 20 + len(body), CTNETLINK << 8 | NEW, REQUEST | CREATE | EXCL, 0, 0) + struct.pack("!BBH", 2, 0, 0) + body


def number(name: str) -> int:
    return int(Path("/proc/sys/net/netfilter", name).read_text())


most = number("nf_conntrack_max")
link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
link.setsockopt(socket.SOL_SOCKET, 32, 4 << 20)  # SO_SNDBUFFORCE
link.setsockopt(270, 5, 1)  # NETLINK_NO_ENOBUFS: errors (it is full) are read by nobody
n = 0
while number("nf_conntrack_count") < most and n < 2 * most:
    link.send(b"".join(map(entry, range(n, n + 512))))
    n += 512
print(number("nf_conntrack_count"), most, flush=True)
sys.stdin.readline()
subprocess.run(["conntrack", "-D", "-p", "udp", "-r", "172.31.255.1"], capture_output=True, check=False)
subprocess.run(["conntrack", "-D", "-p", "udp", "-d", "172.31.255.1"], capture_output=True, check=False)
print(number("nf_conntrack_count"), flush=True)
