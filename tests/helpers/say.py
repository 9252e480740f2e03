"""Run as a phone: `say.py`, on its input a JSON list of [protocol, address, port, hex]. All are said at once, each on a flow of its own.

A JSON list of what became of each: "answered", "reset", "refused" (ICMP, or no connection), "silence".
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

SECONDS = 1.5  # an answer takes a few ms; a loaded machine may be slow to give it


def say(proto: str, addr: str, port: int, data: str) -> str:
    family = socket.AF_INET6 if ":" in addr else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM) as s:
        s.settimeout(SECONDS)
        try:
            s.connect((addr, port))
            s.sendall(bytes.fromhex(data))
            s.recv(4096)
            if proto == "tcp":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except TimeoutError:
            return "silence"
        except ConnectionResetError:
            return "reset"
        except OSError:
            return "refused"
    return "answered"


def main() -> None:
    said = json.load(sys.stdin)
    with ThreadPoolExecutor(64) as all_at_once:
        print(json.dumps(list(all_at_once.map(lambda one: say(*one), said))))


if __name__ == "__main__":
    main()
