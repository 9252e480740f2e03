"""What routers of the way to the internet tell of its NAT64 (RFC 8781). The kernel hears it too, and keeps nothing."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from firewall.dissect import advert
from firewall.inputs import RoutersTold
from rules.networks import MOST_TRANSLATORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from firewall.inputs import Input

SOLICITATION: Final = struct.pack("!BBHI", 133, 0, 0, 0)  # RFC 4861, 4.1; the kernel fills in the checksum
ALL_ROUTERS: Final = "ff02::2"
ICMP6_FILTER: Final = 1  # linux/icmpv6.h
LOOK_SECONDS: Final = 5.0  # until the end of what was told, or another way to the internet, is noticed
SHORTEST: Final = 60  # seconds that each holds: with each change all is judged anew, and words are taken back
A_TURN: Final = 16  # messages, so that a loud router delays nobody
_NUMBER: Final = struct.Struct("=i")


async def keep_hearing(deliver: Callable[[Sequence[Input]], None], wan: Callable[[], str]) -> None:
    """Deliver the prefixes that hold whenever they change. Ends at once where nobody may listen."""
    with suppress(OSError), listening() as source:
        news, told = asyncio.Event(), Told()
        loop = asyncio.get_running_loop()
        loop.add_reader(source, news.set)
        try:
            way = ""
            before: tuple[bytes, ...] = ()
            while True:
                if way != wan() and _ask(source, wan()):
                    way, told = wan(), Told()
                for message in _heard(source, way):
                    told.believe(advert.translators(message), time.monotonic())
                if before != (before := told.hold(time.monotonic())):
                    deliver([RoutersTold(before)])
                news.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), LOOK_SECONDS)
        finally:
            loop.remove_reader(source)


class Told:
    """Prefixes of translators, and until when each holds. The first few: who invents more changes nothing."""

    def __init__(self) -> None:
        self._until: dict[bytes, float] = {}

    def believe(self, told: tuple[tuple[bytes, int], ...], now: float) -> None:
        for prefix, seconds in told:
            if prefix in self._until or (seconds and len(self._until) < MOST_TRANSLATORS):
                self._until[prefix] = now + max(seconds, SHORTEST)

    def hold(self, now: float) -> tuple[bytes, ...]:
        self._until = {prefix: until for prefix, until in self._until.items() if until > now}
        return tuple(sorted(self._until))


def listening() -> socket.socket:
    """Hears router advertisements of every interface. Raises OSError."""
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMPV6)
    only = [0xFFFFFFFF] * 8
    only[advert.ADVERTISEMENT >> 5] &= ~(1 << (advert.ADVERTISEMENT & 31))  # a bit that is set: not passed on
    s.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("8I", *only))
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    return s


def _ask(source: socket.socket, wan: str) -> bool:
    """Routers tell every few minutes by themselves. False: there is no such interface yet."""
    try:
        source.sendto(SOLICITATION, (ALL_ROUTERS, 0, 0, socket.if_nametoindex(wan)))
    except OSError:
        return False
    return True


def _heard(source: socket.socket, way: str) -> Iterator[bytes]:
    """What came from that interface, and from its link (RFC 4861, 6.1.2)."""
    for _ in range(A_TURN):
        try:
            message, ancillary, _, sender = source.recvmsg(2_048, 64)
            name = socket.if_indextoname(sender[3])
        except BlockingIOError:
            return
        except OSError:  # said of an interface that is gone
            continue
        hops = next((_NUMBER.unpack(data)[0] for _, kind, data in ancillary if kind == socket.IPV6_HOPLIMIT), 0)
        if hops == 255 and name == way and sender[0].startswith(("fe8", "fe9", "fea", "feb")):
            yield message
