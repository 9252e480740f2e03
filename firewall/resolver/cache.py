"""[pure] True answers, kept for as long as they are true. Keyed by the bytes of the question."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from math import ceil

MOST_ENTRIES = 10_000
MOST_BYTES = 8 << 20  # of messages
SHORTEST, LONGEST = 5, 86_400  # seconds; without a floor every page view would be a question upstream
LONGEST_NO = 3_600  # seconds (RFC 2308, 5 suggests one to three hours)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known about one question."""

    rcode: int
    message: bytes  # as in replies.py; b"" for a "no", which is written when it is sent
    ttls: tuple[int, ...]  # where its TTLs stand
    chain: tuple[str, ...]
    addresses: tuple[bytes, ...]
    until: float  # on the resolver's clock
    hints: bool = False  # the addresses, and keys for ECH, stand in records of type HTTPS or SVCB

    def left(self, now: float) -> int:
        """Seconds it is true for, begun ones counted; at least 1, for it was true when it was looked up."""
        return max(1, ceil(self.until - now))


class Cache:
    """The least recently used goes first."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        if key in self._entries:
            self._drop(key)
        self._entries[key] = entry
        self._bytes += len(entry.message)
        while len(self._entries) > MOST_ENTRIES or self._bytes > MOST_BYTES:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self._bytes -= len(self._entries.pop(key).message)
