"""[pure] TCP segments as the receiver would read them: in order, each byte once.

Live, the kernel's queue shows segments as they come, and one that is ahead of its turn is dropped: the phone sends it
again. In a recording nobody sends again, so the segments wait here for their turn instead.
"""

from __future__ import annotations

from typing import Final

MOST_SEGMENTS: Final = 256  # ahead of their turn; then what is missing is missing in the recording
MOST_BYTES: Final = 1 << 18
UNSURE_SEGMENTS: Final = 10  # of a stream whose beginning was not seen: an initial window (RFC 6928)
HALF: Final = 1 << 31
SEQUENCE: Final = 1 << 32

Segment = tuple[bytes, int, int, int]  # packet, where TCP begins in it, where its payload does, where that ends


class Order:
    """One direction of one connection. `start`: the sequence number of its first byte; None if nobody saw it."""

    __slots__ = ("_base", "_size", "_waiting", "gaps", "next")

    def __init__(self, start: int | None) -> None:
        self.next = start
        self.gaps = 0  # how often bytes were missing and passed over
        self._base = 0  # offsets of `_waiting` count from here, so that they sort as the stream does
        self._waiting: dict[int, Segment] = {}
        self._size = 0

    def add(self, seq: int, segment: Segment, *, begins: bool) -> list[tuple[int, Segment]]:
        """The segments that are next, each with the number of bytes of it that were there before.

        `begins`: what the segment carries looks like a beginning, should that not have been seen.
        """
        size = segment[3] - segment[2]
        if self.next is None:
            if not begins:
                self._base = self._base if self._waiting else (seq - HALF) % SEQUENCE
                self._put(seq, segment, size)
                return self.settle() if len(self._waiting) >= UNSURE_SEGMENTS else []
            self.next = seq
        ahead = (seq - self.next) % SEQUENCE
        if ahead >= HALF:
            known = SEQUENCE - ahead
            if known >= size:
                return []
            self.next = (self.next + size - known) % SEQUENCE
            found = [(known, segment)]
        elif ahead:
            self._put(seq, segment, size)
            return self._pass_over() if len(self._waiting) > MOST_SEGMENTS or self._size > MOST_BYTES else []
        else:
            self.next = (seq + size) % SEQUENCE
            found = [(0, segment)]
        return found + self._ready() if self._waiting else found

    def settle(self) -> list[tuple[int, Segment]]:
        """Nothing more comes that could be in front: what waits is taken as it is."""
        if not self._waiting:
            return []
        if self.next is None:
            self.next = (self._base + min(self._waiting)) % SEQUENCE
            self._rebase()
            return self._ready()
        return self._pass_over()

    def _put(self, seq: int, segment: Segment, size: int) -> None:
        offset = (seq - self._base) % SEQUENCE
        there = self._waiting.get(offset)
        if there is None or there[3] - there[2] < size:
            self._waiting[offset] = segment
            self._size += size

    def _rebase(self) -> None:
        """Offsets from `next` on."""
        assert self.next is not None
        moved = (self._base - self.next) % SEQUENCE
        self._waiting = {(offset + moved) % SEQUENCE: segment for offset, segment in self._waiting.items()}
        self._base = self.next

    def _pass_over(self) -> list[tuple[int, Segment]]:
        """The bytes up to the first segment that waits are missing in the recording."""
        assert self.next is not None
        self._rebase()
        self.gaps += 1
        self.next = (self.next + min(self._waiting)) % SEQUENCE
        return self._ready()

    def _ready(self) -> list[tuple[int, Segment]]:
        """What can follow `next` now. Whatever begins within what was read is a segment cut another way."""
        assert self.next is not None
        self._rebase()
        found: list[tuple[int, Segment]] = []
        at = 0
        for offset in sorted(self._waiting, key=lambda offset: offset if offset < HALF else offset - SEQUENCE):
            start = offset if offset < HALF else offset - SEQUENCE
            if start > at:
                break
            segment = self._waiting.pop(offset)
            size = segment[3] - segment[2]
            self._size -= size
            if start + size > at:
                found.append((at - start, segment))
                at = start + size
        self.next = (self.next + at) % SEQUENCE
        if not self._waiting:
            self._size = 0
        return found
