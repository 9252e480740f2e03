"""Run as a phone: `ordinary.py SECONDS RATE OUT`. A well-behaved app: asks for a name, fetches a page, RATE times a second;
over IPv4 and IPv6 in turn.

Names are new ones, so that no cache helps. A question is asked again after a second, three times, as stub resolvers do;
also one that was refused at once, as it is while nobody turns port 53 to the gate.
One JSON line each: time, ok, seconds, and what failed, with its family.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
import sys
import time

GATEWAYS, PAGES = ("10.77.0.1", "2001:db8:77::1"), ("198.51.100.44", "2001:db8:feed::44")
FAMILIES = socket.AF_INET, socket.AF_INET6


async def lookup(name: str, six: bool) -> bool:
    loop = asyncio.get_running_loop()
    token = secrets.token_bytes(2)
    query = token + struct.pack("!HHHHH", 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\0" + struct.pack("!HH", (1, 28)[six], 1)
    with socket.socket(FAMILIES[six], socket.SOCK_DGRAM) as s:
        s.setblocking(False)
        s.connect((GATEWAYS[six], 53))
        for _ in range(3):
            again = loop.time() + 1.0
            try:
                async with asyncio.timeout_at(again):
                    await loop.sock_sendall(s, query)
                    return (await loop.sock_recv(s, 4096))[:2] == token
            except (OSError, TimeoutError):
                await asyncio.sleep(again - loop.time())
    return False


async def fetch(name: str, six: bool) -> bool:
    loop = asyncio.get_running_loop()
    with socket.socket(FAMILIES[six], socket.SOCK_STREAM) as s:
        s.setblocking(False)
        try:
            async with asyncio.timeout(6.0):
                await loop.sock_connect(s, (PAGES[six], 80))
                await loop.sock_sendall(s, f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
                return bool(await loop.sock_recv(s, 4096))
        except (OSError, TimeoutError):
            return False


async def main(seconds: float, rate: float, out: str) -> None:
    began = time.monotonic()
    with open(out, "w", buffering=1) as file:

        async def one(six: bool) -> None:
            name, at, started = f"x{secrets.token_hex(4)}.friendly.example", time.time(), time.monotonic()
            failed = "" if await lookup(name, six) else "name"
            failed = failed or ("" if await fetch("friendly.example", six) else "page")
            failed += "46"[six] * bool(failed)
            file.write(json.dumps({"time": at, "ok": not failed, "failed": failed, "seconds": time.monotonic() - started}) + "\n")

        async with asyncio.TaskGroup() as tasks:
            for n in range(int(seconds * rate)):
                await asyncio.sleep(max(0.0, began + n / rate - time.monotonic()))
                tasks.create_task(one(bool(n % 2)))


asyncio.run(main(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]))
