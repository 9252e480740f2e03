"""Trying rules on the past, in a process of its own: judging a day's decisions burns CPU that packets need.

The worker reads requests as JSON lines and answers each with one line; it lives until its input ends. Its database
connection only reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import select
import signal
import sys
import time
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.control import LARGEST
from firewall.history.schema import reader
from firewall.history.search import Cursor, one_row, seen_before
from firewall.readers import Turns
from rules import store
from rules.diff import compare

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator

    from firewall.episode import Episode
    from rules.observation import Observation
    from rules.verdict import Verdict

DAY: Final = 86_400.0
MOST_THINGS: Final = 200_000
CHUNK: Final = 5_000  # rows read at a time
SECONDS: Final = 5.0
READ_SECONDS: Final = 3.0  # of them; the next question reads on
FRESH_SECONDS: Final = 15.0  # what was read counts for so long
PATIENCE: Final = SECONDS + 10.0  # until a worker that does not answer is ended
PR_SET_PDEATHSIG: Final = 1  # prctl(2)
NOTHING: Final = {"changed": 0, "of": 0, "rows": 0, "complete": False, "examples": []}


class DryRun:
    """The gateway's end: one worker, started when it is first wanted."""

    def __init__(self, history: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._history = history
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._turns = Turns(1)

    async def compare(self, before: str, after: str) -> dict[str, Any]:
        """Two texts of rules.toml on the last 24 hours: changed, of, rows, complete, examples, and trouble if any."""
        request = {"history": str(self._history), "since": self._clock() - DAY, "before": before, "after": after}
        async with self._turns.one():
            process = await self._worker()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                async with asyncio.timeout(PATIENCE):
                    process.stdin.write(json.dumps(request).encode() + b"\n")
                    await process.stdin.drain()
                    line = await process.stdout.readline()
                return {**NOTHING, **json.loads(line)}
            except (OSError, ValueError):  # TimeoutError is an OSError
                await self._end()
                return NOTHING | {"trouble": "the dry run did not answer"}
            except BaseException:  # a question whose answer nobody reads would answer the next one
                await self._end()
                raise

    async def close(self) -> None:
        async with self._turns.one():
            await self._end()

    async def _worker(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "firewall.dryrun", stdin=pipe, stdout=pipe, limit=LARGEST,
            )
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


# -- the worker --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Thing:
    """What several rows are of (a phone, a far end, its names): the rules say the same of each."""

    id: int  # of the newest row
    last: float
    count: int = 0  # decisions
    rows: int = 0
    episode: Episode | None = None  # that row, once it has been read

    @property
    def row(self) -> Row:
        one = self.episode
        assert one is not None
        return Row(one.seen, one.phone, one.proto, one.name, one.dst, one.dport, self.count, self.last)


@dataclass(frozen=True, slots=True)
class Row:
    """Of a thing, what a dry run needs."""

    seen: Observation
    phone: str
    proto: str
    name: str
    dst: str
    dport: int
    count: int
    last: float


class Worker:
    """Remembers for a while what it has read: whoever types a rule asks again and again.

    Rows of one thing are judged together, the most frequent first: where there is too much, it is the rare that is
    left out, and said.
    """

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self._things: dict[int, Thing] = {}  # by the number of their subject
        self._order: list[Thing] = []
        self._known: list[Verdict] = []  # what the rules before say of them
        self._before: str | None = None
        self._cursor: Cursor | None = None  # where reading stopped
        self._all = False  # everything was read
        self._beyond = 0  # decisions about things for which there was no room
        self._read_at = float("-inf")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Trouble with the history is said, and no reason to say nothing."""
        until = time.monotonic() + SECONDS
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self.forget()
            self._read_at = time.monotonic()
        if request["before"] != self._before:
            self._before, self._known = request["before"], []
        before, after = (store.compiled("rules.toml", request[key], 0) for key in ("before", "after"))
        looked, trouble = 0, ""

        def bounded() -> Iterator[Row]:
            nonlocal looked, trouble
            try:
                with contextlib.closing(reader(Path(request["history"]))) as db:
                    self._read(db, request["since"], until - SECONDS + READ_SECONDS)
                    for row, rows in self._judged(db):
                        yield row
                        looked += rows
                        if time.monotonic() > until:
                            break
            except Exception as error:  # noqa: BLE001  whatever the history's trouble is
                self.forget()
                trouble = f"the history cannot be read: {error}"

        diff = compare(before, after, bounded(), self._known)
        trouble = trouble or self._left_out(diff.of)
        return {
            "changed": diff.changed, "of": diff.of, "rows": looked, "complete": not trouble, "trouble": trouble,
            "examples": [example.to_json() for example in diff.examples],
        }

    def _left_out(self, judged: int) -> str:
        there = self._beyond + sum(thing.count for thing in self._order)
        said = []
        if judged < there:
            said.append(f"only {judged:,} of {there:,} decisions could be judged in {SECONDS:.0f} s: the most frequent")
        if not self._all and self._cursor is not None:
            at = time.strftime("%d %b %H:%M", time.localtime(self._cursor.last))
            said.append(f"only what was seen since {at} was read")
        return "; ".join(said)

    def _read(self, db: sqlite3.Connection, since: float, until: float) -> None:
        """Raises sqlite3.Error."""
        if self._all:
            return
        while not self._all and time.monotonic() < until:
            some = seen_before(db, since, self._cursor, CHUNK)
            for last, number, subject, count in some:
                thing = self._things.get(subject)
                if thing is None:
                    if len(self._things) >= MOST_THINGS:
                        self._beyond += count
                        continue
                    thing = self._things[subject] = Thing(number, last)
                thing.count += count
                thing.rows += 1
            self._all = len(some) < CHUNK
            if some:
                self._cursor = Cursor(*some[-1][:2])
        self._order = sorted(self._things.values(), key=attrgetter("count"), reverse=True)
        self._known = []

    def _judged(self, db: sqlite3.Connection) -> Iterator[tuple[Row, int]]:
        """Raises sqlite3.Error."""
        for thing in self._order:
            if thing.episode is None:
                thing.episode = one_row(db, thing.id)
            if thing.episode is not None:  # else it has been forgotten meanwhile
                yield thing.row, thing.rows


def main() -> None:
    """Dies with the gateway, and lets packets go first."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # a service may not be allowed to; then it is as urgent as its parent
        os.nice(10)
    worker = Worker()
    while True:
        if not select.select([sys.stdin], [], [], FRESH_SECONDS)[0]:  # one question at a time: nothing is buffered
            worker.forget()
        line = sys.stdin.readline()
        if not line:
            return
        sys.stdout.write(json.dumps(worker.answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
