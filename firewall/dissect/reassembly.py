"""[pure] A stream put together from pieces that come in any order, some of them twice (RFC 9293, 3.10.7.4).

Two pieces may say different things for the same place, and a server may believe either: that is told, not decided.
A keep-alive of an idle connection does so by itself (RFC 9293, 3.8.4: one byte of anything in front of the next).
"""

from __future__ import annotations

from bisect import insort

MOST = 16_384  # bytes ahead of what is in order, and bytes kept to compare repeats with
MOST_PIECES = 64  # that wait for what stands before them; a phone's first flight has ten segments


class Reassembly:
    """Give it pieces with their offsets; it gives back what became contiguous, each byte once.

    Where pieces overlap the first one counts. `disagrees`: another one said something else there. `overflows`: a
    piece was too far ahead, or one too many, and is forgotten.
    """

    __slots__ = ("_known", "_later", "_most", "disagrees", "end", "overflows")

    def __init__(self, most: int = MOST) -> None:
        self.end = 0  # of what is contiguous
        self.disagrees = False
        self.overflows = False
        self._known = bytearray()  # its last `most` bytes
        self._later: list[tuple[int, bytes]] = []  # by offset, without overlaps
        self._most = most

    @property
    def gaps(self) -> bool:
        """Something is there, and something before it is missing."""
        return bool(self._later)

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return len(self._known) + sum(len(piece) for _, piece in self._later)

    @property
    def known(self) -> bytes:
        """The last of what is contiguous."""
        return bytes(self._known)

    def add(self, at: int, data: bytes) -> bytes:
        """What `data`, standing at `at`, makes contiguous; b"" if nothing."""
        end = self.end
        if at < end:
            data = self._beyond(at, data)
            at = end
        if not data:
            return b""
        if at == end and not self._later:
            fresh = data
        else:
            self._keep(at, data)
            fresh = self._next()
        self.end = end + len(fresh)
        self._known += fresh
        if len(self._known) > self._most:
            del self._known[: -self._most]
        return fresh

    def _beyond(self, at: int, data: bytes) -> bytes:
        """What of `data` is behind the end; the rest is compared as far as it is still known."""
        end = self.end
        begin = end - len(self._known)
        low, high = max(at, begin), min(at + len(data), end)
        if low < high and self._known[low - begin : high - begin] != data[low - at : high - at]:
            self.disagrees = True
        return data[end - at :]

    def _keep(self, at: int, data: bytes) -> None:
        room = self.end + self._most - at
        if len(data) > room:
            self.overflows = True
            data = data[: max(room, 0)]
        fresh: list[tuple[int, bytes]] = []
        for start, piece in self._later:
            stop = start + len(piece)
            if stop <= at:
                continue
            if not data or start >= at + len(data):
                break
            if start > at:
                fresh.append((at, data[: start - at]))
                at, data = start, data[start - at :]
            both = min(stop - at, len(data))
            if piece[at - start : at - start + both] != data[:both]:
                self.disagrees = True
            at, data = at + both, data[both:]
        if data:
            fresh.append((at, data))
        for piece_at in fresh:
            if len(self._later) >= MOST_PIECES and piece_at[0] != self.end:
                self.overflows = True
            else:
                insort(self._later, piece_at)

    def _next(self) -> bytes:
        end, ready = self.end, 0
        for start, piece in self._later:
            if start != end:
                break
            end += len(piece)
            ready += 1
        fresh = b"".join(piece for _, piece in self._later[:ready])
        del self._later[:ready]
        return fresh
