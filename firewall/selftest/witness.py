"""Watches what leaves this box, behind NAT and everything else: the kernel's own word (packet(7)).

A copy of each packet that is handed to any interface but the phones' is read; nothing is kept but what one of the tries
may have sent.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections import Counter, defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

from firewall.dissect import NOT_MINE, ip
from firewall.selftest.packets import SYN, TCP
from firewall.selftest.side import PORT

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from firewall.selftest.tries import Try

ROOM: Final = 32 << 20  # bytes that may wait to be read
LARGEST: Final = 65_536
SOL_PACKET, STATISTICS = 263, 6  # linux/if_packet.h
SO_RCVBUFFORCE, SO_ATTACH_FILTER = 33, 26  # asm-generic/socket.h
ALL, OUTGOING = 0x0003, 4  # ETH_P_ALL; PACKET_OUTGOING
# bpf: load the packet's type, keep it whole if it is on its way out, else nothing of it (linux/filter.h)
_PROGRAM: Final = ((0x28, 0, 0, 0xFFFFF004), (0x15, 0, 1, OUTGOING), (0x06, 0, 0, LARGEST), (0x06, 0, 0, 0))


class Witness:
    """`inside`: interfaces that lead to phones; an error that quotes a packet goes back there. Raises OSError."""

    def __init__(self, inside: Container[str]) -> None:
        self._inside = inside
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(ALL))  # of every interface
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
        program = b"".join(struct.pack("=HBBI", *step) for step in _PROGRAM)
        self._kept = ctypes.create_string_buffer(program)
        told = struct.pack("@HP", len(_PROGRAM), ctypes.addressof(self._kept))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, told)
        with suppress(BlockingIOError):  # what came before the filter
            while True:
                self._socket.recv(1)
        self._alone: dict[bytes, Try] = {}  # by an address that is nobody else's
        self._tokens: dict[bytes, Try] = {}
        self._doors: dict[tuple[bytes, int], list[Try]] = {}  # by address and port of connections
        self._left: defaultdict[Try, Counter[str]] = defaultdict(Counter)  # packets with payload, by interface
        self.knocked: set[Try] = set()
        self.lost = 0  # packets that came too fast to be read: then it is no witness

    def fileno(self) -> int:
        return self._socket.fileno()

    def watch(self, tries: Iterable[Try]) -> None:
        for one in tries:
            self._tokens[one.token] = one
            if one.shared:
                self._doors.setdefault((one.dst, one.port), []).append(one)
            elif one.way != "neighbour":
                self._alone[one.dst] = one

    def read(self) -> None:
        """Everything that has come. Call it often."""
        with suppress(BlockingIOError):
            while True:
                packet, (interface, *_) = self._socket.recvfrom(LARGEST)
                if interface not in self._inside and not interface.startswith(PORT):
                    self._see(packet, interface)

    def left(self, one: Try) -> int:
        """Packets of it with payload that were seen leaving; by several interfaces in turn each counts once."""
        return max(self._left[one].values(), default=0)

    def ways(self, one: Try) -> list[str]:
        """The interfaces that it left by."""
        return sorted(self._left[one])

    def drops(self) -> int:
        """How many packets it missed so far."""
        seen = self._socket.getsockopt(SOL_PACKET, STATISTICS, 8)
        self.lost += struct.unpack("=II", seen)[1]  # told once, and begun anew
        return self.lost

    def _see(self, packet: bytes, interface: str) -> None:
        if len(packet) < 20:
            return
        six = packet[0] >> 4 == 6
        dst = packet[24:40] if six else packet[16:20]
        one = self._alone.get(dst)
        if one is None:
            one = next((known for token, known in self._tokens.items() if token in packet), None)
        if one is not None and _carries(packet):
            self._left[one][interface] += 1
            return
        seen = ip.parse(packet)
        if seen is not NOT_MINE and seen.proto == TCP and seen.flags & SYN:
            self.knocked.update(self._doors.get((dst, seen.dport), ()))

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _carries(packet: bytes) -> bool:
    """Whether it is more than a handshake, a reset or an acknowledgement of TCP."""
    seen = ip.parse(packet)
    return seen is NOT_MINE or seen.proto != TCP or seen.end > seen.payload
