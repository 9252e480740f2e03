"""Run as a phone: `storm.py SECONDS RATE OUT`. New flows at RATE a second; every one tries to bring a token outside.

Kinds that must be refused take turns with ordinary ones. One JSON line each to OUT: time, kind, good, token, ok.
SIGTERM ends it before its time: what has begun is still told. Every flow is a new one to
conntrack: its source port comes again only after 30,000 others.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
import signal
import socket
import struct
import sys
import time

LISTED4, LISTED6 = "42.62.48.181", "2001:dc7::77"
FRIEND4, FRIEND6 = "198.51.100.44", "2001:db8:feed::44"
TIMEOUT = 2.0
PORTS = itertools.cycle(range(2_000, 32_000))  # below the kernel's own


def hello(name: str, token: str) -> bytes:
    """A ClientHello that names `name` and carries the token in its session id, where a sink sees it in the clear."""
    host = name.encode()
    sni = b"\0\0" + struct.pack("!HHBH", len(host) + 5, len(host) + 3, 0, len(host)) + host
    session = token.encode()
    body = b"\x03\x03" + bytes(32) + bytes([len(session)]) + session + b"\0\x02\x13\x01" + b"\x01\0" + struct.pack("!H", len(sni)) + sni
    handshake = b"\x01" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x01" + struct.pack("!H", len(handshake)) + handshake


def request(host: str, token: str) -> bytes:
    return f"GET /up?t={token} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()


KINDS = {  # each over IPv4 and IPv6
    "listed-http4": ("tcp", LISTED4, 80, lambda t: request("friendly.example", t)),
    "listed-http6": ("tcp", LISTED6, 80, lambda t: request("friendly.example", t)),
    "listed-raw4": ("tcp", LISTED4, 4444, lambda t: t.encode()),
    "listed-raw6": ("tcp", LISTED6, 4444, lambda t: t.encode()),
    "listed-udp4": ("udp", LISTED4, 5555, lambda t: t.encode()),
    "listed-udp6": ("udp", LISTED6, 5555, lambda t: t.encode()),
    "host4": ("tcp", FRIEND4, 80, lambda t: request("api.account.xiaomi.com", t)),
    "host6": ("tcp", FRIEND6, 80, lambda t: request("policy.app.xiaomi.com", t)),
    "sni4": ("tcp", FRIEND4, 8443, lambda t: hello("api.account.xiaomi.com", t)),
    "sni6": ("tcp", FRIEND6, 8443, lambda t: hello("contactapi.micloud.xiaomi.net", t)),
}
GOOD = {
    "good-http4": ("tcp", FRIEND4, 80, lambda t: request("friendly.example", t)),
    "good-http6": ("tcp", FRIEND6, 80, lambda t: request("friendly.example", t)),
    "good-udp4": ("udp", FRIEND4, 5555, lambda t: t.encode()),
    "good-udp6": ("udp", FRIEND6, 5555, lambda t: t.encode()),
}


async def attempt(how: str, addr: str, port: int, data: bytes) -> bool:
    loop = asyncio.get_running_loop()
    kind = socket.SOCK_STREAM if how == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET6 if ":" in addr else socket.AF_INET, kind) as s:
        s.setblocking(False)
        try:
            s.bind(("", next(PORTS)))
            async with asyncio.timeout(TIMEOUT):
                await loop.sock_connect(s, (addr, port))
                await loop.sock_sendall(s, data)
                return bool(await loop.sock_recv(s, 4096))
        except (OSError, TimeoutError):
            return False


async def main(seconds: float, rate: int, out: str) -> None:
    turns = itertools.cycle([(k, v, k in GOOD) for k, v in (KINDS | GOOD).items()])
    began = time.monotonic()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    with open(out, "w", buffering=1) as file:

        async def one(name: str, spec: tuple, good: bool) -> None:
            how, addr, port, make = spec
            token = ("good" if good else "evil") + secrets.token_hex(6)
            at = time.time()
            ok = await attempt(how, addr, port, make(token))
            file.write(json.dumps({"time": at, "kind": name, "good": good, "token": token, "ok": ok, "ended": time.time()}) + "\n")

        async with asyncio.TaskGroup() as tasks:
            for n in range(int(seconds * rate)):
                if ended.is_set():
                    break
                await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
                tasks.create_task(one(*next(turns)))


asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
