"""[pure] IP fragments put together, as conntrack does before anything of ours sees a packet (RFC 791, RFC 8200 4.5).

Linux drops a datagram whose fragments overlap, and so does this: what a receiver would make of it, nobody knows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from struct import Struct
from typing import Final

from firewall.dissect.ip import EXTENSIONS, FRAGMENT, MOST_EXTENSIONS

SECONDS: Final = 30.0  # net.ipv4.ipfrag_time
MOST: Final = 256  # datagrams that are not whole; the oldest goes first
LARGEST: Final = 65_535  # bytes of a datagram

_SHORT: Final = Struct("!H")


class _Datagram:
    __slots__ = ("broken", "head", "parts", "since", "size", "starts", "total")

    def __init__(self, since: float) -> None:
        self.since = since
        self.head = b""  # of the first fragment: everything in front of what was cut
        self.parts: dict[int, bytes] = {}
        self.starts: list[int] = []  # of the parts, sorted
        self.size = 0  # bytes of all parts
        self.total = -1  # known with the last fragment
        self.broken = False


class Fragments:
    """Fed with fragments, gives whole packets."""

    def __init__(self) -> None:
        self._lost = 0
        self._waiting: OrderedDict[tuple[bytes, bytes, int], _Datagram] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def torn(self) -> int:
        """Datagrams whose beginning was there, and not the rest; or that was said in two ways."""
        return self._lost + sum(bool(datagram.head) for datagram in self._waiting.values())

    def add(self, packet: bytes, now: float) -> bytes | None:
        """`packet` from its IP header on. Itself if it is no fragment; None while parts are missing, or for ever."""
        version = packet[0] >> 4 if packet else 0
        if version == 4:
            return self._ipv4(packet, now)
        return self._ipv6(packet, now) if version == 6 else packet

    def _ipv4(self, packet: bytes, now: float) -> bytes | None:
        header = (packet[0] & 15) << 2
        if len(packet) < max(header, 20):
            return packet
        (flags,) = _SHORT.unpack_from(packet, 6)
        if not flags & 0x3FFF:
            return packet
        (total,) = _SHORT.unpack_from(packet, 2)
        key = packet[12:20], packet[4:6], packet[9]
        whole = self._take(key, packet[:header], flags & 0x2000, (flags & 0x1FFF) << 3, packet[header:total], now)
        if whole is None:
            return None
        head, data = whole
        size = _SHORT.pack(min(len(head) + len(data), LARGEST))
        return head[:2] + size + head[4:6] + b"\0\0" + head[8:] + data

    def _ipv6(self, packet: bytes, now: float) -> bytes | None:
        if len(packet) < 48:
            return packet
        end = 40 + _SHORT.unpack_from(packet, 4)[0]
        before, at, proto = 6, 40, packet[6]
        for _ in range(MOST_EXTENSIONS):
            if proto == FRAGMENT or proto not in EXTENSIONS or at + 8 > len(packet):
                break
            before, proto, at = at, packet[at], at + ((packet[at + 1] + 1) << 3)
        if proto != FRAGMENT or at + 8 > len(packet):
            return packet
        (flags,) = _SHORT.unpack_from(packet, at + 2)
        if not flags & 0xFFF9:
            return packet  # whole, though it says it is a fragment (RFC 6946)
        head = packet[:before] + packet[at : at + 1] + packet[before + 1 : at]  # without the fragment header
        key = packet[8:40], packet[at + 4 : at + 8], packet[at]
        whole = self._take(key, head, flags & 1, flags & 0xFFF8, packet[at + 8 : end], now)
        if whole is None:
            return None
        head, data = whole
        return head[:4] + _SHORT.pack(min(len(head) - 40 + len(data), LARGEST)) + head[6:] + data

    def _take(
        self, key: tuple[bytes, bytes, int], head: bytes, more: int, at: int, data: bytes, now: float
    ) -> tuple[bytes, bytes] | None:
        self._forget(now)
        datagram = self._waiting.get(key)
        if datagram is None:
            datagram = self._waiting[key] = _Datagram(now)
            if len(self._waiting) > MOST:
                self._lost += bool(self._waiting.popitem(last=False)[1].head)
        end = at + len(data)
        if datagram.parts.get(at) == data:
            return None  # the same once more
        parts, starts = datagram.parts, datagram.starts
        place = bisect_left(starts, at)
        overlaps = place > 0 and starts[place - 1] + len(parts[starts[place - 1]]) > at
        overlaps |= place < len(starts) and starts[place] < end
        wrong_end = (not more and datagram.total not in (-1, end)) or (datagram.total != -1 and end > datagram.total)
        if datagram.broken or overlaps or wrong_end or end > LARGEST or (more and len(data) & 7) or not data:
            datagram.broken = True
            parts.clear()
            starts.clear()
            return None
        parts[at] = data
        starts.insert(place, at)
        datagram.size += len(data)
        if not at:
            datagram.head = head
        if not more:
            datagram.total = end
        if datagram.size != datagram.total:
            return None
        del self._waiting[key]
        return datagram.head, b"".join(map(parts.__getitem__, starts))

    def _forget(self, now: float) -> None:
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            if now - oldest.since < SECONDS:
                break
            del self._waiting[key]
            self._lost += bool(oldest.head)
