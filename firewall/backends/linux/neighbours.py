"""Who answers to which address on the phones' side: asked from the kernel, and pinned where it is known for good.

rtnetlink(7) by hand: pyroute2 takes milliseconds where this takes ten microseconds. A pinned entry is permanent: no ARP
reply and no neighbour advertisement changes it, and its address is not asked for.
"""

from __future__ import annotations

import os
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from firewall.backends.linux.nfnl import attribute, attributes, messages

if TYPE_CHECKING:
    from collections.abc import Iterator

NEIGHBOURS_CHANGED: Final = 0x4  # RTMGRP_NEIGH, as bind(2) wants it
_NEW, _DELETE, _GET = 28, 29, 30  # RTM_*NEIGH
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400  # NLM_F_*
_ERROR, _DONE = 2, 3
_DESTINATION, _LINK_ADDRESS, _INTERFACE, _PROTOCOL = 1, 2, 8, 12  # NDA_*
_USABLE: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # NUD_REACHABLE ... NUD_PERMANENT without INCOMPLETE, FAILED
_PERMANENT: Final = 0x80
_OURS: Final = b"\x42"  # entries that we made carry this protocol number (ip neigh show: proto 66)
_NEIGHBOUR = struct.Struct("=BxxxiHBB")  # ndmsg: family, index, state, flags, type
_NEW_ROUTE, _GET_ROUTE, _OUT = 24, 26, 4  # RTM_*ROUTE, RTA_OIF
_ROUTE = struct.Struct("=BB10x")  # rtmsg: family, length of the destination


class Neighbours:
    """Those behind one interface, which may come back with another index (`index`)."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))

    def close(self) -> None:
        self._socket.close()

    def mac_of(self, address: bytes) -> bytes | None:
        """None if nobody answers to it."""
        answer = self._call(_GET, 0, address)
        kind, _, body = next(messages(answer))
        if kind != _NEW:  # an error: nobody there
            return None
        state = _NEIGHBOUR.unpack_from(body)[2]
        mac = attributes(body[12:]).get(_LINK_ADDRESS)
        return bytes(mac) if mac is not None and len(mac) == 6 and state & _USABLE else None

    def leads_to(self, address: bytes) -> bool:
        """Whether what is sent there leaves by this interface, also while nobody answers."""
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        self._send(_GET_ROUTE, 0, _ROUTE.pack(family, 8 * len(address)) + attribute(_DESTINATION, address))
        kind, _, body = next(messages(memoryview(self._socket.recv(1 << 13))))
        out = attributes(body[_ROUTE.size:]).get(_OUT, b"") if kind == _NEW_ROUTE else b""
        return bytes(out) == struct.pack("=i", self.index)

    def pin(self, address: bytes, mac: bytes) -> None:
        """Raises OSError."""
        self._change(_NEW, _CREATE | _REPLACE, address, attribute(_LINK_ADDRESS, mac) + attribute(_PROTOCOL, _OURS))

    def unpin(self, address: bytes) -> None:
        """Raises OSError; FileNotFoundError if nobody is there."""
        self._change(_DELETE, 0, address)

    def pinned(self) -> dict[bytes, bytes]:
        """Every entry of ours that stands: address -> MAC."""
        request = _NEIGHBOUR.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(_INTERFACE, struct.pack("=I", self.index))
        self._send(_GET, _DUMP, request)
        found: dict[bytes, bytes] = {}
        while True:
            for kind, _, body in messages(memoryview(self._socket.recv(1 << 16))):
                if kind in (_DONE, _ERROR):
                    return found
                index, state = _NEIGHBOUR.unpack_from(body)[1:3]
                if index != self.index or not state & _PERMANENT:
                    continue
                parts = attributes(body[12:])
                if bytes(parts.get(_PROTOCOL, b"")) == _OURS and _LINK_ADDRESS in parts:
                    found[bytes(parts[_DESTINATION])] = bytes(parts[_LINK_ADDRESS])

    def _change(self, kind: int, flags: int, address: bytes, more: bytes = b"") -> None:
        for answered, _, body in messages(self._call(kind, _ACK | flags, address, more)):
            code = -struct.unpack_from("=i", body)[0] if answered == _ERROR else 0
            if code:
                raise OSError(code, os.strerror(code))

    def _call(self, kind: int, flags: int, address: bytes, more: bytes = b"") -> memoryview:
        family = socket.AF_INET if len(address) == 4 else socket.AF_INET6
        state = _PERMANENT if kind == _NEW else 0
        head = _NEIGHBOUR.pack(family, self.index, state, 0, 0)
        self._send(kind, flags, head + attribute(_DESTINATION, address) + more)
        return memoryview(self._socket.recv(1 << 13))

    def _send(self, kind: int, flags: int, body: bytes) -> None:
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST | flags, 1, 0) + body)


def unpin_all(index: int) -> None:
    """Take out every entry of ours."""
    neighbours = Neighbours(index)
    try:
        with suppress(OSError):
            for address in neighbours.pinned():
                neighbours.unpin(address)
    finally:
        neighbours.close()


def gone(datagram: memoryview, index: int) -> Iterator[bytes]:
    """Addresses whose entries a notification (NEIGHBOURS_CHANGED) says are gone."""
    for kind, _, body in messages(datagram):
        if kind == _DELETE and _NEIGHBOUR.unpack_from(body)[1] == index:
            yield bytes(attributes(body[12:]).get(_DESTINATION, b""))
