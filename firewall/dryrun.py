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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.control import LARGEST
from rules import store
from rules.diff import compare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firewall.episode import Episode
    from rules.observation import Observation
    from rules.verdict import Verdict

DAY: Final = 86_400.0
ROWS: Final = 100_000  # the newest
SECONDS: Final = 5.0
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
        self._lock = asyncio.Lock()

    async def compare(self, before: str, after: str) -> dict[str, Any]:
        """Two texts of rules.toml on the last 24 hours: changed, of, rows, complete, examples, and trouble if any."""
        request = {"history": str(self._history), "since": self._clock() - DAY, "before": before, "after": after}
        async with self._lock:
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
        async with self._lock:
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
class Row:
    """Of an episode, what a dry run needs."""

    seen: Observation
    phone: str
    proto: str
    name: str
    dst: str
    dport: int
    count: int
    last: float


class Worker:
    """Remembers for a while what it has read: whoever types a rule asks again and again."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """What was read; the database may then drop what it keeps for us."""
        self._rows: list[Row] = []
        self._known: list[Verdict] = []  # what the rules before say of them
        self._before: str | None = None
        self._source: Iterator[Episode] | None = None  # the rows not read yet; None if that was all
        self._read_at = float("-inf")

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Trouble with the history is said, and no reason to say nothing."""
        until = time.monotonic() + SECONDS
        if time.monotonic() - self._read_at > FRESH_SECONDS:
            self.forget()
            self._read_at = time.monotonic()
            self._source = recent(Path(request["history"]), request["since"])
        if request["before"] != self._before:
            self._before, self._known = request["before"], []
        before, after = (store.compiled("rules.toml", request[key], 0) for key in ("before", "after"))
        looked = 0
        trouble = ""

        def bounded() -> Iterator[Row]:
            nonlocal looked, trouble
            try:
                for row in self._all():
                    yield row
                    looked += 1
                    if time.monotonic() > until:
                        trouble = f"only the newest {looked:,} rows were looked at in {SECONDS:.0f} s"
                        return
            except Exception as error:  # noqa: BLE001  whatever the history's trouble is
                self.forget()
                trouble = f"the history cannot be read: {error}"
            else:
                if looked >= ROWS:
                    trouble = f"only the newest {ROWS:,} rows were looked at"

        diff = compare(before, after, bounded(), self._known)
        return {
            "changed": diff.changed, "of": diff.of, "rows": looked, "complete": not trouble, "trouble": trouble,
            "examples": [example.to_json() for example in diff.examples],
        }

    def _all(self) -> Iterator[Row]:
        """What was read, and then more of it."""
        yield from self._rows
        while self._source is not None and len(self._rows) < ROWS:
            one = next(self._source, None)
            if one is None:
                self._source = None
                return
            self._rows.append(Row(one.seen, one.phone, one.proto, one.name, one.dst, one.dport, one.count, one.last))
            yield self._rows[-1]


def recent(path: Path, since: float) -> Iterator[Episode]:
    """Rows of the history seen since then, newest first. Raises sqlite3.Error."""
    from firewall import history  # noqa: PLC0415  the gateway's end has no need of it

    return history.recent(path, since, ROWS)


def main() -> None:
    """Dies with the gateway, and lets packets go first."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
