"""[pure] What one side of a TCP connection sends, as the other side will read it.

Where it begins the kernel knows from the server's SYN-ACK, and marks the segment that stands there: nobody else can say
what is the first byte. Until a connection is judged its segments are put together in whatever order they come. What was
judged is remembered, for a segment may have been made to die behind us (a small TTL, a checksum, an option that the
server does not take), and another one may come in its place.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from enum import Enum
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

from firewall.dissect.reassembly import Reassembly

if TYPE_CHECKING:
    from collections.abc import Hashable

SEQUENCE: Final = 1 << 32
FAR: Final = 1 << 20  # bytes behind what was judged: no server keeps so many for which it has seen no beginning
MOST_HEARD: Final = 1 << 14  # bytes remembered of one connection
MOST_OF_ONE: Final = 1 << 21  # bytes remembered of one phone's connections

Owner = TypeVar("Owner", bound="Hashable")
Keeper = TypeVar("Keeper", bound="Forgetful")


class Place(Enum):
    """Where a segment stands that brings nothing to read."""

    WAITS = "ahead of its turn, or of the beginning"
    LIFE = "one byte of something else in place of the last, or before anything was said: a sign of life is asked for"
    KNOWN = "all of it has been there before, in the same words"
    BEHIND = "behind what was judged"
    BEGUN = "behind what was judged, and one more hello has begun there"
    ODD = "something else was said here, or it stands before the beginning"


class Stream:
    """`next`: sequence number of the next byte; None while the beginning is not known."""

    __slots__ = ("_asked", "_early", "_end", "_forgotten", "_heard", "_judged", "_pieces", "_size", "next")

    def __init__(self) -> None:
        self.next: int | None = None
        self._judged = False
        self._asked: int | None = None  # for a sign of life, with the byte here
        self._early: list[tuple[int, bytes]] = []  # came before the beginning
        self._pieces: Reassembly | None = None  # until it is judged, if there is more than its first segment
        self._end = 0  # bytes from the beginning to `next`
        self._heard: list[tuple[int, bytes]] = []  # what is judged, or its first segment, and where it stood
        self._size = 0
        self._forgotten = 0  # what stood before this is not remembered

    @property
    def size(self) -> int:
        """Bytes that are remembered."""
        return self._size

    def begin(self, seq: int) -> None:
        """In its middle: what was before is not known, and was judged."""
        self.next = seq

    def add(self, seq: int, data: bytes, *, first: bool) -> bytes | Place:
        """A segment of a connection that is not judged yet: what can be read now.

        `first`: it stands where the connection begins.
        """
        pieces = self._pieces
        if pieces is None:
            if first and data and self.next is None and not self._early and len(data) <= MOST_HEARD:
                self._end = self._size = len(data)
                self.next = (seq + self._end) % SEQUENCE
                self._heard.append((0, data))
                return data  # nearly always it is all
            pieces = self._pieces = Reassembly(MOST_HEARD)
            if self._heard:
                pieces.add(*self._heard.pop())
                self._size = 0
        if self.next is not None:
            waiting = [(self._at(seq), data)]
        elif first:
            self.next = seq
            waiting = [(0, data), *((_signed(early - seq), said) for early, said in self._early)]
            self._early = []
        elif len(data) == 1 and not self._early and self._asked in (None, seq):
            self._asked = seq  # it does not pass: should it be said after all, it comes again
            return Place.LIFE
        else:
            self._early.append((seq, data))
            return Place.WAITS
        fresh = b""
        for at, said in waiting:
            if at < 0 and not _keeps_alive(at, said):
                return Place.ODD
            fresh += pieces.add(at, said)
        if pieces.disagrees or pieces.overflows:
            return Place.ODD
        self._advance(len(fresh))
        if fresh:
            return fresh
        return Place.WAITS if waiting[0][0] + len(data) > self._end else Place.KNOWN

    def judged(self) -> bool:
        """What has been read is judged, and remembered; whatever waits behind it has passed too. Whether it is new."""
        if self._judged:
            return False
        self._judged = True
        if self._early:
            self._early = []
        if self._pieces is not None:
            self.remember(self._pieces.known)
            self._pieces = None
        return True

    def remember(self, said: bytes) -> None:
        """The last that was read is `said`."""
        if said:
            self._heard.append((self._end - len(said), said))
            self._size += len(said)
        while self._size > MOST_HEARD:
            at, gone = self._heard.pop(0)
            self._size -= len(gone)
            self._forgotten = at + len(gone)

    def forget(self) -> None:
        """There is no room to remember what was said."""
        self._heard.clear()
        self._size, self._forgotten = 0, self._end

    def follow(self, seq: int, data: bytes) -> bytes | Place:
        """A segment of a connection that was judged, and is still listened to: what of it is new and next."""
        at = self._at(seq)
        place = self._compared(at, data)
        if place is Place.ODD or at + len(data) <= self._end:
            return place
        if at > self._end:
            return Place.WAITS
        fresh = data[self._end - at :]
        self._advance(len(fresh))
        return fresh

    def compare(self, seq: int, data: bytes) -> Place:
        """A segment of a connection that was judged: whether it says the same where it says something again."""
        return self._compared(self._at(seq), data)

    def ahead(self, seq: int) -> int:
        """Bytes that are missing between what was read and this; less than 0: so many of it have been there before."""
        return self._at(seq) - self._end

    def _compared(self, at: int, data: bytes) -> Place:
        if at >= self._end:
            return Place.BEHIND
        otherwise = Place.LIFE if _keeps_alive(at - self._end, data) else Place.ODD
        if at < self._forgotten:
            return otherwise
        for begin, heard in self._heard:
            low, high = max(at, begin), min(at + len(data), begin + len(heard))
            if low < high and heard[low - begin : high - begin] != data[low - at : high - at]:
                return otherwise
        return Place.KNOWN if at + len(data) <= self._end else Place.BEHIND

    def _at(self, seq: int) -> int:
        assert self.next is not None
        return self._end + _signed(seq - self.next)

    def _advance(self, size: int) -> None:
        assert self.next is not None
        self._end += size
        self.next = (self.next + size) % SEQUENCE


def _signed(distance: int) -> int:
    """From one sequence number to another (RFC 9293, 3.4)."""
    return (distance + SEQUENCE // 2) % SEQUENCE - SEQUENCE // 2


def _keeps_alive(at: int, data: bytes) -> bool:
    """One byte of anything in front of the next: so idle connections are asked for a sign of life (RFC 9293, 3.8.4)."""
    return at == -1 and len(data) == 1


class Forgetful(Protocol):
    """Keeps `size` bytes, until it has to forget them."""

    @property
    def size(self) -> int: ...
    def forget(self) -> None: ...


class Remembered(Generic[Owner, Keeper]):
    """What was said and is kept, so much of each owner: of more, the oldest are forgotten."""

    def __init__(self) -> None:
        self._of: defaultdict[Owner, OrderedDict[Keeper, int]] = defaultdict(OrderedDict)
        self._sizes: defaultdict[Owner, int] = defaultdict(int)

    def keep(self, owner: Owner, stream: Keeper) -> None:
        kept = self._of[owner]
        size = stream.size
        self._sizes[owner] += size - kept.pop(stream, 0)
        kept[stream] = size
        while self._sizes[owner] > MOST_OF_ONE:
            oldest, size = kept.popitem(last=False)
            self._sizes[owner] -= size
            oldest.forget()

    def drop(self, owner: Owner, stream: Keeper) -> None:
        """It has ended."""
        kept = self._of.get(owner)
        if kept is None:
            return
        self._sizes[owner] -= kept.pop(stream, 0)
        if not kept:
            del self._of[owner], self._sizes[owner]
