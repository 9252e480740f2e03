"""Where consented flows may go, and until when: elements of the kernel's sets, which end by themselves.

Kept in memory, so that whole loads put them back with what is left of their time, and read from the kernel by the
process after this one.
"""

from __future__ import annotations

import math
import struct
import time
from contextlib import suppress
from typing import Final, NamedTuple

from firewall.backends.linux import marks, nfnl
from firewall.backends.linux.nftables import TABLE

MOST: Final = 16_384  # of each family: the size of the sets
SLACK: Final = 0.25  # s that a way may be open longer than it shall be because a whole load took so long
_SETS: Final = {4: "consents4", 16: "consents6"}  # by the length of an address


class Way(NamedTuple):
    """Flows of this phone that carry the verdict CONSENT, to there."""

    slot: int
    addr: bytes
    port: int


class Ways:
    """Times are monotonic, as those of the kernel's sets; `inf` is until told."""

    def __init__(self, calls: nfnl.Netlink) -> None:
        self._calls = calls
        self._until: dict[Way, float] = {}

    def find(self) -> None:
        """Take over what an earlier process left in the kernel."""
        now = time.monotonic()
        self._until = {way: now + left for way, left in self._there().items()}

    def left(self) -> dict[Way, float]:
        """The open ones, and for how many seconds still. In any thread."""
        now = time.monotonic()
        return {way: until - now for way, until in dict(self._until).items() if until > now}

    def catch_up(self) -> None:
        """Whatever a whole load, or somebody else, has made of them: as they shall be. Raises OSError."""
        there, wanted = self._there(), self.left()
        for way in there.keys() | wanted.keys():
            late = there.get(way, -math.inf) - wanted.get(way, -math.inf)
            if abs(late) > SLACK:  # the difference of two infinite times is no number, and not greater
                self._put(way, self._until[way] if way in wanted else None, stands=way in there)

    def open(self, way: Way, seconds: float | None) -> None:
        """For so long from now, however long it was to be; 0: no longer, None: until told.

        Raises OSError if the kernel does not take it; it is closed then.
        """
        now = time.monotonic()
        if len(self._until) >= MOST:
            self._until = {way: until for way, until in self._until.items() if until > now}
        stands = self._until.pop(way, 0.0) > now
        if seconds is not None and seconds <= 0:
            if stands:
                self._put(way, None, stands=True)
            return
        self._until[way] = until = math.inf if seconds is None else now + seconds
        try:
            self._put(way, until, stands=stands)
        except OSError:
            del self._until[way]
            raise

    def _there(self) -> dict[Way, float]:
        found = {}
        for size, name in _SETS.items():
            with suppress(FileNotFoundError):  # the table is just being put back, or is an older version's
                for key, left in nfnl.set_elements(self._calls, TABLE, name):
                    (mark,) = struct.unpack_from("=I", key)
                    way = Way(mark >> marks.SLOT_SHIFT, key[4 : 4 + size], int.from_bytes(key[4 + size : 6 + size]))
                    found[way] = math.inf if left is None else left
        return found

    def _put(self, way: Way, until: float | None, *, stands: bool) -> None:
        """Replaced and not only added: kernels before 6.12 leave the time of an element that `stands` as it was."""
        put = []
        if until is not None:
            left = 0.0 if until == math.inf else max(until - time.monotonic(), 0.001)
            put.append(_message(nfnl.NEW_ELEMENT, way, left))
        for messages in ([_message(nfnl.DELETE_ELEMENT, way), *put] if stands else (), put):
            if messages:
                try:
                    self._calls.commit(nfnl.batch(*messages))
                except FileNotFoundError:  # its time was up just now; or the table is just being put back
                    continue
                return


def _message(kind: int, way: Way, seconds: float = 0.0) -> bytes:
    key = struct.pack("=I", way.slot << marks.SLOT_SHIFT) + way.addr + struct.pack("!Hxx", way.port)
    return nfnl.elements(kind, TABLE, _SETS[len(way.addr)], [nfnl.element(key, seconds)])
