"""Run as a phone: `hostile_dns.py [SECONDS]`. b58 to b69 of threats-and-tests.md, as far as a phone can say them: each over
UDP and TCP, IPv4 and IPv6, again and again for SECONDS, at least once. After each round a good question, with a hundred
connections that say nothing; prints what was answered, and how long the good one took.
"""

from __future__ import annotations

import socket
import struct
import sys
import time
from contextlib import suppress

good = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + b"\x01y\x08friendly\x07example\0\0\1\0\1"
tail = b"\0\1\0\1"


def head(qd=1, flags=0x100, ar=0):
    return struct.pack("!6H", 7, flags, qd, 0, 0, ar)


hostile = {
    "pointer cycle": head() + b"\x03abc\xc0\x11" + b"x" * 17 + b"\xc0\x0c" + tail,
    "640 questions": head(640) + (b"\xc0\x0c" + tail) * 640,
    "no question": head(0), "two questions": head(2) + b"\x01a\0" + tail + b"\x01b\0" + tail, "65535 questions": head(65535) + b"\x01a\0" + tail,
    "name too long": head() + (b"\x3f" + b"a" * 63) * 4 + b"\0" + tail, "label type 0x40": head() + b"\x41a\0" + tail, "label type 0x80": head() + b"\x81a\0" + tail,
    "pointer to header": head() + b"\xc0\x00" + tail, "pointer to itself": head() + b"\xc0\x0c" + tail, "pointer ahead": head() + b"\xc0\x12" + tail + b"\0",
    "a response": head(flags=0x8180) + b"\x01a\0" + tail, "half a header": b"\0\1\1", "nothing": b"",
    "an update": head(flags=0x2900) + b"\x01a\0" + tail, "a notification": head(flags=0x2100) + b"\x01a\0" + tail,
    "class CHAOS": head() + b"\x01a\0\0\x10\0\3", "a whole zone": head() + b"\x01a\0\0\xfc\0\1", "a dot, NUL and 0xFF": head() + b"\x04.\0\xffA\0" + tail,
    "two OPT": head(ar=2) + b"\x01a\0" + tail + (b"\0\0\x29\x04\xd0\0\0\0\0\0\0") * 2,
    "200 options": head(ar=1) + b"\x01a\0" + tail + b"\0\0\x29\x04\xd0\0\0\0\0" + struct.pack("!H", 800) + b"\xff\x01\0\0" * 200,
    "length that lies": head(ar=1) + b"\x01a\0" + tail + b"\0\0\x29\x04\xd0\0\0\0\0\xff\xff",
}


def round_of(family, gate):
    answered, idle = [], []
    with socket.socket(family, socket.SOCK_DGRAM) as u:
        u.settimeout(0.1)
        u.connect((gate, 53))
        for what, data in hostile.items():
            u.send(data)
            with suppress(TimeoutError):
                answered.append((what, u.recv(4096)[3] & 15))
            with socket.create_connection((gate, 53), 3) as t:
                t.settimeout(0.1)
                with suppress(OSError):
                    t.send(len(data).to_bytes(2, "big") + data)
                    t.recv(1)
        for start in (b"\0\0", b"\xff\xff", b"\0"):
            t = socket.create_connection((gate, 53), 3)
            t.send(start)
            idle.append(t)
        for _ in range(100):
            t = socket.socket(family)
            t.setblocking(False)
            t.connect_ex((gate, 53))
            idle.append(t)
        u.settimeout(2)
        began = time.monotonic()
        u.send(good)
        while u.recv(4096)[:2] != b"\0\7":
            pass
        took = time.monotonic() - began
        for t in idle:
            t.close()
    print(sorted(answered), f"{took * 1e3:.0f} ms", flush=True)


until = time.monotonic() + float(sys.argv[1] if len(sys.argv) > 1 else 0)
while True:
    round_of(socket.AF_INET, "10.77.0.1")
    round_of(socket.AF_INET6, "2001:db8:77::1")
    if time.monotonic() >= until:
        break
