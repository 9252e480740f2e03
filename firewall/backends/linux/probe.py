"""A packet of our own that goes where a phone's first packet goes: to the queue, through the rules in Python, and on.

A datagram on the loopback, to the socket that sends it. Its mark leads it to the queue (gate.nft), and no packet of a
phone's can have that mark. Nobody but us ever sees it, and no event tells of it.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress

from firewall.backends.linux import marks
from firewall.inputs import ProbeSeen

_NUMBER = struct.Struct("!Q")
_SO_MARK = 36  # asm-generic/socket.h; Python names it from 3.11 on some systems only


class Probe:
    """One at a time. Sending it is one system call, answering it costs what a phone's packet costs."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_MARK, marks.PROBE)
        self._socket.bind(("127.0.0.1", 0))
        self._sent = self._back = 0
        self._queued = self._unsent = ""

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self) -> str | None:
        """What became of the one before: "" if it came back, else where it was lost; None if there was none."""
        before = self._verdict() if self._sent else None
        self._sent += 1
        self._queued = self._unsent = ""
        try:
            self._socket.sendto(_NUMBER.pack(self._sent), self._socket.getsockname())
        except OSError as error:
            self._unsent = f"it cannot be sent ({error.strerror}): does another firewall of this box drop it?"
        return before

    def seen(self, packet_id: int) -> ProbeSeen:
        """It is in the queue."""
        self._queued = "it was answered and did not come back: does another firewall of this box drop it?"
        return ProbeSeen(packet_id)

    def read(self, _source: object = None) -> None:
        """It, or a late one, has come back."""
        with suppress(BlockingIOError):
            while data := self._socket.recv(64):
                if len(data) == _NUMBER.size:
                    self._back = max(self._back, *_NUMBER.unpack(data))

    def _verdict(self) -> str:
        if self._back == self._sent:
            # It says so only of a way that leads through the queue: without the rule it comes back unseen.
            return "" if self._queued else "it came back unasked: the queue rule is gone"
        lost = "it did not come to the queue: that is full or not read, or the interface lo is down"
        return self._unsent or self._queued or lost
