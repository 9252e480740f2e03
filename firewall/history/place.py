"""Where the history lies: whether its file is still the one that was opened, and what becomes of a damaged one."""

from __future__ import annotations

import contextlib
import glob
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

ASIDE: Final = ".corrupt-"
LOGS: Final = ("-wal", "-shm")  # SQLite's, beside the file


class Opened(NamedTuple):
    """By which a file is known again, whatever is called so now."""

    device: int
    inode: int


def opened(path: Path) -> Opened:
    """Raises OSError."""
    status = path.stat()
    return Opened(status.st_dev, status.st_ino)


def became(path: Path, before: Opened) -> str:
    """What somebody else did to the file that was opened, in words; "" if nothing. Raises OSError.

    SQLite does not tell: it takes an empty file for a new database, unlinks its log and goes on writing into that.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return "was removed"
    if (status.st_dev, status.st_ino) != before:
        return "was replaced by another"
    return "" if status.st_size else "was emptied"


def clear(path: Path) -> None:
    """The logs of a file that is gone would be taken for the next one's; one that is empty goes with them, for SQLite
    would write into it what of its log it remembers. Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == 0:
            path.unlink()
    for ending in LOGS:
        path.with_name(path.name + ending).unlink(missing_ok=True)


def put_aside(path: Path, now: float) -> Path:
    """Keep what is no sound database under another name, that alone. Raises OSError."""
    clear_aside(path)
    aside = path.with_name(f"{path.name}{ASIDE}{int(now)}")
    path.rename(aside)
    clear(path)
    return aside


def clear_aside(path: Path, now: float | None = None, seconds: float = 0.0) -> None:
    """Damaged files older than `seconds`, or all of them: allowed names stand in those as well. Never raises."""
    with contextlib.suppress(OSError):
        for file in path.parent.glob(f"{glob.escape(path.name)}{ASIDE}*"):
            number = file.name.rpartition("-")[2]
            at = int(number) if number.isdecimal() else 0
            if now is None or abs(now - at) > seconds:
                file.unlink()
