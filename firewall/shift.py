"""Time that is told and not waited for: in a lab its clocks may be ahead of the kernel's (`consentry lab time`).

A gate on real interfaces never looks: nobody follows a file there.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from firewall.settings import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "time.json"  # in the lab's run_dir
LOOK_SECONDS: Final = 0.02  # between looks into the file
UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_STEP: Final = re.compile(rf"([+-])(\d{{1,9}})([{''.join(UNITS)}])")


class Shift(NamedTuple):
    """Seconds to add to what the kernel says."""

    boot: float = 0.0  # never less than it was: such a clock does not go back
    wall: float = 0.0


class Follower:
    """Nothing, until there is a file to follow; then what it says now."""

    def __init__(self) -> None:
        self._file: Path | None = None
        self._looked = 0.0
        self._shift = Shift()

    def follow(self, file: Path) -> None:
        self._file = file

    def __call__(self) -> Shift:
        if self._file is not None and (now := time.monotonic()) - self._looked >= LOOK_SECONDS:
            self._looked = now
            told = read(self._file)
            self._shift = Shift(max(told.boot, self._shift.boot), told.wall)
        return self._shift


def read(file: Path) -> Shift:
    """Nothing if there is none, or if nobody can tell what it says."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        told = json.loads(file.read_text("utf-8"))
        return Shift(float(told["boot"]), float(told["wall"]))
    return Shift()


def tell(file: Path, step: str, *, wall_only: bool = False) -> Shift:
    """`+10m`: ten minutes later, `-1y`: a year earlier, which only a wall clock can be; `reset`: it is right again.

    Raises ValueError in words.
    """
    before = read(file)
    parts = _STEP.fullmatch(step)
    if step == "reset":
        after = Shift(before.boot, 0.0)
    elif parts is None:
        raise ValueError(f"{step!r} is no time: write +10m, -1y (s, m, h, d, w, y) or reset")
    else:
        seconds = float(f"{parts[1]}{int(parts[2]) * UNITS[parts[3]]}")
        after = Shift(before.boot + (0.0 if wall_only else max(seconds, 0.0)), before.wall + seconds)
    if abs(after.wall) > 100 * UNITS["y"]:
        raise ValueError(f"{step!r} would be more than a hundred years away")
    write_atomically(file, json.dumps(after._asdict()))
    return after
