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
import signal
import sys
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from firewall.control import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firewall.episode import Episode

DAY: Final = 86_400.0
ROWS: Final = 100_000  # the newest
SECONDS: Final = 5.0
PATIENCE: Final = SECONDS + 10.0  # until a worker that does not answer is ended
PR_SET_PDEATHSIG: Final = 1  # prctl(2)
NOTHING: Final = {"changed": 0, "of": 0, "rows": 0, "complete": False, "examples": []}


class DryRun:
    """The gateway's end: one worker, started when it is first wanted."""

    def __init__(self, history: Path) -> None:
        self._history = history
        self._process: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def compare(self, before: str, after: str) -> dict[str, Any]:
        """Two texts of rules.toml on the last 24 hours: changed, of, rows, complete, examples, and trouble if any."""
        request = {"history": str(self._history), "since": time.time() - DAY, "before": before, "after": after}
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


def recent(path: Path, since: float) -> Iterator[Episode]:
    """Rows of the history seen since then, newest first. Raises sqlite3.Error."""
    from firewall import history  # noqa: PLC0415  the gateway's end has no need of it

    return history.recent(path, since, ROWS + 1)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Never raises for what stands in the history: that is trouble, and said."""
    from rules.diff import compare  # noqa: PLC0415
    from rules.store import compiled  # noqa: PLC0415

    before, after = (compiled("rules.toml", request[key], 0) for key in ("before", "after"))
    until = time.monotonic() + SECONDS
    looked = 0
    trouble = ""

    def bounded(rows: Iterable[Episode]) -> Iterator[Episode]:
        nonlocal looked, trouble
        try:
            for row in islice(rows, ROWS):
                yield row
                looked += 1
                if time.monotonic() > until:
                    trouble = f"only the newest {looked} rows were looked at in {SECONDS:.0f} s"
                    return
        except Exception as error:  # noqa: BLE001  a history that cannot be read is no reason to say nothing
            trouble = f"the history cannot be read: {error}"
        else:
            if looked == ROWS:
                trouble = f"only the newest {ROWS} rows were looked at"

    diff = compare(before, after, bounded(recent(Path(request["history"]), request["since"])))
    return {
        "changed": diff.changed, "of": diff.of, "rows": looked, "complete": not trouble, "trouble": trouble,
        "examples": [example.to_json() for example in diff.examples],
    }


def main() -> None:
    """Dies with the gateway, and lets packets go first."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
