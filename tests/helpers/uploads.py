"""Uploads that go on until they are refused, and the sink that notes when what arrived: `uploads.py sink FILE` outside,
`uploads.py send PROTO HOST PORT [wait]` on the phone (PROTO tcp, udp, or http: requests on one connection; http6 if HOST is a
name; who waits says "ready" and begins at a line). A token is 1,000 bytes, every 10 ms; CLOCK_MONOTONIC is one for all.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time

PORTS = (443, 80, 8443)
EVERY = 0.01
WORD = {socket.SOCK_STREAM: "tcp", socket.SOCK_DGRAM: "udp"}


def sink(file: str) -> None:
    there = selectors.DefaultSelector()
    for family in (socket.AF_INET, socket.AF_INET6):
        for port in PORTS:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                s = socket.socket(family, kind)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
                if kind == socket.SOCK_STREAM:
                    s.listen(64)
                there.register(s, selectors.EVENT_READ, kind == socket.SOCK_STREAM)
    with open(file, "w", buffering=1) as out:
        print("ready", flush=True)
        while True:
            for key, _ in there.select():
                s = key.fileobj
                assert isinstance(s, socket.socket)
                if key.data:
                    there.register(s.accept()[0], selectors.EVENT_READ, False)
                    continue
                try:
                    data = s.recv(1 << 20)
                except OSError as error:
                    data, note = b"", type(error).__name__
                else:
                    note = str(len(data))
                name = f"{WORD[s.type]}{4 if s.family == socket.AF_INET else 6} {s.getsockname()[1]}"
                out.write(f"{time.monotonic()} {name} {note}\n")
                if s.type == socket.SOCK_STREAM and not data:
                    there.unregister(s)
                    s.close()


def send(proto: str, host: str, port: int) -> None:
    """Until the connection is reset; datagrams go on for ever, whoever refuses them."""
    family = socket.AF_INET6 if ":" in host or proto == "http6" else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM)
    s.connect((host, port))
    head = f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n" if proto.startswith("http") else ""
    while True:
        if proto != "udp":
            try:
                s.sendall(head.encode() + b"t" * 1_000)
                with contextlib.suppress(BlockingIOError):
                    s.recv(1 << 16, socket.MSG_DONTWAIT)
            except OSError as error:
                print(f"{time.monotonic()} {type(error).__name__}", flush=True)
                return
        else:
            with contextlib.suppress(OSError):
                s.send(b"t" * 1_000)
        time.sleep(EVERY)


if __name__ == "__main__":
    if sys.argv[5:]:
        print("ready", flush=True)
        sys.stdin.readline()
    sink(sys.argv[2]) if sys.argv[1] == "sink" else send(sys.argv[2], sys.argv[3], int(sys.argv[4]))
