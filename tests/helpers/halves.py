"""Half hellos, run inside a phone: `halves.py CONNECTIONS SEGMENTS`, each over IPv4 and IPv6. Prints how many segments it sent."""

from __future__ import annotations

import contextlib
import os
import sys

import hostile
from hostile import ACK, FIN, PSH, URG

FLAGS = (PSH | ACK, ACK, ACK | URG, FIN | ACK, PSH)


def flood(family: int, connections: int, segments: int) -> int:
    """Half hellos, and behind each of them segments without sense: overlaps, gaps, flags. How many were sent."""
    sent = 0
    whole = hostile.hello(hostile.EVIL_NAME, "flood" * 6)
    for number in range(connections):
        c = hostile.Raw(family, hostile.PORT["tls"])
        if c.open():
            c.send(0, whole[: len(whole) // 2])
            for n in range(segments):
                at = (n * 7_919 + number) % 20_000 - 200
                with contextlib.suppress(OSError):
                    c.send(at, os.urandom(1 + n % 60), flags=FLAGS[n % 5], wrong=n % 11 == 0)
                sent += 1
        c.close()
    return sent


if __name__ == "__main__":
    hostile.deaf()
    print(sum(flood(family, int(sys.argv[1]), int(sys.argv[2])) for family in (4, 6)))
