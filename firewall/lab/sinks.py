"""What reached the internet side: a journal of connections and UDP exchanges, and the socket that it is read from.

The judge of every fail-closed test: a record is there as soon as a connection opens, with 0 bytes too. What the
journal had to forget is counted and said, for a judge that looked away is no judge.
"""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from firewall.lab.topology import LabError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_RECORDS: Final = 200_000
MAX_PAYLOAD: Final = 65_536  # bytes kept of one record
MAX_PAYLOADS: Final = 64 * 1024 * 1024  # bytes kept of all
COALESCE: Final = 0.2  # seconds that a changed record waits, so that a bulk upload is not told packet by packet


@dataclass(slots=True, eq=False)
class Record:
    """One connection or UDP exchange."""

    id: int
    time: float
    src: str
    sport: int
    dst: str
    dport: int
    proto: str  # "tcp" or "udp"
    name: str = ""  # SNI or Host
    received: int = 0  # bytes that the client sent, decrypted where TLS ended here
    payload: bytearray = field(default_factory=bytearray)
    open: bool = True  # a UDP exchange stays open

    def to_line(self) -> bytes:
        """As `lab sinks --json` shows it."""
        values = {
            "id": self.id, "time": self.time,
            "src": self.src, "sport": self.sport, "dst": self.dst, "dport": self.dport,
            "proto": self.proto, "name": self.name, "bytes": self.received, "payload": self.payload.decode("latin-1"),
            "open": self.open,
        }
        return json.dumps(values).encode() + b"\n"


class Journal:
    """All records, oldest first, within bounds: then the oldest are forgotten, and new payloads are only counted."""

    def __init__(self, max_records: int = MAX_RECORDS, max_payloads: int = MAX_PAYLOADS) -> None:
        self._records: deque[Record] = deque()
        self._max_records = max_records
        self._room = max_payloads
        self._next = 1
        self.forgotten = 0  # records
        self.cut = 0  # bytes of payload
        self.listeners: set[Callable[[Record, bool], None]] = set()  # called with (record, it has just opened)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def open(self, proto: str, src: tuple[Any, ...], dst: tuple[Any, ...]) -> Record:
        """`src` and `dst` are socket addresses of either family."""
        record = Record(self._next, time.time(), src[0], src[1], dst[0], dst[1], proto)
        self._next += 1
        if len(self._records) >= self._max_records:
            self._empty(self._records.popleft())
            self.forgotten += 1
        self._records.append(record)
        self._tell(record, opened=True)
        return record

    def add(self, record: Record, data: bytes) -> None:
        """The client has sent `data`."""
        if record.id < self._records[0].id:
            return  # forgotten
        record.received += len(data)
        wanted = data[: MAX_PAYLOAD - len(record.payload)]
        kept = wanted[: self._room]
        record.payload += kept
        self._room -= len(kept)
        self.cut += len(wanted) - len(kept)
        self._tell(record)

    def count(self, record: Record, size: int) -> None:
        """The client has sent so many bytes that only another record's keys can read."""
        record.received += size
        self._tell(record)

    def name(self, record: Record, name: str) -> None:
        record.name = name
        self._tell(record)

    def decrypted(self, record: Record) -> None:
        """From here on the client's bytes are readable: the ciphertext of its handshake is no longer of interest."""
        record.received = 0
        self._empty(record)

    def close(self, record: Record) -> None:
        record.open = False
        self._tell(record)

    def _empty(self, record: Record) -> None:
        self._room += len(record.payload)
        record.payload = bytearray()

    def _tell(self, record: Record, *, opened: bool = False) -> None:
        for listener in self.listeners:
            listener(record, opened)


# -- the internet's end of the socket ----------------------------------------------------------------------------------


async def serve(journal: Journal, writer: asyncio.StreamWriter, *, follow: bool) -> None:
    """Write all records as they stand, then, to follow, each again when it opens, changes or closes.

    A reader that is slow holds up itself only: what changed meanwhile is written once, as it then stands.
    """
    changed = dict.fromkeys(journal)
    wake = asyncio.Event()
    loop = asyncio.get_running_loop()

    def listen(record: Record, opened: bool) -> None:  # noqa: FBT001  a callback's position
        first = not changed
        changed[record] = None
        if opened:
            wake.set()
        elif first:
            loop.call_later(COALESCE, wake.set)

    journal.listeners.add(listen)
    with suppress(OSError):
        try:
            while True:
                while changed:
                    record = next(iter(changed))
                    del changed[record]
                    writer.write(record.to_line())
                    await writer.drain()
                if journal.forgotten or journal.cut:
                    writer.write(json.dumps({"forgotten": journal.forgotten, "cut": journal.cut}).encode() + b"\n")
                await writer.drain()
                if not follow:
                    return
                wake.clear()
                await wake.wait()
        finally:
            journal.listeners.discard(listen)


# -- the reader's end --------------------------------------------------------------------------------------------------


def ask(path: Path, **request: object) -> Iterator[dict[str, Any]]:
    """Send one request to the internet and yield its answers. Raises LabError if no internet answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise LabError(f"the lab's internet does not answer at {path}: {error.strerror}") from error
        with connection.makefile("rb") as lines:
            for line in lines:
                yield json.loads(line)


def read(path: Path, *, follow: bool) -> Iterator[dict[str, Any]]:
    """Every record, oldest first; with `follow` for ever, a record again whenever it has changed.

    Raises LabError after the last record if the journal had to forget something.
    """
    for row in ask(path, do="sinks", follow=follow):
        if "forgotten" in row:
            raise LabError(
                f"the sinks are full: the {row['forgotten']} oldest records and {row['cut']} bytes of payload are lost"
            )
        yield row
