"""Run as a phone: `flood.py dns|syn|macs RATE SECONDS`. Prints how many it has sent. DNS: a new name each; SYN: a new port
each, both over IPv4 and IPv6 in turn; macs: a new MAC and IPv6 address each, with a SYN and a question in turn.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import struct
import sys
import time

import frames

GATEWAYS, SERVER = ("10.77.0.1", "2001:db8:77::1"), "198.51.100.90"


def total(data: bytes) -> int:
    value = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while value >> 16:
        value = (value & 0xFFFF) + (value >> 16)
    return ~value & 0xFFFF


def dns():
    sockets = [socket.socket((socket.AF_INET, socket.AF_INET6)[n % 2], socket.SOCK_DGRAM) for n in range(64)]
    for s in sockets:
        s.setblocking(False)
    for n in itertools.count():
        name = b"%016x" % int.from_bytes(os.urandom(8), "big")
        message = os.urandom(2) + struct.pack("!HHHHH", 0x100, 1, 0, 0, 0) + b"\x10" + name + b"\x08friendly\x07example\0" + struct.pack("!HH", 1, 1)
        yield sockets[n % 64], message, (GATEWAYS[n % 2], 53)


def syn():
    four, six = (socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) for family in (socket.AF_INET, socket.AF_INET6))
    four.setblocking(False)
    six.setblocking(False)
    six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM, 16)  # the kernel's work
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((SERVER, 9))
        own = socket.inet_aton(probe.getsockname()[0])
    for n in itertools.count():
        segment = struct.pack("!HHIIBBHHH", 1024 + n % 60000, 443, n, 0, 5 << 4, 2, 65535, 0, 0)
        if n % 2:
            yield six, segment, (f"2001:db8:feed::{90 + n % 50}", 0)
        else:
            to = f"198.51.{100 + n // 60000 % 4}.{90 + n % 50}"
            check = total(own + socket.inet_aton(to) + struct.pack("!xBH", 6, 20) + segment)
            yield four, segment[:16] + struct.pack("!H", check) + segment[18:], (to, 0)


def macs():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("eth0", 0))
    s.setblocking(False)
    for n in itertools.count():
        mac = b"\x06" + os.urandom(5)
        addr = f"2001:db8:77::{mac[1]:x}:{mac[2]:x}{mac[3]:02x}:{mac[4]:x}{mac[5]:02x}"
        if n % 2:
            message = struct.pack("!HHHHHH", n % 65536, 0x100, 1, 0, 0, 0) + b"\x08" + b"%08x" % n + b"\x08friendly\x07example\0\0\x1c\0\1"
            frame = frames.udp(mac, addr, "2001:db8:77::1", 53, message)
        else:
            frame = frames.tcp(mac, addr, 1024 + n % 60000, "2001:db8:feed::90", 443, seq=n, ack=0, flags=2)
        yield s, frame, None


def main(kind: str, rate: float, seconds: float) -> None:
    packets = {"dns": dns, "syn": syn, "macs": macs}[kind]()
    began = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - began) < seconds:
        while sent < passed * rate:
            s, message, to = next(packets)
            with contextlib.suppress(OSError):  # its own buffers are full, or it was told that nobody listens
                s.sendto(message, to) if to else s.send(message)
            sent += 1
        time.sleep(0.002)
    print(sent)


main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]))
