"""Many QUIC hellos of three datagrams each, and two datagrams behind them, as a phone sends them: at once.

Run inside a phone's namespace: `python quichellos.py ADDRESS PORT NAME COUNT FIRST_PORT [gso]`, where all is echoed.
Each hello comes from a port of its own. Prints how many of each came back whole: `{"whole": ..., "lost": [ports]}`.
With `gso` the kernel is given the three as one piece, to be cut as late as possible (udp(7), UDP_SEGMENT).
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import struct
import sys
import time

import captures
from quicwriter import crypto, initial

AT_ONCE = 4  # the gate holds eight of a phone
DATAGRAMS, BEHIND, SIZE = 3, 2, 1_200
PATIENCE = 5.0
UDP_SEGMENT = 103


def flight(name: str) -> list[bytes]:
    hello, dcid = captures.hello(name, pad=2_200), os.urandom(8)
    pieces = [crypto(at, hello[at : at + 1_000]) for at in range(0, len(hello), 1_000)]
    assert len(pieces) == DATAGRAMS
    return [initial(piece, dcid=dcid, number=number, fill=SIZE) for number, piece in enumerate(pieces)]


def send(s: socket.socket, datagrams: list[bytes], gso: bool) -> None:
    if gso:
        s.sendmsg([b"".join(datagrams)], [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("=H", SIZE))])
    else:
        for datagram in datagrams:
            s.send(datagram)
    for _ in range(BEHIND):
        s.send(b"\x40" + os.urandom(99))


def main(addr: str, port: int, name: str, count: int, first: int, gso: bool) -> dict:
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    waiting, whole, lost = selectors.DefaultSelector(), 0, []
    ports = iter(range(first, first + count))
    running: dict[socket.socket, list] = {}  # -> own port, echoes still to come, until
    while True:
        while len(running) < AT_ONCE and (own := next(ports, 0)):
            s = socket.socket(family, socket.SOCK_DGRAM)
            s.bind(("", own))
            s.connect((addr, port))
            send(s, flight(name), gso)
            running[s] = [own, DATAGRAMS + BEHIND, time.monotonic() + PATIENCE]
            waiting.register(s, selectors.EVENT_READ)
        if not running:
            return {"whole": whole, "lost": lost}
        for key, _ in waiting.select(0.5):
            try:
                key.fileobj.recv(9_999)
                running[key.fileobj][1] -= 1
            except OSError:  # refused
                running[key.fileobj][2] = 0
        for s, (own, left, until) in list(running.items()):
            if not left or time.monotonic() > until:
                whole += not left
                lost += [own] if left else []
                waiting.unregister(s)
                s.close()
                del running[s]


if __name__ == "__main__":
    addr, port, name, count, first, *more = sys.argv[1:]
    print(json.dumps(main(addr, int(port), name, int(count), int(first), bool(more))))
