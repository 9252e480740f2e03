"""Hellos and requests of other people's captures, said once more by a phone over real connections, cut as they were.

Run inside a phone: `relive.py FAMILY < FLIGHTS`: JSON Lines of {"name", "said": [hex, ...]}. Those that were not answered
with their own words by the internet's echo are printed.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from corpora import CORPORA, QUIC, end, wanted

from firewall.capture import Capture
from firewall.dissect import NOT_MINE, ip, link
from firewall.dissect.order import Order
from firewall.recorded import Listener
from firewall.speech import Speech

PORT = 8443
TO = {4: "100.64.{}.{}", 6: "2001:db8:beef::{:x}:{:x}"}


def flights() -> Iterator[tuple[str, str, list[bytes]]]:
    """Of each agreed row of the corpora over TCP: file, name, and what was sent until it was said."""
    for file, rows in wanted().items():
        left = {ends: row for row in rows if row.kind != QUIC for ends in ((row.a, row.b), (row.b, row.a))}
        streams: dict[tuple[str, str], tuple[Order, list[bytes], Listener]] = {}
        for _, kind, frame in Capture(CORPORA / file) if left else ():
            start = link.ip_at(kind, frame)
            packet = ip.parse(raw := frame[start:]) if start >= 0 else NOT_MINE
            if packet is NOT_MINE or packet.proto != ip.TCP:
                continue
            ends = end(socket_text(packet.src), packet.sport), end(socket_text(packet.dst), packet.dport)
            if ends not in left:
                continue
            if packet.flags & ip.SYN:
                streams[ends] = Order((packet.seq + 1) % (1 << 32)), [], Listener(ip.TCP)
            elif packet.payload < packet.end:
                order, said, ears = streams.setdefault(ends, (Order(None), [], Listener(ip.TCP)))
                begins = order.next is None and Speech.begins(raw[packet.payload : packet.end])
                for known, (whole, _, begin, stop) in order.add(packet.seq, (raw, packet.l4, packet.payload, packet.end), begins=begins):
                    said.append(whole[begin + known : stop])
                    ears.hear(said[-1])
                if left[ends].host in {name.name for name in (*ears.said, *ears.literals)}:
                    yield file, left.pop(ends).host, said
                    left.pop(ends[::-1], None)


def socket_text(addr: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET6 if len(addr) == 16 else socket.AF_INET, addr)


def say(to: str, said: list[bytes]) -> str:
    """What was wrong, or nothing."""
    echoed = b""
    try:
        with socket.create_connection((to, PORT), 10) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for data in said:
                s.sendall(data)
                time.sleep(0.002)
            while len(echoed) < sum(map(len, said)):
                data = s.recv(1 << 16)
                if not data:
                    return "closed"
                echoed += data
    except OSError as error:
        return type(error).__name__
    return "" if echoed == b"".join(said) else "other bytes"


def main(family: int) -> None:
    flights = [json.loads(line) for line in sys.stdin]
    with ThreadPoolExecutor(4) as threads:  # fewer than are held at a time
        told = threads.map(lambda n: say(TO[family].format(n >> 8, n & 255), list(map(bytes.fromhex, flights[n]["said"]))), range(len(flights)))
        for flight, wrong in zip(flights, told, strict=True):
            if wrong:
                print(json.dumps({"name": flight["name"], "wrong": wrong}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
