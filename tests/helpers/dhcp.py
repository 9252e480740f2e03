"""A phone that asks for an address (RFC 2131): dhcp.py INTERFACE [HOST [OLD]]. Prints what it was given as JSON.

With OLD it asks for that address, as one does that had it before, and ends well when it is refused.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from pathlib import Path


def message(mac: bytes, options: bytes, xid: int = 0x1234) -> bytes:
    """A BOOTP request to everybody."""
    head = struct.pack("!BBBBIHH4s4s4s4s16s192x", 1, 1, 6, 0, xid, 0, 0x8000, bytes(4), bytes(4), bytes(4), bytes(4), mac)
    return head + b"\x63\x82\x53\x63" + options + b"\xff"


def options(reply: bytes) -> dict[int, bytes]:
    found, at = {}, 240
    while at < len(reply) and reply[at] != 255:
        found[reply[at]] = reply[at + 2 : at + 2 + reply[at + 1]]
        at += 2 + reply[at + 1]
    return found


def main(interface: str, host: str = "", old: str = "") -> None:
    mac = bytes.fromhex(Path(f"/sys/class/net/{interface}/address").read_text().strip().replace(":", ""))
    name = b"\x3d\x07\x01" + mac  # as many phones do: a client identifier (RFC 2132, 9.14)
    name += b"\x0c" + bytes([len(host.encode())]) + host.encode() if host else b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        s.bind(("", 68))
        s.settimeout(1)

        def asked(kind: int, answer: int, more: bytes = b"") -> bytes:
            until = time.monotonic() + 20
            while time.monotonic() < until:
                s.sendto(message(mac, bytes([53, 1, kind]) + name + more), ("255.255.255.255", 67))
                try:
                    reply = s.recv(2048)
                except TimeoutError:
                    continue
                if reply[28:34] == mac and options(reply).get(53) == bytes((answer,)):
                    return reply
            raise SystemExit("nobody gives an address")

        if old:
            asked(3, 6, b"\x32\x04" + socket.inet_aton(old))
            return
        offer = asked(1, 2)
        given = asked(3, 5, b"\x32\x04" + offer[16:20] + b"\x36\x04" + options(offer)[54])
    told = options(given)
    print(json.dumps({
        "address": socket.inet_ntoa(given[16:20]), "router": socket.inet_ntoa(told[3]), "dns": socket.inet_ntoa(told[6]), "server": socket.inet_ntoa(told[54]),
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
