"""[pure] TCP segments as the receiver would read them: in order, each byte once.

Live, the kernel's queue shows segments as they come, and one that is ahead of its turn is dropped: the phone sends it
again. In a recording nobody sends again, so the segments wait here for their turn instead. Two of them may say
different things for the same place: the first one counts here, and the other is told as it came.
"""

from __future__ import annotations

from typing import Final

MOST_SEGMENTS: Final = 256  # ahead of their turn; then what is missing is missing in the recording
MOST_BYTES: Final = 1 << 18
UNSURE_SEGMENTS: Final = 10  # of a stream whose beginning was not seen: an initial window (RFC 6928)
HALF: Final = 1 << 31
SEQUENCE: Final = 1 << 32
REMEMBERED: Final = 1 << 14  # bytes that were read last, to compare repeats with; as much as the gate remembers
MOST_ALIKE: Final = 4  # segments that wait for one place and differ
CONTRADICTS: Final = -1

Segment = tuple[bytes, int, int, int]  # packet, where TCP begins in it, where its payload does, where that ends


class Order:
    """One direction of one connection. `start`: the sequence number of its first byte; None if nobody saw it.

    `near`: then, the number at which it was first seen to be.
    """

    __slots__ = ("_base", "_near", "_said", "_size", "_waiting", "gaps", "next", "otherwise")

    def __init__(self, start: int | None, *, near: int | None = None) -> None:
        self.next = start
        self._near = near
        self.gaps = 0  # how often bytes were missing and passed over
        self._base = 0  # offsets of `_waiting` count from here, so that they sort as the stream does
        self._waiting: dict[int, list[Segment]] = {}
        self._size = 0
        self._said = bytearray()  # what was read last
        self.otherwise: bytearray | None = None  # the same, had the last to speak been right; None: nobody contradicts

    def add(self, seq: int, segment: Segment, *, begins: bool) -> list[tuple[int, Segment]]:
        """The segments that are next, each with the number of bytes of it that were there before.

        CONTRADICTS in place of that number: something else was read there; what is new in it follows once more.
        `begins`: what the segment carries looks like a beginning, should that not have been seen. Where the stream
        was seen to be further on, others may still come that stand in front of it.
        """
        size = segment[3] - segment[2]
        if self.next is None:
            if not begins or (self._near is not None and 0 < (self._near - seq) % SEQUENCE <= REMEMBERED):
                self._base = self._base if self._waiting else (seq - HALF) % SEQUENCE
                self._put(seq, segment, size)
                return self.settle() if len(self._waiting) >= UNSURE_SEGMENTS else []
            self.next = seq
        ahead = (seq - self.next) % SEQUENCE
        if ahead >= HALF:
            known = SEQUENCE - ahead
            found = self._read(known, segment)
            if known >= size:
                return found
            self.next = (self.next + size - known) % SEQUENCE
        elif ahead:
            self._put(seq, segment, size)
            return self._pass_over() if len(self._waiting) > MOST_SEGMENTS or self._size > MOST_BYTES else []
        else:
            self.next = (seq + size) % SEQUENCE
            found = self._read(0, segment)
        return found + self._ready() if self._waiting else found

    def begins_at(self, start: int) -> bool:
        """Whether `start`, told late, can be where the stream begins; if nobody saw its beginning, it is then."""
        first = self._near if not self._waiting else self._base + min(self._waiting)
        if self.next is not None:
            first = self.next
        near = first is not None and (first - start) % SEQUENCE <= REMEMBERED
        if near and self.next is None:
            self.next = start
        return near

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
        there = self._waiting.setdefault(offset, [])
        for place, other in enumerate(there):
            known = other[3] - other[2]
            if _data(other, 0, size) == _data(segment, 0, known):
                if known < size:
                    there[place] = segment
                    self._size += size - known
                return
        if len(there) < MOST_ALIKE:
            there.append(segment)
            self._size += size

    def _rebase(self) -> None:
        """Offsets from `next` on."""
        assert self.next is not None
        moved = (self._base - self.next) % SEQUENCE
        self._waiting = {(offset + moved) % SEQUENCE: segments for offset, segments in self._waiting.items()}
        self._base = self.next

    def _pass_over(self) -> list[tuple[int, Segment]]:
        """The bytes up to the first segment that waits are missing in the recording."""
        assert self.next is not None
        self._rebase()
        self.gaps += 1
        self._said, self.otherwise = bytearray(), None
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
            for segment in self._waiting.pop(offset):
                size = segment[3] - segment[2]
                self._size -= size
                found += self._read(at - start, segment)
                at = max(at, start + size)
        self.next = (self.next + at) % SEQUENCE
        if not self._waiting:
            self._size = 0
        return found

    def _read(self, known: int, segment: Segment) -> list[tuple[int, Segment]]:
        """It is next, but for that many bytes which were read before: hardly ever in other words."""
        said, size = self._said, segment[3] - segment[2]
        found = []
        if known:
            begin = len(said) - known  # where it stands in what was said
            low, high = max(-begin, 0), min(known, size)
            again = _data(segment, low, high)
            if again and said[begin + low : begin + high] != again:
                found = [(CONTRADICTS, segment)]
                if self.otherwise is None:
                    self.otherwise = bytearray(said)
                self.otherwise[begin + low : begin + high] = again
        if known < size:
            found.append((known, segment))
            fresh = _data(segment, known, size)
            for text in (said, self.otherwise) if self.otherwise is not None else (said,):
                text.extend(fresh)
                if len(text) > 2 * REMEMBERED:
                    del text[:-REMEMBERED]
        return found


def _data(segment: Segment, low: int, high: int) -> bytes:
    """What it carries, from one place in it to another."""
    raw, _, start, end = segment
    return raw[start + low : min(start + high, end)]
