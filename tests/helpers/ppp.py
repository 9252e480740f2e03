"""A line between two boxes as PPP makes one: ppp.py NAMESPACE NAMESPACE. Both get a ppp0 (TUN), until this process ends."""

from __future__ import annotations

import fcntl
import os
import selectors
import struct
import sys

from firewall.spaces import inside

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h


def end_in(namespace: str) -> int:
    with inside(namespace):
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH22x", b"ppp0", IFF_TUN | IFF_NO_PI))
    return end


def main(one: str, other: str) -> None:
    ends = end_in(one), end_in(other)
    print("up", flush=True)
    both = selectors.DefaultSelector()
    for here, there in (ends, ends[::-1]):
        both.register(here, selectors.EVENT_READ, there)
    while True:
        for ready, _ in both.select():
            packet = os.read(ready.fd, 65_536)
            try:
                os.write(ready.data, packet)
            except OSError:  # that end is not up yet, or no more: what a line loses it loses
                continue


if __name__ == "__main__":
    main(*sys.argv[1:])
